//! What became of a tracked file while a command ran in a sandbox.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A tracked file that is not as it was unpacked into the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RewrittenFile {
    /// Its path.
    pub path: String,
    /// What happened to it.
    pub change: TrackedFileChange,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrackedFileChange {
    /// Its content is another, or something else is at its path.
    Rewritten,
    /// Nothing is at its path.
    Removed,
    /// It was written or replaced, and its content is the same again.
    Restored,
    /// Something new stands beside it and is loaded instead of it.
    Shadowed,
}

impl TrackedFileChange {
    /// What happened, as the end of a sentence about the file.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Rewritten => "was rewritten",
            Self::Removed => "was removed",
            Self::Restored => "was written and then restored",
            Self::Shadowed => "is shadowed by a new module of the same name",
        }
    }
}
