//! The settings of one job, resolved from the operator's and the repository's configuration.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, CommandPattern};

/// Everything about a job that configuration decides. Resolved once, from the **base** branch, so that a proposal can
/// never change the rules by which it is verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobSettings {
    /// Shell commands run before the tests, in order.
    pub setup_commands: Vec<String>,
    /// Where the setup commands come from, for people; empty if there are none.
    #[serde(default)]
    pub setup_source: String,
    /// Whether the setup commands were detected. They download dependencies, so they work only if setup has network.
    #[serde(default)]
    pub setup_detected: bool,
    /// Why a setup that was detected is not used, for every verdict; `None`: none was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_left_out: Option<String>,
    /// Globs of the only files that the setup is given; empty: it gets the whole tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup_files: Vec<String>,
    /// The OCI image of the sandboxes, if the repository names one.
    #[serde(default)]
    pub image: Option<String>,
    /// Where the image comes from, for people; empty if there is none.
    #[serde(default)]
    pub image_source: String,
    /// Hosts that the repository requests for its agent and its tests.
    #[serde(default)]
    pub agent_hosts: Vec<String>,
    /// The shell command whose exit code is the verdict.
    pub test_command: String,
    /// Where the test command comes from, for people ("`.github/agent-fix.yml`", "Cargo.toml").
    pub test_command_source: String,
    /// Whether the test command was detected: nobody wrote that it is the one to use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test_command_detected: bool,
    /// Time limit of one setup command or one test run.
    pub test_timeout: Duration,
    /// Commands that the repository allows the agent to run.
    #[serde(default)]
    pub commands: Vec<CommandPattern>,
    /// What the job may spend.
    pub budget: Budget,
    /// Globs of paths that a proposal may not touch, in addition to the built-in ones.
    pub protected_paths: Vec<String>,
    /// Globs of paths that count as tests, in addition to the built-in ones.
    pub test_paths: Vec<String>,
    /// Whether a change to a green base must contain a test that fails on the base.
    pub proof_required: bool,
    /// Whether mutants of the changed lines are run, as evidence of what the tests notice.
    #[serde(default = "enabled")]
    pub mutants: bool,
    /// The repository's own instructions for contributors.
    pub instructions: Option<String>,
}

/// The source of a setting that a person gave on the command line.
pub const FROM_THE_COMMAND_LINE: &str = "the command line";

/// The default time limit of one setup command or one test run: few suites take longer, and a hanging one is noticed
/// within the job's time.
pub const TEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20 * 60);

fn enabled() -> bool {
    true
}

impl JobSettings {
    /// The settings of a repository that configures only its test command.
    pub fn of_test_command(command: impl Into<String>) -> Self {
        Self {
            setup_commands: Vec::new(),
            setup_source: String::new(),
            setup_detected: false,
            setup_left_out: None,
            setup_files: Vec::new(),
            image: None,
            image_source: String::new(),
            agent_hosts: Vec::new(),
            test_command: command.into(),
            test_command_source: String::new(),
            test_command_detected: false,
            test_timeout: TEST_TIMEOUT_DEFAULT,
            commands: Vec::new(),
            budget: Budget::default(),
            protected_paths: Vec::new(),
            test_paths: Vec::new(),
            proof_required: true,
            mutants: true,
            instructions: None,
        }
    }
}
