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
pub(super) struct Strangers(Mutex<KnownStrangers>);

#[derive(Debug, Default)]
struct KnownStrangers {
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

    /// Says that a refusal is answered on the issue from now on. False: somebody else did so.
    pub(super) fn begin_answer(&self, comment: &RequestComment) -> bool {
        let mut known = self.lock();
        if known.answered.len() >= REMEMBERED_MAX {
            known.answered.clear();
        }
        known.answered.insert((comment.repository.id, comment.number))
    }

    /// Says that the answer failed: the next refusal on the issue is answered.
    pub(super) fn forget_answer(&self, comment: &RequestComment) {
        self.lock().answered.remove(&(comment.repository.id, comment.number));
    }

    fn lock(&self) -> MutexGuard<'_, KnownStrangers> {
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
        request @ (QueuedRequest::Review(_) | QueuedRequest::Event(_)) => request,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CommentId, InstallationId, IssueSnapshot, RepositoryRef};

    fn comment(issue: u64, by_id: u64) -> RequestComment {
        let author: crate::domain::Login = "eve".parse().unwrap();
        RequestComment {
            repository: RepositoryRef {
                installation: InstallationId(7),
                id: RepositoryId(70),
                name: "acme/rocket".parse().unwrap(),
            },
            number: IssueNumber(issue),
            is_pull_request: false,
            issue: IssueSnapshot {
                number: IssueNumber(issue),
                title: String::new(),
                body: String::new(),
                author: author.clone(),
                labels: Vec::new(),
            },
            by: author,
            by_id,
            by_is_bot: false,
            by_stranger: true,
            id: CommentId(1),
            body: String::new(),
            at: None,
        }
    }

    #[test]
    fn somebody_who_was_refused_is_not_asked_about_for_an_hour() {
        let (strangers, start) = (Strangers::default(), Timestamp::UNIX_EPOCH);
        assert!(!strangers.is_refused(&comment(1, 5), start));
        strangers.refuse(&comment(1, 5), start);
        assert!(strangers.is_refused(&comment(2, 5), start + SignedDuration::from_mins(59)));
        assert!(!strangers.is_refused(&comment(1, 6), start));
        assert!(!strangers.is_refused(&comment(1, 5), start + SignedDuration::from_hours(1)));
    }

    #[test]
    fn one_refusal_is_answered_on_an_issue_and_another_one_only_if_that_failed() {
        let strangers = Strangers::default();
        assert!(strangers.begin_answer(&comment(1, 5)));
        assert!(!strangers.begin_answer(&comment(1, 6)) && strangers.is_answered(&comment(1, 6)));
        assert!(strangers.begin_answer(&comment(2, 5)));
        strangers.forget_answer(&comment(1, 5));
        assert!(!strangers.is_answered(&comment(1, 6)) && strangers.begin_answer(&comment(1, 6)));
    }
}
