//! `give_up`: the setup agent says what is missing.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;

pub(super) struct GiveUpTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// One sentence: what is missing, and who can bring it.
    missing: String,
}

#[async_trait]
impl Tool for GiveUpTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("give_up", include_str!("../prompts/setup_tools/give_up.md"))
    }

    async fn call(&self, arguments: Value, _context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { missing } = parse_arguments(arguments)?;
        if missing.trim().is_empty() {
            return Err(CallError::RespondToModel("Say what is missing.".to_owned()));
        }
        Ok(ToolAnswer::AskHuman { question: missing })
    }
}
