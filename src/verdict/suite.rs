//! A fresh sandbox with a tree in it, and the suite's run there.

use crate::domain::{CommandResult, JobSettings, Sha, TestRun};
use crate::sandbox::{CallError, CommandSpec, Sandbox, SandboxError, SandboxSpec, Toolbox};
use crate::workspace::Workspace;

use super::report::failed_tests;

/// A sandbox that nothing but a tree and the set-up commands has touched.
pub struct Fresh {
    /// The sandbox.
    pub toolbox: Toolbox,
    /// The set-up command that failed, and how, if one did.
    pub setup_failure: Option<(String, CommandResult)>,
}

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

/// Starts a sandbox, streams `tree` into it and runs the set-up commands.
pub async fn start_fresh(
    sandbox: &dyn Sandbox,
    spec: &SandboxSpec,
    workspace: &Workspace,
    tree: &Sha,
    settings: &JobSettings,
) -> Result<Fresh, SuiteError> {
    let toolbox = sandbox.start(spec).await?;
    toolbox.unpack(workspace.tar(tree)).await?;
    for command in &settings.setup_commands {
        let result = toolbox.run(&CommandSpec::shell(command, settings.test_timeout)).await?;
        if !result.ending.is_success() {
            return Ok(Fresh { toolbox, setup_failure: Some((command.clone(), result)) });
        }
    }
    Ok(Fresh { toolbox, setup_failure: None })
}

/// Runs the suite once.
pub async fn run_suite(toolbox: &Toolbox, settings: &JobSettings) -> Result<TestRun, CallError> {
    let command = &settings.test_command;
    let result = toolbox.run(&CommandSpec::shell(command, settings.test_timeout)).await?;
    let failed = if result.ending.is_success() { Vec::new() } else { failed_tests(&result.output.to_text()) };
    Ok(TestRun { command: command.clone(), result, failed })
}
