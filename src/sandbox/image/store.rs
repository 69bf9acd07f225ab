//! Stores unpacked images in our own directory, by their digest. An image is unpacked once, used by many
//! sandboxes, and removed when there are too many. It exists completely or not at all: it is unpacked next
//! to its final path and then renamed.
//!
//! `images/HEX/{rootfs,image.json}` is an image, `images/HEX.partial` one that is being created or removed,
//! `images/HEX.lock` is its lock, and `images/HEX.means` contains the digest of the image that an index
//! resolves to.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::error::ImageError;
use super::limits::{Deadline, ImageLimits};
use super::lock::{self, Lock, LockMode};
use super::manifest::{Config, ResolvedImage};
use super::reference::{ImageReference, checked_digest};
use super::rootfs::RootFs;
use super::source::Source;
use super::unpack::{LayerFile, Tally, unpack};
use crate::sandbox::error::SandboxError;

/// Changes when this version would unpack images differently from an older one.
const FORMAT: u32 = 1;
const RECORD: &str = "image.json";
const ROOT: &str = "rootfs";
const PARTIAL: &str = "partial";
const LOCK: &str = "lock";
const MEANS: &str = "means";

/// The unpacked images below a state directory that only we may use.
#[derive(Debug, Clone)]
pub struct ImageStore {
    state_dir: PathBuf,
    limits: ImageLimits,
}

/// An image as a directory. While it or a clone of it exists, the image is not evicted.
#[derive(Debug, Clone)]
pub struct UnpackedImage {
    /// `sha256:…` of the manifest for this machine; in an archive of `docker save`, the image's id.
    pub digest: String,
    /// Its root file system, which must be mounted read-only. The mount points of sandboxes exist in it, as
    /// real directories.
    pub root: PathBuf,
    /// The `PATH` that it sets.
    pub path: Option<String>,
    /// The other variables that it sets.
    pub env: Vec<(String, String)>,
    /// A reference to exactly this image.
    pub reference: String,
    _in_use: Lock,
}

/// The record of a stored image.
#[derive(Debug, Serialize, Deserialize)]
struct ImageRecord {
    format: u32,
    digest: String,
    path: Option<String>,
    env: Vec<(String, String)>,
    entries: u64,
    bytes: u64,
    /// Devices and pipes that were omitted.
    skipped: u64,
}

impl ImageStore {
    /// The images below `state_dir`, which is created (mode 0700) with the first image.
    pub fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, limits: ImageLimits::default() }
    }

    #[cfg(test)]
    pub(super) fn with_limits(state_dir: PathBuf, limits: ImageLimits) -> Self {
        Self { state_dir, limits }
    }

    /// The unpacked image for `reference`. A tag is resolved with one request; a digest that is stored needs no
    /// request.
    ///
    /// # Errors
    /// It is not available, does not match its digest, is too large, or is not safe to unpack. The error
    /// names the reference and what to do.
    pub async fn resolve(&self, reference: &str) -> Result<UnpackedImage, SandboxError> {
        let deadline = Deadline::starting_at(Instant::now(), self.limits.time_max);
        let _abandon = deadline.abandon_on_drop();
        let obtained = async {
            let named = ImageReference::parse(reference)?;
            let timed =
                tokio::time::timeout(self.limits.time_max, Box::pin(self.obtain(&named, &deadline))).await;
            timed.unwrap_or(Err(ImageError::Time { seconds: self.limits.time_max.as_secs() }))
        };
        obtained.await.map_err(|error: ImageError| error.for_image(reference))
    }

    async fn obtain(&self, named: &ImageReference, deadline: &Deadline) -> Result<UnpackedImage, ImageError> {
        private_directory(&self.state_dir)?;
        private_directory(&self.images())?;
        if let Some(digest) = &named.digest {
            let resolved = self.resolved_index(digest);
            if let Some(image) = self.find(named, resolved.as_ref().unwrap_or(digest), deadline).await? {
                return Ok(image);
            }
        }
        let mut source = Source::open(named, &self.limits).await?;
        let found = source.find(named, &self.limits).await?;
        if let Some(index) = named.digest.as_ref().filter(|digest| **digest != found.digest) {
            self.store_resolution(index, &found.digest)?;
        }
        loop {
            if let Some(image) = self.find(named, &found.digest, deadline).await? {
                return Ok(image);
            }
            // Held by who makes it, or, once it is made, by those who use it: then it is known.
            let Some(lock) = Lock::try_now(&self.path(&found.digest, LOCK), LockMode::Exclusive)? else {
                lock::pause(deadline).await?;
                continue;
            };
            if self.record(&found.digest).is_none() {
                self.create(&mut source, &found, &lock, deadline).await?;
            }
        }
    }

    /// A stored image, locked against eviction.
    async fn find(
        &self,
        named: &ImageReference,
        digest: &str,
        deadline: &Deadline,
    ) -> Result<Option<UnpackedImage>, ImageError> {
        // Without an image, no lock file is created.
        if self.record(digest).is_none() {
            return Ok(None);
        }
        let lock = Lock::wait(&self.path(digest, LOCK), LockMode::Shared, deadline).await?;
        let Some(record) = self.record(digest) else { return Ok(None) };
        let directory = self.directory(digest);
        // Eviction goes by this time. On a read-only disk, images can still be used.
        if let Err(error) =
            File::open(directory.join(RECORD)).and_then(|file| file.set_modified(SystemTime::now()))
        {
            tracing::debug!(%error, digest, "could not record the use of an image");
        }
        Ok(Some(UnpackedImage {
            reference: named.pinned(&record.digest),
            digest: record.digest,
            root: directory.join(ROOT),
            path: record.path,
            env: record.env,
            _in_use: lock,
        }))
    }

    /// Creates a complete image, or leaves nothing of it. `lock` is exclusive.
    async fn create(
        &self,
        source: &mut Source,
        found: &ResolvedImage,
        lock: &Lock,
        deadline: &Deadline,
    ) -> Result<(), ImageError> {
        let partial = self.path(&found.digest, PARTIAL);
        let created = self.create_in(source, found, &partial, lock, deadline).await;
        if created.is_err() {
            let lock = lock.clone();
            let removed = blocking(move || {
                let _held = lock;
                remove_tree(&partial)
            });
            // The first error is returned. The next sweep tries again to remove the rest.
            if let Err(error) = removed.await {
                tracing::warn!(%error, digest = found.digest, "could not remove a partial image");
            }
        }
        created
    }

    async fn create_in(
        &self,
        source: &mut Source,
        found: &ResolvedImage,
        partial: &Path,
        lock: &Lock,
        deadline: &Deadline,
    ) -> Result<(), ImageError> {
        let root = partial.join(ROOT);
        let (directory, in_root, held) = (partial.to_owned(), root.clone(), lock.clone());
        let leftover = self.directory(&found.digest);
        let mut root_fs = blocking(move || {
            let _held = held;
            remove_tree(&directory)?;
            // An image of another format, or without a record.
            remove_tree(&leftover)?;
            create_directory(&directory)?;
            create_directory(&in_root)?;
            RootFs::begin(&in_root).map_err(|error| ImageError::disk("opening", &in_root, error))
        })
        .await?;
        let manifest = &found.manifest;
        let bytes =
            source.small_blob(&manifest.config, "the configuration", self.limits.config_bytes_max).await?;
        let config = Config::parse(&bytes, manifest.layers.len())?;
        let mut tally = Tally::default();
        for (layer, diff_id) in manifest.layers.iter().zip(&config.diff_ids) {
            let file = partial.join("layer");
            source.layer(&layer.descriptor, &file).await?;
            let (compression, diff_id) = (layer.compression, diff_id.clone());
            let (limits, deadline, held) = (self.limits.clone(), deadline.clone(), lock.clone());
            (root_fs, tally) = blocking(move || {
                let _held = held;
                let layer = LayerFile { path: &file, compression, diff_id: &diff_id };
                unpack(&layer, &mut root_fs, &mut tally, &limits, &deadline)?;
                fs::remove_file(&file).map_err(|error| ImageError::disk("removing", &file, error))?;
                Ok((root_fs, tally))
            })
            .await?;
        }
        let (paths, env): (Vec<_>, Vec<_>) = config.env.into_iter().partition(|(name, _)| name == "PATH");
        let record = ImageRecord {
            format: FORMAT,
            digest: found.digest.clone(),
            path: paths.into_iter().next_back().map(|(_, path)| path),
            env,
            entries: tally.entries + root_fs.implicit_directories(),
            bytes: tally.bytes,
            skipped: tally.skipped,
        };
        if record.skipped > 0 {
            tracing::info!(digest = record.digest, count = record.skipped, "omitted devices of an image");
        }
        let (partial, path, held) = (partial.to_owned(), self.directory(&found.digest), lock.clone());
        blocking(move || {
            let _held = held;
            root_fs.create_mount_points()?;
            let text =
                serde_json::to_vec(&record).map_err(|error| ImageError::malformed("its record", error))?;
            fs::write(partial.join(RECORD), text)
                .map_err(|error| ImageError::disk("writing", &partial, error))?;
            rename_into_place(&partial, &path)
        })
        .await
    }

    fn record(&self, digest: &str) -> Option<ImageRecord> {
        let text = fs::read(self.directory(digest).join(RECORD)).ok()?;
        let record: ImageRecord = serde_json::from_slice(&text).ok()?;
        (record.format == FORMAT && record.digest == digest).then_some(record)
    }

    /// The image for this machine that an index resolved to.
    fn resolved_index(&self, index: &str) -> Option<String> {
        checked_digest(&fs::read_to_string(self.path(index, MEANS)).ok()?).ok()
    }

    fn store_resolution(&self, index: &str, digest: &str) -> Result<(), ImageError> {
        let path = self.path(index, MEANS);
        // After a crash the file may be incomplete. Then it is not a digest, and the index is resolved again.
        fs::write(&path, digest).map_err(|error| ImageError::disk("writing", &path, error))
    }

    fn images(&self) -> PathBuf {
        self.state_dir.join("images")
    }

    fn directory(&self, digest: &str) -> PathBuf {
        self.images().join(hex_of(digest))
    }

    fn path(&self, digest: &str, kind: &str) -> PathBuf {
        self.images().join(format!("{}.{kind}", hex_of(digest)))
    }
}

fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// Writes everything to the disk, and only then renames it to its final path.
fn rename_into_place(partial: &Path, path: &Path) -> Result<(), ImageError> {
    let failed = |error: io::Error| ImageError::disk("finishing", partial, error);
    let directory = File::open(partial).map_err(failed)?;
    nix::unistd::syncfs(&directory).map_err(|error| failed(error.into()))?;
    fs::rename(partial, path).map_err(failed)?;
    let parent = path.parent().unwrap_or(path);
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
}

/// Creates a directory that no other user can read or write, or checks an existing one.
fn private_directory(path: &Path) -> Result<(), ImageError> {
    let refuse = |why: String| Err(ImageError::Directory { path: path.display().to_string(), why });
    let failed = |error| ImageError::disk("making", path, error);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.is_dir() {
        return refuse("is a symlink; use the directory itself".to_owned());
    }
    let ours = nix::unistd::geteuid().as_raw();
    if found.uid() != ours {
        return refuse(format!("belongs to user {}, not to {ours}", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

fn create_directory(path: &Path) -> Result<(), ImageError> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| ImageError::disk("making", path, error))
}

fn remove_tree(path: &Path) -> Result<(), ImageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ImageError::disk("removing", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The process is shutting down.
        Err(_) => Err(ImageError::Abandoned),
    }
}

mod evict;
#[cfg(test)]
mod tests;
