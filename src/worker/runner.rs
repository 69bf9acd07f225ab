//! A worker: claims a job, keeps its lease valid, runs it from top to bottom, and records its end.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use super::context::WorkerContext;
use super::lease::{self, MustStop, lease_end};
use super::stop::Stop;
use super::{pipeline, publication};
use crate::agent::charge_unrecorded_call;
use crate::domain::{JobId, JobOutcome, is_shortage};
use crate::store::{Attempt, Claim, Journal, StoreError};

/// How often an idle worker looks for a job without being woken.
const POLL: Duration = Duration::from_secs(5);

/// A job whose claims ended in this many crashes is not tried again.
const ATTEMPTS_MAX: u32 = 5;

/// Between two attempts at a job that met a defect of ours.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// How long a job waits for what it needs (GitHub, the network, the store) to become available.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// One worker: works on one job at a time.
pub struct Worker {
    context: WorkerContext,
    name: String,
}

impl Worker {
    /// A worker with a name for leases and logs.
    pub fn new(context: WorkerContext, name: impl Into<String>) -> Self {
        Self { context, name: name.into() }
    }

    /// Works until `shutdown`. A job that is being worked on then is put back immediately: the next worker
    /// continues from its last checkpoint.
    pub async fn run(&self, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            // Registered before the look, so that a job that is recorded in between wakes us.
            let woken = self.context.wake.notified();
            match self.step(shutdown).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep(POLL) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
                Err(error) => {
                    error!(%error, worker = self.name, "no job could be claimed");
                    tokio::select! {
                        () = tokio::time::sleep(POLL) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Claims one job, if one is due, and works on it until it ends, is put back, or is lost.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn step(&self, shutdown: &CancellationToken) -> Result<Option<JobId>, StoreError> {
        let now = (self.context.clock)();
        let Some(claim) = self.context.store.claim(&self.name, lease_end(now), now).await? else {
            return Ok(None);
        };
        let id = claim.job.id;
        let span = info_span!("job", job.id = %id, repo = %claim.job.trigger.repository.name,
            issue = %claim.job.trigger.issue.number, attempt = claim.attempt);
        Box::pin(self.work(claim, shutdown)).instrument(span).await;
        Ok(Some(id))
    }

    async fn work(&self, claim: Claim, shutdown: &CancellationToken) {
        let journal = Journal::new(self.context.store.clone(), claim.clone(), self.context.clock);
        info!("job claimed");
        let is_published = publication::is_published(&journal).await;
        let is_on_branch = AtomicBool::new(is_published);
        let ended = tokio::select! {
            ended = AssertUnwindSafe(Box::pin(self.attempt(&journal, is_published, &is_on_branch))).catch_unwind() => {
                ended.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
            }
            must_stop = lease::renew(&self.context, &claim, &is_on_branch) => match must_stop {
                MustStop::Cancelled(why) => self.cancel(&journal, why).await,
                MustStop::LeaseLost(error) => Err(Stop::LeaseLost(error)),
            },
            () = shutdown.cancelled() => Err(Stop::start_over("the service is shutting down")),
        };
        let recorded = match ended {
            Ok(outcome) => {
                info!(?outcome, "job ended");
                Ok(())
            }
            Err(stop) => self.record_stop(&journal, stop).await,
        };
        if let Err(error) = recorded {
            error!(%error, "the job's end was not recorded; its lease will run out");
        }
    }

    async fn attempt(
        &self,
        journal: &Journal,
        is_published: bool,
        is_on_branch: &AtomicBool,
    ) -> Result<JobOutcome, Stop> {
        if are_attempts_used_up(journal.claim().attempt, is_published) {
            return Err(Stop::Broken(format!(
                "the worker died {ATTEMPTS_MAX} times at this job; it is not tried again"
            )));
        }
        Box::pin(pipeline::run(&self.context, journal, is_on_branch)).await
    }

    /// Records why a job stopped without an outcome: it is put back, left to another worker, or it failed.
    async fn record_stop(&self, journal: &Journal, stop: Stop) -> Result<(), StoreError> {
        match stop {
            Stop::Later { why, .. } if self.has_waited_too_long(journal).await => {
                let why = given_up(&why);
                self.fail(journal, why).await
            }
            Stop::Later { why, after, attempt } => {
                match after.is_zero() {
                    true => info!(why, "job put back"),
                    false => warn!(why, seconds = after.as_secs(), "job put back"),
                }
                let until = (self.context.clock)() + SignedDuration::try_from(after).unwrap_or_default();
                self.context.store.release(journal.claim(), until, attempt).await
            }
            Stop::LeaseLost(error) => {
                warn!(%error, "job lost to another worker");
                Ok(())
            }
            Stop::Broken(why) => self.fail(journal, why).await,
            // The pipeline ends these jobs itself; here they are a defect of ours.
            stop @ (Stop::Escalate(_) | Stop::Refuse(_) | Stop::Ignore(_)) => {
                self.fail(journal, stop.to_string()).await
            }
        }
    }

    async fn has_waited_too_long(&self, journal: &Journal) -> bool {
        let age = (self.context.clock)().duration_since(publication::active_since(journal).await);
        age > SignedDuration::try_from(WAIT_MAX).unwrap_or_default()
    }

    async fn fail(&self, journal: &Journal, why: String) -> Result<(), StoreError> {
        error!(why, "job failed");
        charge_unrecorded_call(journal).await?;
        publication::end_unreported(&self.context, journal, JobOutcome::Failed { why }).await.map(drop)
    }

    async fn cancel(&self, journal: &Journal, why: String) -> Result<JobOutcome, Stop> {
        charge_unrecorded_call(journal).await?;
        Ok(publication::end_unreported(&self.context, journal, JobOutcome::Cancelled { why }).await?)
    }
}

/// Why a job failed that waited too long.
fn given_up(why: &str) -> String {
    format!("gave up after {} hours of retries: {why}", WAIT_MAX.as_secs() / 3600)
}

/// Whether a job is given up for its crashes. Never once its pull request is open: little is left to do
/// then, and an end as failed would not name the pull request.
fn are_attempts_used_up(attempt: u32, is_published: bool) -> bool {
    attempt > ATTEMPTS_MAX && !is_published
}

/// A job that meets a defect of ours is tried again later: what it has recorded is sound, and the worker
/// goes on with other jobs.
fn panicked(panic: &(dyn Any + Send)) -> Stop {
    let why = panic_message(panic);
    let attempt = if is_shortage(&why) { Attempt::DoesNotCount } else { Attempt::Counts };
    Stop::Later { why: format!("a defect in Mendwright: {why}"), after: PANIC_PAUSE, attempt }
}

/// The message of a panic, if it has one.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    message.unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::GitHubError;

    #[test]
    fn job_that_is_given_up_does_not_say_that_it_is_retried() {
        let error = GitHubError::Unavailable {
            what: "reading issue #7".to_owned(),
            detail: "502".to_owned(),
            retry_after: Duration::from_secs(9),
        };
        let Stop::Later { why, .. } = error.into() else { panic!("it is not tried again") };
        assert_eq!(
            given_up(&why),
            "gave up after 24 hours of retries: GitHub is unavailable (reading issue #7: 502)"
        );
    }

    #[test]
    fn job_with_an_open_pull_request_is_never_given_up_for_its_crashes() {
        assert!(!are_attempts_used_up(ATTEMPTS_MAX, false));
        assert!(are_attempts_used_up(ATTEMPTS_MAX + 1, false));
        assert!(!are_attempts_used_up(ATTEMPTS_MAX + 1, true));
    }
}
