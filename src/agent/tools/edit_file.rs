//! `edit_file`: exact replacements in one file, all or none.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Hands, Tool, parsed, repo_path, spec_of, syntax_errors};
use crate::domain::{FileMode, ToolSpec};
use crate::sandbox::CallError;
use crate::sandbox::protocol::{Edit, EditFile};

pub(super) struct EditFileTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Path relative to the repository's root. The file must exist.
    path: String,
    /// The replacements, applied in order; if one does not fit, none is applied.
    edits: Vec<Replacement>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Replacement {
    /// The present text, exactly as in the file, without line numbers. It must occur exactly once.
    old: String,
    /// The text that takes its place.
    new: String,
}

#[async_trait]
impl Tool for EditFileTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("edit_file", include_str!("../prompts/tools/edit_file.md"))
    }

    async fn call(&self, arguments: Value, hands: &mut Hands<'_>) -> Result<Answer, CallError> {
        let arguments: Arguments = parsed(arguments)?;
        let path = repo_path(&arguments.path)?;
        let mode = hands.settle(&path).await?.map_or(FileMode::Regular, |file| file.mode);
        let edits = arguments.edits.into_iter().map(|edit| Edit { old: edit.old, new: edit.new }).collect();
        let edited = hands.toolbox.edit_file(&EditFile { path: path.to_string(), edits }).await?;
        let text = format!("{path} now reads:\n{}{}", edited.excerpt, syntax_errors::told(&edited.faults));
        hands.hold(path, mode).await?;
        Ok(Answer::Text(text))
    }
}
