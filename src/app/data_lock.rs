//! The lock on the data directory: one process at a time works on it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// How long the remains of a killed predecessor may hold the lock.
const WAIT_MAX: Duration = Duration::from_secs(2);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Locks the data directory for this process. The kernel releases the lock when this process ends, in any
/// way. A child process that was just being started may hold it a moment longer, until it executes its
/// program.
pub(super) async fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("{} cannot be created", path.display()))?;
    let until = tokio::time::Instant::now() + WAIT_MAX;
    while let Err(error) = file.try_lock() {
        if tokio::time::Instant::now() > until {
            return Err(error).with_context(|| {
                format!(
                    "server.data_dir: {} is in use by another mendwright; stop that one, or name another \
                     directory",
                    data_dir.display()
                )
            });
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    Ok(file)
}
