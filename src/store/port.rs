//! The port to the database: deliveries, jobs, transcripts, the effects ledger, model calls. [`Store`] says what a
//! store does, and the constants and functions beside it are the rules that each store applies and none decides.
//! `src/store/tests.rs` checks both, for every store.
//!
//! Every write for a job carries the job's [`Claim`] and fails once another worker has claimed the job: the
//! epoch is the fencing token.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    DailyCapReached, DailyCaps, DeliveryId, IllegalTransition, InstallationId, IssueNumber, Job, JobId,
    JobState, JobTransition, Lane, Login, NewDelivery, PullRequestNumber, QueuedRequest, RecordedEvent,
    RepositoryId, ReviewRequest, SetupRecipe, Sha, StoredEvent, TranscriptEvent, WorstCase,
};

/// How long a payload counts once: longer than GitHub redelivers.
pub const PAYLOAD_COUNTS_ONCE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Answered requests, and deliveries, that are kept at most, however young they are.
pub const KEPT_ROWS_MAX: u32 = 100_000;

/// Commands that people who are not known to belong to a repository can give there within an hour. Each may cost a
/// question to GitHub.
pub const STRANGERS_PER_HOUR_MAX: u32 = 20;

/// A worker's lease of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The job as it was when claimed.
    pub job: Job,
    /// The worker.
    pub worker: String,
    /// The fencing token: it grows with every claim of this job.
    pub epoch: i64,
    /// How often the job was claimed, without the claims that were given back. More than one means that a
    /// worker died.
    pub attempt: u32,
}

impl Claim {
    /// The state of the claimed job after `events` were appended, which follow `state`.
    ///
    /// # Errors
    /// The state does not allow the job to end so.
    pub fn state_after(&self, state: JobState, events: &[TranscriptEvent]) -> Result<JobState, StoreError> {
        events.iter().try_fold(state, |state, event| match event {
            TranscriptEvent::StateChanged { state } => Ok(*state),
            TranscriptEvent::Ended { outcome } => state
                .after(outcome.step())
                .map_err(|source| StoreError::IllegalTransition { job: self.job.id, source }),
            _ => Ok(state),
        })
    }
}

/// The transition by which an ended job resumes that `event` resumes.
pub fn resuming_transition(event: &TranscriptEvent) -> JobTransition {
    match event {
        TranscriptEvent::Released { .. } => JobTransition::Released,
        TranscriptEvent::PublicationRetried { .. } => JobTransition::PublicationRetried,
        _ => JobTransition::Resumed,
    }
}

/// The plan that is used for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedPlan {
    /// Tells it from the repository's other plans, at any commit.
    pub identity: String,
    /// Its commands, if the setup agent found it: nothing in the repository says them.
    pub recipe: Option<SetupRecipe>,
}

/// Whether a released attempt counts towards the limit of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It counts: something failed that may fail again.
    Counts,
    /// It does not count: something outside was not ready.
    DoesNotCount,
}

/// The result of recording a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryRecorded {
    /// A job was created.
    Job(JobId),
    /// The issue has an unfinished job already.
    AlreadyActive(JobId),
    /// This number of jobs was cancelled.
    Cancelled(u32),
    /// A command was queued.
    RequestQueued,
    /// It was recorded and requests nothing.
    Ignored,
    /// It was recorded and is not carried out: people who are not known to belong to the repository gave too many
    /// commands within the hour.
    TooMany,
    /// It was recorded before; nothing changed.
    Duplicate,
}

impl DeliveryRecorded {
    /// The job that the delivery is about.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Job(id) | Self::AlreadyActive(id) => Some(*id),
            Self::Cancelled(_) | Self::RequestQueued | Self::Ignored | Self::TooMany | Self::Duplicate => {
                None
            }
        }
    }

    /// Its name in the log. It stays when a variant is renamed, since operators search for it.
    pub fn log_name(&self) -> String {
        match self {
            Self::RequestQueued => "Asked".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

/// A request that waits to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRequest {
    /// The delivery that it came with.
    pub id: String,
    /// The request.
    pub request: QueuedRequest,
    /// When it was recorded.
    pub received_at: Timestamp,
    /// Whether its author may not make it, and was not told so yet.
    pub is_refused: bool,
}

/// The state of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectState {
    /// It is done; the text says where it is.
    Done(String),
    /// It was begun now, or by a worker that died: check whether it exists before doing it.
    InProgress,
}

/// The result of resuming an ended job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeOutcome {
    /// The job is due.
    Resumed,
    /// The job's state does not allow it (any more).
    NotResumable,
    /// Its issue has another unfinished job.
    Conflict,
}

/// A reserved model call without a recorded cost: it is in progress, or its worker died.
#[derive(Debug, Clone, PartialEq)]
pub struct UnsettledCall {
    /// The model.
    pub model: String,
    /// Its worst-case cost.
    pub worst: WorstCase,
}

/// An operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another worker has the job now: stop immediately and write nothing.
    #[error("job {job}: the lease of epoch {epoch} was lost to another worker")]
    LeaseLost {
        /// The job.
        job: JobId,
        /// The epoch that is no longer valid.
        epoch: i64,
    },
    /// The job's state does not allow this end. This is a bug of ours, and nothing is written.
    #[error("job {job}: {source}")]
    IllegalTransition {
        /// The job.
        job: JobId,
        /// The state and the transition.
        #[source]
        source: IllegalTransition,
    },
    /// The database failed: full disk, locked for too long, damaged.
    #[error("database error at {location} while {action}: {detail}")]
    Database {
        /// Path or address, without credentials.
        location: String,
        /// What was attempted.
        action: &'static str,
        /// The driver's message.
        detail: String,
    },
    /// What was read cannot be understood: written by a newer version, or damaged.
    #[error("the store at {location} holds a {what} that cannot be read: {detail}")]
    Unreadable {
        /// Path or address.
        location: String,
        /// What kind of row.
        what: &'static str,
        /// Why.
        detail: String,
    },
}

/// The database.
#[async_trait]
pub trait Store: Send + Sync {
    /// Records a delivery and what it asks for, in one transaction. When this returns, it is on
    /// disk. A payload counts once for [`PAYLOAD_COUNTS_ONCE`], whatever the id of its delivery: that is not signed.
    /// Of strangers, [`STRANGERS_PER_HOUR_MAX`] commands are recorded.
    ///
    /// An issue has one unfinished job. A label for it answers `AlreadyActive`; while that job is being cancelled, a
    /// label that is newer than the cancellation is kept, and starts the next job when that one has ended. A removed
    /// label, a closed issue and the like cancel the job: the first reason stays, and a label that was kept is
    /// dropped. Every store passes `src/store/tests.rs`.
    async fn record_delivery(
        &self,
        delivery: &NewDelivery,
        now: Timestamp,
    ) -> Result<DeliveryRecorded, StoreError>;

    /// Fails if the database cannot be written, for example because its disk is full.
    async fn check_writable(&self) -> Result<(), StoreError>;

    /// Whether a delivery was recorded.
    async fn has_delivery(&self, id: &DeliveryId) -> Result<bool, StoreError>;

    /// The newest job of an issue.
    async fn latest_job(
        &self,
        repository: RepositoryId,
        issue: IssueNumber,
    ) -> Result<Option<Job>, StoreError>;

    /// Takes the oldest job that is due and that no live lease holds.
    async fn claim(
        &self,
        worker: &str,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Claim>, StoreError>;

    /// Ends every lease. Only for a process that knows that no other works on this store: it has
    /// just started and holds the data directory's lock. Returns how many there were.
    async fn expire_stale_leases(&self) -> Result<u64, StoreError>;

    /// Extends the lease. Returns the reason when the job was told to stop.
    async fn heartbeat(&self, claim: &Claim, lease_until: Timestamp) -> Result<Option<String>, StoreError>;

    /// Gives the job back, to be claimed again from `available_at` on.
    async fn release(
        &self,
        claim: &Claim,
        available_at: Timestamp,
        attempt: Attempt,
    ) -> Result<(), StoreError>;

    /// Appends to the job's transcript; all or none. `StateChanged` and `Ended` change the job's
    /// row, as [`Claim::state_after`] says, and an event with a cost settles the call that was set aside, in the
    /// same transaction.
    async fn append(
        &self,
        claim: &Claim,
        events: &[TranscriptEvent],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The job's transcript, in order.
    async fn transcript(&self, job: JobId) -> Result<Vec<RecordedEvent>, StoreError>;

    /// The job's transcript, in order, as it was written.
    async fn transcript_text(&self, job: JobId) -> Result<Vec<StoredEvent>, StoreError>;

    /// The jobs whose id begins with `prefix`, at most two: enough to tell whether it is unique.
    async fn jobs_with_prefix(&self, prefix: &str) -> Result<Vec<Job>, StoreError>;

    /// The installations whose queues of this kind have a request that is due, the one with the oldest first.
    async fn installations_with_pending_requests(
        &self,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Vec<InstallationId>, StoreError>;

    /// The requests in one of an installation's queues that are due, the oldest first; refused ones come last. One
    /// process carries them out.
    async fn pending_requests(
        &self,
        installation: InstallationId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<PendingRequest>, StoreError>;

    /// Records that a request is refused. It stays in its queue, behind all others, until its author was told.
    async fn refuse_request(&self, id: &str) -> Result<(), StoreError>;

    /// Records the result of a request and takes it out of its queue.
    async fn complete_request(&self, id: &str, result: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Deletes answered requests and recorded deliveries from before this time, and the oldest if there are more
    /// than [`KEPT_ROWS_MAX`]. Returns their number.
    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Makes a request due later.
    async fn defer_request(&self, id: &str, until: Timestamp) -> Result<(), StoreError>;

    /// Records that no request may be sent to GitHub for an installation before `until`. A longer pause
    /// that is known stays.
    async fn save_rate_limit(&self, installation: InstallationId, until: Timestamp)
    -> Result<(), StoreError>;

    /// The pauses that are not over, by installation.
    async fn rate_limits(&self, now: Timestamp) -> Result<Vec<(InstallationId, Timestamp)>, StoreError>;

    /// The job that opened a pull request, whatever became of it since.
    async fn job_of_pull_request(
        &self,
        repository: RepositoryId,
        number: PullRequestNumber,
    ) -> Result<Option<Job>, StoreError>;

    /// A job.
    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Jobs, newest first.
    async fn jobs(&self, limit: u32) -> Result<Vec<Job>, StoreError>;

    /// Resumes a job whose verified change waits for approval, if that change is the commit `head`, for it to
    /// be published: at most once for each time that it waits. Recorded in its transcript.
    async fn resume_approved(
        &self,
        job: JobId,
        head: &Sha,
        by: &Login,
        now: Timestamp,
    ) -> Result<ResumeOutcome, StoreError>;

    /// Resumes an ended job, for another round or to publish its verified change again, as
    /// [`resuming_transition`] of `resumed` says, and completes the requests with these ids: all of it or nothing.
    async fn resume(
        &self,
        job: JobId,
        resumed: TranscriptEvent,
        requests: &[&str],
        now: Timestamp,
    ) -> Result<ResumeOutcome, StoreError>;

    /// The review requests of a pull request that no revision has used, the oldest first, each with its
    /// id.
    async fn pending_reviews(
        &self,
        repository: RepositoryId,
        pull_request: PullRequestNumber,
    ) -> Result<Vec<(String, ReviewRequest)>, StoreError>;

    /// Keeps the manifest of what a round proposes, unless there is one already, and returns what is
    /// kept.
    async fn save_manifest(
        &self,
        claim: &Claim,
        round: u32,
        manifest: &str,
        now: Timestamp,
    ) -> Result<String, StoreError>;

    /// The manifest of a job's last proposal.
    async fn manifest(&self, job: JobId) -> Result<Option<String>, StoreError>;

    /// Keeps the plan that is used for a repository, in place of what was kept before.
    async fn remember_plan(
        &self,
        repository: RepositoryId,
        plan: &RememberedPlan,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The plan that was last used for a repository; `None`: none was.
    async fn remembered_plan(&self, repository: RepositoryId) -> Result<Option<RememberedPlan>, StoreError>;

    /// Says that an effect is about to take place, unless it already has.
    async fn begin_effect(
        &self,
        claim: &Claim,
        kind: &str,
        now: Timestamp,
    ) -> Result<EffectState, StoreError>;

    /// Says that an effect took place, and where to find it.
    async fn finish_effect(
        &self,
        claim: &Claim,
        kind: &str,
        reference: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Jobs that no worker has taken yet and of which no effect of `kind` is done, the oldest first; some.
    async fn unacknowledged_jobs(&self, kind: &str) -> Result<Vec<Job>, StoreError>;

    /// Says that an effect took place, without a claim: only for what may be done twice.
    async fn record_effect(
        &self,
        job: &Job,
        kind: &str,
        reference: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Sets aside what the job's next model call can cost at most, if every cap has room for it:
    /// looked at and written in one transaction, so that no two jobs take the same room. From then
    /// on it counts as spent, until [`append`](Self::append) records the event that says what the
    /// call did cost, or [`cancel_call`](Self::cancel_call) says that it cost nothing. A call whose
    /// worker dies goes on counting as the most that it can have cost. A job has one call at a time.
    async fn reserve_call(
        &self,
        claim: &Claim,
        model: &str,
        worst: WorstCase,
        caps: &DailyCaps,
        now: Timestamp,
    ) -> Result<Result<(), DailyCapReached>, StoreError>;

    /// Gives back what was set aside: certainly nothing was billed.
    async fn cancel_call(&self, claim: &Claim) -> Result<(), StoreError>;

    /// The job's call whose cost is not known, if there is one.
    async fn unsettled_call(&self, job: JobId) -> Result<Option<UnsettledCall>, StoreError>;

    /// Whether a call of this job would find room now. Sets nothing aside.
    async fn fits_daily_caps(
        &self,
        job: &Job,
        worst: WorstCase,
        caps: &DailyCaps,
        now: Timestamp,
    ) -> Result<Result<(), DailyCapReached>, StoreError>;
}
