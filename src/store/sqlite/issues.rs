//! An issue's jobs: created, cancelled and resumed, one at a time.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, Sqlite};

use super::rows::{self, JOB_COLUMNS, milliseconds};
use super::{SqliteStore, Tx, signed};
use crate::domain::{
    IssueNumber, Job, JobId, PullRequestNumber, RepositoryId, Sha, TranscriptEvent, Trigger,
};
use crate::store::{Claim, DeliveryRecorded, ResumeOutcome, StoreError, resuming_transition};

impl SqliteStore {
    /// Creates a job for the trigger, unless the issue has an unfinished one.
    pub(super) async fn start_job(
        &self,
        tx: &mut Tx,
        trigger: &Trigger,
        now: Timestamp,
    ) -> Result<DeliveryRecorded, StoreError> {
        let repository = signed(trigger.repository.id.0);
        let issue = signed(trigger.issue.number.0);
        let active = sqlx::query(
            "SELECT id FROM jobs WHERE repository_id = $1 AND issue_number = $2 AND is_final = 0",
        )
        .bind(repository)
        .bind(issue)
        .fetch_optional(&mut **tx)
        .await
        .map_err(self.failed("looking up an active job"))?;
        let trigger_json = serde_json::to_string(trigger).expect("a trigger has only string keys");
        if let Some(row) = active {
            sqlx::query(
                "UPDATE jobs SET restart_json = $3
                 WHERE repository_id = $1 AND issue_number = $2 AND is_final = 0 AND cancel_why IS NOT NULL",
            )
            .bind(repository)
            .bind(issue)
            .bind(&trigger_json)
            .execute(&mut **tx)
            .await
            .map_err(self.failed("saving a trigger for later"))?;
            return Ok(DeliveryRecorded::AlreadyActive(self.job_id(&row)?));
        }
        let latest = self.newest_job(&mut **tx, trigger.repository.id, trigger.issue.number).await?;
        if latest.is_some_and(|job| job.is_for_same_label(trigger)) {
            return Ok(DeliveryRecorded::Duplicate);
        }
        let id = JobId::new();
        sqlx::query(
            "INSERT INTO jobs (id, repository_id, issue_number, generation, trigger_json, state,
                 created_at, updated_at, available_at)
             SELECT $1, $2, $3, COALESCE(MAX(generation), 0) + 1, $4, 'queued', $5, $5, $5
             FROM jobs WHERE repository_id = $2 AND issue_number = $3",
        )
        .bind(id.to_string())
        .bind(repository)
        .bind(issue)
        .bind(trigger_json)
        .bind(milliseconds(now))
        .execute(&mut **tx)
        .await
        .map_err(self.failed("recording a job"))?;
        Ok(DeliveryRecorded::Job(id))
    }

    /// Cancels the issue's unfinished job. If no worker has it, it becomes due, so that a worker ends it.
    pub(super) async fn cancel_job(
        &self,
        tx: &mut Tx,
        repository: RepositoryId,
        issue: IssueNumber,
        why: &str,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<DeliveryRecorded, StoreError> {
        let latest = self.newest_job(&mut **tx, repository, issue).await?;
        if latest.is_some_and(|job| job.trigger.is_later_than(at)) {
            return Ok(DeliveryRecorded::Cancelled(0));
        }
        let changed = sqlx::query(
            "UPDATE jobs SET cancel_why = COALESCE(cancel_why, $3), restart_json = NULL, available_at = $4
             WHERE repository_id = $1 AND issue_number = $2 AND is_final = 0",
        )
        .bind(signed(repository.0))
        .bind(signed(issue.0))
        .bind(why)
        .bind(milliseconds(now))
        .execute(&mut **tx)
        .await
        .map_err(self.failed("cancelling a job"))?;
        Ok(DeliveryRecorded::Cancelled(u32::try_from(changed.rows_affected()).unwrap_or(u32::MAX)))
    }

    /// Cancels the unfinished job of a branch, if there is one.
    pub(super) async fn cancel_branch(
        &self,
        tx: &mut Tx,
        repository: RepositoryId,
        branch: &str,
        why: &str,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<DeliveryRecorded, StoreError> {
        let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE repository_id = $1 AND is_final = 0");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(signed(repository.0))
            .fetch_all(&mut **tx)
            .await
            .map_err(self.failed("looking up a branch's job"))?;
        for row in rows {
            let job = rows::job(&row).map_err(self.unreadable("job"))?;
            if job.branch() == branch {
                let issue = job.trigger.issue.number;
                return self.cancel_job(tx, repository, issue, why, at, now).await;
            }
        }
        Ok(DeliveryRecorded::Cancelled(0))
    }

    /// The commit of a job's change that waits for approval.
    pub(super) async fn held_commit(&self, tx: &mut Tx, id: JobId) -> Result<Option<Sha>, StoreError> {
        let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE id = $1");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string()).fetch_optional(&mut **tx).await;
        let Some(row) = row.map_err(self.failed("reading a job"))? else { return Ok(None) };
        Ok(rows::job(&row).map_err(self.unreadable("job"))?.held_commit().cloned())
    }

    /// Resumes an ended job, which `event` records.
    pub(super) async fn resume_job(
        &self,
        tx: &mut Tx,
        id: JobId,
        event: TranscriptEvent,
        now: Timestamp,
    ) -> Result<ResumeOutcome, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!("SELECT {JOB_COLUMNS} FROM jobs WHERE id = $1")))
            .bind(id.to_string())
            .fetch_optional(&mut **tx)
            .await
            .map_err(self.failed("reading a job"))?;
        let Some(row) = row else { return Ok(ResumeOutcome::NotResumable) };
        let job = rows::job(&row).map_err(self.unreadable("job"))?;
        let Ok(state) = job.state.after(resuming_transition(&event)) else {
            return Ok(ResumeOutcome::NotResumable);
        };
        let active =
            sqlx::query("SELECT 1 FROM jobs WHERE repository_id = $1 AND issue_number = $2 AND is_final = 0")
                .bind(signed(job.trigger.repository.id.0))
                .bind(signed(job.trigger.issue.number.0))
                .fetch_optional(&mut **tx)
                .await
                .map_err(self.failed("looking up an active job"))?;
        if active.is_some() {
            return Ok(ResumeOutcome::Conflict);
        }
        for event in [event, TranscriptEvent::StateChanged { state }] {
            sqlx::query(
                "INSERT INTO events (job_id, sequence, at, event_json)
                 SELECT $1, COALESCE(MAX(sequence), 0) + 1, $2, $3 FROM events WHERE job_id = $1",
            )
            .bind(id.to_string())
            .bind(milliseconds(now))
            .bind(serde_json::to_string(&event).expect("an event has only string keys"))
            .execute(&mut **tx)
            .await
            .map_err(self.failed("recording that a job resumes"))?;
        }
        sqlx::query(
            "UPDATE jobs SET state = $2, is_final = 0, outcome_json = NULL, cancel_why = NULL, restart_json = NULL,
                 attempts = 0, updated_at = $3, available_at = $3, lease_until = 0
             WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(state.name())
        .bind(milliseconds(now))
        .execute(&mut **tx)
        .await
        .map_err(self.failed("resuming a job"))?;
        Ok(ResumeOutcome::Resumed)
    }

    pub(super) async fn newest_job(
        &self,
        connection: impl sqlx::Executor<'_, Database = Sqlite>,
        repository: RepositoryId,
        issue: IssueNumber,
    ) -> Result<Option<Job>, StoreError> {
        let sql = format!(
            "SELECT {JOB_COLUMNS} FROM jobs WHERE repository_id = $1 AND issue_number = $2
             ORDER BY generation DESC LIMIT 1"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(signed(repository.0))
            .bind(signed(issue.0))
            .fetch_optional(connection)
            .await
            .map_err(self.failed("reading an issue's newest job"))?;
        row.map(|row| rows::job(&row).map_err(self.unreadable("job"))).transpose()
    }

    pub(super) async fn read_job_of_pull_request(
        &self,
        repository: RepositoryId,
        number: PullRequestNumber,
    ) -> Result<Option<Job>, StoreError> {
        let columns: Vec<String> =
            JOB_COLUMNS.split(", ").map(|column| format!("jobs.{column} AS {column}")).collect();
        // The kind of a later round ends with a dot and its number.
        let sql = format!(
            "SELECT {} FROM effects JOIN jobs ON jobs.repository_id = effects.repository_id
                 AND jobs.issue_number = effects.issue_number AND jobs.generation = effects.generation
             WHERE effects.repository_id = $1 AND effects.reference = $2
                 AND (effects.kind = 'pull_request' OR effects.kind LIKE 'pull_request.%')
             ORDER BY jobs.generation DESC LIMIT 1",
            columns.join(", ")
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(signed(repository.0))
            .bind(number.to_string())
            .fetch_optional(self.pool())
            .await
            .map_err(self.failed("looking up a pull request's job"))?;
        row.map(|row| rows::job(&row).map_err(self.unreadable("job"))).transpose()
    }

    pub(super) fn job_id(&self, row: &SqliteRow) -> Result<JobId, StoreError> {
        let text: String = row.try_get("id").map_err(self.failed("reading a job's id"))?;
        text.parse().map_err(|error| self.unreadable("job id")(format!("{error}")))
    }

    /// Creates the job that was requested while this one was being cancelled.
    pub(super) async fn start_saved_trigger(
        &self,
        tx: &mut Tx,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let row = sqlx::query("SELECT restart_json FROM jobs WHERE id = $1 AND cancel_why IS NOT NULL")
            .bind(claim.job.id.to_string())
            .fetch_optional(&mut **tx)
            .await
            .map_err(self.failed("looking up a saved trigger"))?;
        let saved: Option<String> = match row {
            Some(row) => row.try_get("restart_json").map_err(self.failed("reading a saved trigger"))?,
            None => None,
        };
        if let Some(text) = saved {
            let trigger: Trigger = serde_json::from_str(&text)
                .map_err(|error| self.unreadable("saved trigger")(error.to_string()))?;
            self.start_job(tx, &trigger, now).await?;
        }
        Ok(())
    }
}
