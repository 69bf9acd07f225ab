//! Deletes what the store no longer needs: answered requests and recorded deliveries.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::store::Store;

/// Between two deletions.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Deletes at start and every hour what is older than `keep`.
pub(super) fn prune_regularly(
    store: Arc<dyn Store>,
    keep: SignedDuration,
    shutdown: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match store.prune(Timestamp::now() - keep).await {
                Ok(0) => {}
                Ok(deleted) => info!(deleted, "deleted old requests and deliveries"),
                Err(error) => warn!(%error, "old requests and deliveries could not be deleted"),
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.cancelled() => return,
            }
        }
    })
}
