//! `delete_file`: removes a file from the proposal.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, repo_path, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;
use crate::sandbox::protocol::DeleteFile;

pub(super) struct DeleteFileTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Path of the file relative to the repository's root. Directories go when they are empty.
    path: String,
}

#[async_trait]
impl Tool for DeleteFileTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("delete_file", include_str!("../prompts/tools/delete_file.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let path = repo_path(&arguments.path)?;
        // If there is no file, or a directory, the toolbox says so.
        context.restore(&path).await?;
        context.toolbox.delete_file(&DeleteFile { path: path.to_string() }).await?;
        context.stage_delete(path.clone()).await?;
        Ok(ToolAnswer::Text(format!("Deleted {path}.")))
    }
}
