//! The lease's heartbeat: keeps a claim alive while the job runs, and hears when it is called off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::warn;

use super::{WorkerContext, lease_end};
use crate::store::{Claim, StoreError};

/// How often the lease is prolonged; also how soon a cancelled job stops.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Why a job has to stop.
pub(super) enum Stopped {
    /// A person called it off.
    Cancelled(String),
    /// Another worker has it.
    Lost(StoreError),
}

/// Returns when the job has to stop. A database that does not answer is no reason while the lease
/// still holds; when it has run out unanswered, another worker may have the job.
///
/// Once `committed` is set a branch is out and the rest takes seconds: it is not cut in the middle,
/// where a pull request could be open that the job's end does not know of.
pub(super) async fn keep(parts: &WorkerContext, claim: &Claim, committed: &AtomicBool) -> Stopped {
    let mut held_until = lease_end((parts.clock)());
    loop {
        let now = (parts.clock)();
        match parts.store.heartbeat(claim, lease_end(now)).await {
            Ok(None) => held_until = lease_end(now),
            Ok(Some(_)) if committed.load(Ordering::Relaxed) => held_until = lease_end(now),
            Ok(Some(why)) => return Stopped::Cancelled(why),
            Err(error @ StoreError::LeaseLost { .. }) => return Stopped::Lost(error),
            Err(error) if now >= held_until => return Stopped::Lost(error),
            Err(error) => warn!(%error, "a heartbeat was not recorded"),
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}
