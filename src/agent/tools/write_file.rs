//! `write_file`: a whole file, new or replaced.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, repo_path, spec_of, syntax_errors};
use crate::domain::{FileMode, ToolSpec};
use crate::sandbox::CallError;
use crate::sandbox::protocol::WriteFile;

pub(super) struct WriteFileTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Path relative to the repository's root. Directories are made as needed.
    path: String,
    /// The whole content of the file.
    content: String,
}

#[async_trait]
impl Tool for WriteFileTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("write_file", include_str!("../prompts/tools/write_file.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let path = repo_path(&arguments.path)?;
        context.refuse_in_submodule(&path).await?;
        let before = context.proposed(&path).await?;
        let (mode, note) = match (&before, arguments.content.starts_with("#!")) {
            (Some(file), _) => (file.mode, ""),
            (None, true) => (FileMode::Executable, ", executable since it begins with `#!`"),
            (None, false) => (FileMode::Regular, ""),
        };
        let executable = Some(mode == FileMode::Executable);
        let request = WriteFile { path: path.to_string(), content: arguments.content, executable };
        let written = context.toolbox.write_file(&request).await?;
        let verb = if before.is_none() { "Created" } else { "Replaced" };
        let text = match syntax_errors::format_syntax_errors(&written.faults) {
            format_syntax_errors if format_syntax_errors.is_empty() => {
                format!("{verb} {path} ({} bytes{note}).", written.bytes)
            }
            format_syntax_errors => {
                format!("{verb} {path} ({} bytes{note}).\n{format_syntax_errors}", written.bytes)
            }
        };
        context.stage_write(path, mode).await?;
        Ok(ToolAnswer::Text(text))
    }
}
