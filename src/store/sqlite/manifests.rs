//! The manifest of each round of a job. The first one of a round stays.

use jiff::Timestamp;
use sqlx::Row;

use super::SqliteStore;
use super::rows::milliseconds;
use crate::domain::JobId;
use crate::store::{Claim, StoreError};

impl SqliteStore {
    /// As [`Store::save_manifest`](crate::store::Store::save_manifest).
    pub(super) async fn write_manifest(
        &self,
        claim: &Claim,
        round: u32,
        manifest: &str,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let mut tx = self.write().await?;
        self.fence(&mut tx, claim).await?;
        let row = sqlx::query(
            "INSERT INTO manifests (job_id, round, manifest_json, at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (job_id, round) DO UPDATE SET at = manifests.at RETURNING manifest_json",
        )
        .bind(claim.job.id.to_string())
        .bind(i64::from(round))
        .bind(manifest)
        .bind(milliseconds(now))
        .fetch_one(&mut *tx)
        .await
        .map_err(self.failed("saving a manifest"))?;
        tx.commit().await.map_err(self.failed("saving a manifest"))?;
        row.try_get("manifest_json").map_err(self.failed("saving a manifest"))
    }

    /// As [`Store::manifest`](crate::store::Store::manifest).
    pub(super) async fn read_manifest(&self, job: JobId) -> Result<Option<String>, StoreError> {
        let row =
            sqlx::query("SELECT manifest_json FROM manifests WHERE job_id = $1 ORDER BY round DESC LIMIT 1")
                .bind(job.to_string())
                .fetch_optional(&self.pool)
                .await
                .map_err(self.failed("reading a manifest"))?;
        row.map(|row| row.try_get("manifest_json").map_err(self.failed("reading a manifest"))).transpose()
    }
}
