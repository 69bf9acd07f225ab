//! Removes images that are too many, and what was left half made. Never one that is in use.

use std::fs;
use std::io;
use std::time::SystemTime;

use super::super::fault::Fault;
use super::super::lock::{Hold, Lock};
use super::{ImageStore, LOCK, MEANS, PARTIAL, RECORD, Record, blocking, remove_tree};
use crate::sandbox::{CacheLimits, SandboxError};

impl ImageStore {
    /// Removes the images that have not been used for longest, until the bounds hold at `now`. Leaves
    /// alone those that a sandbox of any process uses. Says which are gone. Sweeps first.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub async fn evict(&self, bounds: &CacheLimits, now: SystemTime) -> Result<Vec<String>, SandboxError> {
        let (store, bounds) = (self.clone(), *bounds);
        let evicted = blocking(move || store.evict_now(&bounds, now)).await;
        evicted.map_err(|fault| fault.of_all_in(&self.images()))
    }

    /// Removes what a predecessor left half made, and says how many.
    ///
    /// # Errors
    /// As for [`ImageStore::evict`].
    pub async fn sweep(&self) -> Result<u32, SandboxError> {
        let store = self.clone();
        blocking(move || store.sweep_now()).await.map_err(|fault| fault.of_all_in(&self.images()))
    }

    fn evict_now(&self, bounds: &CacheLimits, now: SystemTime) -> Result<Vec<String>, Fault> {
        // What was given up midway is the first to go.
        self.sweep_now()?;
        let mut images: Vec<(SystemTime, Record)> = Vec::new();
        for name in self.names()? {
            let Some(record) = self.record(&format!("sha256:{name}")) else { continue };
            let path = self.images().join(&name).join(RECORD);
            // One that is being removed by another at this moment is no longer ours to count.
            let Ok(used) = fs::metadata(&path).and_then(|metadata| metadata.modified()) else { continue };
            images.push((used, record));
        }
        images.sort_by_key(|(used, _)| *used);
        let mut count = images.len();
        let mut bytes: u64 = images.iter().map(|(_, record)| record.bytes).sum();
        let mut gone = Vec::new();
        for (used, record) in images {
            let too_old = now.duration_since(used).is_ok_and(|age| age > bounds.age_max);
            if !too_old && count <= bounds.count_max && bytes <= bounds.bytes_max {
                break;
            }
            let lock_path = self.place(&record.digest, LOCK);
            let Some(lock) = Lock::try_now(&lock_path, Hold::Alone)? else { continue };
            if self.record(&record.digest).is_none() {
                // Another process was faster.
                lock.remove(&lock_path)?;
                continue;
            }
            let (place, partial) = (self.directory(&record.digest), self.place(&record.digest, PARTIAL));
            remove_tree(&partial)?;
            fs::rename(&place, &partial).map_err(|error| Fault::disk("renaming", &place, error))?;
            remove_tree(&partial)?;
            lock.remove(&lock_path)?;
            count -= 1;
            bytes -= record.bytes;
            gone.push(record.digest);
        }
        Ok(gone)
    }

    fn sweep_now(&self) -> Result<u32, Fault> {
        let mut swept = 0;
        for name in self.names()? {
            let path = self.images().join(&name);
            let Some((hex, kind)) = name.split_once('.') else { continue };
            let digest = format!("sha256:{hex}");
            if kind == MEANS && self.meant_by(&digest).is_none_or(|meant| self.record(&meant).is_none()) {
                fs::remove_file(&path).map_err(|error| Fault::disk("removing", &path, error))?;
            }
            if kind != PARTIAL {
                continue;
            }
            let lock_path = self.place(&digest, LOCK);
            // Whoever holds it is making it.
            let Some(lock) = Lock::try_now(&lock_path, Hold::Alone)? else { continue };
            remove_tree(&path)?;
            if self.record(&digest).is_none() {
                lock.remove(&lock_path)?;
            }
            swept += 1;
        }
        Ok(swept)
    }

    /// What lies in the directory of images; nothing where there is none yet.
    fn names(&self) -> Result<Vec<String>, Fault> {
        let images = self.images();
        let failed = |error| Fault::disk("reading", &images, error);
        let entries = match fs::read_dir(&images) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
    }
}
