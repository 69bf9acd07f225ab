//! The store on SQLite: one file with a write-ahead log and `synchronous=FULL`, so that everything that
//! was reported as recorded survives a power failure.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row, Sqlite, SqlitePool, Transaction};

use self::rows::{JOB_COLUMNS, milliseconds};
use super::{
    Attempt, Claim, DeliveryRecorded, EffectState, PendingRequest, RememberedPlan, ResumeOutcome, Store,
    StoreError, UnsettledCall,
};
use crate::domain::{
    DailyCapReached, DailyCaps, DeliveryId, DeliveryRequest, InstallationId, IssueNumber, Job, JobId,
    JobState, Lane, Login, NewDelivery, PullRequestNumber, RecordedEvent, RepositoryId, ReviewRequest, Sha,
    StoredEvent, TranscriptEvent, WorstCase,
};

mod calls;
mod effects;
mod issues;
mod manifests;
mod migrations;
mod opening;
mod plans;
mod pruning;
mod rate_limits;
mod request_queue;
mod rows;
#[cfg(test)]
mod tests;
mod transcript;

/// The store on SQLite.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
    location: PathBuf,
}

pub(super) type Tx = Transaction<'static, Sqlite>;

impl SqliteStore {
    pub(super) fn failed(&self, action: &'static str) -> impl Fn(sqlx::Error) -> StoreError + '_ {
        move |error| database_error(&self.location, action, &error)
    }

    pub(super) fn unreadable(&self, what: &'static str) -> impl Fn(String) -> StoreError + '_ {
        move |detail| StoreError::Unreadable { location: self.location.display().to_string(), what, detail }
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// A transaction that holds the write lock from its start, so that what it reads stays valid.
    pub(super) async fn write(&self) -> Result<Tx, StoreError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(self.failed("beginning to write"))
    }

    /// The state of the claimed job. Fails unless the job is unfinished and still has the claim's epoch.
    pub(super) async fn fence(&self, tx: &mut Tx, claim: &Claim) -> Result<JobState, StoreError> {
        let held = sqlx::query("SELECT state FROM jobs WHERE id = $1 AND epoch = $2 AND is_final = 0")
            .bind(claim.job.id.to_string())
            .bind(claim.epoch)
            .fetch_optional(&mut **tx)
            .await
            .map_err(self.failed("checking a lease"))?
            .ok_or(StoreError::LeaseLost { job: claim.job.id, epoch: claim.epoch })?;
        let name: String = held.try_get("state").map_err(self.failed("checking a lease"))?;
        JobState::from_name(&name).ok_or_else(|| self.unreadable("job")(format!("column state: {name:?}")))
    }
}

/// The driver's error as the port's own: callers never see the driver.
fn database_error(location: &Path, action: &'static str, error: &sqlx::Error) -> StoreError {
    StoreError::Database { location: location.display().to_string(), action, detail: error.to_string() }
}

/// GitHub's ids and our counts are far below 2^63; a larger number is stored as the largest.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for SqliteStore {
    async fn record_delivery(
        &self,
        delivery: &NewDelivery,
        now: Timestamp,
    ) -> Result<DeliveryRecorded, StoreError> {
        let mut tx = self.write().await?;
        let seen = sqlx::query("SELECT 1 FROM deliveries WHERE id = $1")
            .bind(delivery.id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(self.failed("looking up a delivery"))?;
        if seen.is_some() || self.has_payload(&mut tx, delivery, now).await? {
            return Ok(DeliveryRecorded::Duplicate);
        }
        let recorded = match &delivery.request {
            None => DeliveryRecorded::Ignored,
            Some(DeliveryRequest::Start(trigger)) => self.start_job(&mut tx, trigger, now).await?,
            Some(DeliveryRequest::Cancel { repository, issue, why, at }) => {
                self.cancel_job(&mut tx, repository.id, *issue, why, *at, now).await?
            }
            Some(DeliveryRequest::CancelBranch { repository, branch, why, at }) => {
                self.cancel_branch(&mut tx, repository.id, branch, why, *at, now).await?
            }
            Some(DeliveryRequest::Queue(request)) => {
                self.queue_request(&mut tx, delivery.id.as_str(), request, now).await?
            }
        };
        let request = delivery
            .request
            .as_ref()
            .filter(|_| recorded != DeliveryRecorded::TooMany)
            .map(|request| serde_json::to_string(request).expect("a request has only string keys"));
        sqlx::query(
            "INSERT INTO deliveries (id, event, action, payload_sha256, request_json, job_id, received_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(delivery.id.as_str())
        .bind(&delivery.event)
        .bind(&delivery.action)
        .bind(&delivery.payload_sha256)
        .bind(request)
        .bind(recorded.job().map(|id| id.to_string()))
        .bind(milliseconds(now))
        .execute(&mut *tx)
        .await
        .map_err(self.failed("recording a delivery"))?;
        tx.commit().await.map_err(self.failed("recording a delivery"))?;
        Ok(recorded)
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        let failed = || self.failed("checking that it can be written");
        let mut tx = self.write().await?;
        let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *tx).await.map_err(failed())?;
        let version: i64 = row.try_get(0).map_err(failed())?;
        // The same number again: SQLite writes it all the same.
        let sql = format!("PRAGMA user_version = {version}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await.map_err(failed())?;
        tx.commit().await.map_err(failed())
    }

    async fn has_delivery(&self, id: &DeliveryId) -> Result<bool, StoreError> {
        let seen = sqlx::query("SELECT 1 FROM deliveries WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(self.failed("looking up a delivery"))?;
        Ok(seen.is_some())
    }

    async fn latest_job(
        &self,
        repository: RepositoryId,
        issue: IssueNumber,
    ) -> Result<Option<Job>, StoreError> {
        self.newest_job(&self.pool, repository, issue).await
    }

    async fn claim(
        &self,
        worker: &str,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        let mut tx = self.write().await?;
        let sql = format!(
            "UPDATE jobs SET lease_owner = $1, lease_until = $2, epoch = epoch + 1, attempts = attempts + 1
             WHERE id = (SELECT id FROM jobs WHERE is_final = 0 AND available_at <= $3 AND lease_until <= $3
                         ORDER BY available_at, created_at, id LIMIT 1)
             RETURNING {JOB_COLUMNS}, epoch, attempts"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(worker)
            .bind(milliseconds(lease_until))
            .bind(milliseconds(now))
            .fetch_optional(&mut *tx)
            .await
            .map_err(self.failed("claiming a job"))?;
        tx.commit().await.map_err(self.failed("claiming a job"))?;
        let Some(row) = row else { return Ok(None) };
        let attempts: i64 = row.try_get("attempts").map_err(self.failed("claiming a job"))?;
        Ok(Some(Claim {
            job: rows::job(&row).map_err(self.unreadable("job"))?,
            worker: worker.to_owned(),
            epoch: row.try_get("epoch").map_err(self.failed("claiming a job"))?,
            attempt: u32::try_from(attempts).unwrap_or(u32::MAX),
        }))
    }

    async fn expire_stale_leases(&self) -> Result<u64, StoreError> {
        let ended = sqlx::query("UPDATE jobs SET lease_until = 0 WHERE is_final = 0 AND lease_until > 0")
            .execute(&self.pool)
            .await
            .map_err(self.failed("expiring old leases"))?;
        Ok(ended.rows_affected())
    }

    async fn heartbeat(&self, claim: &Claim, lease_until: Timestamp) -> Result<Option<String>, StoreError> {
        let row = sqlx::query(
            "UPDATE jobs SET lease_until = $3 WHERE id = $1 AND epoch = $2 AND is_final = 0
             RETURNING cancel_why",
        )
        .bind(claim.job.id.to_string())
        .bind(claim.epoch)
        .bind(milliseconds(lease_until))
        .fetch_optional(&self.pool)
        .await
        .map_err(self.failed("extending a lease"))?;
        let row = row.ok_or(StoreError::LeaseLost { job: claim.job.id, epoch: claim.epoch })?;
        row.try_get("cancel_why").map_err(self.failed("extending a lease"))
    }

    async fn release(
        &self,
        claim: &Claim,
        available_at: Timestamp,
        attempt: Attempt,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        self.fence(&mut tx, claim).await?;
        sqlx::query(
            "UPDATE jobs SET lease_owner = NULL, lease_until = 0, available_at = $2,
                 attempts = attempts - $3 WHERE id = $1",
        )
        .bind(claim.job.id.to_string())
        .bind(milliseconds(available_at))
        .bind(i64::from(attempt == Attempt::DoesNotCount))
        .execute(&mut *tx)
        .await
        .map_err(self.failed("releasing a job"))?;
        tx.commit().await.map_err(self.failed("releasing a job"))
    }

    async fn append(
        &self,
        claim: &Claim,
        events: &[TranscriptEvent],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        let state = self.fence(&mut tx, claim).await?;
        claim.state_after(state, events)?;
        let row = sqlx::query("SELECT COALESCE(MAX(sequence), 0) AS last FROM events WHERE job_id = $1")
            .bind(claim.job.id.to_string())
            .fetch_one(&mut *tx)
            .await
            .map_err(self.failed("appending to a transcript"))?;
        let last: i64 = row.try_get("last").map_err(self.failed("appending to a transcript"))?;
        for (sequence, event) in (last + 1..).zip(events) {
            self.append_one(&mut tx, claim, sequence, event, now).await?;
        }
        tx.commit().await.map_err(self.failed("appending to a transcript"))
    }

    async fn transcript(&self, job: JobId) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = self.event_rows(job).await?;
        rows.iter().map(|row| rows::recorded(row).map_err(self.unreadable("transcript event"))).collect()
    }

    async fn transcript_text(&self, job: JobId) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = self.event_rows(job).await?;
        rows.iter().map(|row| rows::recorded_text(row).map_err(self.unreadable("transcript event"))).collect()
    }

    async fn jobs_with_prefix(&self, prefix: &str) -> Result<Vec<Job>, StoreError> {
        let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE SUBSTR(id, 1, $1) = $2 LIMIT 2");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(i64::try_from(prefix.len()).unwrap_or(i64::MAX))
            .bind(prefix)
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("looking up a job"))?;
        rows.iter().map(|row| rows::job(row).map_err(self.unreadable("job"))).collect()
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!("SELECT {JOB_COLUMNS} FROM jobs WHERE id = $1")))
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(self.failed("reading a job"))?;
        row.map(|row| rows::job(&row).map_err(self.unreadable("job"))).transpose()
    }

    async fn save_rate_limit(
        &self,
        installation: InstallationId,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.write_rate_limit(installation, until).await
    }

    async fn rate_limits(&self, now: Timestamp) -> Result<Vec<(InstallationId, Timestamp)>, StoreError> {
        self.read_rate_limits(now).await
    }

    async fn installations_with_pending_requests(
        &self,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Vec<InstallationId>, StoreError> {
        self.installations_in_queue(lane, now).await
    }

    async fn pending_requests(
        &self,
        installation: InstallationId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<PendingRequest>, StoreError> {
        self.requests_in_queue(installation, lane, now, limit).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.delete_old(before).await
    }

    async fn refuse_request(&self, id: &str) -> Result<(), StoreError> {
        self.mark_request_refused(id).await
    }

    async fn complete_request(&self, id: &str, result: &str, now: Timestamp) -> Result<(), StoreError> {
        self.end_request(&self.pool, id, result, now).await
    }

    async fn defer_request(&self, id: &str, until: Timestamp) -> Result<(), StoreError> {
        self.put_request_off(id, until).await
    }

    async fn job_of_pull_request(
        &self,
        repository: RepositoryId,
        number: PullRequestNumber,
    ) -> Result<Option<Job>, StoreError> {
        self.read_job_of_pull_request(repository, number).await
    }

    async fn resume_approved(
        &self,
        job: JobId,
        head: &Sha,
        by: &Login,
        now: Timestamp,
    ) -> Result<ResumeOutcome, StoreError> {
        let mut tx = self.write().await?;
        if self.held_commit(&mut tx, job).await?.as_ref() != Some(head) {
            return Ok(ResumeOutcome::NotResumable);
        }
        let event = TranscriptEvent::Released { by: by.clone() };
        let released = self.resume_job(&mut tx, job, event, now).await?;
        tx.commit().await.map_err(self.failed("resuming a job after approval"))?;
        Ok(released)
    }

    async fn resume(
        &self,
        job: JobId,
        resumed: TranscriptEvent,
        requests: &[&str],
        now: Timestamp,
    ) -> Result<ResumeOutcome, StoreError> {
        let mut tx = self.write().await?;
        let taken = self.resume_job(&mut tx, job, resumed, now).await?;
        if taken == ResumeOutcome::Resumed {
            for id in requests {
                self.end_request(&mut *tx, id, "a round", now).await?;
            }
        }
        tx.commit().await.map_err(self.failed("resuming a job"))?;
        Ok(taken)
    }

    async fn pending_reviews(
        &self,
        repository: RepositoryId,
        pull_request: PullRequestNumber,
    ) -> Result<Vec<(String, ReviewRequest)>, StoreError> {
        self.reviews_in_queue(repository, IssueNumber(pull_request.0)).await
    }

    async fn jobs(&self, limit: u32) -> Result<Vec<Job>, StoreError> {
        let sql = format!("SELECT {JOB_COLUMNS} FROM jobs ORDER BY created_at DESC, id DESC LIMIT $1");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(self.failed("listing jobs"))?;
        rows.iter().map(|row| rows::job(row).map_err(self.unreadable("job"))).collect()
    }

    async fn save_manifest(
        &self,
        claim: &Claim,
        round: u32,
        manifest: &str,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        self.write_manifest(claim, round, manifest, now).await
    }

    async fn manifest(&self, job: JobId) -> Result<Option<String>, StoreError> {
        self.read_manifest(job).await
    }

    async fn remember_plan(
        &self,
        repository: RepositoryId,
        plan: &RememberedPlan,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write_plan(repository, plan, now).await
    }

    async fn remembered_plan(&self, repository: RepositoryId) -> Result<Option<RememberedPlan>, StoreError> {
        self.read_plan(repository).await
    }

    async fn unacknowledged_jobs(&self, kind: &str) -> Result<Vec<Job>, StoreError> {
        self.read_unacknowledged_jobs(kind).await
    }

    async fn record_effect(
        &self,
        job: &Job,
        kind: &str,
        reference: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write_effect(job, kind, reference, now).await
    }

    async fn begin_effect(
        &self,
        claim: &Claim,
        kind: &str,
        now: Timestamp,
    ) -> Result<EffectState, StoreError> {
        self.write_effect_begin(claim, kind, now).await
    }

    async fn finish_effect(
        &self,
        claim: &Claim,
        kind: &str,
        reference: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write_effect_end(claim, kind, reference, now).await
    }

    async fn reserve_call(
        &self,
        claim: &Claim,
        model: &str,
        worst: WorstCase,
        caps: &DailyCaps,
        now: Timestamp,
    ) -> Result<Result<(), DailyCapReached>, StoreError> {
        self.write_reservation(claim, model, worst, caps, now).await
    }

    async fn cancel_call(&self, claim: &Claim) -> Result<(), StoreError> {
        self.delete_reservation(claim).await
    }

    async fn unsettled_call(&self, job: JobId) -> Result<Option<UnsettledCall>, StoreError> {
        self.read_unsettled_call(job).await
    }

    async fn fits_daily_caps(
        &self,
        job: &Job,
        worst: WorstCase,
        caps: &DailyCaps,
        now: Timestamp,
    ) -> Result<Result<(), DailyCapReached>, StoreError> {
        let mut tx = self.pool.begin().await.map_err(self.failed("beginning to read"))?;
        self.check_daily_caps(&mut tx, job, worst, caps, now).await
    }
}
