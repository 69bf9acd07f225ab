//! Hands a job to a person: a comment that says why, and what the job has to show.

use super::ending::end;
use super::progress::{current, evidence_of};
use super::proposal::recorded_workspace;
use super::secret_check::check_texts;
use crate::domain::{EscalationReason, JobOutcome, Transcript};
use crate::publish::{escalation, publish_escalation};
use crate::store::{EffectState, Journal};
use crate::worker::context::WorkerContext;
use crate::worker::effects::JobEffect;
use crate::worker::stop::Stop;

/// Posts the escalation and ends the job.
pub(in crate::worker) async fn escalate(
    context: &WorkerContext,
    journal: &Journal,
    reason: EscalationReason,
) -> Result<JobOutcome, Stop> {
    let transcript = journal.transcript().await?;
    let job = current(context, journal).await?;
    let mut evidence = evidence_of(context, &job, &transcript);
    if let Some(tree) = Transcript::new(&transcript).last_tree() {
        let workspace = recorded_workspace(context, &job, &transcript).await?;
        evidence = evidence.with_patch(workspace.patch(tree).await?);
    }
    // An escalation for a secret shows nothing of the job, so it contains none.
    if !matches!(reason, EscalationReason::Secret { .. }) {
        check_texts("the escalation", &escalation::render(&evidence, &reason))?;
    }
    let effect = JobEffect::Escalation.in_round_of(&transcript);
    if let EffectState::InProgress = journal.begin_effect(&effect).await? {
        let posted = publish_escalation(context.github.as_ref(), &job, &evidence, &reason).await?;
        journal.finish_effect(&effect, &posted).await?;
    }
    end(context, journal, JobOutcome::Escalated { reason }).await
}
