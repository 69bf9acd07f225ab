//! References that moved.

/// Git's id for "no commit".
pub const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// A reference that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// `refs/heads/…` or `refs/tags/…`
    pub name: String,
    /// The commit before; [`NO_COMMIT`] if the reference was created.
    pub before: String,
    /// The commit after; [`NO_COMMIT`] if the reference was deleted.
    pub after: String,
}

impl RefUpdate {
    /// A branch that moved.
    pub fn of_branch(branch: &str, before: String, after: String) -> Self {
        Self { name: format!("refs/heads/{branch}"), before, after }
    }
}
