//! Workers: claim a job, keep its lease alive, run it from top to bottom, end it. All I/O of a job
//! goes through the ports in [`WorkerContext`].

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::agent::charge_unrecorded_call;
use crate::domain::{
    Budget, DailyCaps, JobId, JobOutcome, JobSettings, LabelName, Login, RepositoryFilter, TranscriptEvent,
};
use crate::github::GitHub;
use crate::model::Model;
use crate::sandbox::{Sandbox, SandboxSpec};
use crate::setup::{SetupLocks, SetupPolicy};
use crate::store::{Attempt, Claim, Journal, Store, StoreError};
use crate::workspace::Mirrors;

mod acknowledger;
mod admission;
mod approval;
mod commands;
mod commit_publisher;
mod follow_up;
mod issue_comments;
mod lease;
pub mod local;
mod pipeline;
mod preparation;
mod progress_reporter;
mod publication;
mod reconcile;
mod report;
mod reverify;
mod revisions;

pub use acknowledger::Acknowledger;
pub use approval::{Approval, ApprovalError, release};
pub use commands::CommandProcessor;
pub use preparation::resolve_settings;
pub use reconcile::Reconciler;
pub use report::JobReport;
pub use reverify::{Rerun, Reverification, rerun, reverify};

/// How long a claim holds without a heartbeat: what a dead worker's job waits for.
pub const LEASE: Duration = Duration::from_secs(30);

/// How often an idle worker looks for a job that nobody woke it for.
const POLL: Duration = Duration::from_secs(5);

/// After so many claims that ended in a crash, a job is not tried again.
const ATTEMPTS_MAX: u32 = 5;

/// Between two attempts at a job that ran into a defect of ours.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// How long a job waits for the world (GitHub, the network, the store) to become ready.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What a job needs to run: the ports, and the operator's rules.
#[derive(Clone)]
pub struct WorkerContext {
    /// Where everything is recorded.
    pub store: Arc<dyn Store>,
    /// The forge.
    pub github: Arc<dyn GitHub>,
    /// Who thinks.
    pub model: Arc<dyn Model>,
    /// Who writes briefs, and sums up conversations that became too long; `None`: no brief, and the
    /// same model sums up.
    pub brief_model: Option<Arc<dyn Model>>,
    /// Where it works.
    pub sandbox: Arc<dyn Sandbox>,
    /// Where git objects are kept.
    pub mirrors: Mirrors,
    /// The operator's rules.
    pub policy: JobPolicy,
    /// Wakes an idle worker.
    pub wake: Arc<Notify>,
    /// Set-ups that are under way in this process.
    pub setup_locks: SetupLocks,
    /// What time it is.
    pub clock: fn() -> Timestamp,
}

/// The operator's rules for every job.
#[derive(Debug, Clone)]
pub struct JobPolicy {
    /// The label that asks for work.
    pub label: LabelName,
    /// Bots whose label counts.
    pub bots_allowed: Vec<Login>,
    /// Which repositories may use this service.
    pub repository_filter: RepositoryFilter,
    /// The most a job may spend; a repository may only ask for less.
    pub budget: Budget,
    /// What all jobs together may spend in a day.
    pub caps: DailyCaps,
    /// The sandbox of every job; the label is filled in.
    pub sandbox: SandboxSpec,
    /// What a repository's set-up commands may do.
    pub setup: SetupPolicy,
    /// The most a model may say in one answer, in tokens.
    pub output_tokens_max: u32,
    /// What the model can hold, its answer included, in tokens.
    pub context_tokens: u64,
    /// What the model that sums up can hold, its answer included, in tokens.
    pub summarizer_context_tokens: u64,
    /// Settings given on the command line, which take the place of the repository's.
    pub settings_override: Option<SettingsOverride>,
    /// Whether every verified change is held back until somebody says that it may go out; a repository
    /// can only ask for it.
    pub hold: bool,
    /// How many rounds of changes reviewers may ask for in one pull request.
    pub rounds_max: u32,
    /// Whether GitHub makes the commits by its API, and signs them, where that can be.
    pub signed_commits: bool,
}

/// Settings given on the command line of `mendwright fix`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsOverride {
    /// The test command.
    pub test_command: Option<String>,
    /// The set-up commands; empty: the repository's.
    pub setup_commands: Vec<String>,
    /// Whether the image was given, so that the repository's does not count.
    pub image_given: bool,
}

impl SettingsOverride {
    /// `settings` with what was given on the command line in place.
    pub(crate) fn applied_to(&self, mut settings: JobSettings) -> JobSettings {
        if !self.setup_commands.is_empty() {
            settings.setup_commands = self.setup_commands.clone();
            settings.setup_source = "the command line".to_owned();
            settings.setup_detected = false;
        }
        if self.image_given {
            settings.image = None;
        }
        settings
    }
}

/// What stops a job without an outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// Worth another try later; the job goes back to the queue.
    #[error("{why}; the job is put back for {} s", after.as_secs())]
    Later {
        /// What was in the way.
        why: String,
        /// When to try again.
        after: Duration,
        /// Whether it counts as a failed attempt.
        attempt: Attempt,
    },
    /// The job is another worker's now.
    #[error(transparent)]
    LeaseLost(StoreError),
    /// No retry will mend it.
    #[error("{0}")]
    Broke(String),
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost { .. } => Self::LeaseLost(error),
            StoreError::Database { .. } => Self::Later {
                why: error.to_string(),
                after: Duration::from_secs(30),
                attempt: Attempt::DoesNotCount,
            },
            StoreError::IllegalTransition { .. } | StoreError::Unreadable { .. } => {
                Self::Broke(error.to_string())
            }
        }
    }
}

/// One worker: takes a job at a time.
pub struct Worker {
    parts: WorkerContext,
    name: String,
}

impl Worker {
    /// A worker with a name for leases and logs.
    pub fn new(parts: WorkerContext, name: impl Into<String>) -> Self {
        Self { parts, name: name.into() }
    }

    /// Works until `shutdown`. A job under way then is put back at once: the next worker goes on
    /// from its last checkpoint.
    pub async fn run(&self, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            // Ask to be woken before looking, so that a job recorded in between is not slept over.
            let woken = self.parts.wake.notified();
            match self.step(shutdown).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep(POLL) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
                Err(problem) => {
                    error!(%problem, "the worker cannot reach its store; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(POLL) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Takes one job, if there is one, and works on it until it ends, is put back, or is lost.
    pub async fn step(&self, shutdown: &CancellationToken) -> Result<Option<JobId>, StoreError> {
        let now = (self.parts.clock)();
        let Some(claim) = self.parts.store.claim(&self.name, lease_end(now), now).await? else {
            return Ok(None);
        };
        let id = claim.job.id;
        let span = info_span!("job", job.id = %id, repo = %claim.job.trigger.repository.name,
            issue = %claim.job.trigger.issue.number, attempt = claim.attempt);
        Box::pin(self.work(claim, shutdown)).instrument(span).await;
        Ok(Some(id))
    }

    async fn work(&self, claim: Claim, shutdown: &CancellationToken) {
        let journal = Journal::new(self.parts.store.clone(), claim.clone(), self.parts.clock);
        info!("job claimed");
        let committed = AtomicBool::new(publication::is_published(&journal).await);
        let ended = tokio::select! {
            ended = AssertUnwindSafe(Box::pin(self.attempt(&journal, &committed))).catch_unwind() => {
                ended.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
            }
            stopped = lease::keep(&self.parts, &claim, &committed) => match stopped {
                lease::Stopped::Cancelled(why) => self.called_off(&journal, why).await,
                lease::Stopped::Lost(error) => Err(JobError::LeaseLost(error)),
            },
            () = shutdown.cancelled() => Err(JobError::Later {
                why: "the service is shutting down".to_owned(),
                after: Duration::ZERO,
                attempt: Attempt::DoesNotCount,
            }),
        };
        let settled = match ended {
            Ok(outcome) => {
                info!(?outcome, "job ended");
                Ok(())
            }
            Err(JobError::Later { why, .. }) if self.too_old(&journal).await => {
                let why = format!("it could not be done for {} hours: {why}", PATIENCE.as_secs() / 3600);
                self.give_up(&journal, why).await
            }
            Err(JobError::Later { why, after, attempt }) => {
                warn!(why, seconds = after.as_secs(), "job put back");
                let until = (self.parts.clock)() + SignedDuration::try_from(after).unwrap_or_default();
                self.parts.store.release(&claim, until, attempt).await
            }
            Err(JobError::LeaseLost(error)) => {
                warn!(%error, "job lost to another worker");
                Ok(())
            }
            Err(JobError::Broke(why)) => self.give_up(&journal, why).await,
        };
        if let Err(error) = settled {
            error!(%error, "the job's end could not be recorded; its lease will run out");
        }
    }

    /// Whether the world has had its time to become ready.
    async fn too_old(&self, journal: &Journal) -> bool {
        let since = approval::taken_up_at(journal).await.unwrap_or(journal.job().created_at);
        let age = (self.parts.clock)().duration_since(since);
        age > SignedDuration::try_from(PATIENCE).unwrap_or_default()
    }

    async fn give_up(&self, journal: &Journal, why: String) -> Result<(), StoreError> {
        error!(why, "job failed");
        charge_unrecorded_call(journal).await?;
        publication::report_failure(&self.parts, journal, &why).await;
        let outcome = JobOutcome::Failed { why };
        journal.append(&[TranscriptEvent::Ended { outcome }]).await
    }

    async fn attempt(&self, journal: &Journal, committed: &AtomicBool) -> Result<JobOutcome, JobError> {
        if journal.claim().attempt > ATTEMPTS_MAX {
            return Err(JobError::Broke(format!(
                "the worker died {ATTEMPTS_MAX} times at this job; it is not tried again"
            )));
        }
        Box::pin(pipeline::run(&self.parts, journal, committed)).await
    }

    async fn called_off(&self, journal: &Journal, why: String) -> Result<JobOutcome, JobError> {
        charge_unrecorded_call(journal).await?;
        let outcome = JobOutcome::Cancelled { why };
        publication::report_end(&self.parts, journal, &outcome).await;
        journal.append(&[TranscriptEvent::Ended { outcome: outcome.clone() }]).await?;
        Ok(outcome)
    }
}

/// A job that runs into a defect of ours is tried again later: what it has recorded is sound, and the
/// worker goes on with other jobs.
fn panicked(panic: &(dyn Any + Send)) -> JobError {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
    let words = words.unwrap_or_else(|| "no words".to_owned());
    JobError::Later {
        why: format!("a defect of Mendwright's own: {words}"),
        after: PANIC_PAUSE,
        attempt: Attempt::Counts,
    }
}

fn lease_end(now: Timestamp) -> Timestamp {
    now + SignedDuration::try_from(LEASE).unwrap_or_default()
}
