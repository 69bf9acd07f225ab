//! What the issue and the pull request say of a job that is being worked on: the reaction, the progress
//! comment, the comment on the round, and the state label.

use tracing::warn;

use super::follow_up::set_state_label;
use crate::domain::{Job, JobState, RecordedEvent, Transcript};
use crate::github::GitHubError;
use crate::publish::{Evidence, update_progress, update_round_comment};
use crate::store::{EffectState, Journal};
use crate::worker::context::WorkerContext;
use crate::worker::effects::JobEffect;
use crate::worker::revisions::pull_request_of_round;
use crate::worker::stop::Stop;

/// Reacts to the issue, so that whoever asked knows that the job was noticed.
pub(in crate::worker) async fn acknowledge(context: &WorkerContext, journal: &Journal) -> Result<(), Stop> {
    let trigger = &journal.job().trigger;
    let effect = JobEffect::Acknowledgement.name();
    if let EffectState::InProgress = journal.begin_effect(effect).await? {
        context.github.react_with_eyes(&trigger.repository, trigger.issue.number).await?;
        journal.finish_effect(effect, "eyes").await?;
    }
    Ok(())
}

/// Reports where the job stands. A job does not fail for it.
pub(in crate::worker) async fn report_progress(context: &WorkerContext, journal: &Journal) {
    let reported = async {
        let transcript = journal.transcript().await?;
        let job = current(context, journal).await?;
        let state = job.state;
        report(context, &job, &transcript, state).await?;
        Ok::<(), Stop>(())
    };
    if let Err(error) = reported.await {
        warn!(%error, "progress not reported");
    }
}

/// Reports the job as its transcript has it, with the label of `state`.
pub(super) async fn report(
    context: &WorkerContext,
    job: &Job,
    transcript: &[RecordedEvent],
    state: JobState,
) -> Result<(), GitHubError> {
    let github = context.github.as_ref();
    let evidence = evidence_of(context, job, transcript);
    if let Some(number) = pull_request_of_round(transcript) {
        update_round_comment(github, &job.trigger.repository, number, &evidence).await?;
    }
    update_progress(github, job, &evidence).await?;
    set_state_label(context, job, state).await
}

/// The evidence of the job, in the operator's terms.
pub(super) fn evidence_of(context: &WorkerContext, job: &Job, transcript: &[RecordedEvent]) -> Evidence {
    Evidence::from_transcript(job, Transcript::new(transcript)).with_label(&context.policy.rules.label)
}

/// The job as the store has it now.
pub(super) async fn current(context: &WorkerContext, journal: &Journal) -> Result<Job, Stop> {
    let job = context.store.job(journal.job().id).await?;
    Ok(job.unwrap_or_else(|| journal.job().clone()))
}
