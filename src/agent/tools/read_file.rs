//! `read_file`: a window of a text file, with line numbers.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;
use crate::sandbox::protocol::ReadFile;

const LINES_DEFAULT: u64 = 400;
const LINES_MAX: u64 = 1_000;

pub(super) struct ReadFileTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Path relative to the repository's root.
    path: String,
    /// First line wanted, from 1. Default 1.
    first_line: Option<u64>,
    /// How many lines, at most 1000. Default 400.
    lines: Option<u64>,
}

#[async_trait]
impl Tool for ReadFileTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("read_file", include_str!("../prompts/tools/read_file.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let request = ReadFile {
            path: arguments.path,
            first_line: arguments.first_line.unwrap_or(1).max(1),
            lines_max: arguments.lines.unwrap_or(LINES_DEFAULT).clamp(1, LINES_MAX),
        };
        let window = context.toolbox.read_file(&request).await?;
        let numbered: String = (window.first_line..)
            .zip(window.text.lines())
            .map(|(number, line)| format!("{number:>6}\t{line}\n"))
            .collect();
        let last = (window.first_line + window.lines_shown).saturating_sub(1);
        let header = match window.lines_total {
            0 => format!("{}: empty\n", request.path),
            total => format!("{}: lines {}-{last} of {total}\n", request.path, window.first_line),
        };
        Ok(ToolAnswer::Text(header + &numbered))
    }
}
