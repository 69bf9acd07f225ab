//! How the repository wants its changes to be announced: a fragment of a changelog, or a line in one. Reviewers ask for
//! it, and only the issue's number makes its name.

use crate::agent::{Agent, AgentError};
use crate::domain::IssueNumber;

/// Directories in which tools collect fragments, where no configuration names one.
const DIRECTORIES: &[&str] = &["newsfragments", "changelog.d", "changes", "news", ".changes"];
/// Files that a changelog is in, and lines at its beginning that are read.
const CHANGELOGS: &[&str] =
    &["CHANGELOG.md", "CHANGES.md", "CHANGES.rst", "CHANGELOG.rst", "HISTORY.md", "NEWS.md"];
const LINES_READ: usize = 60;

impl Agent<'_> {
    /// The convention, as a part of the first message; empty if none is known.
    pub(super) async fn changelog_convention(&self, issue: IssueNumber) -> Result<String, AgentError> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let mut towncrier = None;
        for file in ["towncrier.toml", "pyproject.toml"] {
            let configuration = self.workspace.base_file(file).await?.map(text);
            towncrier = towncrier.or(configuration.and_then(|text| fragments_directory(&text)));
        }
        let mut found = None;
        if let Some(directory) = towncrier {
            let names = self.workspace.base_directory(&directory).await?;
            found = Some(format!(
                "Each change brings a fragment of the changelog (towncrier). Add `{directory}/{}` with one sentence for \
                 users.",
                fragment_name(issue, &names)
            ));
        } else if self.workspace.base_file(".changeset/config.json").await?.is_some() {
            let package = self.workspace.base_file("package.json").await?;
            let package = package.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
            let name = package.and_then(|package| package["name"].as_str().map(str::to_owned));
            found = Some(format!(
                "Each change brings a changeset. Add `.changeset/{}.md` with the front matter `\"{}\": patch` between two \
                 lines `---`, and one sentence for users below it.",
                match issue.0 {
                    0 => "fix".to_owned(),
                    number => format!("fix-{number}"),
                },
                name.unwrap_or_else(|| "the changed package's name".to_owned())
            ));
        }
        if found.is_none() {
            for directory in DIRECTORIES {
                let names = self.workspace.base_directory(directory).await?;
                if let Some(example) = names.iter().find(|name| is_fragment(name)) {
                    found = Some(format!(
                        "Changes bring a fragment of the changelog in `{directory}/`, named like `{example}`: add one."
                    ));
                    break;
                }
            }
        }
        if found.is_none() {
            for file in CHANGELOGS {
                let Some(changelog) = self.workspace.base_file(file).await?.map(text) else { continue };
                if let Some(heading) = unreleased_heading(&changelog) {
                    found =
                        Some(format!("`{file}` has a section \"{heading}\": add a line there for users."));
                }
                break;
            }
        }
        Ok(found.map(|text| format!("\n# Changelog\n\n{text}\n")).unwrap_or_default())
    }
}

/// The directory of towncrier's fragments, if the file configures it.
fn fragments_directory(configuration: &str) -> Option<String> {
    let parsed: toml::Table = configuration.parse().ok()?;
    let found = parsed.get("tool")?.get("towncrier")?;
    let directory = found.get("directory").and_then(toml::Value::as_str).unwrap_or("newsfragments");
    let directory = directory.trim_start_matches("./").trim_end_matches('/');
    (!directory.starts_with('/') && !directory.split('/').any(|part| part == ".."))
        .then(|| directory.to_owned())
}

/// The name of the fragment for an issue, like those that are there.
fn fragment_name(issue: IssueNumber, names: &[String]) -> String {
    let fragments = || names.iter().filter(|name| is_fragment(name));
    let extension = fragments().find_map(|name| name.splitn(3, '.').nth(2)).map(|last| format!(".{last}"));
    let kinds = ["bugfix", "fixed", "fix", "change"];
    let kind = kinds.into_iter().find(|kind| fragments().any(|name| name.split('.').nth(1) == Some(kind)));
    let number = if issue.0 == 0 { "+fix".to_owned() } else { issue.0.to_string() };
    let has_none = fragments().next().is_none();
    let extension = extension.unwrap_or_else(|| if has_none { ".rst".to_owned() } else { String::new() });
    format!("{number}.{}{extension}", kind.unwrap_or("bugfix"))
}

/// Whether a file in a directory of fragments is one: an issue's number or a `+`, then what kind of change it is.
fn is_fragment(name: &str) -> bool {
    let mut parts = name.split('.');
    let (first, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_number = !first.is_empty() && first.chars().all(|letter| letter.is_ascii_digit());
    let is_kind = kind.len() > 2 && kind.chars().all(|letter| letter.is_ascii_alphabetic() || letter == '_');
    (is_number || first.starts_with('+')) && is_kind && !name.ends_with('/')
}

/// The heading of the section for the next release.
fn unreleased_heading(changelog: &str) -> Option<&str> {
    let headings = changelog.lines().take(LINES_READ).map(|line| line.trim_matches(['#', ' ', '=', '*']));
    headings.map(|line| line.trim_matches(['[', ']'])).find(|line| {
        let line = line.to_ascii_lowercase();
        line.len() < 40
            && (line.contains("unreleased") || line == "main" || line == "next" || line == "master")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_of_fragments_is_read_from_the_configuration() {
        let of = fragments_directory;
        assert_eq!(of("[tool.towncrier]\ndirectory = \"changelog.d/\"\n").as_deref(), Some("changelog.d"));
        assert_eq!(of("[tool.towncrier]\npackage = \"x\"\n").as_deref(), Some("newsfragments"));
        assert_eq!(of("[tool.towncrier]\ndirectory = \"../x\"\n"), None);
        assert_eq!(of("[tool.ruff]\n"), None);
        assert_eq!(of("not toml ["), None);
    }

    #[test]
    fn fragment_is_named_like_its_neighbours() {
        let name = |issue: u64, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            fragment_name(IssueNumber(issue), &names)
        };
        assert_eq!(name(12, &[]), "12.bugfix.rst");
        assert_eq!(name(12, &[".gitignore", "README.md"]), "12.bugfix.rst");
        assert!(!["1.0.0.md", "2024-05-01.md", "1.2/", "12.md"].into_iter().any(is_fragment));
        assert_eq!(name(12, &["README.md", "9.feature.md"]), "12.bugfix.md");
        assert_eq!(name(12, &["7.change.rst", "8.fixed.rst"]), "12.fixed.rst");
        assert_eq!(name(12, &["7.bugfix"]), "12.bugfix");
        assert_eq!(name(0, &["7.bugfix.md"]), "+fix.bugfix.md");
    }

    #[test]
    fn section_for_the_next_release_is_found() {
        assert_eq!(unreleased_heading("# Changes\n\n## [Unreleased]\n"), Some("Unreleased"));
        assert_eq!(
            unreleased_heading("Unreleased changes\n==================\n"),
            Some("Unreleased changes")
        );
        assert_eq!(unreleased_heading("# 1.2.3 (2026-01-01)\n"), None);
    }
}
