//! Recorded payloads, and the deletion of rows that nothing needs any more, by age and by number. Jobs,
//! their transcripts and what they cost stay.

use jiff::Timestamp;

use super::rows::milliseconds;
use super::{SqliteStore, Tx};
use crate::domain::NewDelivery;
use crate::store::{KEPT_ROWS_MAX, PAYLOAD_COUNTS_ONCE, StoreError};

impl SqliteStore {
    /// Whether a delivery with the same payload was recorded lately: GitHub's own redelivery has the same id, and a
    /// copy of a signed body can have any.
    pub(super) async fn has_payload(
        &self,
        tx: &mut Tx,
        delivery: &NewDelivery,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // What we record ourselves has no payload.
        if delivery.payload_sha256.is_empty() {
            return Ok(false);
        }
        let seen =
            sqlx::query("SELECT 1 FROM deliveries WHERE payload_sha256 = $1 AND received_at > $2 LIMIT 1")
                .bind(&delivery.payload_sha256)
                .bind(milliseconds(now - PAYLOAD_COUNTS_ONCE))
                .fetch_optional(&mut **tx)
                .await
                .map_err(self.failed("looking up a payload"))?;
        Ok(seen.is_some())
    }

    /// Deletes what was received before `before`, and the oldest of too many. Answers with the number of rows.
    pub(super) async fn delete_old(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for sql in [
            "DELETE FROM asks WHERE done_at IS NOT NULL AND (done_at < $1 OR rowid NOT IN
                 (SELECT rowid FROM asks ORDER BY received_at DESC LIMIT $2))",
            "DELETE FROM deliveries WHERE received_at < $1 OR rowid NOT IN
                 (SELECT rowid FROM deliveries ORDER BY received_at DESC LIMIT $2)",
        ] {
            let done =
                sqlx::query(sql).bind(milliseconds(before)).bind(KEPT_ROWS_MAX).execute(self.pool()).await;
            deleted += done.map_err(self.failed("deleting old requests and deliveries"))?.rows_affected();
        }
        Ok(deleted)
    }
}
