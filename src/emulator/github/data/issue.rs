//! Issues, their comments, reactions and label events.

use jiff::Timestamp;

use super::pull_request::PullRequest;

/// The reactions that GitHub knows.
pub(crate) const REACTIONS: [&str; 8] =
    ["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"];

/// An issue, or the issue part of a pull request.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) author: String,
    pub(crate) open: bool,
    pub(crate) state_reason: Option<String>,
    pub(crate) locked: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) comments: Vec<Comment>,
    /// Labels added and removed, oldest first.
    pub(crate) events: Vec<LabelEvent>,
    pub(crate) reactions: Vec<Reaction>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) closed_by: Option<String>,
    pub(crate) pull: Option<PullRequest>,
}

impl Issue {
    /// A new open issue.
    pub(crate) fn new(
        id: u64,
        number: u64,
        title: String,
        body: Option<String>,
        author: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            number,
            title,
            body,
            author: author.to_owned(),
            open: true,
            state_reason: None,
            locked: false,
            labels: Vec::new(),
            comments: Vec::new(),
            events: Vec::new(),
            reactions: Vec::new(),
            created_at: now,
            updated_at: now,
            closed_at: None,
            closed_by: None,
            pull: None,
        }
    }

    /// `open` or `closed`.
    pub(crate) fn state(&self) -> &'static str {
        if self.open { "open" } else { "closed" }
    }
}

/// A label was added or removed.
#[derive(Debug, Clone)]
pub(crate) struct LabelEvent {
    pub(crate) id: u64,
    /// `labeled`, `unlabeled`
    pub(crate) event: &'static str,
    pub(crate) actor: String,
    pub(crate) label: String,
    pub(crate) created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) author: String,
    pub(crate) body: String,
    pub(crate) reactions: Vec<Reaction>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Reaction {
    pub(crate) id: u64,
    pub(crate) author: String,
    pub(crate) content: String,
    pub(crate) created_at: Timestamp,
}
