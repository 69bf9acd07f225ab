//! `ask_human`: the model escalates the issue to a person with one question.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;

pub(super) struct AskHumanTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// One precise question that a maintainer can answer in a sentence.
    question: String,
}

#[async_trait]
impl Tool for AskHumanTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("ask_human", include_str!("../prompts/tools/ask_human.md"))
    }

    async fn call(&self, arguments: Value, _context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { question } = parse_arguments(arguments)?;
        if question.trim().is_empty() {
            return Err(CallError::RespondToModel("The question is empty.".to_owned()));
        }
        Ok(ToolAnswer::AskHuman { question })
    }
}
