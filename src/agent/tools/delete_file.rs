//! `delete_file`: a file that the proposal is to be without.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Hands, Tool, parsed, repo_path, spec_of};
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

    async fn call(&self, arguments: Value, hands: &mut Hands<'_>) -> Result<Answer, CallError> {
        let arguments: Arguments = parsed(arguments)?;
        let path = repo_path(&arguments.path)?;
        // Where there is no file, or a directory, the toolbox says so, and what is there instead.
        hands.settle(&path).await?;
        hands.toolbox.delete_file(&DeleteFile { path: path.to_string() }).await?;
        hands.let_go(path.clone()).await?;
        Ok(Answer::Text(format!("Deleted {path}.")))
    }
}
