//! `write_file`: a whole file, new or replaced.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Hands, Tool, faults, parsed, repo_path, spec_of};
use crate::domain::ToolSpec;
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

    async fn call(&self, arguments: Value, hands: &mut Hands<'_>) -> Result<Answer, CallError> {
        let arguments: Arguments = parsed(arguments)?;
        let path = repo_path(&arguments.path)?;
        let request = WriteFile { path: path.to_string(), content: arguments.content };
        let written = hands.toolbox.write_file(&request).await?;
        let verb = if written.created { "Created" } else { "Replaced" };
        let text = match faults::told(&written.faults) {
            told if told.is_empty() => format!("{verb} {path} ({} bytes).", written.bytes),
            told => format!("{verb} {path} ({} bytes).\n{told}", written.bytes),
        };
        hands.hold(path).await?;
        Ok(Answer::Text(text))
    }
}
