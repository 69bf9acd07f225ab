//! A job's transcript for a terminal, one line per event.

use crate::domain::{
    AssistantBlock, FetchedSubmodule, JobOutcome, Message, ResumeReason, TestRun, ToolArguments, ToolCall,
    TranscriptEvent, commands_in_words,
};

/// Longest line, in characters.
const LINE_CHARS_MAX: usize = 140;

/// The event as a line; `None` for an event that only repeats another.
pub fn console_line(event: &TranscriptEvent) -> Option<String> {
    let line = match event {
        TranscriptEvent::StateChanged { state } => format!("● {}", state.name()),
        TranscriptEvent::Prepared { base, base_branch, settings } if settings.test_command.is_empty() => {
            format!("  base {} of {base_branch}; no test command is known", base.short())
        }
        TranscriptEvent::Prepared { base, base_branch, settings } => format!(
            "  base {} of {base_branch}; the suite is `{}` (from {})",
            base.short(),
            settings.test_command,
            settings.test_command_source
        ),
        TranscriptEvent::PlanTried { result } => format!("  plan tried: {}", result.describe()),
        TranscriptEvent::SetupAgentStarted { usd_max, turns_max } => {
            format!("  setup agent: looks for a way, with at most ${usd_max:.2} and {turns_max} turns")
        }
        TranscriptEvent::SetupAgentEnded { recipe: Some(recipe), .. } => {
            format!("  setup agent: found {}", commands_in_words(&recipe.setup, &recipe.test))
        }
        TranscriptEvent::SetupAgentEnded { why, .. } => {
            format!("  setup agent: found nothing: {}", why.as_deref().unwrap_or("it was ended"))
        }
        TranscriptEvent::SandboxStarted { description, .. } => format!("  sandbox: {description}"),
        TranscriptEvent::SetUp { reused: true, .. } => "  setup: from the cache".to_owned(),
        TranscriptEvent::SetUp { commands, seconds, kept, .. } => {
            let failed = commands.iter().find(|ran| !ran.result.ending.is_success());
            let end = match (failed, kept) {
                (Some(ran), _) => format!("`{}` fails: {}", ran.command, ran.result.ending.describe()),
                (None, true) => "cached".to_owned(),
                (None, false) => "not cached".to_owned(),
            };
            format!("  setup: {} commands in {seconds:.1} s, {end}", commands.len())
        }
        TranscriptEvent::Egress { purpose, report } => {
            let places = |refused: bool| {
                let these = report.decisions.iter().filter(|place| place.refused.is_some() == refused);
                these.map(|place| place.host.as_str()).collect::<Vec<_>>().join(", ")
            };
            let (allowed, refused) = (places(false), places(true));
            let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed };
            let refused = if refused.is_empty() { refused } else { format!(", refused: {refused}") };
            format!("  network of {purpose}: {allowed}{refused}")
        }
        TranscriptEvent::BaselineRun { run } => format!("  baseline: {}", run_text(run)),
        TranscriptEvent::MessageAdded { message: Message::Assistant { blocks }, .. } => {
            let parts: Vec<String> = blocks.iter().filter_map(block_text).collect();
            format!("  model: {}", parts.join("  "))
        }
        TranscriptEvent::MessageAdded {
            message: Message::User { .. } | Message::ToolResults { .. }, ..
        } => {
            return None;
        }
        TranscriptEvent::CallWasted { why, .. } => format!("  model: no answer: {why}"),
        TranscriptEvent::AgentTestRun { run } => format!("  tests: {}", run_text(run)),
        TranscriptEvent::BriefAnswered { brief: Some(brief), .. } => {
            format!("  brief: {} steps; look at {}", brief.steps.len(), brief.files.join(", "))
        }
        TranscriptEvent::BriefAnswered { brief: None, remark, .. } => {
            format!("  brief: not usable: {}", remark.as_deref().unwrap_or("no reason"))
        }
        TranscriptEvent::Compacted { .. } => "  the conversation is too long and is summarized".to_owned(),
        TranscriptEvent::CommentsRead { comments, .. } => {
            format!("  reads {} comments on the issue", comments.len())
        }
        TranscriptEvent::Instructed { .. }
        | TranscriptEvent::ResultsElided { .. }
        | TranscriptEvent::PlanUpdated { .. }
        | TranscriptEvent::ResultKept { .. }
        | TranscriptEvent::Checkpoint { .. } => return None,
        TranscriptEvent::VerdictReached { verified: true, explanation, .. } => {
            format!("  verdict: VERIFIED. {explanation}")
        }
        TranscriptEvent::VerdictReached { verified: false, explanation, .. } => {
            format!("  verdict: not verified. {explanation}")
        }
        TranscriptEvent::Released { by } => format!("  {by} approves the change"),
        TranscriptEvent::PublicationRetried { by, .. } => format!("  {by} asks to publish the change again"),
        TranscriptEvent::Resumed { by, why: ResumeReason::Continued { .. }, .. } => {
            format!("  {by} resumes the job")
        }
        TranscriptEvent::Resumed { by, why: ResumeReason::Reviewed { pull_request, feedback }, .. } => {
            format!("  {by} requests changes in #{pull_request}: {} remarks", feedback.len())
        }
        TranscriptEvent::Resumed { why: ResumeReason::ChecksFailed { pull_request, checks, .. }, .. } => {
            format!("  {} checks failed on #{pull_request}", checks.len())
        }
        TranscriptEvent::BranchFound { head, .. } => format!("  continues from {} on GitHub", head.short()),
        TranscriptEvent::Published { kind, reference } => format!("  published: {kind} {reference}"),
        TranscriptEvent::EscalationDecided { reason } => format!("  escalation: {}", reason.name()),
        TranscriptEvent::SubmodulesFetched { fetched, .. } => {
            let of = |one: &FetchedSubmodule| format!("{} at {}", one.path, one.commit.short());
            format!("  submodules: {}", fetched.iter().map(of).collect::<Vec<_>>().join(", "))
        }
        TranscriptEvent::CheckoutIncomplete { missing } => format!("  {}", missing.join("; ")),
        TranscriptEvent::Note { .. } => return None,
        TranscriptEvent::Ended { outcome } => match outcome {
            JobOutcome::Proposed { branch, head, .. } => format!("● proposed: {branch} at {}", head.short()),
            JobOutcome::Held { head, .. } => format!("● waiting for approval: {}", head.short()),
            JobOutcome::Escalated { reason } => format!("● escalated: {}", reason.name()),
            JobOutcome::Cancelled { why } => format!("● cancelled: {why}"),
            JobOutcome::Failed { why } => format!("● failed: {why}"),
        },
    };
    Some(one_line(&line))
}

fn run_text(run: &TestRun) -> String {
    let seconds = run.result.duration.as_secs_f64();
    let failing = run.failed();
    let failed = match failing.len() {
        0 => String::new(),
        1 => format!(", failing: {}", failing[0].0),
        count => format!(", {count} failing: {}, …", failing[0].0),
    };
    let cut = if run.result.output.is_truncated() { ", output cut" } else { "" };
    format!("{} after {seconds:.1} s{failed}{cut}", run.result.ending.describe())
}

fn block_text(block: &AssistantBlock) -> Option<String> {
    match block {
        AssistantBlock::Text { text } => Some(text.clone()),
        AssistantBlock::ToolCall(call) => Some(format!("[{}{}]", call.name, subject(call))),
        AssistantBlock::Opaque { .. } => None,
    }
}

/// The argument that says what a call is about.
fn subject(call: &ToolCall) -> String {
    let ToolArguments::Json(arguments) = &call.arguments else { return " (broken JSON)".to_owned() };
    ["path", "pattern", "from"]
        .iter()
        .find_map(|key| arguments[*key].as_str())
        .map_or_else(String::new, |subject| format!(" {subject}"))
}

/// The text on one line, without control characters, which could steer the terminal.
fn one_line(text: &str) -> String {
    let flat: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_CHARS_MAX + 1).collect();
    match flat.chars().count() > LINE_CHARS_MAX {
        true => flat.chars().take(LINE_CHARS_MAX - 1).chain(['…']).collect(),
        false => flat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_no_control_characters_of_the_model() {
        let event = TranscriptEvent::MessageAdded {
            message: Message::Assistant {
                blocks: vec![
                    AssistantBlock::Text { text: "\u{1b}[2J look\nhere".into() },
                    AssistantBlock::ToolCall(ToolCall {
                        id: "1".into(),
                        name: "read_file".into(),
                        arguments: ToolArguments::Json(serde_json::json!({"path": "src/a.rs"})),
                    }),
                ],
            },
            usage: None,
            usd: None,
            model: None,
            milliseconds: 0,
        };
        assert_eq!(console_line(&event).unwrap(), "  model:  [2J look here  [read_file src/a.rs]");
    }
}
