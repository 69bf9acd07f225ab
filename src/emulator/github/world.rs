//! Everything the emulated GitHub remembers, in memory. Plain data: it decides nothing and it
//! talks to nobody; only the git objects are on disk.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

use super::credentials::App;
use super::dispatch::whole_seconds;
use super::faults::Fault;
use super::people::User;
use crate::git::BareRepository;

/// The state behind the emulator's one lock. Never held across an await.
pub(super) struct World {
    pub(super) urls: Urls,
    pub(super) app: App,
    /// By lower-case login.
    pub(super) users: BTreeMap<String, User>,
    pub(super) repositories: Vec<Repository>,
    /// By their text.
    pub(super) tokens: BTreeMap<String, Token>,
    /// Oldest first.
    pub(super) deliveries: VecDeque<Delivery>,
    /// So many of the next deliveries are not sent.
    pub(super) to_hold: u32,
    /// Those, until they are let go: GitHub's log does not know them either.
    pub(super) held: Vec<Delivery>,
    /// So many of the next deliveries are sent twice.
    pub(super) to_duplicate: u32,
    /// So many of the next deliveries wait for each other, to be sent in the opposite order.
    pub(super) to_reorder: u32,
    pub(super) reordering: Vec<Delivery>,
    /// How often each operation was called.
    pub(super) calls: BTreeMap<String, u64>,
    pub(super) faults: Vec<Fault>,
    pub(super) rate_limit: RateLimit,
    /// Ids of deliveries to send.
    pub(super) outbox: mpsc::Sender<u64>,
    pub(super) ids: u64,
}

/// Where the emulator is, without a slash at the end.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    pub(super) web: String,
    pub(super) api: String,
}

/// Requests an hour, as GitHub counts them: for each installation.
#[derive(Debug, Clone)]
pub(super) struct RateLimit {
    pub(super) max: u64,
    pub(super) used: u64,
    pub(super) resets_at: Timestamp,
}

/// An installation token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) expires_at: Timestamp,
    pub(super) revoked: bool,
    pub(super) permissions: BTreeMap<String, String>,
    /// Ids; `None`: every repository of the installation.
    pub(super) repositories: Option<Vec<u64>>,
}

pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) name: String,
    /// `owner/name` it had before it was renamed.
    pub(super) former_names: Vec<String>,
    pub(super) private: bool,
    pub(super) archived: bool,
    /// Whether the App's installation covers it.
    pub(super) covered: bool,
    pub(super) default_branch: String,
    pub(super) created_at: Timestamp,
    pub(super) pushed_at: Timestamp,
    pub(super) labels: Vec<Label>,
    /// Issues and pull requests, by number.
    pub(super) issues: BTreeMap<u64, Issue>,
    /// Numbers of issues that were deleted, or transferred to the address.
    pub(super) gone: BTreeMap<u64, Option<String>>,
    pub(super) check_runs: Vec<CheckRun>,
    pub(super) git: BareRepository,
}

#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) color: String,
    pub(super) description: Option<String>,
}

/// An issue, or the issue's half of a pull request.
#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) author: String,
    pub(super) open: bool,
    pub(super) state_reason: Option<String>,
    pub(super) locked: bool,
    pub(super) labels: Vec<String>,
    pub(super) comments: Vec<Comment>,
    /// Labels put on and taken off, oldest first.
    pub(super) events: Vec<LabelEvent>,
    pub(super) reactions: Vec<Reaction>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) closed_at: Option<Timestamp>,
    pub(super) closed_by: Option<String>,
    pub(super) pull: Option<Pull>,
}

/// A label was put on or taken off.
#[derive(Debug, Clone)]
pub(super) struct LabelEvent {
    pub(super) id: u64,
    /// `labeled`, `unlabeled`
    pub(super) event: &'static str,
    pub(super) actor: String,
    pub(super) label: String,
    pub(super) created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) author: String,
    pub(super) body: String,
    pub(super) reactions: Vec<Reaction>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(super) struct Reaction {
    pub(super) id: u64,
    pub(super) author: String,
    pub(super) content: String,
    pub(super) created_at: Timestamp,
}

/// The pull request's half of an issue. The head is always in the same repository.
#[derive(Debug, Clone)]
pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) draft: bool,
    pub(super) head: String,
    pub(super) head_sha: String,
    pub(super) base: String,
    pub(super) base_sha: String,
    pub(super) merged_at: Option<Timestamp>,
    pub(super) requested_reviewers: Vec<String>,
    pub(super) reviews: Vec<Review>,
    pub(super) review_comments: Vec<ReviewComment>,
}

#[derive(Debug, Clone)]
pub(super) struct Review {
    pub(super) id: u64,
    pub(super) author: String,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`
    pub(super) state: String,
    pub(super) body: String,
    pub(super) commit: String,
    pub(super) submitted_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(super) struct ReviewComment {
    pub(super) id: u64,
    pub(super) review: u64,
    pub(super) author: String,
    pub(super) body: String,
    pub(super) path: String,
    pub(super) line: u64,
    pub(super) commit: String,
    pub(super) created_at: Timestamp,
}

/// A check run. What the App may send is kept as it was sent, after it was checked.
#[derive(Debug, Clone)]
pub(super) struct CheckRun {
    pub(super) id: u64,
    /// The slug of the App that made it, where it is another than ours.
    pub(super) by: Option<String>,
    pub(super) name: String,
    pub(super) head_sha: String,
    pub(super) status: String,
    pub(super) conclusion: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) details_url: Option<String>,
    pub(super) started_at: Timestamp,
    pub(super) completed_at: Option<Timestamp>,
    pub(super) title: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) text: Option<String>,
    /// As they were given; each update adds to them.
    pub(super) annotations: Vec<Value>,
}

/// One attempt to send a webhook.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) id: u64,
    pub(super) guid: String,
    pub(super) redelivery: bool,
    pub(super) event: String,
    pub(super) action: Option<String>,
    pub(super) repository: Option<u64>,
    pub(super) url: String,
    /// The exact bytes that are signed and sent.
    pub(super) payload: String,
    pub(super) created_at: Timestamp,
    /// `None` while it is under way.
    pub(super) outcome: Option<Outcome>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) status: String,
    pub(super) status_code: u16,
    pub(super) seconds: f64,
    pub(super) request_headers: Value,
    pub(super) response_headers: Value,
    pub(super) response_body: String,
}

impl World {
    /// Without `resets_in` the hour goes on as it was.
    pub(super) fn set_rate_limit(
        &mut self,
        max: u64,
        used: u64,
        resets_in: Option<Duration>,
        now: Timestamp,
    ) {
        (self.rate_limit.max, self.rate_limit.used) = (max, used);
        if let Some(resets_in) = resets_in {
            self.rate_limit.resets_at = whole_seconds(now + resets_in);
        }
    }

    /// A fresh id: one sequence for everything, so that ids never coincide by chance.
    pub(super) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// The index of the repository that has, or once had, this `owner/name`.
    pub(super) fn repository_named(&self, full_name: &str) -> Option<usize> {
        let named = |repository: &Repository| repository.full_name().eq_ignore_ascii_case(full_name);
        self.repositories.iter().position(named)
    }

    /// The repository that was renamed away from this `owner/name`.
    pub(super) fn repository_formerly(&self, full_name: &str) -> Option<&Repository> {
        let was = |name: &String| name.eq_ignore_ascii_case(full_name);
        self.repositories.iter().find(|repository| repository.former_names.iter().any(was))
    }
}

impl Repository {
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Issues and pull requests share one sequence.
    pub(super) fn next_number(&self) -> u64 {
        // Numbers are never given twice.
        self.issues.keys().chain(self.gone.keys()).max().map_or(1, |last| last + 1)
    }

    /// A pull request with its issue's half.
    pub(super) fn pull(&self, number: u64) -> Option<(&Issue, &Pull)> {
        let issue = self.issues.get(&number)?;
        Some((issue, issue.pull.as_ref()?))
    }

    /// The issue (or pull request) that has a comment, and the comment's place in it.
    pub(super) fn comment_place(&self, id: u64) -> Option<(u64, usize)> {
        self.issues.values().find_map(|issue| {
            let index = issue.comments.iter().position(|comment| comment.id == id)?;
            Some((issue.number, index))
        })
    }
}
