//! Paths inside a repository, and the rules for a path from the sandbox.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest accepted path, in bytes: Linux's `PATH_MAX` minus room for a prefix.
pub const PATH_BYTES_MAX: usize = 3072;

/// A path relative to the repository's root, with `/` between its parts, that may be written into
/// a commit. Rules: git's own `verify_path` with `core.protectHFS` and `core.protectNTFS` on
/// (CVE-2014-9390, CVE-2019-1352, CVE-2019-1353), no control characters, UTF-8 only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath(String);

/// A rejected path, and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {path:?} is refused: {why}")]
pub struct InvalidPath {
    /// The path as received, cut to 200 characters.
    pub path: String,
    /// The rule it breaks.
    pub why: &'static str,
}

impl RepoPath {
    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path's parts, outermost first.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for RepoPath {
    type Err = InvalidPath;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match broken_rule(text) {
            None => Ok(Self(text.to_owned())),
            Some(why) => Err(InvalidPath { path: text.chars().take(200).collect(), why }),
        }
    }
}

fn broken_rule(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("it is longer than 3,072 bytes");
    }
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.chars().any(|c| c.is_control()) {
        return Some("it has a control character");
    }
    if path.contains('\\') {
        return Some("it has a backslash, which is a separator on Windows");
    }
    path.split('/').find_map(broken_rule_of_part)
}

fn broken_rule_of_part(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        return Some("it has an empty part");
    }
    if part == "." || part == ".." {
        return Some("it has a '.' or '..' part");
    }
    if is_dot_git(part) {
        return Some("a part of it is, or could be read as, '.git'");
    }
    if part.contains(':') {
        return Some("a part of it has ':', an NTFS stream or drive");
    }
    None
}

/// `.git` as HFS+ (ignorable code points), NTFS (short name, trailing dots and spaces) and
/// case-insensitive file systems read it.
pub fn is_dot_git(part: &str) -> bool {
    let folded: String =
        part.chars().filter(|c| !is_ignored_by_hfs(*c)).flat_map(char::to_lowercase).collect();
    let trimmed = folded.trim_end_matches(['.', ' ']);
    trimmed == ".git" || trimmed == "git~1"
}

/// The code points that git's `next_hfs_char` skips.
fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c,
        '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RepoPath {
    type Error = InvalidPath;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> String {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_of_dot_git_is_rejected() {
        let spellings = [
            ".git",
            ".GIT/config",
            "a/.git/hooks/x",
            ".git.",
            ".git ",
            ".git . .",
            "git~1",
            "GIT~1/x",
            ".g\u{200c}it/config",
            "\u{feff}.git",
            ".git::$INDEX_ALLOCATION/config",
        ];
        for path in spellings {
            assert!(path.parse::<RepoPath>().is_err(), "{path:?} was accepted");
        }
        for path in [".gitignore", ".github/x.yml", "git", "a.git/b", "digit~1"] {
            assert!(path.parse::<RepoPath>().is_ok(), "{path:?} was refused");
        }
    }

    #[test]
    fn path_that_leaves_the_tree_or_hides_is_rejected() {
        for path in
            ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\..\\b", "C:/x", "a\0b", "a\nb"]
        {
            assert!(path.parse::<RepoPath>().is_err(), "{path:?} was accepted");
        }
    }
}
