//! What a person requested, as it was at that time.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IssueNumber, Login, RepositoryId, RepositoryRef};

/// An issue at the time of the trigger. Later edits do not reach the agent, so nobody can replace the text that a
/// maintainer labelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssueSnapshot {
    /// Its number.
    pub number: IssueNumber,
    /// Its title, raw.
    pub title: String,
    /// Its body, raw Markdown; empty if GitHub sent null.
    pub body: String,
    /// Who wrote it.
    pub author: Login,
    /// The names of its labels.
    pub labels: Vec<String>,
}

/// Where a job comes from. Stored triggers hold a local origin as ids that are zero; this type is the only place that
/// interprets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An issue on GitHub.
    GitHub {
        /// Its number.
        issue: IssueNumber,
    },
    /// A repository on this machine: `mendwright fix` and the evaluation.
    Local,
}

impl IssueSnapshot {
    /// Where the issue comes from.
    pub fn origin(&self) -> Origin {
        match self.number {
            IssueNumber::LOCAL => Origin::Local,
            issue => Origin::GitHub { issue },
        }
    }

    /// Whether the issue has this label.
    pub fn has_label(&self, label: &str) -> bool {
        self.labels.iter().any(|present| is_same_label(present, label))
    }
}

/// Whether two names are of the same label: on GitHub, case makes no difference.
pub fn is_same_label(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

impl RepositoryRef {
    /// Whether the repository is on this machine and not on GitHub.
    pub fn is_local(&self) -> bool {
        self.id == RepositoryId::LOCAL
    }
}

/// A verified request for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trigger {
    /// The repository.
    pub repository: RepositoryRef,
    /// The issue at that time.
    pub issue: IssueSnapshot,
    /// Who set the label, or gave the command in a comment.
    pub labeller: Login,
    /// GitHub's id of the labeller, for the co-author trailer's address.
    pub labeller_id: u64,
    /// Whether GitHub says that the labeller is a bot.
    pub labeller_is_bot: bool,
    /// When the label was set, by GitHub's clock; `None` if unknown.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub labelled_at: Option<Timestamp>,
    /// Whether reconciliation found it because its webhook was missed.
    #[serde(default)]
    pub found: bool,
    /// Whether it was requested in a comment, so that the label need not be set.
    #[serde(default)]
    pub commanded: bool,
}

impl Trigger {
    /// A trigger by somebody of whom only the login is known.
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

    /// Whether the label was set after `at`: a webhook about an event from before it is late, and cancels nothing.
    pub fn is_later_than(&self, at: Option<Timestamp>) -> bool {
        at.zip(self.labelled_at).is_some_and(|(at, labelled)| labelled > at)
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
