//! The lease of a claimed job: renews it while the job runs, and notices when the job is cancelled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::context::WorkerContext;
use crate::store::{Claim, StoreError};

/// How long a claim is valid without a heartbeat: the job of a worker that died waits this long.
pub const LEASE: Duration = Duration::from_secs(30);

/// Between two heartbeats, and so the time that a cancelled job takes to stop.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Why a job must stop.
pub(super) enum MustStop {
    /// It was cancelled, for this reason.
    Cancelled(String),
    /// Another worker has it.
    LeaseLost(StoreError),
}

/// When a lease that is taken or renewed `now` ends.
pub(super) fn lease_end(now: Timestamp) -> Timestamp {
    now + SignedDuration::try_from(LEASE).unwrap_or_default()
}

/// Renews the lease until the job must stop. If the database does not answer, the job goes on while the
/// lease is valid; after that, another worker may have it.
///
/// Once `is_on_branch` is set, the commit is on its branch and the rest takes seconds. A cancellation is
/// then ignored: otherwise a pull request could be open that the job's outcome does not name.
pub(super) async fn renew(context: &WorkerContext, claim: &Claim, is_on_branch: &AtomicBool) -> MustStop {
    let mut valid_until = lease_end((context.clock)());
    loop {
        let now = (context.clock)();
        match context.store.heartbeat(claim, lease_end(now)).await {
            Ok(None) => valid_until = lease_end(now),
            Ok(Some(_)) if is_on_branch.load(Ordering::Relaxed) => valid_until = lease_end(now),
            Ok(Some(why)) => return MustStop::Cancelled(why),
            Err(error @ StoreError::LeaseLost { .. }) => return MustStop::LeaseLost(error),
            Err(error) if now >= valid_until => return MustStop::LeaseLost(error),
            Err(error) => warn!(%error, "heartbeat not recorded"),
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}
