//! Reads a verified delivery's payload and says what it asks for: a row for each event, with its reader. Knows the few
//! fields that it needs and ignores all others. Never decides who may ask.

mod branches;
mod checks;
mod comments;
mod installations;
mod interpretation;
mod issues;
mod payload;
mod reviews;

use serde_json::Value;

pub use interpretation::Interpretation;

use self::interpretation::{Interpreted, ignore};
use crate::domain::InvalidIdentity;

/// An event that can ask for something.
pub struct EventRow {
    /// As in `X-GitHub-Event`.
    pub name: &'static str,
    /// What happened, for people who register the App.
    pub meaning: &'static str,
    /// Whether the App must subscribe to it. Some events come to every App unasked, and cannot be subscribed to.
    pub is_subscribed: bool,
    /// Reads a payload with this `action`, and says what it asks for. The label is the one that starts work.
    read: fn(action: Option<&str>, payload: Value, label: &str) -> Result<Interpreted, serde_json::Error>,
}

/// Every event that is handled. The App subscribes to these, but for those that come unasked: `app-manifest.yml` is
/// generated from the rows.
pub const EVENTS: &[EventRow] = &[
    EventRow {
        name: "issues",
        meaning: "a label is added or removed; an issue is closed, deleted or transferred",
        is_subscribed: true,
        read: issues::read,
    },
    EventRow {
        name: "issue_comment",
        meaning: "somebody comments",
        is_subscribed: true,
        read: comments::read,
    },
    EventRow {
        name: "pull_request",
        meaning: "a pull request is closed",
        is_subscribed: true,
        read: branches::read_pull_request,
    },
    EventRow {
        name: "pull_request_review",
        meaning: "a review is submitted",
        is_subscribed: true,
        read: reviews::read_review,
    },
    EventRow {
        name: "pull_request_review_comment",
        meaning: "somebody comments on a line of a pull request",
        is_subscribed: true,
        read: reviews::read_comment,
    },
    EventRow {
        name: "check_run",
        meaning: "another App's check fails on one of its pull requests",
        is_subscribed: true,
        read: checks::read,
    },
    EventRow {
        name: "delete",
        meaning: "a branch is deleted",
        is_subscribed: true,
        read: branches::read_delete,
    },
    EventRow {
        name: "installation",
        meaning: "the App is installed, or works again",
        is_subscribed: false,
        read: installations::read_installation,
    },
    EventRow {
        name: "installation_repositories",
        meaning: "the App is installed on more repositories",
        is_subscribed: false,
        read: installations::read_repositories,
    },
];

/// The names of the events that are handled.
pub const HANDLED_EVENTS: &[&str] = &{
    let mut names = [""; EVENTS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = EVENTS[index].name;
        index += 1;
    }
    names
};

/// The names of the events that the App subscribes to.
pub fn subscribed_events() -> impl Iterator<Item = &'static str> {
    EVENTS.iter().filter(|row| row.is_subscribed).map(|row| row.name)
}

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
    let interpreted = match EVENTS.iter().find(|row| row.name == event) {
        Some(row) => (row.read)(action.as_deref(), payload, label).map_err(unreadable)?,
        None => ignore(format!("events of the kind {:?} ask for nothing", name())),
    };
    let interpretation = interpreted.map_err(|source| EventError::Invalid { event: name(), source })?;
    Ok(ParsedEvent { action, interpretation })
}

#[cfg(test)]
mod tests;
