//! `repo_map`: the files of the tree in the order of what they have to do with some words.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Hands, Tool, parsed, spec_of};
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

    async fn call(&self, arguments: Value, hands: &mut Hands<'_>) -> Result<Answer, CallError> {
        let arguments: Arguments = parsed(arguments)?;
        let request = RepoMap {
            text: arguments.focus.unwrap_or_default(),
            paths: arguments.paths.unwrap_or_default(),
            tokens_max: arguments.tokens.unwrap_or(TOKENS).min(TOKENS_MAX),
        };
        let mapped = hands.toolbox.repo_map(&request).await?;
        Ok(Answer::Text(mapped.text))
    }
}
