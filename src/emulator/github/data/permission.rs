//! Levels of App permissions.

/// How far a permission reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PermissionLevel {
    Read,
    Write,
}

impl PermissionLevel {
    /// The level by the word that permissions use.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            _ => None,
        }
    }
}
