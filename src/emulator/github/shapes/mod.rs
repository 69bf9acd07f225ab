//! The emulator's objects in GitHub's own shapes, as REST answers and webhooks share them. Pure:
//! reads the world, changes nothing.

mod app;
mod git;
mod issue;
mod pull;
mod repository;
mod review;

use base64::Engine;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use app::{installation, integration, public_user, user};
pub(super) use git::{branch, commit, commit_with_changes, comparison, file_change, git_ref};
pub(super) use issue::{comment, issue, label, label_event, reaction};
pub(super) use pull::{check_run, pull, pull_simple};
pub(super) use repository::repository;
pub(super) use review::{review, review_comment};

/// A time as GitHub writes it: UTC, whole seconds.
pub(super) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds since 1970, the same way.
pub(super) fn stamp_seconds(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| stamp(Timestamp::UNIX_EPOCH), stamp)
}

/// An opaque `node_id`: kind and number, so that two objects never share one.
pub(super) fn node_id(kind: &str, id: u64) -> String {
    let text = format!("{kind}{id}");
    format!("{kind}_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text))
}

/// `{"href": …}`
fn href(url: &str) -> Value {
    json!({ "href": url })
}
