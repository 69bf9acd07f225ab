//! Opening the database file.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::migrations;
use super::{SqliteStore, database_error};
use crate::store::StoreError;

/// How long a writer waits for another before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one waits for a connection before that is an error: a busy machine can keep the others for long.
const CONNECTION_WAIT_MAX: Duration = Duration::from_secs(300);
/// SQLite has one writer at a time; the other connections let readers proceed beside it.
const CONNECTIONS_MAX: u32 = 4;

impl SqliteStore {
    /// Opens the database file, creates it if there is none, and updates its schema.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::connect(path, true).await?;
        migrations::migrator()
            .run(&store.pool)
            .await
            .map_err(|error| store.failed("updating the schema")(error.into()))?;
        Ok(store)
    }

    /// Opens a database that another process may be using: creates none, changes no schema.
    pub async fn open_existing(path: &Path) -> Result<Self, StoreError> {
        Self::connect(path, false).await
    }

    async fn connect(path: &Path, create: bool) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECTION_WAIT_MAX)
            // SQLite itself rolls a transaction back when the disk is full. sqlx then believes that the
            // connection is still in a transaction, and every later write on it would fail.
            .after_release(|connection, _| {
                Box::pin(async move {
                    // The rollback of a dropped transaction is queued; a ping waits until it is done.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(options)
            .await
            .map_err(|error| database_error(path, "opening it", &error))?;
        Ok(Self { pool, location: path.to_owned() })
    }

    /// Closes all connections, so that the file can be copied or removed.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreLocation;
    use crate::store::tests::{start, store};
    use crate::store::{Store, StoreError, open, open_existing};

    #[tokio::test]
    async fn writes_succeed_again_once_a_full_disk_has_room() {
        let (store, _directory) = store::<SqliteStore>().await;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut connection = store.pool.acquire().await.unwrap();
            // No page beyond those in use: as on a full disk. A new connection has no such limit.
            sqlx::query("PRAGMA max_page_count = 1").execute(&mut *connection).await.unwrap();
            connections.push(connection);
        }
        drop(connections);
        let text = "x".repeat(64 * 1024);
        let mut failures = 0;
        for attempt in 0..3 * CONNECTIONS_MAX {
            let mut tx = match store.write().await {
                Ok(tx) => tx,
                Err(error) => panic!("attempt {attempt}: {error}"),
            };
            let full = sqlx::query("UPDATE _sqlx_migrations SET description = $1").bind(&text);
            failures += u32::from(full.execute(&mut *tx).await.is_err());
        }
        assert!(failures >= 1, "the disk was never full");
        start(&store, "d1", 5).await;
        store.check_writable().await.unwrap();
    }

    #[tokio::test]
    async fn only_a_store_that_is_there_is_opened_as_existing() {
        let directory = tempfile::tempdir().unwrap();
        let location = StoreLocation::in_directory(directory.path());
        assert!(open_existing(&location).await.unwrap().is_none());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        drop(open(&location).await.unwrap());
        assert!(open_existing(&location).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn database_without_room_for_a_write_is_reported_as_not_writable() {
        let (store, _directory) = store::<SqliteStore>().await;
        store.check_writable().await.unwrap();
        store.close().await;
        let error = store.check_writable().await.unwrap_err();
        assert!(matches!(error, StoreError::Database { .. }), "{error}");
    }
}
