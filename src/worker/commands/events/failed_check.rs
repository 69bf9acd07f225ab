//! A check of another App failed on what a job proposed: the job is resumed if the repository's base branch
//! asks for that. Otherwise nothing is said: nobody asked.

use async_trait::async_trait;
use tracing::info;

use super::{Admission, CommandError, EventHandler, Handled, read};
use crate::domain::{
    CheckFailure, EventRequest, Job, JobOutcome, RecordedEvent, ResumeReason, TranscriptEvent,
};
use crate::store::ResumeOutcome;
use crate::worker::commands::revision_limits::{
    REVISION_PAUSE, are_rounds_used_up, is_superseded, reason_closed,
};
use crate::worker::context::WorkerContext;
use crate::worker::preparation::recorded_base;

/// Resumes the job that opened the pull request. While the job works, the check waits.
pub(super) struct FailedCheck;

#[async_trait]
impl EventHandler for FailedCheck {
    /// Nobody asked: the repository's configuration decides.
    async fn admit(&self, _: &WorkerContext, _: &EventRequest) -> Result<Admission, CommandError> {
        Ok(Admission::Admitted)
    }

    async fn carry_out(
        &self,
        context: &WorkerContext,
        id: &str,
        request: &EventRequest,
    ) -> Result<Handled, CommandError> {
        resume(context, id, request, &read(request)?).await
    }

    fn log(&self, request: &EventRequest, result: &str) {
        if let Ok(CheckFailure { pull_request: number, name, .. }) = request.read() {
            info!(%number, check = name, result, "failed check completed");
        }
    }
}

async fn resume(
    context: &WorkerContext,
    id: &str,
    request: &EventRequest,
    check: &CheckFailure,
) -> Result<Handled, CommandError> {
    let at = &request.repository;
    let number = check.pull_request;
    let Some(job) = context.store.job_of_pull_request(at.id, number).await? else {
        return Ok(Handled::Done("not ours"));
    };
    if !job.state.is_final() {
        return Ok(Handled::Wait(REVISION_PAUSE));
    }
    if is_superseded(context, &job).await? {
        return Ok(Handled::Done("superseded"));
    }
    let Some(JobOutcome::Proposed { head, .. }) = &job.outcome else {
        return Ok(Handled::Done("not proposed"));
    };
    if *head != check.head {
        return Ok(Handled::Done("of another commit"));
    }
    let transcript = context.store.transcript(job.id).await?;
    if !is_revision_wanted(context, &job, &transcript).await {
        return Ok(Handled::Done("not wanted"));
    }
    if are_rounds_used_up(context, &transcript) {
        return Ok(Handled::Done("rounds used up"));
    }
    if reason_closed(context, &job, number).await?.is_some() {
        return Ok(Handled::Done("closed"));
    }
    let checks = context.github.failed_checks(at, head).await?;
    if checks.is_empty() {
        return Ok(Handled::Done("passed since"));
    }
    let resumed = TranscriptEvent::Resumed {
        // Whoever asked for the work: their permission is checked again.
        by: job.trigger.labeller.clone(),
        by_is_bot: job.trigger.labeller_is_bot,
        why: ResumeReason::ChecksFailed { pull_request: number, head: head.clone(), checks },
    };
    match context.store.resume(job.id, resumed, &[id], (context.clock)()).await? {
        ResumeOutcome::Resumed => {
            context.wake.notify_one();
            Ok(Handled::Done("a round"))
        }
        ResumeOutcome::Conflict => Ok(Handled::Wait(REVISION_PAUSE)),
        ResumeOutcome::NotResumable => Ok(Handled::Done("held")),
    }
}

/// Whether the base that the job works on asks for it. A file that cannot be read is no consent.
async fn is_revision_wanted(context: &WorkerContext, job: &Job, transcript: &[RecordedEvent]) -> bool {
    let Some((base, branch)) = recorded_base(transcript) else { return false };
    let opened = context.mirrors.reopen(job.trigger.repository.id, base.clone(), branch).await;
    let file = match opened {
        Ok(workspace) => workspace.repository_files().await.ok().and_then(|files| files.parse().ok()),
        Err(_) => None,
    };
    file.flatten().is_some_and(|file| file.revises_on_failed_checks)
}
