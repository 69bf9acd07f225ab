//! `propose_setup`: the setup agent proposes commands. It decides nothing: a fresh sandbox does.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::{SetupRecipe, ToolSpec};
use crate::sandbox::CallError;

/// Most setup commands, and most bytes of all commands together: pull requests show them whole.
const COMMANDS_MAX: usize = 30;
const BYTES_MAX: usize = 8_000;

pub(super) struct ProposeSetupTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The setup commands, in order, each for `/bin/sh -c` in the root of the repository. They have network.
    setup: Vec<String>,
    /// The command that runs the whole test suite, for `/bin/sh -c` in the root of the repository. It has no network.
    test: String,
}

#[async_trait]
impl Tool for ProposeSetupTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("propose_setup", include_str!("../prompts/setup_tools/propose_setup.md"))
    }

    async fn call(&self, arguments: Value, _context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { setup, test } = parse_arguments(arguments)?;
        let refuse = |why: String| Err(CallError::RespondToModel(why));
        if setup.len() > COMMANDS_MAX {
            return refuse(format!("There are {} setup commands; {COMMANDS_MAX} are the most.", setup.len()));
        }
        if setup.iter().chain([&test]).map(String::len).sum::<usize>() > BYTES_MAX {
            return refuse(format!("The commands are longer than {BYTES_MAX} bytes together."));
        }
        for command in setup.iter().chain([&test]) {
            if command.trim().is_empty() {
                return refuse("A command is empty.".to_owned());
            }
            if command.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t') {
                return refuse("A command has control characters.".to_owned());
            }
        }
        let trimmed = |command: &String| command.trim().to_owned();
        let recipe = SetupRecipe { setup: setup.iter().map(trimmed).collect(), test: trimmed(&test) };
        Ok(ToolAnswer::ProposeSetup { recipe })
    }
}
