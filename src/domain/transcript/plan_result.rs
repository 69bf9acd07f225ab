//! What came of a plan that was tried.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest command in the description of a plan, in characters.
const COMMAND_CHARS_MAX: usize = 300;
/// Longest reason in the description of a plan, in characters.
const REASON_CHARS_MAX: usize = 300;

/// A plan to set a repository up and to run its tests, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanResult {
    /// The test command.
    pub test: String,
    /// The setup commands, in order.
    pub setup: Vec<String>,
    /// Where the test command comes from, for people.
    pub source: String,
    /// Whether it reached passing tests, so that no other plan was tried after it.
    pub good: bool,
    /// How many tests passed.
    pub passed: u64,
    /// Why it is not good, in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long its setup and its suite took together, in seconds.
    pub seconds: f64,
}

impl PlanResult {
    /// The commands and how they ended, in a line.
    pub fn describe(&self) -> String {
        format!("{}: {}", commands_in_words(&self.setup, &self.test), self.describe_ending())
    }

    /// How it ended, and its time.
    pub fn describe_ending(&self) -> String {
        let ended = match &self.why {
            Some(why) => cut(why, REASON_CHARS_MAX),
            None => format!("{} tests passed", self.passed),
        };
        format!("{ended} ({:.0} s)", self.seconds)
    }
}

/// The commands of a plan, in order: "`a`, then `b`".
pub fn commands_in_words(setup: &[String], test: &str) -> String {
    let commands = setup.iter().map(String::as_str).chain([test]);
    let quoted: Vec<String> =
        commands.map(|command| format!("`{}`", cut(command, COMMAND_CHARS_MAX))).collect();
    quoted.join(", then ")
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
