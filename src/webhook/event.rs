//! Reads a verified delivery's payload and says what it asks for. Knows the few fields that it needs and
//! ignores all others. Never decides who may ask.

mod branches;
mod checks;
mod comments;
mod interpretation;
mod issues;
mod payload;
mod reviews;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use interpretation::Interpretation;

use self::branches::{DeletePayload, PullRequestPayload};
use self::checks::CheckPayload;
use self::comments::CommentPayload;
use self::interpretation::{Interpreted, ignore};
use self::issues::IssuesPayload;
use self::reviews::ReviewPayload;
use crate::domain::{InvalidIdentity, ReviewKind};

/// The events that can ask for something. `app-manifest.yml` subscribes to exactly these.
pub const HANDLED_EVENTS: &[&str] = &[
    "issues",
    "issue_comment",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "check_run",
    "delete",
];

/// Longest event name in an error, in characters.
const EVENT_CHARS_MAX: usize = 100;

/// A payload, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedEvent {
    /// Its `action`, if it has one.
    pub action: Option<String>,
    /// What it asks for.
    pub interpretation: Interpretation,
}

/// A payload that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not JSON, or not of the shape GitHub documents for the event.
    #[error("the payload of {event:?} cannot be read: {source}")]
    Unreadable {
        /// The event's name (cut to 100 characters).
        event: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It contains a malformed identifier.
    #[error("the payload of {event:?} cannot be used: {source}")]
    Invalid {
        /// The event's name.
        event: String,
        /// The identifier.
        source: InvalidIdentity,
    },
}

/// Reads the payload of the event named in `X-GitHub-Event`. `label` is the label that starts work.
///
/// # Errors
/// The payload is not JSON, or an event that asks for something lacks a field that is needed.
pub fn read_event(event: &str, payload: &[u8], label: &str) -> Result<ParsedEvent, EventError> {
    let name = || event.chars().take(EVENT_CHARS_MAX).collect::<String>();
    let unreadable = |source| EventError::Unreadable { event: name(), source };
    let payload: Value = serde_json::from_slice(payload).map_err(unreadable)?;
    let action = payload.get("action").and_then(Value::as_str).map(str::to_owned);
    let interpreted = match (event, action.as_deref()) {
        ("issues", Some("labeled")) => read(payload, |issues: IssuesPayload| issues.labeled(label)),
        ("issues", Some("unlabeled")) => read(payload, |issues: IssuesPayload| issues.unlabeled(label)),
        ("issues", Some(ended @ ("closed" | "deleted"))) => {
            read(payload, |issues: IssuesPayload| issues.ended(ended))
        }
        ("issues", Some("transferred")) => {
            read(payload, |issues: IssuesPayload| issues.ended("transferred to another repository"))
        }
        ("issues", _) => Ok(ignore("this action asks for nothing")),

        ("issue_comment", Some("created")) => read(payload, CommentPayload::created),
        // A command that is edited in later does not count: nobody was notified of it.
        ("issue_comment", _) => Ok(ignore("commands are read from new comments only")),

        ("pull_request", Some("closed")) => read(payload, PullRequestPayload::closed),
        ("pull_request", _) => Ok(ignore("of pull requests only their end counts")),

        // A review counts when it is submitted, its comments when they are created.
        ("pull_request_review", Some("submitted")) => {
            read(payload, |review: ReviewPayload| review.requested(ReviewKind::Review))
        }
        ("pull_request_review", _) => Ok(ignore("only submitted reviews count")),
        ("pull_request_review_comment", Some("created")) => {
            read(payload, |review: ReviewPayload| review.requested(ReviewKind::ReviewComment))
        }
        ("pull_request_review_comment", _) => Ok(ignore("only new review comments count")),

        ("check_run", Some("completed")) => read(payload, CheckPayload::completed),
        ("check_run", _) => Ok(ignore("only completed checks count")),

        ("delete", _) => read(payload, DeletePayload::deleted),

        _ => Ok(ignore(format!("events of the kind {:?} ask for nothing", name()))),
    };
    let interpretation =
        interpreted.map_err(unreadable)?.map_err(|source| EventError::Invalid { event: name(), source })?;
    Ok(ParsedEvent { action, interpretation })
}

/// Reads the fields that an event needs, and interprets them.
fn read<P: DeserializeOwned>(
    payload: Value,
    interpret: impl FnOnce(P) -> Interpreted,
) -> Result<Interpreted, serde_json::Error> {
    serde_json::from_value(payload).map(interpret)
}

#[cfg(test)]
mod tests;
