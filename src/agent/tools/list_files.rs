//! `list_files`: the files below a directory.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;
use crate::sandbox::protocol::ListFiles;

const ENTRIES_MAX: u32 = 500;

pub(super) struct ListFilesTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Directory relative to the repository's root. Default: the root.
    path: Option<String>,
    /// Only paths that this glob matches, for instance `**/*.py`.
    glob: Option<String>,
}

#[async_trait]
impl Tool for ListFilesTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("list_files", include_str!("../prompts/tools/list_files.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let request = ListFiles {
            path: arguments.path.unwrap_or_default(),
            glob: arguments.glob,
            entries_max: ENTRIES_MAX,
        };
        let listing = context.toolbox.list_files(&request).await?;
        if listing.entries.is_empty() {
            return Ok(ToolAnswer::Text("No files.".to_owned()));
        }
        let mut text = String::new();
        for entry in &listing.entries {
            let note = if entry.symlink {
                " (symbolic link)".to_owned()
            } else {
                format!(" ({} bytes)", entry.bytes)
            };
            text.push_str(&format!("{}{note}\n", entry.path));
        }
        if listing.omitted > 0 {
            text.push_str(&format!("… and {} more; narrow `path` or `glob`.\n", listing.omitted));
        }
        Ok(ToolAnswer::Text(text))
    }
}
