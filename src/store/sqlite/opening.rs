//! How the database file is opened.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::super::{StoreError, migrations};
use super::SqliteStore;

/// How long a writer waits for another before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

impl SqliteStore {
    /// Opens the database file, creates it when there is none, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::connect(path, true).await?;
        migrations::migrator()
            .run(&store.pool)
            .await
            .map_err(|error| store.failed("brought the schema up to date")(error.into()))?;
        Ok(store)
    }

    /// Opens a database that another process may be working with: makes none, changes no schema.
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
        // One connection writes at a time in SQLite anyway; four let readers go on beside it.
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(|source| StoreError::Database {
                location: path.display().to_string(),
                action: "opened the database",
                source,
            })?;
        Ok(Self { pool, location: path.to_owned() })
    }

    /// Closes all connections, so that the file can be copied or removed.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
