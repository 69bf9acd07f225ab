//! `run_shell`: a shell for the setup agent, in the sandbox in which it tries setups.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::run_command::{describe, refuse_oversized};
use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::{CallError, CommandSpec};

pub(super) struct RunShellTool {
    /// What setup commands see in addition to the sandbox's own variables.
    pub(super) variables: Vec<(String, String)>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What `/bin/sh -c` is given.
    command: String,
}

#[async_trait]
impl Tool for RunShellTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("run_shell", include_str!("../prompts/setup_tools/run_shell.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { command } = parse_arguments(arguments)?;
        if command.trim().is_empty() {
            return Err(CallError::RespondToModel("The command is empty.".to_owned()));
        }
        refuse_oversized(std::slice::from_ref(&command))?;
        let spec = CommandSpec {
            env: self.variables.clone(),
            ..CommandSpec::shell(&command, context.settings.test_timeout)
        };
        let result = context.toolbox.run(&spec).await?;
        Ok(ToolAnswer::Text(describe(&command, &result, &[])))
    }
}
