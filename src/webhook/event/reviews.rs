//! Reviews and their comments: what requests changes in a pull request.

use serde::Deserialize;
use serde_json::Value;

use super::interpretation::{EventRead, Interpreted, act, ignore, read_payload};
use super::payload::{CommentLocation, RawComment, RawInstallation, RawIssue, RawRepository};
use crate::domain::{DeliveryRequest, QueuedRequest, ReviewKind, ReviewRequest};

/// A review counts when it is submitted.
pub(super) fn read_review(action: Option<&str>, payload: Value, _label: &str) -> EventRead {
    match action {
        Some("submitted") => {
            read_payload(payload, |review: ReviewPayload| review.requested(ReviewKind::Review))
        }
        Some(_) | None => Ok(ignore("only submitted reviews count")),
    }
}

/// The comments of a review count when they are created.
pub(super) fn read_comment(action: Option<&str>, payload: Value, _label: &str) -> EventRead {
    match action {
        Some("created") => {
            read_payload(payload, |review: ReviewPayload| review.requested(ReviewKind::ReviewComment))
        }
        Some(_) | None => Ok(ignore("only new review comments count")),
    }
}

/// Of a review, or of a comment at a line.
#[derive(Deserialize)]
struct ReviewPayload {
    pull_request: RawIssue,
    #[serde(alias = "review")]
    comment: RawComment,
    repository: RawRepository,
    installation: Option<RawInstallation>,
}

impl ReviewPayload {
    /// A review that requests changes is a request. So is any other review, and a comment at a line, if it
    /// mentions the bot that opened the pull request.
    fn requested(self, kind: ReviewKind) -> Interpreted {
        let state = self.comment.state.as_deref();
        let requests_changes = state.is_some_and(|state| state.eq_ignore_ascii_case("changes_requested"));
        let body = self.comment.body.as_deref().unwrap_or_default();
        if !self.pull_request.is_by_bot() {
            return ignore("the pull request was not opened by a bot");
        }
        if !requests_changes && !self.pull_request.is_by_bot_mentioned_in(body) {
            return ignore("the review asks nothing of the bot that opened the pull request");
        }
        let Self { pull_request, comment, repository, installation } = self;
        let location =
            CommentLocation { repository, installation, issue: pull_request, is_pull_request: true };
        comment.at(location, |comment| {
            act(DeliveryRequest::Queue(QueuedRequest::Review(ReviewRequest { kind, comment })))
        })
    }
}
