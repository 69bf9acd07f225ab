//! Whether a pull request may be revised (again): better found out before its job is resumed, whose outcome
//! would be lost.

use std::time::Duration;

use super::error::CommandError;
use crate::domain::{Job, PullRequestNumber, RecordedEvent, Transcript};
use crate::worker::context::WorkerContext;

/// How long a request for a revision waits before it is looked again whether the job has ended.
pub(super) const REVISION_PAUSE: Duration = Duration::from_secs(5);

/// Whether the job's issue has a later job, which took its place.
pub(super) async fn is_superseded(context: &WorkerContext, job: &Job) -> Result<bool, CommandError> {
    let trigger = &job.trigger;
    let newest = context.store.latest_job(trigger.repository.id, trigger.issue.number).await?;
    Ok(newest.is_some_and(|newest| newest.id != job.id))
}

/// Why the pull request cannot be revised, by what GitHub says now.
pub(super) async fn reason_closed(
    context: &WorkerContext,
    job: &Job,
    number: PullRequestNumber,
) -> Result<Option<String>, CommandError> {
    let (github, at) = (&context.github, &job.trigger.repository);
    let open = github.find_pull_request(at, &job.branch()).await?;
    if open.is_none_or(|open| open.number != number) {
        return Ok(Some("the pull request is closed".to_owned()));
    }
    let issue = github.issue(at, job.trigger.issue.number).await?;
    Ok(match (issue.open, issue.locked) {
        (false, _) => Some(format!("the issue #{} is closed", job.trigger.issue.number)),
        (true, true) => Some(format!("the issue #{} is locked", job.trigger.issue.number)),
        (true, false) => None,
    })
}

/// Whether reviewers and failed checks have had all the revisions that the operator allows.
pub(super) fn are_rounds_used_up(context: &WorkerContext, transcript: &[RecordedEvent]) -> bool {
    Transcript::new(transcript).reviewed_rounds() >= context.policy.rules.review_rounds_max
}
