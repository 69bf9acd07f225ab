//! Commands, reviews and failed checks: recorded with their delivery, and kept until they were carried out
//! and answered. Each installation has a queue of its own.

use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite};

use super::rows::milliseconds;
use super::{SqliteStore, Tx, signed};
use crate::domain::{InstallationId, IssueNumber, Lane, QueuedRequest, RepositoryId, ReviewRequest};
use crate::store::{DeliveryRecorded, PendingRequest, STRANGERS_PER_HOUR_MAX, StoreError};

/// The number of a queue in the column `lane`. It never changes.
fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Stop => 0,
        Lane::Normal => 1,
        Lane::Stranger => 2,
    }
}

/// The result of a request that was refused and not answered yet.
const REFUSED: &str = "refused";

impl SqliteStore {
    /// Records a request, unless its comment, review or check run is known.
    pub(super) async fn queue_request(
        &self,
        tx: &mut Tx,
        id: &str,
        request: &QueuedRequest,
        now: Timestamp,
    ) -> Result<DeliveryRecorded, StoreError> {
        let (source, source_id) = request.source();
        if request.lane() == Lane::Stranger && self.are_strangers_too_many(tx, request, now).await? {
            return Ok(DeliveryRecorded::TooMany);
        }
        let written = sqlx::query(
            "INSERT INTO asks (id, installation_id, repository_id, said_in, comment_id, ask_json, received_at,
                               available_at, lane)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(signed(request.repository().installation.0))
        .bind(signed(request.repository().id.0))
        .bind(source)
        .bind(signed(source_id))
        .bind(serde_json::to_string(request).expect("a request has only string keys"))
        .bind(milliseconds(now))
        .bind(lane_number(request.lane()))
        .execute(&mut **tx)
        .await
        .map_err(self.failed("recording a request"))?;
        Ok(match written.rows_affected() {
            0 => DeliveryRecorded::Duplicate,
            _ => DeliveryRecorded::RequestQueued,
        })
    }

    /// Whether strangers gave as many commands in the repository within the last hour as are carried out.
    async fn are_strangers_too_many(
        &self,
        tx: &mut Tx,
        request: &QueuedRequest,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS count FROM asks WHERE repository_id = $1 AND lane = $2 AND received_at > $3",
        )
        .bind(signed(request.repository().id.0))
        .bind(lane_number(Lane::Stranger))
        .bind(milliseconds(now - SignedDuration::from_hours(1)))
        .fetch_one(&mut **tx)
        .await
        .map_err(self.failed("counting requests"))?;
        let count: i64 = row.try_get("count").map_err(self.failed("counting requests"))?;
        Ok(count >= i64::from(STRANGERS_PER_HOUR_MAX))
    }

    pub(super) async fn installations_in_queue(
        &self,
        lane: Lane,
        now: Timestamp,
    ) -> Result<Vec<InstallationId>, StoreError> {
        let rows = sqlx::query(
            "SELECT installation_id FROM asks WHERE done_at IS NULL AND available_at <= $1 AND lane = $2
             GROUP BY installation_id ORDER BY MIN(received_at), installation_id",
        )
        .bind(milliseconds(now))
        .bind(lane_number(lane))
        .fetch_all(self.pool())
        .await
        .map_err(self.failed("looking up requests"))?;
        let id =
            |row: &SqliteRow| row.try_get::<i64, _>("installation_id").map(|id| InstallationId(id as u64));
        rows.iter().map(|row| id(row).map_err(self.failed("reading a request"))).collect()
    }

    pub(super) async fn requests_in_queue(
        &self,
        installation: InstallationId,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<PendingRequest>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, ask_json, received_at, result FROM asks
             WHERE done_at IS NULL AND available_at <= $1 AND installation_id = $2 AND lane = $4
             ORDER BY result IS NOT NULL, received_at, id LIMIT $3",
        )
        .bind(milliseconds(now))
        .bind(signed(installation.0))
        .bind(i64::from(limit))
        .bind(lane_number(lane))
        .fetch_all(self.pool())
        .await
        .map_err(self.failed("looking up requests"))?;
        let mut pending = Vec::new();
        for row in rows {
            let read = self.failed("reading a request");
            let id: String = row.try_get("id").map_err(&read)?;
            let text: String = row.try_get("ask_json").map_err(&read)?;
            let received: i64 = row.try_get("received_at").map_err(&read)?;
            let result: Option<String> = row.try_get("result").map_err(&read)?;
            let request = match serde_json::from_str(&text) {
                Ok(request) => request,
                Err(error) => {
                    // Written by a newer version, or damaged: it must not delay all later ones.
                    tracing::error!(id, %error, "command skipped: it cannot be read");
                    self.end_request(self.pool(), &id, "unreadable", now).await?;
                    continue;
                }
            };
            let received_at = Timestamp::from_millisecond(received)
                .map_err(|error| self.unreadable("command")(error.to_string()))?;
            pending.push(PendingRequest { id, request, received_at, is_refused: result.is_some() });
        }
        Ok(pending)
    }

    /// The review requests of a pull request that no revision has used, the oldest first.
    pub(super) async fn reviews_in_queue(
        &self,
        repository: RepositoryId,
        number: IssueNumber,
    ) -> Result<Vec<(String, ReviewRequest)>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, ask_json FROM asks WHERE repository_id = $1 AND done_at IS NULL ORDER BY received_at, id",
        )
        .bind(signed(repository.0))
        .fetch_all(self.pool())
        .await
        .map_err(self.failed("looking up requests"))?;
        let mut waiting = Vec::new();
        for row in rows {
            let read = self.failed("reading a request");
            let id: String = row.try_get("id").map_err(&read)?;
            let text: String = row.try_get("ask_json").map_err(&read)?;
            // One that cannot be read is skipped when its turn comes.
            let Ok(QueuedRequest::Review(request)) = serde_json::from_str(&text) else { continue };
            if request.comment.number == number {
                waiting.push((id, request));
            }
        }
        Ok(waiting)
    }

    pub(super) async fn mark_request_refused(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE asks SET result = $2 WHERE id = $1 AND done_at IS NULL")
            .bind(id)
            .bind(REFUSED)
            .execute(self.pool())
            .await
            .map_err(self.failed("refusing a request"))?;
        Ok(())
    }

    pub(super) async fn end_request(
        &self,
        connection: impl sqlx::Executor<'_, Database = Sqlite>,
        id: &str,
        result: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE asks SET done_at = $2, result = $3 WHERE id = $1 AND done_at IS NULL")
            .bind(id)
            .bind(milliseconds(now))
            .bind(result)
            .execute(connection)
            .await
            .map_err(self.failed("recording that a request is done"))?;
        Ok(())
    }

    pub(super) async fn put_request_off(&self, id: &str, until: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE asks SET available_at = $2 WHERE id = $1 AND done_at IS NULL")
            .bind(id)
            .bind(milliseconds(until))
            .execute(self.pool())
            .await
            .map_err(self.failed("deferring a request"))?;
        Ok(())
    }
}
