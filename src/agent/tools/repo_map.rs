//! `repo_map`: the files of the tree, ordered by their relevance to some words.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;
use crate::sandbox::protocol::RepoMap;

const TOKENS: u32 = 2_000;
/// As much as one result may show.
const TOKENS_MAX: u32 = 7_000;

pub(super) struct RepoMapTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What to look for: words, names from the code, lines of a traceback.
    focus: Option<String>,
    /// Files or directories that are known to matter.
    paths: Option<Vec<String>>,
    /// Length of the map in tokens, at most 7000. Default 2000.
    tokens: Option<u32>,
}

#[async_trait]
impl Tool for RepoMapTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("repo_map", include_str!("../prompts/tools/repo_map.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let request = RepoMap {
            text: arguments.focus.unwrap_or_default(),
            paths: arguments.paths.unwrap_or_default(),
            tokens_max: arguments.tokens.unwrap_or(TOKENS).min(TOKENS_MAX),
        };
        let mapped = context.toolbox.repo_map(&request).await?;
        Ok(ToolAnswer::Text(mapped.text))
    }
}
