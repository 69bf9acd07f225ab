//! Setup snapshots on the host's disk: `setups/KEY/files`, written by a sandbox that runs no command, and
//! mounted read-only in other sandboxes. Handles names, sizes and times; never opens anything in `files`,
//! except to remove it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use mendwright_protocol::SnapshotContents;
use serde::{Deserialize, Serialize};

use super::spec::{CacheLimits, SetupKey, SetupSnapshot};

const PARTIAL: &str = ".partial";
const REMOVED: &str = ".gone";
/// What a file takes on a disk in addition to its bytes.
const ENTRY_BYTES: u64 = 4096;
/// A metadata file has a few dozen bytes.
const META_BYTES_MAX: u64 = 4096;

/// The directory of snapshots. It is created when the first snapshot is stored.
#[derive(Debug, Clone)]
pub(super) struct DirectoryCache {
    setups: PathBuf,
}

/// A snapshot that is being written, by this holder only. When its process ends in any way, the next
/// sweep removes the directory.
pub(super) struct PartialSnapshot {
    key: SetupKey,
    directory: PathBuf,
    _lock: CacheLock,
}

/// While it is held, its snapshot is not removed.
#[derive(Debug)]
pub(super) struct SnapshotLease {
    _lock: CacheLock,
}

/// A lock on a file, released when dropped. A process that is being started at that moment has the same
/// open file for a while: closing ours would not release the lock.
#[derive(Debug)]
struct CacheLock(File);

impl CacheLock {
    /// An exclusive lock; `None` if another holder has one.
    fn exclusive(file: File) -> Option<Self> {
        file.try_lock().is_ok().then_some(Self(file))
    }
}

impl Drop for CacheLock {
    fn drop(&mut self) {
        // It is released at the latest when all processes that have the file open have ended.
        let _ = self.0.unlock();
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    bytes: u64,
    entries: u64,
    created: Timestamp,
}

impl PartialSnapshot {
    /// The directory for its files.
    pub(super) fn files(&self) -> PathBuf {
        self.directory.join("files")
    }
}

impl DirectoryCache {
    /// A cache in `state_dir`, which only we may write to.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { setups: state_dir.join("setups") }
    }

    /// Begins to store a snapshot. The error is a text.
    pub(super) fn begin(&self, key: &SetupKey) -> Result<PartialSnapshot, String> {
        self.create_private().map_err(|e| self.failed(&e))?;
        let directory = self.setups.join(format!("{key}{PARTIAL}"));
        let begin = || -> io::Result<Option<CacheLock>> {
            if directory.exists() && !remove_unless_locked(&directory)? {
                return Ok(None);
            }
            DirBuilder::new().mode(0o700).create(&directory)?;
            let lock = lock_file(&directory)?;
            let files = directory.join("files");
            fs::create_dir(&files)?;
            // Independent of our umask: a sandbox of another user reads it.
            fs::set_permissions(&files, Permissions::from_mode(0o755))?;
            Ok(CacheLock::exclusive(lock))
        };
        match begin() {
            Ok(Some(lock)) => Ok(PartialSnapshot { key: key.clone(), directory, _lock: lock }),
            Ok(None) => Err(format!("{} is being written by another process", directory.display())),
            Err(error) => Err(format!("{} cannot be created: {error}", directory.display())),
        }
    }

    /// Makes a complete snapshot available. All of it is on the disk before its final name is.
    pub(super) fn finish(
        &self,
        partial: PartialSnapshot,
        contents: &SnapshotContents,
        now: Timestamp,
    ) -> Result<SetupSnapshot, String> {
        let bytes = contents.bytes.saturating_add(contents.entries.saturating_mul(ENTRY_BYTES));
        let directory = self.setups.join(partial.key.as_str());
        let finish = || -> io::Result<()> {
            let meta = Meta { bytes, entries: contents.entries, created: now };
            let mut file = File::create_new(partial.directory.join("meta.json"))?;
            file.write_all(&serde_json::to_vec(&meta)?)?;
            nix::unistd::syncfs(&file)?;
            match fs::rename(&partial.directory, &directory) {
                // Another process has stored the same snapshot first.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    fs::remove_dir_all(&partial.directory)?;
                }
                other => other?,
            }
            File::open(&self.setups)?.sync_all()
        };
        finish().map_err(|e| self.failed(&e))?;
        Ok(SetupSnapshot {
            key: partial.key,
            location: directory.display().to_string(),
            bytes,
            created: in_seconds(now),
        })
    }

    /// Discards a partial snapshot.
    pub(super) fn abandon(&self, partial: PartialSnapshot) {
        // A later sweep removes what cannot be removed now.
        let _ = fs::remove_dir_all(&partial.directory);
    }

    /// The snapshot under `key`. This counts as its last use.
    pub(super) fn get(&self, key: &SetupKey) -> Option<SetupSnapshot> {
        self.check_private().ok()?;
        let directory = self.setups.join(key.as_str());
        let meta = read_meta(&directory)?;
        let touched = File::options().write(true).open(directory.join("lock"));
        // If this fails, the snapshot only seems older than it is.
        let _ = touched.and_then(|file| file.set_modified(SystemTime::now()));
        Some(SetupSnapshot {
            key: key.clone(),
            location: directory.display().to_string(),
            bytes: meta.bytes,
            created: in_seconds(meta.created),
        })
    }

    /// The files of the snapshot under `key`, and a lease that keeps them.
    pub(super) fn lease(&self, key: &SetupKey) -> Result<(PathBuf, SnapshotLease), String> {
        self.check_private().map_err(|e| self.failed(&e))?;
        let directory = self.setups.join(key.as_str());
        let lease = || -> io::Result<SnapshotLease> {
            let lock = File::open(directory.join("lock"))?;
            lock.try_lock_shared().map_err(io::Error::other)?;
            // It may have been removed before it was locked.
            fs::metadata(directory.join("meta.json"))?;
            Ok(SnapshotLease { _lock: CacheLock(lock) })
        };
        let lease = lease()
            .map_err(|e| format!("the setup snapshot in {} no longer exists: {e}", directory.display()))?;
        Ok((directory.join("files"), lease))
    }

    /// Removes the least recently used snapshots, except those in use, until the limits hold.
    pub(super) fn evict(&self, limits: &CacheLimits, now: SystemTime) -> Result<Vec<SetupKey>, String> {
        if self.check_private().is_err() {
            return Ok(Vec::new());
        }
        let mut snapshots = self.all().map_err(|e| self.failed(&e))?;
        snapshots.sort_by_key(|(_, used, _)| *used);
        let (mut count, mut bytes) =
            (snapshots.len(), snapshots.iter().map(|(_, _, bytes)| bytes).sum::<u64>());
        let mut evicted = Vec::new();
        for (key, used, its_bytes) in snapshots {
            let too_old = now.duration_since(used).is_ok_and(|age| age > limits.age_max);
            if !too_old && count <= limits.count_max && bytes <= limits.bytes_max {
                break;
            }
            if self.remove(&key).map_err(|e| self.failed(&e))? {
                (count, bytes) = (count - 1, bytes - its_bytes);
                evicted.push(key);
            }
        }
        Ok(evicted)
    }

    /// Removes what earlier processes left half written or half removed.
    pub(super) fn sweep(&self) -> Result<u32, String> {
        if self.check_private().is_err() {
            return Ok(0);
        }
        let sweep = || -> io::Result<u32> {
            let mut swept = 0;
            for entry in fs::read_dir(&self.setups)? {
                let path = entry?.path();
                let is_leftover = path.extension().is_some_and(|end| {
                    [PARTIAL, REMOVED].iter().any(|suffix| suffix.trim_start_matches('.') == end)
                });
                swept += u32::from(is_leftover && remove_unless_locked(&path)?);
            }
            Ok(swept)
        };
        sweep().map_err(|e| self.failed(&e))
    }

    /// All snapshots, with their last use and size.
    fn all(&self) -> io::Result<Vec<(SetupKey, SystemTime, u64)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.setups)? {
            let entry = entry?;
            let Some(key) = entry.file_name().to_str().and_then(SetupKey::from_hex) else { continue };
            let used = fs::metadata(entry.path().join("lock")).and_then(|lock| lock.modified());
            // A snapshot that cannot be read can still be removed. It is the first to go.
            let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            all.push((key, used, read_meta(&entry.path()).map_or(0, |meta| meta.bytes)));
        }
        Ok(all)
    }

    fn remove(&self, key: &SetupKey) -> io::Result<bool> {
        let directory = self.setups.join(key.as_str());
        let Some(_lock) = CacheLock::exclusive(lock_file(&directory)?) else { return Ok(false) };
        let removed = self.setups.join(format!("{key}{REMOVED}"));
        if removed.exists() {
            fs::remove_dir_all(&removed)?;
        }
        // One step, so that no other process finds a part of it.
        fs::rename(&directory, &removed)?;
        fs::remove_dir_all(&removed)?;
        Ok(true)
    }

    fn create_private(&self) -> io::Result<()> {
        DirBuilder::new().mode(0o700).recursive(true).create(&self.setups)?;
        self.check_private()
    }

    /// Another user who can write here could change the files of later jobs.
    fn check_private(&self) -> io::Result<()> {
        let us = nix::unistd::geteuid().as_raw();
        for directory in self.setups.ancestors().take(2) {
            let meta = fs::symlink_metadata(directory)?;
            if !meta.is_dir() || meta.uid() != us || meta.mode() & 0o022 != 0 {
                return Err(io::Error::other(format!(
                    "{} must be a directory of user {us} that no other user can write to",
                    directory.display()
                )));
            }
        }
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("the setup snapshots in {}: {error}", self.setups.display())
    }
}

fn in_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn lock_file(directory: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(directory.join("lock"))
}

fn remove_unless_locked(directory: &Path) -> io::Result<bool> {
    let Some(_lock) = CacheLock::exclusive(lock_file(directory)?) else { return Ok(false) };
    fs::remove_dir_all(directory)?;
    Ok(true)
}

fn read_meta(directory: &Path) -> Option<Meta> {
    let file = File::open(directory.join("meta.json")).ok()?;
    serde_json::from_reader(io::Read::take(file, META_BYTES_MAX)).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(digit: &str) -> SetupKey {
        SetupKey::from_hex(digit.repeat(64)).unwrap()
    }

    fn store(cache: &DirectoryCache, key: &SetupKey, bytes: u64, used: SystemTime) {
        let partial = cache.begin(key).unwrap();
        fs::write(partial.files().join("x"), "x").unwrap();
        cache
            .finish(partial, &SnapshotContents { entries: 0, bytes, skipped: 0 }, Timestamp::UNIX_EPOCH)
            .unwrap();
        let lock = File::options().write(true).open(cache.setups.join(key.as_str()).join("lock"));
        lock.unwrap().set_modified(used).unwrap();
    }

    fn state() -> (tempfile::TempDir, DirectoryCache) {
        let directory = tempfile::tempdir().unwrap();
        let cache = DirectoryCache::new(&directory.path().join("state"));
        (directory, cache)
    }

    #[test]
    fn eviction_removes_the_least_recently_used_snapshot_that_is_not_in_use() {
        let (_directory, cache) = state();
        let now = SystemTime::now();
        let ago = |hours: u64| now - Duration::from_secs(hours * 3600);
        for (digit, hours) in [("a", 30), ("b", 3), ("c", 2), ("d", 1)] {
            store(&cache, &key(digit), 100, ago(hours));
        }
        let day = Duration::from_secs(24 * 3600);
        let roomy = CacheLimits { count_max: 9, bytes_max: 1000, age_max: day };
        assert_eq!(cache.evict(&roomy, now).unwrap(), [key("a")]);
        let (_, lease) = cache.lease(&key("b")).unwrap();
        assert_eq!(cache.evict(&CacheLimits { count_max: 2, ..roomy }, now).unwrap(), [key("c")]);
        drop(lease);
        assert_eq!(cache.evict(&CacheLimits { bytes_max: 100, ..roomy }, now).unwrap(), [key("b")]);
        assert!(cache.get(&key("d")).is_some() && cache.lease(&key("b")).is_err());
        assert_eq!(fs::read_dir(&cache.setups).unwrap().count(), 1);
    }

    #[test]
    fn find_counts_as_a_use() {
        let (_directory, cache) = state();
        let now = SystemTime::now();
        store(&cache, &key("a"), 1, now - Duration::from_secs(7200));
        store(&cache, &key("b"), 1, now - Duration::from_secs(3600));
        assert_eq!(cache.get(&key("a")).unwrap().bytes, 1);
        let limits = CacheLimits { count_max: 1, ..CacheLimits::default() };
        assert_eq!(cache.evict(&limits, SystemTime::now()).unwrap(), [key("b")]);
    }

    #[test]
    fn partial_snapshot_is_not_found_and_is_swept_after_its_writer_ended() {
        let (_directory, cache) = state();
        let partial = cache.begin(&key("a")).unwrap();
        assert!(cache.get(&key("a")).is_none());
        assert_eq!(cache.sweep().unwrap(), 0, "its writer is still running");
        assert!(cache.begin(&key("a")).is_err());
        drop(partial);
        fs::create_dir(cache.setups.join(format!("{}{REMOVED}", key("b")))).unwrap();
        assert_eq!(cache.sweep().unwrap(), 2);
        assert_eq!(fs::read_dir(&cache.setups).unwrap().count(), 0);
    }

    #[test]
    fn directory_that_others_can_write_to_is_not_used() {
        let (directory, cache) = state();
        store(&cache, &key("a"), 1, SystemTime::now());
        let state = directory.path().join("state");
        fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
        assert!(cache.get(&key("a")).is_none() && cache.begin(&key("b")).is_err());
        assert!(cache.lease(&key("a")).is_err());
        fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
        assert!(cache.get(&key("a")).is_some());
    }
}
