//! `publish: hold`: a verified change is shown on the issue and waits for approval. What is published
//! after it is the very commit that was verified and shown.

use crate::domain::{
    EscalationReason, Job, JobOutcome, Origin, RecordedEvent, RepositoryRef, Sha, Transcript,
};
use crate::provenance::Sealed;
use crate::publish::{Evidence, NotWhole, approval_comment, publish_approval_request};
use crate::store::{EffectState, Journal};
use crate::verdict::Verified;
use crate::worker::context::WorkerContext;
use crate::worker::effects::JobEffect;
use crate::worker::stop::Stop;
use crate::workspace::{ClearedCommit, Workspace};

use super::ending::end;
use super::secret_check::check_texts;

/// Whether the change must be approved first: the operator or the base branch's file says so, and nobody
/// has approved it. A local job publishes nothing.
pub(super) async fn is_approval_required(
    context: &WorkerContext,
    workspace: &Workspace,
    job: &Job,
    transcript: &[RecordedEvent],
) -> Result<bool, Stop> {
    if job.trigger.issue.origin() == Origin::Local || Transcript::new(transcript).is_approved() {
        return Ok(false);
    }
    if context.policy.rules.approval_required {
        return Ok(true);
    }
    let file = workspace.repository_files().await?.parse();
    // The file was readable when the job began. If it no longer is, that is no consent.
    Ok(file.map_or(true, |file| file.is_some_and(|file| file.requires_approval)))
}

/// A note if the base branch moved since the work began: a merge then makes something that was not
/// verified.
pub(super) async fn note_on_moved_base(
    context: &WorkerContext,
    workspace: &Workspace,
    at: &RepositoryRef,
) -> Option<String> {
    // A job on one's own machine has the base that is there.
    (at.id.0 != 0).then_some(())?;
    let head = context.github.branch_head(at, workspace.base_branch()).await.ok()??;
    (head != *workspace.base()).then(|| {
        format!(
            "the base branch moved since the work began: this was verified on top of `{}`, and the branch is at \
             `{}` now",
            workspace.base().short(),
            head.short()
        )
    })
}

/// A change that waits for approval.
pub(super) struct ChangeToApprove<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) verified: &'a Verified,
    pub(super) commit: &'a Sha,
    pub(super) cleared: ClearedCommit,
    pub(super) manifest: &'a Sealed,
}

/// A change that cannot be shown whole is handed over: nobody could know what they approve.
fn not_shown(why: &NotWhole, commit: &Sha) -> Stop {
    Stop::Escalate(EscalationReason::NotShown { why: why.to_string(), commit: commit.clone() })
}

/// Keeps the commit and its manifest, shows the change on the issue, and ends the job.
pub(super) async fn request_approval(
    context: &WorkerContext,
    journal: &Journal,
    job: &Job,
    workspace: &Workspace,
    change: ChangeToApprove<'_>,
) -> Result<JobOutcome, Stop> {
    let ChangeToApprove { evidence, verified, commit, cleared, manifest } = change;
    workspace.pin_commit(&cleared).await?;
    let comments = approval_comment::render(evidence, verified, commit, workspace.base_branch())
        .map_err(|why| not_shown(&why, commit))?;
    check_texts("the comment that shows the change", &comments)?;
    let transcript = journal.transcript().await?;
    journal.save_manifest(Transcript::new(&transcript).round_number(), &manifest.to_text()).await?;
    let effect = JobEffect::ApprovalRequest.in_round_of(&transcript);
    if let EffectState::InProgress = journal.begin_effect(&effect).await? {
        let posted = publish_approval_request(context.github.as_ref(), job, comments).await?;
        journal.finish_effect(&effect, &posted).await?;
    }
    let (branch, head) = (cleared.branch().to_owned(), cleared.commit().clone());
    end(context, journal, JobOutcome::Held { branch, head }).await
}
