//! `publish: hold`: a verified change is shown and kept, and goes out when somebody who may write says
//! so. What goes out is the very commit that was verified and shown.

use jiff::Timestamp;

use crate::config::{REPOSITORY_FILE, RepositoryFile};
use crate::domain::{IssueNumber, Job, JobId, JobState, Login, RepositoryRef, Transcript, authorize};
use crate::github::{GitHub, GitHubError};
use crate::provenance::Sealed;
use crate::publish::command_refused;
use crate::store::{Journal, ResumeOutcome, Store, StoreError};
use crate::workspace::{ClearedCommit, Workspace};

use super::preparation::workspace_error;
use super::{JobError, WorkerContext};

/// What is held back.
pub(super) struct Held {
    pub(super) cleared: ClearedCommit,
    pub(super) manifest: Sealed,
    pub(super) pages: Vec<String>,
}

/// What came of somebody's word that a held change may go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// The job is taken up again; wake a worker.
    Released(JobId),
    /// Nothing is held back for this issue (any more).
    NothingHeld,
    /// They may not say so; the words are for the issue.
    Refused(String),
}

/// Why it could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// GitHub does not say.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Lets the change that is held back for an issue go out, if `by` may write at this moment. Said
/// twice, it goes out once.
pub async fn release(
    github: &dyn GitHub,
    store: &dyn Store,
    at: &RepositoryRef,
    issue: IssueNumber,
    by: (&Login, bool),
    bots_allowed: &[Login],
    now: Timestamp,
) -> Result<Approval, ApprovalError> {
    let held = store.latest_job(at.id, issue).await?.filter(|job| job.state == JobState::Held);
    let Some(job) = held else { return Ok(Approval::NothingHeld) };
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
        ResumeOutcome::Resumed => Approval::Released(job.id),
        ResumeOutcome::NotResumable => Approval::NothingHeld,
        ResumeOutcome::Conflict => Approval::Refused("another job of this issue is under way".to_owned()),
    })
}

/// Whether the job's change is to be held back: the operator or the base branch's file says so, and
/// nobody has released it. A job on one's own machine (issue 0) pushes nothing anywhere.
pub(super) async fn is_held(
    parts: &WorkerContext,
    workspace: &Workspace,
    job: &Job,
    transcript: Transcript<'_>,
) -> Result<bool, JobError> {
    if job.trigger.issue.number.0 == 0 || transcript.is_approved() {
        return Ok(false);
    }
    if parts.policy.hold {
        return Ok(true);
    }
    let file = workspace.base_file(REPOSITORY_FILE).await.map_err(workspace_error)?;
    let file = file.map(|bytes| RepositoryFile::parse(&String::from_utf8_lossy(&bytes)));
    // What could be read when the job began, and no longer can, is not taken for consent.
    Ok(file.is_some_and(|file| file.map_or(true, |file| file.requires_approval)))
}

/// A remark, where the base branch has gone on since the work began: what was verified is not what a
/// merge makes then.
pub(super) async fn base_has_moved(
    parts: &WorkerContext,
    workspace: &Workspace,
    at: &RepositoryRef,
) -> Option<String> {
    // The base of a job on one's own machine is what is there.
    (at.id.0 != 0).then_some(())?;
    let head = parts.github.branch_head(at, workspace.base_branch()).await.ok()??;
    (head != *workspace.base()).then(|| {
        format!(
            "the base branch has gone on since: this was verified on top of `{}`, and the branch is at `{}` now",
            workspace.base().short(),
            head.short()
        )
    })
}

/// When somebody had the job taken up last, if it had ended before.
pub(super) async fn taken_up_at(journal: &Journal) -> Option<Timestamp> {
    let events = journal.transcript().await.ok()?;
    Transcript::new(&events).resumed_at()
}
