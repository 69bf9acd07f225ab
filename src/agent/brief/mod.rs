//! Prepares the first turn: gathers what is known, may ask a cheaper model where to look first, and writes
//! the first message. Each step is recorded before the next depends on it, so that a restart repeats no
//! model call.

use crate::domain::{
    IssueSnapshot, JobSettings, Message, QuotedComment, TestRun, TranscriptEvent, WorkBrief,
};

use crate::sandbox::CallError;
use crate::sandbox::protocol::RepoMap;
use crate::testing::Linters;

use super::sanitise::{Sanitised, sanitise_in_background};
use super::test_summary::{Earlier, describe_run};
use super::{Agent, AgentError, Conversation};

mod answer;
mod changelog;
mod instructions;

use instructions::{Instructions, format_instructions};

/// Longest map, in tokens: a twentieth of the smallest supported context. The model has a tool for more.
const MAP_TOKENS_MAX: u32 = 3_000;

/// The task as people wrote it.
#[derive(Debug, Clone, Copy)]
pub struct TaskInput<'a> {
    /// The issue as it was when the job was requested.
    pub issue: &'a IssueSnapshot,
    /// The comments on it, sanitised.
    pub comments: &'a [QuotedComment],
}

/// What both models are told about the issue and the repository.
struct Material {
    issue: String,
    suite: String,
    map: String,
}

impl Agent<'_> {
    /// Starts the conversation, unless it has started.
    pub async fn open(
        &self,
        state: &mut Conversation,
        task: TaskInput<'_>,
        baseline: &TestRun,
    ) -> Result<(), AgentError> {
        if state.has_started() {
            return Ok(());
        }
        let TaskInput { issue, comments } = task;
        let title = sanitise_in_background(&issue.title).await;
        let body = sanitise_in_background(&issue.body).await;
        let changelog = self.changelog_convention(issue.number).await?;
        let issue = describe_issue(issue, &title, &body) + &describe_comments(comments);
        let gaps = self.workspace.checkout_gaps().await?.describe();
        let submodules: Vec<String> =
            self.workspace.submodule_paths().map(|path| format!("`{path}`")).collect();
        let suite = describe_suite(self.settings, baseline)
            + &describe_submodules(&submodules)
            + &describe_gaps(&gaps)
            + &describe_missing_linters(&self.abilities().await?.linters)
            + &changelog;
        let map = self.map(format!("{issue}\n{suite}")).await?;
        let material = Material { issue, suite, map };
        let mut instructions = self.instructions_for(&[]).await?;
        let brief = self.ask_planner(state, &material, &instructions).await?;
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

    /// Lists the top of the repository, and the files that are most relevant to the issue's text and to the
    /// names and output of the failing tests.
    async fn map(&self, text: String) -> Result<String, AgentError> {
        let root = self.workspace.base_directory("").await?;
        let top = format!("# Top of the repository\n\n{}\n", root.join("  "));
        let request = RepoMap { text, paths: Vec::new(), tokens_max: MAP_TOKENS_MAX };
        match self.toolbox.repo_map(&request).await {
            Ok(mapped) => Ok(format!("{top}\n# Files that may matter\n\n{}\n", mapped.text.trim_end())),
            // The work can go on without a map.
            Err(CallError::RespondToModel(why)) => {
                tracing::warn!(why, "repository could not be mapped");
                Ok(top)
            }
            Err(CallError::Fatal(error)) => Err(error.into()),
        }
    }
}

fn describe_issue(issue: &IssueSnapshot, title: &Sanitised, body: &Sanitised) -> String {
    let heading = match issue.number.0 {
        0 => "# The issue".to_owned(),
        number => format!("# Issue #{number}"),
    };
    let body = if body.text.trim().is_empty() { String::new() } else { format!(">\n{}", quoted(&body.text)) };
    format!("{heading}\n\n{}{body}", quoted(&title.text))
}

fn describe_comments(comments: &[QuotedComment]) -> String {
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

fn describe_suite(settings: &JobSettings, baseline: &TestRun) -> String {
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
        describe_run(baseline, Earlier::default())
    )
}

/// What the sandbox lacks, so that nobody looks for the cause of a failure elsewhere.
fn describe_gaps(gaps: &[String]) -> String {
    if gaps.is_empty() {
        return String::new();
    }
    let list: String = gaps.iter().map(|gap| format!("- {gap}\n")).collect();
    format!(
        "\n# What the sandbox lacks\n\n{list}\nTests that need it fail here, whatever you change. Do not replace it \
         with something of your own. If the issue cannot be shown without it, ask_human.\n"
    )
}

/// What the repository checks its files with and the sandbox does not have, so that nobody looks for it.
fn describe_missing_linters(linters: &Linters) -> String {
    let names: Vec<&str> = linters.missing.iter().map(|linter| linter.name()).collect();
    match names.as_slice() {
        [] => String::new(),
        _ => format!(
            "\n# Linters\n\nThe repository configures {}, which the sandbox does not have. Keep to its style by hand.\n",
            names.join(", ")
        ),
    }
}

/// The paths of other repositories, so that nobody plans a change that would be refused.
fn describe_submodules(paths: &[String]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    format!(
        "\n# Submodules\n\nTheir files are here, to read and to build with: {}. They belong to other repositories, \
         so a change to them is refused.\n",
        paths.join(", ")
    )
}

fn first_message(material: &Material, instructions: &Instructions, brief: Option<&WorkBrief>) -> String {
    let Material { issue, suite, map } = material;
    let brief = brief.map(describe_brief).unwrap_or_default();
    format!("{issue}\n{suite}\n{map}{}{brief}", format_instructions(instructions))
}

fn describe_brief(brief: &WorkBrief) -> String {
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
