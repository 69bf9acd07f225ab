//! The messages about the tracked files: those that the host unpacked into the tree.

use serde::{Deserialize, Serialize};

/// Request what became of the tracked files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedChanges {
    /// A file that was written after this time, in nanoseconds since 1970, is reported even if its
    /// content is the unpacked one.
    pub since_ns: u64,
    /// Most changes in the response.
    pub changes_max: u32,
}

/// The tracked files that are not as they were unpacked, in path order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedChangesFound {
    /// The first of them.
    pub changes: Vec<TrackedChange>,
    /// How many more there are.
    pub omitted: u64,
    /// Tracked files that could not be compared, because there are too many.
    pub unchecked: u64,
}

/// A tracked file that is not as it was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedChange {
    /// Relative to the root.
    pub path: String,
    /// What happened to it.
    pub kind: TrackedChangeKind,
}

/// What happened to a tracked file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackedChangeKind {
    /// Its content is another, or something else is at its path.
    Rewritten,
    /// Nothing is at its path.
    Removed,
    /// It was written, replaced or moved, and its content is the unpacked one again.
    Touched,
    /// Something that was not unpacked stands beside it and is loaded instead of it.
    Shadowed,
}
