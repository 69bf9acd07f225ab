//! What a proposal changes. Comes from the sandbox as untrusted data; the path is checked by type.

use serde::{Deserialize, Serialize};

use super::RepoPath;

/// The mode of a file in a git tree. Symlinks and gitlinks cannot be expressed: a proposal may not
/// bring any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileMode {
    /// `100644`
    Regular,
    /// `100755`
    Executable,
}

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangedContent {
    /// It is a file now.
    File {
        /// Its mode.
        mode: FileMode,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// It does not exist now.
    Absent,
}

/// The state of one path that the agent wrote to. Equal to the base's where nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which path.
    pub path: RepoPath,
    /// What it holds now.
    pub content: ChangedContent,
}
