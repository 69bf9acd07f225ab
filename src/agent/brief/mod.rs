//! Everything before the first turn: what is known is gathered, a cheaper model may say where to look
//! first, and the first message is written. Each step is recorded before the next depends on it, so
//! that a restart asks nobody twice.

use crate::domain::{
    IssueSnapshot, JobSettings, Message, QuotedComment, TestRun, TranscriptEvent, WorkBrief,
};

use crate::sandbox::CallError;
use crate::sandbox::protocol::RepoMap;

use super::sanitise::{Sanitised, sanitise_in_background};
use super::tools::describe_run;
use super::{Agent, AgentError, Conversation};

mod answer;
mod instructions;

use instructions::{Instructions, written_in};

/// Of the map, in tokens: a twentieth of what the smallest models hold. There is a tool for more.
const MAP_TOKENS_MAX: u32 = 3_000;

/// What people wrote of the task.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The issue as it was when the work was asked for.
    pub issue: &'a IssueSnapshot,
    /// What was written below it, cleaned.
    pub comments: &'a [QuotedComment],
}

/// The issue and the repository as both models are told of them.
struct Material {
    issue: String,
    suite: String,
    map: String,
}

impl Agent<'_> {
    /// Begins the conversation, unless it has begun.
    pub async fn open(
        &self,
        state: &mut Conversation,
        told: Told<'_>,
        baseline: &TestRun,
    ) -> Result<(), AgentError> {
        if state.has_begun() {
            return Ok(());
        }
        let Told { issue, comments } = told;
        let title = sanitise_in_background(&issue.title).await;
        let body = sanitise_in_background(&issue.body).await;
        let issue = issue_in_words(issue, &title, &body) + &comments_in_words(comments);
        let suite = suite_in_words(self.settings, baseline);
        let map = self.map(format!("{issue}\n{suite}")).await?;
        let material = Material { issue, suite, map };
        let mut instructions = self.instructions_for(&[]).await?;
        let brief = self.ask_for_brief(state, &material, &instructions).await?;
        if let Some(brief) = &brief {
            instructions = self.instructions_for(&brief.files).await?;
        }
        let mut events = Vec::new();
        let removed: Vec<String> = [title.removed, body.removed].concat();
        if !removed.is_empty() {
            let text = format!("left out of the issue's text: {}", removed.join(", "));
            events.push(TranscriptEvent::Note { text });
        }
        if let Some(plan) = brief.as_ref().and_then(plan_of) {
            events.push(TranscriptEvent::PlanUpdated { plan });
        }
        events.push(TranscriptEvent::MessageAdded {
            message: Message::User { text: first_message(&material, &instructions, brief.as_ref()) },
            usage: None,
            usd: None,
            model: None,
            milliseconds: 0,
        });
        self.record(state, &events).await
    }

    /// What lies at the top of the repository, and the files that have most to do with the issue's
    /// words and the failing tests' names and output.
    async fn map(&self, text: String) -> Result<String, AgentError> {
        let root = self.workspace.base_directory("").await?;
        let top = format!("# Top of the repository\n\n{}\n", root.join("  "));
        let request = RepoMap { text, paths: Vec::new(), tokens_max: MAP_TOKENS_MAX };
        match self.toolbox.repo_map(&request).await {
            Ok(mapped) => Ok(format!("{top}\n# Files that may matter\n\n{}\n", mapped.text.trim_end())),
            // A repository that cannot be mapped can be worked on all the same.
            Err(CallError::RespondToModel(why)) => {
                tracing::warn!(why, "there is no map of the repository");
                Ok(top)
            }
            Err(CallError::Fatal(error)) => Err(error.into()),
        }
    }
}

fn issue_in_words(issue: &IssueSnapshot, title: &Sanitised, body: &Sanitised) -> String {
    let heading = match issue.number.0 {
        0 => "# The issue".to_owned(),
        number => format!("# Issue #{number}"),
    };
    let body = if body.text.trim().is_empty() { String::new() } else { format!(">\n{}", quoted(&body.text)) };
    format!("{heading}\n\n{}{body}", quoted(&title.text))
}

fn comments_in_words(comments: &[QuotedComment]) -> String {
    let one = |comment: &QuotedComment| {
        format!("\n{}, {}:\n\n{}", comment.by, comment.at, quoted(comment.text.trim_end()))
    };
    match comments {
        [] => String::new(),
        _ => {
            let all: String = comments.iter().map(one).collect();
            format!("\n## What people with write access wrote below it\n{all}")
        }
    }
}

fn suite_in_words(settings: &JobSettings, baseline: &TestRun) -> String {
    let state = if baseline.is_green() {
        "The suite is **green** before your change, so your change must bring a test that fails without it."
    } else {
        "The suite is **red** before your change. Your proposal is accepted when it is green. Tests that fail \
         for another reason than the issue may go on failing, where the issue's own tests, or one that you add, \
         fail before and pass after, and nothing that passed fails."
    };
    format!(
        "# The test suite\n\n`{}` (from {}). {state}\n\n{}\n",
        settings.test_command,
        settings.test_command_source,
        describe_run(baseline, None)
    )
}

fn first_message(material: &Material, instructions: &Instructions, brief: Option<&WorkBrief>) -> String {
    let Material { issue, suite, map } = material;
    let brief = brief.map(brief_in_words).unwrap_or_default();
    format!("{issue}\n{suite}\n{map}{}{brief}", written_in(instructions))
}

fn brief_in_words(brief: &WorkBrief) -> String {
    let mut text = "\n# A first look, by another model\n\nNothing of it is certain: check it.\n".to_owned();
    if !brief.files.is_empty() {
        text.push_str(&format!("\nThe cause is likely in: {}\n", brief.files.join(", ")));
    }
    if !brief.reproduce.is_empty() {
        text.push_str(&format!("\nTo see the failure: {}\n", brief.reproduce));
    }
    if let Some(plan) = plan_of(brief) {
        text.push_str(&format!("\nYour plan begins as this; change it with `update_plan`:\n{plan}"));
    }
    text
}

/// The plan, as `update_plan` writes it.
fn plan_of(brief: &WorkBrief) -> Option<String> {
    let lines: String = brief.steps.iter().map(|step| format!("- [ ] {step}\n")).collect();
    (!lines.is_empty()).then_some(lines)
}

pub(super) fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("> {line}\n")).collect()
}

#[cfg(test)]
mod tests;
