//! What a proposal changes. The data comes from the sandbox and is untrusted; the type checks the path.

use serde::{Deserialize, Serialize};

use super::RepoPath;

/// The mode of a file in a git tree. It cannot express symlinks and gitlinks: a proposal may not contain any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileMode {
    /// `100644`
    Regular,
    /// `100755`
    Executable,
}

/// What a path holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangedContent {
    /// A file.
    File {
        /// Its mode.
        mode: FileMode,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Nothing: it does not exist.
    Absent,
}

/// The state of one path that the agent wrote to. It may equal the base's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: RepoPath,
    /// Its content.
    pub content: ChangedContent,
}
