//! `finish`: the model asks for the verdict. It decides nothing.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;

pub(super) struct FinishTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// For the reviewer: what was wrong, what you changed, why that is right.
    summary: String,
}

#[async_trait]
impl Tool for FinishTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("finish", include_str!("../prompts/tools/finish.md"))
    }

    async fn call(&self, arguments: Value, _context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { summary } = parse_arguments(arguments)?;
        if summary.trim().is_empty() {
            return Err(CallError::RespondToModel("The summary is empty; a reviewer needs one.".to_owned()));
        }
        Ok(ToolAnswer::Finish { summary })
    }
}
