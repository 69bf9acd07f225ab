//! What one job was told to do, resolved from the operator's and the repository's configuration.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, CommandPattern};

/// Everything about a job that configuration decides. Resolved once, from the **base** branch,
/// so that a proposal can never change the rules it is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobSettings {
    /// Shell commands run before the tests, in order.
    pub setup_commands: Vec<String>,
    /// How the set-up commands were found, in words for people; empty where there are none.
    #[serde(default)]
    pub setup_source: String,
    /// Whether nobody wrote the set-up commands down: they were found in the repository's files, and
    /// mean to download, so that they serve only where set-up has network.
    #[serde(default)]
    pub setup_detected: bool,
    /// The OCI image to work in, where the repository names one.
    #[serde(default)]
    pub image: Option<String>,
    /// How the image was found, in words for people; empty where there is none.
    #[serde(default)]
    pub image_source: String,
    /// Host names that the repository wants its agent and its tests to reach.
    #[serde(default)]
    pub agent_hosts: Vec<String>,
    /// The shell command whose exit code is the verdict.
    pub test_command: String,
    /// How the test command was found, in words for people ("`.github/agent-fix.yml`", "Cargo.toml").
    pub test_command_source: String,
    /// Longest time for one set-up command or one test run.
    pub test_timeout: Duration,
    /// Commands that the agent may run, as the repository allows them.
    #[serde(default)]
    pub commands: Vec<CommandPattern>,
    /// What the job may spend.
    pub budget: Budget,
    /// Globs of paths that a proposal may not touch, beside the built-in ones.
    pub protected_paths: Vec<String>,
    /// Globs of paths that count as tests, beside the built-in ones.
    pub test_paths: Vec<String>,
    /// Whether a change to a green base must bring a test that fails on the base.
    pub proof_required: bool,
    /// What the repository tells those who work on it, in its own words.
    pub instructions: Option<String>,
}

/// Longest time for one set-up command or one test run, where nobody says another: few suites take
/// longer, and what hangs is found out within a job's time.
pub const TEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20 * 60);

impl JobSettings {
    /// The settings of a repository that says nothing but its test command.
    pub fn of_test_command(command: impl Into<String>) -> Self {
        Self {
            setup_commands: Vec::new(),
            setup_source: String::new(),
            setup_detected: false,
            image: None,
            image_source: String::new(),
            agent_hosts: Vec::new(),
            test_command: command.into(),
            test_command_source: String::new(),
            test_timeout: TEST_TIMEOUT_DEFAULT,
            commands: Vec::new(),
            budget: Budget::default(),
            protected_paths: Vec::new(),
            test_paths: Vec::new(),
            proof_required: true,
            instructions: None,
        }
    }
}
