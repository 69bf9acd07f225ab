//! Names of labels.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// The name of a label. Two names are equal if GitHub takes them for the same label: case makes no
/// difference. Source: docs.github.com, "Managing labels".
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelName(String);

impl LabelName {
    /// The label with this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name by which labels are compared.
    fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl PartialEq for LabelName {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}

impl Eq for LabelName {}

impl Hash for LabelName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl fmt::Display for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for LabelName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for LabelName {
    fn from(name: String) -> Self {
        Self(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_only_in_case_are_equal_and_keep_their_spelling() {
        let (one, other) = (LabelName::from("Agent-Fix: Grün"), LabelName::from("agent-fix: GRÜN"));
        assert_eq!(one, other);
        assert_eq!((one.as_str(), other.to_string().as_str()), ("Agent-Fix: Grün", "agent-fix: GRÜN"));
        assert_ne!(one, LabelName::from("agent-fix"));
        assert_eq!(serde_json::to_string(&one).unwrap(), "\"Agent-Fix: Grün\"");
    }
}
