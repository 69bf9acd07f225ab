//! One run of the suite in a sandbox.

use crate::domain::{JobSettings, TestRun};
use crate::sandbox::{CallError, CommandSpec, SandboxError, Toolbox};

use super::report::failed_tests;

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The sandbox could not be had, or was lost.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The tree, or the change, could not be handled by git.
    #[error(transparent)]
    Workspace(#[from] crate::workspace::WorkspaceError),
}

impl From<CallError> for SuiteError {
    fn from(error: CallError) -> Self {
        match error {
            // `/bin/sh` not starting is a fault of the sandbox, not of the suite.
            CallError::Told(words) => Self::Sandbox(SandboxError::Gone(words)),
            CallError::Lost(error) => Self::Sandbox(error),
        }
    }
}

/// Runs the suite once.
pub async fn run_suite(toolbox: &Toolbox, settings: &JobSettings) -> Result<TestRun, CallError> {
    let command = &settings.test_command;
    let result = toolbox.run(&CommandSpec::shell(command, settings.test_timeout)).await?;
    let failed = if result.ending.is_success() { Vec::new() } else { failed_tests(&result.output.to_text()) };
    Ok(TestRun { command: command.clone(), result, failed })
}
