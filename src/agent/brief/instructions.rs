//! The repository's instructions for contributors: `AGENTS.md` at the top, the configuration's
//! `instructions`, and each `AGENTS.md` on the way down to relevant files. They are read from the base only,
//! bounded, and sanitised like the issue.

use std::collections::BTreeSet;

use super::quoted;
use crate::agent::sanitise::sanitise_in_background;
use crate::agent::{Agent, AgentError};

const FILE_NAME: &str = "AGENTS.md";
/// Most instruction files below the top.
const BELOW_MAX: usize = 5;
/// Longest instruction file below the top, in characters.
const BELOW_CHARS_MAX: usize = 8_000;

/// The source of each text, and the text.
pub(super) type Instructions = Vec<(String, String)>;

impl Agent<'_> {
    /// The instructions for the whole repository, and for the directories of `files`.
    pub(super) async fn instructions_for(&self, files: &[String]) -> Result<Instructions, AgentError> {
        let mut found = Instructions::new();
        if let Some(text) = self.base_text(FILE_NAME).await? {
            found.push((FILE_NAME.to_owned(), sanitise_in_background(&text).await.text));
        }
        if let Some(own) = &self.settings.instructions {
            found.push(("the configuration".to_owned(), sanitise_in_background(own).await.text));
        }
        let below: BTreeSet<String> = files.iter().flat_map(|path| directories_of(path)).collect();
        for directory in below {
            if found.len() >= BELOW_MAX + 2 {
                break;
            }
            let path = format!("{directory}/{FILE_NAME}");
            if let Some(text) = self.base_text(&path).await? {
                let text: String =
                    sanitise_in_background(&text).await.text.chars().take(BELOW_CHARS_MAX).collect();
                found.push((path, text));
            }
        }
        Ok(found)
    }

    async fn base_text(&self, path: &str) -> Result<Option<String>, AgentError> {
        let bytes = self.workspace.base_file(path).await?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Formats instructions as part of a message.
pub(super) fn format_instructions(instructions: &Instructions) -> String {
    instructions
        .iter()
        .map(|(from, text)| format!("\n# The repository's own instructions ({from})\n\n{}", quoted(text)))
        .collect()
}

/// The directories that a path is in, except the top.
fn directories_of(path: &str) -> impl Iterator<Item = String> + '_ {
    path.match_indices('/').map(|(at, _)| path[..at].to_owned()).filter(|directory| !directory.is_empty())
}
