//! Transcripts: a job's events, in order.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use super::rows::milliseconds;
use super::{SqliteStore, Tx};
use crate::domain::{JobId, TranscriptEvent};
use crate::store::{Claim, StoreError};

impl SqliteStore {
    pub(super) async fn event_rows(&self, job: JobId) -> Result<Vec<SqliteRow>, StoreError> {
        sqlx::query("SELECT sequence, at, event_json FROM events WHERE job_id = $1 ORDER BY sequence")
            .bind(job.to_string())
            .fetch_all(self.pool())
            .await
            .map_err(self.failed("reading a transcript"))
    }

    /// Appends one event, and changes the job's row and the open call's cost accordingly.
    pub(super) async fn append_one(
        &self,
        tx: &mut Tx,
        claim: &Claim,
        sequence: i64,
        event: &TranscriptEvent,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let json = serde_json::to_string(event).expect("an event has only string keys");
        sqlx::query("INSERT INTO events (job_id, sequence, at, event_json) VALUES ($1, $2, $3, $4)")
            .bind(claim.job.id.to_string())
            .bind(sequence)
            .bind(milliseconds(now))
            .bind(json)
            .execute(&mut **tx)
            .await
            .map_err(self.failed("appending to a transcript"))?;
        if let Some((state, outcome)) = event.state_change() {
            let outcome = outcome.map(|o| serde_json::to_string(o).expect("an outcome has only string keys"));
            sqlx::query(
                "UPDATE jobs SET state = $2, is_final = $3, outcome_json = $4, updated_at = $5 WHERE id = $1",
            )
            .bind(claim.job.id.to_string())
            .bind(state.name())
            .bind(i64::from(state.is_final()))
            .bind(outcome)
            .bind(milliseconds(now))
            .execute(&mut **tx)
            .await
            .map_err(self.failed("changing a job's state"))?;
            if state.is_final() {
                self.start_saved_trigger(tx, claim, now).await?;
            }
        }
        match event.cost() {
            Some(cost) => self.settle(tx, claim, sequence, &cost, now).await,
            None => Ok(()),
        }
    }
}
