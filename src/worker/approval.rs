//! Approves a verified change that waits for it (`publish: hold`): the job then publishes the very commit
//! that was verified and shown.

use jiff::Timestamp;

use crate::domain::{IssueNumber, JobId, JobState, Login, RepositoryRef, authorize};
use crate::github::{GitHub, GitHubError};
use crate::publish::command_refused;
use crate::store::{ResumeOutcome, Store, StoreError};

/// The answer to an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// The change is approved and the job is due; wake a worker.
    Approved(JobId),
    /// No change of this issue waits for approval (any more).
    NothingToApprove,
    /// The approval does not count, for this reason. The text is published.
    Refused(String),
}

/// Why an approval could not be decided.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// GitHub did not answer.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Approves the change of an issue that waits for it, if `by` has write access now. If it is approved
/// twice, it is published once.
///
/// # Errors
/// GitHub or the store did not answer.
pub async fn approve(
    github: &dyn GitHub,
    store: &dyn Store,
    at: &RepositoryRef,
    issue: IssueNumber,
    by: (&Login, bool),
    bots_allowed: &[Login],
    now: Timestamp,
) -> Result<Approval, ApprovalError> {
    let waiting = store.latest_job(at.id, issue).await?.filter(|job| job.state == JobState::Held);
    let Some(job) = waiting else { return Ok(Approval::NothingToApprove) };
    let (login, is_bot) = by;
    let permission = github.permission(at, login).await?;
    if let Err(refusal) = authorize(permission, login, is_bot, bots_allowed) {
        return Ok(Approval::Refused(command_refused(login, refusal)));
    }
    let found = github.issue(at, issue).await?;
    if !found.open || found.locked {
        let why = if found.open { "the issue is locked" } else { "the issue is closed" };
        return Ok(Approval::Refused(why.to_owned()));
    }
    Ok(match store.resume_approved(job.id, login, now).await? {
        ResumeOutcome::Resumed => Approval::Approved(job.id),
        ResumeOutcome::NotResumable => Approval::NothingToApprove,
        ResumeOutcome::Conflict => Approval::Refused("another job of this issue is active".to_owned()),
    })
}
