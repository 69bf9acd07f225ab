//! The repository's instructions for contributors: `AGENTS.md` at the top (or what other agents read), the files
//! that it names, the configuration's `instructions`, and each `AGENTS.md` on the way down to relevant files. They
//! are read from the base only, bounded, and sanitised like the issue.

use std::collections::BTreeSet;

use super::quoted;
use crate::agent::sanitise::sanitise_in_background;
use crate::agent::{Agent, AgentError};

const FILE_NAME: &str = "AGENTS.md";
/// What other agents read. The first that exists counts, if there is no `AGENTS.md`.
const OTHER_FILES: &[&str] = &["CLAUDE.md", ".github/copilot-instructions.md", ".cursorrules", "GEMINI.md"];
/// Most files that the instructions name and that are read.
const NAMED_MAX: usize = 3;
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
        for name in std::iter::once(&FILE_NAME).chain(OTHER_FILES) {
            if let Some(text) = self.base_text(name).await? {
                let text = sanitise_in_background(&text).await.text;
                found.push(((*name).to_owned(), text.clone()));
                self.add_named(&text, &mut found).await?;
                break;
            }
        }
        if let Some(own) = &self.settings.instructions {
            found.push(("the configuration".to_owned(), sanitise_in_background(own).await.text));
        }
        let below: BTreeSet<String> = files.iter().flat_map(|path| directories_of(path)).collect();
        for directory in below {
            if found.len() >= BELOW_MAX + NAMED_MAX + 2 {
                break;
            }
            let path = format!("{directory}/{FILE_NAME}");
            if found.iter().any(|(known, _)| *known == path) {
                continue;
            }
            if let Some(text) = self.base_text(&path).await? {
                let text: String =
                    sanitise_in_background(&text).await.text.chars().take(BELOW_CHARS_MAX).collect();
                found.push((path, text));
            }
        }
        Ok(found)
    }

    /// Adds the files that instructions name. What those name is not followed.
    async fn add_named(&self, text: &str, found: &mut Instructions) -> Result<(), AgentError> {
        let mut left = NAMED_MAX;
        for path in named_files(text) {
            let is_known = found.iter().any(|(known, _)| *known == path);
            if left == 0 || is_known {
                continue;
            }
            if let Some(text) = self.base_text(&path).await? {
                let text = sanitise_in_background(&text).await.text;
                found.push((path, text.chars().take(BELOW_CHARS_MAX).collect()));
                left -= 1;
            }
        }
        Ok(())
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

/// The documents that a text points to, in order: `@CLAUDE.md`, `see CONTRIBUTING`, a link to `docs/testing.md`.
fn named_files(text: &str) -> Vec<String> {
    let mut named = Vec::new();
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    for word in text.split(|c: char| !is_of_path(c)) {
        let word = word.trim_end_matches('.').trim_start_matches("./");
        let path = match word {
            "CONTRIBUTING" => "CONTRIBUTING.md",
            word if word.ends_with(".md") || word.ends_with(".rst") => word,
            _ => continue,
        };
        let is_within =
            !path.starts_with('/') && !path.split('/').any(|part| part.is_empty() || part == "..");
        // Histories and licences say nothing of how to work.
        let is_other = ["CHANGELOG", "CHANGES", "HISTORY", "LICENSE", "CODE_OF_CONDUCT", "SECURITY"]
            .iter()
            .any(|name| path.rsplit('/').next().is_some_and(|file| file.starts_with(name)));
        if is_within && !is_other && !named.iter().any(|known| known == path) {
            named.push(path.to_owned());
        }
    }
    named
}

/// The directories that a path is in, except the top.
fn directories_of(path: &str) -> impl Iterator<Item = String> + '_ {
    path.match_indices('/').map(|(at, _)| path[..at].to_owned()).filter(|directory| !directory.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_instructions_point_to_are_found() {
        let text = "See @CLAUDE.md. Also see CONTRIBUTING, [tests](./docs/testing.md#run), `docs/a.rst` and docs/testing.md; \
                    not https://example.org/x.md, ../secret.md, CHANGELOG.md or notes.txt.";
        assert_eq!(named_files(text), ["CLAUDE.md", "CONTRIBUTING.md", "docs/testing.md", "docs/a.rst"]);
    }
}
