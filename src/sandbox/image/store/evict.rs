//! Removes images if there are too many, and partial ones. Never removes an image that is in use.

use std::fs;
use std::io;
use std::time::SystemTime;

use super::super::error::ImageError;
use super::super::lock::{Lock, LockMode};
use super::{ImageRecord, ImageStore, LOCK, MEANS, PARTIAL, RECORD, blocking, remove_tree};
use crate::sandbox::error::SandboxError;
use crate::sandbox::spec::CacheLimits;

impl ImageStore {
    /// Sweeps, and removes the least recently used images until the limits hold at `now`, except those that a
    /// sandbox of any process uses. Returns the digests of the removed images.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub async fn evict(&self, limits: &CacheLimits, now: SystemTime) -> Result<Vec<String>, SandboxError> {
        let (store, limits) = (self.clone(), *limits);
        let evicted = blocking(move || store.evict_now(&limits, now)).await;
        evicted.map_err(|error| error.for_store(&self.images()))
    }

    /// Removes partial images that earlier processes left, and returns how many.
    ///
    /// # Errors
    /// As for [`ImageStore::evict`].
    pub async fn sweep(&self) -> Result<u32, SandboxError> {
        let store = self.clone();
        blocking(move || store.sweep_now()).await.map_err(|error| error.for_store(&self.images()))
    }

    fn evict_now(&self, limits: &CacheLimits, now: SystemTime) -> Result<Vec<String>, ImageError> {
        // Partial images are removed first.
        self.sweep_now()?;
        let mut images: Vec<(SystemTime, ImageRecord)> = Vec::new();
        for name in self.names()? {
            let Some(record) = self.record(&format!("sha256:{name}")) else { continue };
            let path = self.images().join(&name).join(RECORD);
            // An image that another process is removing does not count.
            let Ok(used) = fs::metadata(&path).and_then(|metadata| metadata.modified()) else { continue };
            images.push((used, record));
        }
        images.sort_by_key(|(used, _)| *used);
        let mut count = images.len();
        let mut bytes: u64 = images.iter().map(|(_, record)| record.bytes).sum();
        let mut evicted = Vec::new();
        for (used, record) in images {
            let too_old = now.duration_since(used).is_ok_and(|age| age > limits.age_max);
            if !too_old && count <= limits.count_max && bytes <= limits.bytes_max {
                break;
            }
            let lock_path = self.path(&record.digest, LOCK);
            let Some(lock) = Lock::try_now(&lock_path, LockMode::Exclusive)? else { continue };
            if self.record(&record.digest).is_none() {
                // Another process has removed it.
                lock.remove(&lock_path)?;
                continue;
            }
            let (directory, partial) = (self.directory(&record.digest), self.path(&record.digest, PARTIAL));
            remove_tree(&partial)?;
            fs::rename(&directory, &partial)
                .map_err(|error| ImageError::disk("renaming", &directory, error))?;
            remove_tree(&partial)?;
            lock.remove(&lock_path)?;
            count -= 1;
            bytes -= record.bytes;
            evicted.push(record.digest);
        }
        Ok(evicted)
    }

    fn sweep_now(&self) -> Result<u32, ImageError> {
        let mut swept = 0;
        for name in self.names()? {
            let path = self.images().join(&name);
            let Some((hex, kind)) = name.split_once('.') else { continue };
            let digest = format!("sha256:{hex}");
            if kind == MEANS && self.resolved_index(&digest).is_none_or(|image| self.record(&image).is_none())
            {
                fs::remove_file(&path).map_err(|error| ImageError::disk("removing", &path, error))?;
            }
            if kind != PARTIAL {
                continue;
            }
            let lock_path = self.path(&digest, LOCK);
            // The holder of the lock is creating the image.
            let Some(lock) = Lock::try_now(&lock_path, LockMode::Exclusive)? else { continue };
            remove_tree(&path)?;
            if self.record(&digest).is_none() {
                lock.remove(&lock_path)?;
            }
            swept += 1;
        }
        Ok(swept)
    }

    /// The file names in the directory of images; none if it does not exist yet.
    fn names(&self) -> Result<Vec<String>, ImageError> {
        let images = self.images();
        let failed = |error| ImageError::disk("reading", &images, error);
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
