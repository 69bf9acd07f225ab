//! `read_result`: an earlier result, in windows.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::agent::results::window;
use crate::domain::ToolSpec;
use crate::sandbox::CallError;

const LINES_DEFAULT: u32 = 400;

pub(super) struct ReadResultTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The result's number, as named where lines were left out.
    result: u32,
    /// First line wanted, from 1. Default 1.
    first_line: Option<u32>,
    /// How many lines. Default 400.
    lines: Option<u32>,
}

#[async_trait]
impl Tool for ReadResultTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("read_result", include_str!("../prompts/tools/read_result.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let number = arguments.result;
        let Some(text) = context.results.get(number) else {
            let last = context.results.next_number() - 1;
            return Err(CallError::RespondToModel(match last {
                0 => format!("There is no result {number}; no tool has answered yet."),
                _ => format!("There is no result {number}; they go from 1 to {last}."),
            }));
        };
        let lines = arguments.lines.unwrap_or(LINES_DEFAULT).max(1) as usize;
        let window = window(text, arguments.first_line.unwrap_or(1) as usize, lines);
        if window.first_line > window.lines_total.max(1) {
            return Err(CallError::RespondToModel(format!(
                "Result {number} has {} lines; line {} is past its end.",
                window.lines_total, window.first_line
            )));
        }
        let total = window.lines_total;
        let more = match window.last_line < total {
            true => format!(
                "[… read on with read_result {{\"result\": {number}, \"first_line\": {}}} …]\n",
                window.last_line + 1
            ),
            false => String::new(),
        };
        Ok(ToolAnswer::Text(format!(
            "Result {number}: lines {}-{} of {total}\n{}{more}",
            window.first_line, window.last_line, window.text
        )))
    }
}
