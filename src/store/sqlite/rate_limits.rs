//! GitHub's rate limits, by installation.

use jiff::Timestamp;
use sqlx::Row;

use super::rows::milliseconds;
use super::{SqliteStore, signed};
use crate::domain::InstallationId;
use crate::store::StoreError;

impl SqliteStore {
    pub(super) async fn write_rate_limit(
        &self,
        installation: InstallationId,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO pauses (installation_id, paused_until) VALUES ($1, $2)
             ON CONFLICT (installation_id) DO UPDATE
             SET paused_until = MAX(paused_until, excluded.paused_until)",
        )
        .bind(signed(installation.0))
        .bind(milliseconds(until))
        .execute(self.pool())
        .await
        .map_err(self.failed("saving a rate limit"))?;
        Ok(())
    }

    pub(super) async fn read_rate_limits(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(InstallationId, Timestamp)>, StoreError> {
        sqlx::query("DELETE FROM pauses WHERE paused_until <= $1")
            .bind(milliseconds(now))
            .execute(self.pool())
            .await
            .map_err(self.failed("deleting old rate limits"))?;
        let read = self.failed("reading the rate limits");
        let rows = sqlx::query("SELECT installation_id, paused_until FROM pauses ORDER BY installation_id")
            .fetch_all(self.pool())
            .await
            .map_err(&read)?;
        let mut limits = Vec::new();
        for row in rows {
            let id: i64 = row.try_get("installation_id").map_err(&read)?;
            let until: i64 = row.try_get("paused_until").map_err(&read)?;
            let until = Timestamp::from_millisecond(until)
                .map_err(|error| self.unreadable("rate limit")(error.to_string()))?;
            limits.push((InstallationId(id.unsigned_abs()), until));
        }
        Ok(limits)
    }
}
