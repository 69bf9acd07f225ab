//! What set-ups made, on the host's disk: `setups/KEY/files`, written by a sandbox that runs no
//! command and shown read-only to others. Knows names, sizes and times; never opens what is in
//! `files`, except to remove it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sandbox::protocol::SnapshotContents;
use crate::sandbox::{CacheLimits, SetupKey, SetupSnapshot};

const PARTIAL: &str = ".partial";
const GONE: &str = ".gone";
/// What a file takes on a disk beside its bytes, at least when there are many small ones.
const ENTRY_BYTES: u64 = 4096;
/// A meta file is a few dozen bytes.
const META_BYTES_MAX: u64 = 4096;

/// The directory of kept set-ups. Nothing in it is made before something is kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    setups: PathBuf,
}

/// A set-up that is being taken in. Whoever holds it is the only one; when its process ends in any
/// way, the next sweep removes what is there.
pub(super) struct Partial {
    key: SetupKey,
    directory: PathBuf,
    _lock: Lock,
}

/// As long as it is held, that set-up is not removed.
#[derive(Debug)]
pub(in crate::sandbox) struct Lease {
    _lock: Lock,
}

/// A lock on a file, given back when dropped. A process that is being started at that moment has the
/// same open file for a while: closing ours would not give it back.
#[derive(Debug)]
struct Lock(File);

impl Lock {
    /// The only one, or none.
    fn exclusive(file: File) -> Option<Self> {
        file.try_lock().is_ok().then_some(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It is given back at the latest when all who have the file open have ended.
        let _ = self.0.unlock();
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    bytes: u64,
    entries: u64,
    created: Timestamp,
}

impl Partial {
    /// Where its content belongs.
    pub(super) fn files(&self) -> PathBuf {
        self.directory.join("files")
    }
}

impl Kept {
    /// In a directory that is ours alone.
    pub(super) fn below(state_dir: &Path) -> Self {
        Self { setups: state_dir.join("setups") }
    }

    /// Begins to keep something. `Err` is in words.
    pub(super) fn begin(&self, key: &SetupKey) -> Result<Partial, String> {
        self.make_ours().map_err(|e| self.failed(&e))?;
        let directory = self.setups.join(format!("{key}{PARTIAL}"));
        let begin = || -> io::Result<Option<Lock>> {
            if directory.exists() && !remove_unless_locked(&directory)? {
                return Ok(None);
            }
            DirBuilder::new().mode(0o700).create(&directory)?;
            let lock = lock_file(&directory)?;
            let files = directory.join("files");
            fs::create_dir(&files)?;
            // Whatever our umask: another user's sandbox begins with what is in it.
            fs::set_permissions(&files, Permissions::from_mode(0o755))?;
            Ok(Lock::exclusive(lock))
        };
        match begin() {
            Ok(Some(lock)) => Ok(Partial { key: key.clone(), directory, _lock: lock }),
            Ok(None) => Err(format!("{} is being made by another process", directory.display())),
            Err(error) => Err(format!("{} cannot be made: {error}", directory.display())),
        }
    }

    /// Everything is there: from now on it can be used. All of it is on the disk before its name is.
    pub(super) fn finish(
        &self,
        partial: Partial,
        selected: &SnapshotContents,
        now: Timestamp,
    ) -> Result<SetupSnapshot, String> {
        let bytes = selected.bytes.saturating_add(selected.entries.saturating_mul(ENTRY_BYTES));
        let place = self.setups.join(partial.key.as_str());
        let finish = || -> io::Result<()> {
            let meta = Meta { bytes, entries: selected.entries, created: now };
            let mut file = File::create_new(partial.directory.join("meta.json"))?;
            file.write_all(&serde_json::to_vec(&meta)?)?;
            nix::unistd::syncfs(&file)?;
            match fs::rename(&partial.directory, &place) {
                // Another process has kept the same, and was faster.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    fs::remove_dir_all(&partial.directory)?;
                }
                other => other?,
            }
            File::open(&self.setups)?.sync_all()
        };
        finish().map_err(|e| self.failed(&e))?;
        Ok(SetupSnapshot { key: partial.key, place: place.display().to_string(), bytes })
    }

    /// Gives up what was begun.
    pub(super) fn abandon(&self, partial: Partial) {
        // What cannot be removed now is swept later.
        let _ = fs::remove_dir_all(&partial.directory);
    }

    /// What is kept under `key`; this counts as its last use.
    pub(super) fn get(&self, key: &SetupKey) -> Option<SetupSnapshot> {
        self.check_ours().ok()?;
        let place = self.setups.join(key.as_str());
        let meta = read_meta(&place)?;
        let touched = File::options().write(true).open(place.join("lock"));
        // Not to know the last use makes it look older than it is, and nothing else.
        let _ = touched.and_then(|file| file.set_modified(SystemTime::now()));
        Some(SetupSnapshot { key: key.clone(), place: place.display().to_string(), bytes: meta.bytes })
    }

    /// The files kept under `key`, and the promise that they stay.
    pub(super) fn lease(&self, key: &SetupKey) -> Result<(PathBuf, Lease), String> {
        self.check_ours().map_err(|e| self.failed(&e))?;
        let place = self.setups.join(key.as_str());
        let lease = || -> io::Result<Lease> {
            let lock = File::open(place.join("lock"))?;
            lock.try_lock_shared().map_err(io::Error::other)?;
            // It may have gone between the opening and the lock.
            fs::metadata(place.join("meta.json"))?;
            Ok(Lease { _lock: Lock(lock) })
        };
        let lease = lease()
            .map_err(|e| format!("what the set-up made is not kept any more in {}: {e}", place.display()))?;
        Ok((place.join("files"), lease))
    }

    /// Removes the least recently used, but none that is in use, until the bounds hold.
    pub(super) fn evict(&self, bounds: &CacheLimits, now: SystemTime) -> Result<Vec<SetupKey>, String> {
        if self.check_ours().is_err() {
            return Ok(Vec::new());
        }
        let mut kept = self.all().map_err(|e| self.failed(&e))?;
        kept.sort_by_key(|(_, used, _)| *used);
        let (mut count, mut bytes) = (kept.len(), kept.iter().map(|(_, _, bytes)| bytes).sum::<u64>());
        let mut evicted = Vec::new();
        for (key, used, its_bytes) in kept {
            let too_old = now.duration_since(used).is_ok_and(|age| age > bounds.age_max);
            if !too_old && count <= bounds.count_max && bytes <= bounds.bytes_max {
                break;
            }
            if self.remove(&key).map_err(|e| self.failed(&e))? {
                (count, bytes) = (count - 1, bytes - its_bytes);
                evicted.push(key);
            }
        }
        Ok(evicted)
    }

    /// Removes what predecessors left half made or half removed.
    pub(super) fn sweep(&self) -> Result<u32, String> {
        if self.check_ours().is_err() {
            return Ok(0);
        }
        let sweep = || -> io::Result<u32> {
            let mut swept = 0;
            for entry in fs::read_dir(&self.setups)? {
                let path = entry?.path();
                let is_left = path.extension().is_some_and(|end| {
                    [PARTIAL, GONE].iter().any(|left| left.trim_start_matches('.') == end)
                });
                swept += u32::from(is_left && remove_unless_locked(&path)?);
            }
            Ok(swept)
        };
        sweep().map_err(|e| self.failed(&e))
    }

    /// All that is kept, with its last use and its size.
    fn all(&self) -> io::Result<Vec<(SetupKey, SystemTime, u64)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.setups)? {
            let entry = entry?;
            let Some(key) = entry.file_name().to_str().and_then(SetupKey::from_hex) else { continue };
            let used = fs::metadata(entry.path().join("lock")).and_then(|lock| lock.modified());
            // What cannot be read can still be removed, before anything else.
            let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            all.push((key, used, read_meta(&entry.path()).map_or(0, |meta| meta.bytes)));
        }
        Ok(all)
    }

    fn remove(&self, key: &SetupKey) -> io::Result<bool> {
        let place = self.setups.join(key.as_str());
        let Some(_lock) = Lock::exclusive(lock_file(&place)?) else { return Ok(false) };
        let gone = self.setups.join(format!("{key}{GONE}"));
        if gone.exists() {
            fs::remove_dir_all(&gone)?;
        }
        // At once, so that nobody finds a part of it.
        fs::rename(&place, &gone)?;
        fs::remove_dir_all(&gone)?;
        Ok(true)
    }

    fn make_ours(&self) -> io::Result<()> {
        DirBuilder::new().mode(0o700).recursive(true).create(&self.setups)?;
        self.check_ours()
    }

    /// Whoever else may write here decides what later jobs find.
    fn check_ours(&self) -> io::Result<()> {
        let us = nix::unistd::geteuid().as_raw();
        for directory in self.setups.ancestors().take(2) {
            let meta = fs::symlink_metadata(directory)?;
            if !meta.is_dir() || meta.uid() != us || meta.mode() & 0o022 != 0 {
                return Err(io::Error::other(format!(
                    "{} must be a directory of user {us} that nobody else can write to",
                    directory.display()
                )));
            }
        }
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("the set-ups kept in {}: {error}", self.setups.display())
    }
}

fn lock_file(directory: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(directory.join("lock"))
}

fn remove_unless_locked(directory: &Path) -> io::Result<bool> {
    let Some(_lock) = Lock::exclusive(lock_file(directory)?) else { return Ok(false) };
    fs::remove_dir_all(directory)?;
    Ok(true)
}

fn read_meta(place: &Path) -> Option<Meta> {
    let file = File::open(place.join("meta.json")).ok()?;
    serde_json::from_reader(io::Read::take(file, META_BYTES_MAX)).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(digit: &str) -> SetupKey {
        SetupKey::from_hex(digit.repeat(64)).unwrap()
    }

    fn keep(kept: &Kept, key: &SetupKey, bytes: u64, used: SystemTime) {
        let partial = kept.begin(key).unwrap();
        fs::write(partial.files().join("x"), "x").unwrap();
        kept.finish(partial, &SnapshotContents { entries: 0, bytes, skipped: 0 }, Timestamp::UNIX_EPOCH)
            .unwrap();
        let lock = File::options().write(true).open(kept.setups.join(key.as_str()).join("lock"));
        lock.unwrap().set_modified(used).unwrap();
    }

    fn state() -> (tempfile::TempDir, Kept) {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::below(&directory.path().join("state"));
        (directory, kept)
    }

    #[test]
    fn the_least_recently_used_goes_first_and_never_what_is_in_use() {
        let (_directory, kept) = state();
        let now = SystemTime::now();
        let ago = |hours: u64| now - Duration::from_secs(hours * 3600);
        for (digit, hours) in [("a", 30), ("b", 3), ("c", 2), ("d", 1)] {
            keep(&kept, &key(digit), 100, ago(hours));
        }
        let day = Duration::from_secs(24 * 3600);
        let roomy = CacheLimits { count_max: 9, bytes_max: 1000, age_max: day };
        assert_eq!(kept.evict(&roomy, now).unwrap(), [key("a")]);
        let (_, lease) = kept.lease(&key("b")).unwrap();
        assert_eq!(kept.evict(&CacheLimits { count_max: 2, ..roomy }, now).unwrap(), [key("c")]);
        drop(lease);
        assert_eq!(kept.evict(&CacheLimits { bytes_max: 100, ..roomy }, now).unwrap(), [key("b")]);
        assert!(kept.get(&key("d")).is_some() && kept.lease(&key("b")).is_err());
        assert_eq!(fs::read_dir(&kept.setups).unwrap().count(), 1);
    }

    #[test]
    fn use_is_remembered() {
        let (_directory, kept) = state();
        let now = SystemTime::now();
        keep(&kept, &key("a"), 1, now - Duration::from_secs(7200));
        keep(&kept, &key("b"), 1, now - Duration::from_secs(3600));
        assert_eq!(kept.get(&key("a")).unwrap().bytes, 1);
        let bounds = CacheLimits { count_max: 1, ..CacheLimits::default() };
        assert_eq!(kept.evict(&bounds, SystemTime::now()).unwrap(), [key("b")]);
    }

    #[test]
    fn what_is_half_made_is_not_there_and_is_swept_when_its_maker_is_gone() {
        let (_directory, kept) = state();
        let partial = kept.begin(&key("a")).unwrap();
        assert!(kept.get(&key("a")).is_none());
        assert_eq!(kept.sweep().unwrap(), 0, "its maker is still there");
        assert!(kept.begin(&key("a")).is_err());
        drop(partial);
        fs::create_dir(kept.setups.join(format!("{}{GONE}", key("b")))).unwrap();
        assert_eq!(kept.sweep().unwrap(), 2);
        assert_eq!(fs::read_dir(&kept.setups).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_trusted() {
        let (directory, kept) = state();
        keep(&kept, &key("a"), 1, SystemTime::now());
        let state = directory.path().join("state");
        fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
        assert!(kept.get(&key("a")).is_none() && kept.begin(&key("b")).is_err());
        assert!(kept.lease(&key("a")).is_err());
        fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
        assert!(kept.get(&key("a")).is_some());
    }
}
