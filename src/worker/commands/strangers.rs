//! People whom GitHub does not name as belonging to the repository (`author_association`). Most of them may give no
//! command; a member of an organization who hides that membership may. So they are asked about, but behind everybody
//! else, once an hour each, and what they wrote is read again only if they may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::error::CommandError;
use crate::domain::{
    CommandRequest, IssueNumber, QueuedRequest, RepositoryId, RequestComment, ReviewKind, ReviewRequest,
};
use crate::worker::context::WorkerContext;

/// How long a refusal is remembered.
const REFUSED_TIME: SignedDuration = SignedDuration::from_hours(1);
/// People and issues that are remembered; then all are forgotten, which costs a few questions.
const REMEMBERED_MAX: usize = 10_000;

/// What is known of them, so that GitHub is not asked again.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the number of the account.
    refused: BTreeMap<(RepositoryId, u64), Timestamp>,
    /// The issues on which a refusal was answered.
    answered: BTreeSet<(RepositoryId, IssueNumber)>,
}

impl Strangers {
    /// Whether the author was refused within the last hour.
    pub(super) fn is_refused(&self, comment: &RequestComment, now: Timestamp) -> bool {
        let known = self.lock();
        let at = known.refused.get(&(comment.repository.id, comment.by_id));
        at.is_some_and(|at| now.duration_since(*at) < REFUSED_TIME)
    }

    /// Remembers that the author has no write access.
    pub(super) fn refuse(&self, comment: &RequestComment, now: Timestamp) {
        let mut known = self.lock();
        if known.refused.len() >= REMEMBERED_MAX {
            known.refused.clear();
        }
        known.refused.insert((comment.repository.id, comment.by_id), now);
    }

    /// Whether a refusal was answered on the issue.
    pub(super) fn is_answered(&self, comment: &RequestComment) -> bool {
        self.lock().answered.contains(&(comment.repository.id, comment.number))
    }

    /// Remembers that a refusal was answered on the issue.
    pub(super) fn answer(&self, comment: &RequestComment) {
        let mut known = self.lock();
        if known.answered.len() >= REMEMBERED_MAX {
            known.answered.clear();
        }
        known.answered.insert((comment.repository.id, comment.number));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request of somebody who turned out to have write access, with the texts that were not stored: the issue and
/// the comment as they are now. The text of a review was kept.
pub(super) async fn with_texts(
    context: &WorkerContext,
    request: &QueuedRequest,
) -> Result<QueuedRequest, CommandError> {
    Ok(match request.clone() {
        QueuedRequest::Command(CommandRequest { command, comment }) => {
            QueuedRequest::Command(CommandRequest { command, comment: read_again(context, comment).await? })
        }
        QueuedRequest::Review(ReviewRequest { kind: kind @ ReviewKind::Comment, comment }) => {
            QueuedRequest::Review(ReviewRequest { kind, comment: read_again(context, comment).await? })
        }
        request @ (QueuedRequest::Review(_) | QueuedRequest::CheckFailed(_)) => request,
    })
}

async fn read_again(
    context: &WorkerContext,
    comment: RequestComment,
) -> Result<RequestComment, CommandError> {
    let github = &context.github;
    let issue = github.issue(&comment.repository, comment.number).await?.snapshot;
    let written = github.comments(&comment.repository, comment.number).await?;
    let body = written.into_iter().find(|other| other.id == comment.id).map(|other| other.body);
    Ok(RequestComment { issue, body: body.unwrap_or_default(), ..comment })
}
