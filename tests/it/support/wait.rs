//! Waiting for a state: in the store, at the emulated GitHub, or at the emulated model. Never for a log
//! line, and never for a time.

use std::time::Duration;

use mendwright::domain::{Job, JobId, JobOutcome, RecordedEvent, TranscriptEvent};
use mendwright::store::{SqliteStore, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::World;

/// A story that waits longer than this has failed. It is far more than a busy machine needs.
pub const WAIT_MAX: Duration = Duration::from_secs(120);

/// Between two looks at a state.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `holds`. Panics with what `state` says otherwise.
pub async fn eventually(
    what: &str,
    mut holds: impl AsyncFnMut() -> bool,
    state: impl AsyncFnOnce() -> String,
) {
    let waited = tokio::time::timeout(WAIT_MAX, async {
        while !holds().await {
            tokio::time::sleep(POLL).await;
        }
    });
    if waited.await.is_err() {
        panic!("never happened: {what}\n{}", state().await);
    }
}

impl World {
    /// Waits for a comment on the issue that contains `text`. Returns all comments.
    pub async fn until_comment(&self, text: &str) -> String {
        let is_there = |world: &Self| world.comments().iter().any(|comment| comment.contains(text));
        self.until(text, is_there).await;
        self.comments().join("\n")
    }

    /// Waits until `holds`.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        eventually(what, async || holds(self), async || self.describe().await).await;
    }

    /// Waits until jobs have ended so many times. A job that is resumed ends again.
    pub async fn jobs_ended(&self, times: i64) {
        self.until_stored(times, "jobs ended", ENDS).await;
    }

    /// Waits until so many commands, reviews and failed checks have been handled.
    pub async fn commands_handled(&self, count: i64) {
        self.until_stored(count, "commands were handled", COMMANDS_HANDLED).await;
    }

    /// Waits until a job has been postponed, for instance for a rate limit.
    pub async fn job_postponed(&self) {
        self.until_stored(1, "a job was postponed", POSTPONED_JOBS).await;
    }

    /// Waits until a command has been postponed.
    pub async fn command_postponed(&self) {
        self.until_stored(1, "a command was postponed", POSTPONED_COMMANDS).await;
    }

    /// Whether a command has been postponed and waits.
    pub async fn is_command_postponed(&self) -> bool {
        let pool = self.pool().await;
        let count = self.count(&pool, POSTPONED_COMMANDS).await;
        pool.close().await;
        count > 0
    }

    /// Waits until so many reactions to labels are recorded as sent, so that a restart does not send them again.
    pub async fn jobs_acknowledged(&self, count: i64) {
        self.until_stored(count, "reactions were recorded", ACKNOWLEDGED).await;
    }

    /// Waits until there are so many jobs.
    pub async fn jobs_created(&self, count: i64) {
        self.until_stored(count, "jobs were created", JOBS).await;
    }

    /// Waits until the model was asked so many times. Where a story goes on from there, the answer to
    /// that question stalls or is held.
    pub async fn model_asked(&self, times: usize) {
        let asked = |world: &Self| world.provider.request_count() >= times;
        self.until(&format!("the model is asked {times} times"), asked).await;
    }

    async fn until_stored(&self, count: i64, what: &str, query: &'static str) {
        let pool = self.pool().await;
        let holds = async || self.count(&pool, query).await >= count;
        eventually(&format!("{count} times: {what}"), holds, async || self.describe().await).await;
        pool.close().await;
    }

    /// How often workers have claimed jobs.
    pub async fn claims(&self) -> i64 {
        let pool = self.pool().await;
        let claims = self.count(&pool, CLAIMS).await;
        pool.close().await;
        claims
    }

    async fn count(&self, pool: &SqlitePool, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
    }

    async fn pool(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(self.store_path()).create_if_missing(false);
        SqlitePool::connect_with(options).await.unwrap()
    }

    /// Makes the store of a killed service as it was when the only job, which prepared, had just recorded this event.
    pub async fn rewind_to(&self, event: &str) {
        let pool = self.pool().await;
        let forgotten =
            sqlx::query(FORGET_EVENTS_AFTER).bind(format!("{{\"event\":\"{event}\"%")).execute(&pool).await;
        assert!(forgotten.unwrap().rows_affected() > 0, "nothing followed {event}");
        sqlx::query("UPDATE jobs SET state = 'preparing'").execute(&pool).await.unwrap();
        pool.close().await;
    }

    pub async fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.store_path()).await.unwrap()
    }

    /// The newest job.
    pub async fn newest_job(&self) -> Job {
        let store = self.store().await;
        let job = store.jobs(1).await.unwrap().pop().expect("a job");
        store.close().await;
        job
    }

    /// The newest job's id.
    pub async fn job(&self) -> JobId {
        self.newest_job().await.id
    }

    /// How many jobs there are.
    pub async fn job_count(&self) -> usize {
        let store = self.store().await;
        let count = store.jobs(1_000).await.unwrap().len();
        store.close().await;
        count
    }

    /// What the store holds of the newest job.
    pub async fn transcript(&self) -> Vec<RecordedEvent> {
        let store = self.store().await;
        let transcript = match store.jobs(1).await.unwrap().first() {
            Some(job) => store.transcript(job.id).await.unwrap(),
            None => Vec::new(),
        };
        store.close().await;
        transcript
    }

    /// How the newest job ended, by its transcript.
    pub async fn outcome(&self) -> JobOutcome {
        let transcript = self.transcript().await;
        let last = transcript.into_iter().rev().find_map(|recorded| match recorded.event {
            TranscriptEvent::Ended { outcome } => Some(outcome),
            _ => None,
        });
        last.expect("a job that has ended")
    }

    async fn describe(&self) -> String {
        format!("state: {:#}\nlog: {}", self.repository(), self.log())
    }
}

const ENDS: &str = "SELECT count(*) FROM events WHERE event_json LIKE '{\"event\":\"ended\"%'";
const COMMANDS_HANDLED: &str = "SELECT count(*) FROM asks WHERE done_at IS NOT NULL";
const POSTPONED_JOBS: &str = "SELECT count(*) FROM jobs WHERE epoch > 0 AND is_final = 0 AND lease_owner IS NULL AND available_at > created_at";
const POSTPONED_COMMANDS: &str =
    "SELECT count(*) FROM asks WHERE done_at IS NULL AND available_at > received_at";
const FORGET_EVENTS_AFTER: &str =
    "DELETE FROM events WHERE sequence > (SELECT max(sequence) FROM events WHERE event_json LIKE $1)";
const ACKNOWLEDGED: &str = "SELECT count(*) FROM effects WHERE kind = 'reaction' AND reference IS NOT NULL";
const JOBS: &str = "SELECT count(*) FROM jobs";
const CLAIMS: &str = "SELECT coalesce(sum(epoch), 0) FROM jobs";
