//! Opens the store that the configuration names. The only place that chooses one.

use std::path::Path;
use std::sync::Arc;

use super::sqlite::SqliteStore;
use super::{Store, StoreError};

/// Opens the store, creates it if there is none, and updates its schema.
pub async fn open(path: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(SqliteStore::open(path).await?))
}

/// Opens a store that another process may be using: creates none, changes no schema.
pub async fn open_existing(path: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(SqliteStore::open_existing(path).await?))
}
