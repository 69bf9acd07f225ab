//! What an emulator begins with: a repository and its issues.

use serde::{Deserialize, Serialize};

/// A repository with issues, by name: what `mendwright emulate --scenario NAME` starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmulatorSeed {
    /// The name it is chosen by.
    pub name: String,
    /// `owner/name` of the repository.
    pub repository: String,
    /// Path and bytes of each file; one commit on `main`.
    pub files: Vec<(String, Vec<u8>)>,
    /// Open issues, numbered from 1.
    pub issues: Vec<SeedIssue>,
}

/// An open issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedIssue {
    /// Its title.
    pub title: String,
    /// Its Markdown.
    pub body: String,
    /// Who wrote it: one of the demo users.
    pub author: String,
}
