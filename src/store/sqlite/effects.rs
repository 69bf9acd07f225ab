//! The effects ledger: what was done outside the database, so that it is done only once.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row};

use super::rows::{self, JOB_COLUMNS, milliseconds};
use super::{SqliteStore, signed};
use crate::domain::Job;
use crate::store::{Claim, EffectState, StoreError};

impl SqliteStore {
    pub(super) async fn write_effect_begin(
        &self,
        claim: &Claim,
        kind: &str,
        now: Timestamp,
    ) -> Result<EffectState, StoreError> {
        let mut tx = self.write().await?;
        self.fence(&mut tx, claim).await?;
        let row = sqlx::query(
            "INSERT INTO effects (repository_id, issue_number, generation, kind, begun_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (repository_id, issue_number, generation, kind) DO UPDATE SET kind = excluded.kind
             RETURNING reference",
        )
        .bind(signed(claim.job.trigger.repository.id.0))
        .bind(signed(claim.job.trigger.issue.number.0))
        .bind(i64::from(claim.job.generation))
        .bind(kind)
        .bind(milliseconds(now))
        .fetch_one(&mut *tx)
        .await
        .map_err(self.failed("beginning an effect"))?;
        tx.commit().await.map_err(self.failed("beginning an effect"))?;
        let reference: Option<String> =
            row.try_get("reference").map_err(self.failed("beginning an effect"))?;
        Ok(reference.map_or(EffectState::InProgress, EffectState::Done))
    }

    pub(super) async fn write_effect_end(
        &self,
        claim: &Claim,
        kind: &str,
        reference: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        self.fence(&mut tx, claim).await?;
        sqlx::query(
            "UPDATE effects SET reference = $5, done_at = $6
             WHERE repository_id = $1 AND issue_number = $2 AND generation = $3 AND kind = $4",
        )
        .bind(signed(claim.job.trigger.repository.id.0))
        .bind(signed(claim.job.trigger.issue.number.0))
        .bind(i64::from(claim.job.generation))
        .bind(kind)
        .bind(reference)
        .bind(milliseconds(now))
        .execute(&mut *tx)
        .await
        .map_err(self.failed("finishing an effect"))?;
        tx.commit().await.map_err(self.failed("finishing an effect"))
    }

    pub(super) async fn read_unacknowledged_jobs(&self, kind: &str) -> Result<Vec<Job>, StoreError> {
        let sql = format!(
            "SELECT {JOB_COLUMNS} FROM jobs WHERE is_final = 0 AND epoch = 0 AND cancel_why IS NULL
                 AND NOT EXISTS (SELECT 1 FROM effects WHERE effects.repository_id = jobs.repository_id
                     AND effects.issue_number = jobs.issue_number AND effects.generation = jobs.generation
                     AND effects.kind = $1 AND effects.reference IS NOT NULL)
             ORDER BY created_at, id LIMIT 100"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(kind)
            .fetch_all(self.pool())
            .await
            .map_err(self.failed("looking up unacknowledged jobs"))?;
        rows.iter().map(|row| rows::job(row).map_err(self.unreadable("job"))).collect()
    }

    pub(super) async fn write_effect(
        &self,
        job: &Job,
        kind: &str,
        reference: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO effects (repository_id, issue_number, generation, kind, begun_at, done_at, reference)
             VALUES ($1, $2, $3, $4, $5, $5, $6)
             ON CONFLICT (repository_id, issue_number, generation, kind)
                 DO UPDATE SET reference = excluded.reference, done_at = excluded.done_at
                 WHERE effects.reference IS NULL",
        )
        .bind(signed(job.trigger.repository.id.0))
        .bind(signed(job.trigger.issue.number.0))
        .bind(i64::from(job.generation))
        .bind(kind)
        .bind(milliseconds(now))
        .bind(reference)
        .execute(self.pool())
        .await
        .map_err(self.failed("recording an effect"))?;
        Ok(())
    }
}
