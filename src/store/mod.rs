//! The stores: which there are, and which one the configuration names. `port.rs` says what each does and which rules
//! it applies; SQL is only in its adapters.

use std::sync::Arc;

use crate::config::StoreLocation;

mod journal;
mod port;
mod sqlite;
#[cfg(test)]
mod tests;

pub use journal::Journal;
pub use port::*;
pub use sqlite::SqliteStore;

/// Opens the store, creates it if there is none, and updates its schema.
pub async fn open(location: &StoreLocation) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match location {
        StoreLocation::Sqlite(file) => Arc::new(SqliteStore::open(file).await?),
    })
}

/// Opens a store that another process may be using: creates none, changes no schema. `None`: there is none.
pub async fn open_existing(location: &StoreLocation) -> Result<Option<Arc<dyn Store>>, StoreError> {
    Ok(match location {
        StoreLocation::Sqlite(file) if !file.is_file() => None,
        StoreLocation::Sqlite(file) => Some(Arc::new(SqliteStore::open_existing(file).await?)),
    })
}
