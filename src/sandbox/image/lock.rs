//! Locks an image against other tasks and processes: exclusively while it is created or removed, shared while
//! it is used. The system releases the lock when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::error::ImageError;
use super::limits::Deadline;

/// Between two attempts to take a lock. Creating an image takes seconds.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockMode {
    Exclusive,
    Shared,
}

/// A lock that is held until its last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Lock {
    _held: Arc<Held>,
}

/// Releases the lock when it is dropped, even if another process has a copy of the descriptor: a child that
/// is about to execute another program has one for a moment.
#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing would also release it, but perhaps later.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Waits for the lock, until the deadline.
    pub(super) async fn wait(path: &Path, mode: LockMode, deadline: &Deadline) -> Result<Self, ImageError> {
        loop {
            if let Some(lock) = Self::try_now(path, mode)? {
                return Ok(lock);
            }
            pause(deadline).await?;
        }
    }

    /// The lock; `None` if another holder has it.
    pub(super) fn try_now(path: &Path, mode: LockMode) -> Result<Option<Self>, ImageError> {
        let failed = |error| ImageError::disk("locking", path, error);
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags(nix::libc::O_NOFOLLOW)
                .open(path)
                .map_err(failed)?;
            let locked = match mode {
                LockMode::Exclusive => file.try_lock(),
                LockMode::Shared => file.try_lock_shared(),
            };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Its last holder may have removed the file in the meantime. Then the lock has no effect.
            if is_same_file(path, &file).map_err(failed)? {
                return Ok(Some(Self { _held: Arc::new(Held(file)) }));
            }
        }
    }

    /// Removes the lock file. Only for an exclusive holder, when the image does not exist.
    pub(super) fn remove(self, path: &Path) -> Result<(), ImageError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ImageError::disk("removing", path, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Waits before another attempt, unless the deadline has passed.
pub(super) async fn pause(deadline: &Deadline) -> Result<(), ImageError> {
    deadline.check()?;
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

fn is_same_file(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
