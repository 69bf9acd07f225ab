//! `edit_file`: exact replacements in one file, all or none.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, repo_path, spec_of, syntax_errors};
use crate::domain::{FileMode, ToolSpec};
use crate::sandbox::CallError;
use crate::sandbox::protocol::{Edit, EditFile};

pub(super) struct EditFileTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Path relative to the repository's root. The file must exist.
    path: String,
    /// Insertions are made first, then the replacements in order; if one does not fit, none is made.
    edits: Vec<Replacement>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Replacement {
    /// The present text, exactly as in the file, without line numbers. It must occur exactly once.
    old: Option<String>,
    /// Instead of `old`: the line after which `new` is inserted, as the file is now. 0: at its beginning.
    after_line: Option<u64>,
    /// The new text.
    new: String,
}

#[async_trait]
impl Tool for EditFileTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("edit_file", include_str!("../prompts/tools/edit_file.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let path = repo_path(&arguments.path)?;
        let mode = context.restore(&path).await?.map_or(FileMode::Regular, |file| file.mode);
        let edit = |edit: Replacement| Edit {
            old: edit.old.unwrap_or_default(),
            new: edit.new,
            after_line: edit.after_line,
        };
        let edits = arguments.edits.into_iter().map(edit).collect();
        let edited = context.toolbox.edit_file(&EditFile { path: path.to_string(), edits }).await?;
        let text = format!(
            "{path} now reads:\n{}{}",
            edited.excerpt,
            syntax_errors::format_syntax_errors(&edited.faults)
        );
        context.stage_write(path, mode).await?;
        Ok(ToolAnswer::Text(text))
    }
}
