//! Commands from comments: recorded with their delivery, carried out by one clerk.

use jiff::Timestamp;
use sqlx::{Row, Sqlite};

use super::{SqliteStore, Tx, signed};
use crate::domain::{CommandRequest, IssueNumber, RepositoryId, SlashCommand};
use crate::store::rows::milliseconds;
use crate::store::{DeliveryRecorded, PendingCommand, StoreError};

impl SqliteStore {
    /// Records a command, unless its comment is known.
    pub(super) async fn record_ask(
        &self,
        tx: &mut Tx,
        id: &str,
        ask: &CommandRequest,
        now: Timestamp,
    ) -> Result<DeliveryRecorded, StoreError> {
        let written = sqlx::query(
            "INSERT INTO asks (id, repository_id, said_in, comment_id, ask_json, received_at, available_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(signed(ask.repository.id.0))
        .bind(ask.said_in.name())
        .bind(signed(ask.comment.0))
        .bind(serde_json::to_string(ask).expect("a command has only string keys"))
        .bind(milliseconds(now))
        .execute(&mut **tx)
        .await
        .map_err(self.failed("recorded a command"))?;
        Ok(match written.rows_affected() {
            0 => DeliveryRecorded::Duplicate,
            _ => DeliveryRecorded::CommandQueued,
        })
    }

    pub(super) async fn next_due_ask(&self, now: Timestamp) -> Result<Option<PendingCommand>, StoreError> {
        let row = sqlx::query(
            "SELECT id, ask_json, received_at FROM asks WHERE done_at IS NULL AND available_at <= $1
             ORDER BY received_at, id LIMIT 1",
        )
        .bind(milliseconds(now))
        .fetch_optional(self.pool())
        .await
        .map_err(self.failed("looked for a command"))?;
        let Some(row) = row else { return Ok(None) };
        let read = self.failed("read a command");
        let id: String = row.try_get("id").map_err(&read)?;
        let text: String = row.try_get("ask_json").map_err(&read)?;
        let received: i64 = row.try_get("received_at").map_err(&read)?;
        let unreadable = self.unreadable("command");
        let ask = match serde_json::from_str(&text) {
            Ok(ask) => ask,
            Err(error) => {
                // Written by a newer version, or damaged: it must not keep all later ones waiting.
                tracing::error!(id, %error, "a command cannot be read, and is left out");
                self.end_ask(self.pool(), &id, "unreadable", now).await?;
                return Ok(None);
            }
        };
        let received_at =
            Timestamp::from_millisecond(received).map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(PendingCommand { id, ask, received_at }))
    }

    /// What waits to be made a round of a pull request, oldest first.
    pub(super) async fn waiting_revisions(
        &self,
        repository: RepositoryId,
        number: IssueNumber,
    ) -> Result<Vec<(String, CommandRequest)>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, ask_json FROM asks WHERE repository_id = $1 AND done_at IS NULL ORDER BY received_at, id",
        )
        .bind(signed(repository.0))
        .fetch_all(self.pool())
        .await
        .map_err(self.failed("looked for commands"))?;
        let mut waiting = Vec::new();
        for row in rows {
            let read = self.failed("read a command");
            let id: String = row.try_get("id").map_err(&read)?;
            let text: String = row.try_get("ask_json").map_err(&read)?;
            // One that cannot be read is left out when its turn comes.
            let Ok(ask) = serde_json::from_str::<CommandRequest>(&text) else { continue };
            if ask.number == number && ask.command == SlashCommand::Revise {
                waiting.push((id, ask));
            }
        }
        Ok(waiting)
    }

    pub(super) async fn end_ask(
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
            .map_err(self.failed("recorded that a command was carried out"))?;
        Ok(())
    }

    pub(super) async fn put_ask_off(&self, id: &str, until: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE asks SET available_at = $2 WHERE id = $1 AND done_at IS NULL")
            .bind(id)
            .bind(milliseconds(until))
            .execute(self.pool())
            .await
            .map_err(self.failed("put a command off"))?;
        Ok(())
    }
}
