//! `move_file`: a file under another name, with its mode.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, repo_path, spec_of};
use crate::domain::{Change, ChangedContent, ToolSpec};
use crate::sandbox::CallError;
use crate::sandbox::protocol::MoveFile;

pub(super) struct MoveFileTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Path of the file relative to the repository's root.
    from: String,
    /// Its new path, with the file's name; nothing may be there. Directories are made as needed.
    to: String,
}

#[async_trait]
impl Tool for MoveFileTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("move_file", include_str!("../prompts/tools/move_file.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let (from, to) = (repo_path(&arguments.from)?, repo_path(&arguments.to)?);
        context.refuse_in_submodule(&to).await?;
        let is_there = context.proposed(&to).await?.is_some();
        if is_there || context.content_in_sandbox(&to).await?.is_some() {
            let what = if is_there { "delete_file it first, if it is to go" } else { "a command made it" };
            return Err(CallError::RespondToModel(format!(
                "{to} exists already; {what}. Nothing was moved."
            )));
        }
        let file = context.restore(&from).await?;
        if let Some(file) = &file {
            let content = ChangedContent::File { mode: file.mode, bytes: file.bytes.clone() };
            let gone = Change { path: from.clone(), content: ChangedContent::Absent };
            context.check(&[gone, Change { path: to.clone(), content }]).await?;
        }
        // If there is no file to move, the toolbox says so.
        context.toolbox.move_file(&MoveFile { from: from.to_string(), to: to.to_string() }).await?;
        let Some(file) = file else {
            return Err(CallError::RespondToModel(format!("{from} came to be only now; try again.")));
        };
        context.stage_write(to.clone(), file.mode).await?;
        context.stage_delete(from.clone()).await?;
        Ok(ToolAnswer::Text(format!("Moved {from} to {to}.")))
    }
}
