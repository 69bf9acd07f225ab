//! How a job ends: the end is reported on the issue, then recorded. After a crash in between it is
//! reported once more, in the same comments.

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::progress::{current, report};
use crate::domain::{JobOutcome, RecordedEvent, Transcript, TranscriptEvent};
use crate::store::{Journal, StoreError};
use crate::worker::context::WorkerContext;
use crate::worker::stop::Stop;

/// A job older than this also ends if its end cannot be reported.
const UNREPORTED_MAX: SignedDuration = SignedDuration::from_hours(12);

/// Reports and records the end. If GitHub is not available, the job is put back until the end can be
/// reported, as long as somebody may still wait for it.
pub(in crate::worker) async fn end(
    context: &WorkerContext,
    journal: &Journal,
    outcome: JobOutcome,
) -> Result<JobOutcome, Stop> {
    let age = journal.now().duration_since(active_since(journal).await);
    match report_end(context, journal, &outcome).await {
        Ok(()) => {}
        Err(stop @ (Stop::Later { .. } | Stop::LeaseLost(_))) if age < UNREPORTED_MAX => return Err(stop),
        Err(error) => warn!(%error, "job's end not reported"),
    }
    end_silently(journal, outcome).await
}

/// Records the end and reports it if that is possible now.
pub(in crate::worker) async fn end_unreported(
    context: &WorkerContext,
    journal: &Journal,
    outcome: JobOutcome,
) -> Result<JobOutcome, StoreError> {
    if let Err(error) = report_end(context, journal, &outcome).await {
        warn!(%error, "job's end not reported");
    }
    record_end(journal, outcome).await
}

/// Records the end. Nothing is published.
pub(in crate::worker) async fn end_silently(
    journal: &Journal,
    outcome: JobOutcome,
) -> Result<JobOutcome, Stop> {
    Ok(record_end(journal, outcome).await?)
}

async fn record_end(journal: &Journal, outcome: JobOutcome) -> Result<JobOutcome, StoreError> {
    journal.append(&[TranscriptEvent::Ended { outcome: outcome.clone() }]).await?;
    Ok(outcome)
}

async fn report_end(context: &WorkerContext, journal: &Journal, outcome: &JobOutcome) -> Result<(), Stop> {
    let mut transcript = journal.transcript().await?.to_vec();
    let event = TranscriptEvent::Ended { outcome: outcome.clone() };
    transcript.push(RecordedEvent { sequence: transcript.len() as u64 + 1, at: journal.now(), event });
    let job = current(context, journal).await?;
    Ok(report(context, &job, &transcript, outcome.state()).await?)
}

/// When the job was created or, if it had ended, last approved or resumed.
pub(in crate::worker) async fn active_since(journal: &Journal) -> Timestamp {
    let created_at = journal.job().created_at;
    let Ok(transcript) = journal.transcript().await else { return created_at };
    Transcript::new(&transcript).resumed_at().unwrap_or(created_at)
}
