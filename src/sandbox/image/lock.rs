//! Holds an image against other tasks and processes: who makes or removes it holds it alone, who uses
//! it holds it together with others. The system lets go of it when the holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Until;
use super::fault::Fault;

/// Between two looks at a lock that another holds: it makes an image, which takes seconds.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Alone,
    Together,
}

/// Held until the last clone of it is gone.
#[derive(Debug, Clone)]
pub(super) struct Lock {
    _held: Arc<Held>,
}

/// Lets go when it is dropped, whoever else has a copy of the descriptor: a child that is about to
/// become another program has one for a moment.
#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing does the same, only perhaps later.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Waits for it, for as long as `until` allows.
    pub(super) async fn wait(path: &Path, hold: Hold, until: &Until) -> Result<Self, Fault> {
        loop {
            if let Some(lock) = Self::try_now(path, hold)? {
                return Ok(lock);
            }
            pause(until).await?;
        }
    }

    /// None where another holds it.
    pub(super) fn try_now(path: &Path, hold: Hold) -> Result<Option<Self>, Fault> {
        let failed = |error| Fault::disk("locking", path, error);
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags(nix::libc::O_NOFOLLOW)
                .open(path)
                .map_err(failed)?;
            let locked = match hold {
                Hold::Alone => file.try_lock(),
                Hold::Together => file.try_lock_shared(),
            };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Its last holder may have removed it while we waited: then it holds nothing any more.
            if is_still(path, &file).map_err(failed)? {
                return Ok(Some(Self { _held: Arc::new(Held(file)) }));
            }
        }
    }

    /// Removes the lock itself. Only for who holds it alone, and when there is nothing left to hold.
    pub(super) fn remove(self, path: &Path) -> Result<(), Fault> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Fault::disk("removing", path, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Before another look, if there is still time for one.
pub(super) async fn pause(until: &Until) -> Result<(), Fault> {
    until.check()?;
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

fn is_still(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
