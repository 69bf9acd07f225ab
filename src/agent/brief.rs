//! The first message of a job's conversation: the issue as the labeller saw it, the suite's state
//! before any change, and what lies at the top of the repository.

use crate::domain::{IssueSnapshot, JobSettings, TestRun};

use super::sanitise::sanitise;
use super::tools::describe_run;

/// The task as the model is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// The first user message.
    pub text: String,
    /// What was taken out of the issue's text, in words; recorded in the transcript.
    pub removed: Vec<String>,
}

impl Brief {
    /// Writes the brief.
    pub fn write(
        issue: &IssueSnapshot,
        settings: &JobSettings,
        baseline: &TestRun,
        root: &[String],
        instructions: Option<&str>,
    ) -> Self {
        let (title, body) = (sanitise(&issue.title), sanitise(&issue.body));
        let quoted = |text: &str| text.lines().map(|line| format!("> {line}\n")).collect::<String>();
        let heading = match issue.number.0 {
            0 => "# The issue".to_owned(),
            number => format!("# Issue #{number}"),
        };
        let state = if baseline.is_green() {
            "The suite is **green** before your change, so your change must bring a test that fails without it."
        } else {
            "The suite is **red** before your change. Your proposal is accepted when it is green."
        };
        let instructions = instructions.map_or_else(String::new, |text| {
            format!("\n# The repository's own instructions\n\n{}", quoted(&sanitise(text).text))
        });
        let text = format!(
            "{heading}\n\n{}{}\n# The test suite\n\n`{}` (from {}). {state}\n\n{}\n\n# Top of the repository\n\n\
             {}\n{instructions}",
            quoted(&title.text),
            if body.text.trim().is_empty() { String::new() } else { format!(">\n{}", quoted(&body.text)) },
            settings.test_command,
            settings.test_command_source,
            describe_run(baseline, None),
            root.join("  "),
        );
        let mut removed = title.removed;
        removed.extend(body.removed);
        Self { text, removed }
    }
}
