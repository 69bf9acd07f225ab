//! What a person asked for, as it was when they asked.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IssueNumber, Login, RepositoryRef};

/// An issue as it was at the moment of the trigger. Later edits do not reach the agent, so that
/// nobody can swap the text under a maintainer's label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssueSnapshot {
    /// Its number.
    pub number: IssueNumber,
    /// Its title, raw.
    pub title: String,
    /// Its body, raw Markdown; empty where GitHub sent null.
    pub body: String,
    /// Who wrote it.
    pub author: Login,
    /// The names of its labels.
    pub labels: Vec<String>,
}

impl IssueSnapshot {
    /// Whether the issue has this label.
    pub fn has_label(&self, label: &str) -> bool {
        self.labels.iter().any(|present| is_same_label(present, label))
    }
}

/// Whether two names are of the same label. GitHub's label names are unique without regard to case.
pub fn is_same_label(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// A verified webhook that asks for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trigger {
    /// Where.
    pub repository: RepositoryRef,
    /// The issue as it was.
    pub issue: IssueSnapshot,
    /// Who put the label on, or asked in a comment.
    pub labeller: Login,
    /// GitHub's id of the labeller, for the co-author trailer's address.
    pub labeller_id: u64,
    /// Whether GitHub says that the labeller is a bot.
    pub labeller_is_bot: bool,
    /// When the label was put on, by GitHub's clock; `None` where nobody said.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub labelled_at: Option<Timestamp>,
    /// Whether reconciliation found it, because no delivery had told of it.
    #[serde(default)]
    pub found: bool,
    /// Whether they asked in a comment, so that the label need not be there.
    #[serde(default)]
    pub commanded: bool,
}

impl Trigger {
    /// Asked for by somebody of whom nothing but the name is known.
    pub fn by(labeller: Login, repository: RepositoryRef, issue: IssueSnapshot) -> Self {
        Self {
            repository,
            issue,
            labeller,
            labeller_id: 0,
            labeller_is_bot: false,
            labelled_at: None,
            found: false,
            commanded: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_has_a_label_in_another_case() {
        let issue = IssueSnapshot {
            number: IssueNumber(1),
            title: String::new(),
            body: String::new(),
            author: "ada".parse().unwrap(),
            labels: vec!["Agent-Fix".to_owned()],
        };
        assert!(issue.has_label("agent-fix") && !issue.has_label("agent"));
    }
}
