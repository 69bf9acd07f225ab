//! Keeps unpacked images in a directory of ours, by their digest: made once, used by many, removed when
//! there are too many. An image is there whole or not at all: it is made beside its place and renamed.
//!
//! `images/HEX/{rootfs,image.json}` is an image, `images/HEX.partial` one that is being made or removed,
//! `images/HEX.lock` holds it against others, `images/HEX.means` says which image an index meant.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::lock::{self, Hold, Lock};
use super::manifest::Config;
use super::reference::{ImageReference, checked_digest};
use super::rootfs::RootFs;
use super::source::{Found, Source};
use super::unpack::{LayerFile, Tally, unpack};
use super::{Bounds, Until};
use crate::sandbox::SandboxError;

/// Changes when an older version's images are not what this one would make.
const FORMAT: u32 = 1;
const RECORD: &str = "image.json";
const ROOT: &str = "rootfs";
const PARTIAL: &str = "partial";
const LOCK: &str = "lock";
const MEANS: &str = "means";

/// Unpacked images, below a state directory that is ours alone.
#[derive(Debug, Clone)]
pub struct ImageStore {
    state_dir: PathBuf,
    bounds: Bounds,
}

/// An image as a directory. While it, or a clone of it, is there, the image is not evicted.
#[derive(Debug, Clone)]
pub struct UnpackedImage {
    /// `sha256:…` of the manifest for this machine; for what `docker save` writes, the image's id.
    pub digest: String,
    /// Its root file system: to be mounted read-only. What sandboxes mount on is there, as real
    /// directories.
    pub root: PathBuf,
    /// The `PATH` it asks for.
    pub path: Option<String>,
    /// The other variables it asks for.
    pub env: Vec<(String, String)>,
    /// The reference to exactly this image.
    pub reference: String,
    _in_use: Lock,
}

/// What is known of an image that is there.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    format: u32,
    digest: String,
    path: Option<String>,
    env: Vec<(String, String)>,
    entries: u64,
    bytes: u64,
    /// Devices and pipes that were left out.
    skipped: u64,
}

impl ImageStore {
    /// The images below `state_dir`, which is made (mode 0700) when the first is asked for.
    pub fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, bounds: Bounds::default() }
    }

    #[cfg(test)]
    pub(super) fn with_bounds(state_dir: PathBuf, bounds: Bounds) -> Self {
        Self { state_dir, bounds }
    }

    /// The image that `reference` means, unpacked. A tag is looked up once; a digest that is there is
    /// not asked for at all.
    ///
    /// # Errors
    /// It cannot be had, is not what its digest says, is too large, or is not safe to unpack; the
    /// error names the reference and what to do.
    pub async fn resolve(&self, reference: &str) -> Result<UnpackedImage, SandboxError> {
        let until = Until::starting_at(Instant::now(), self.bounds.time_max);
        let _abandon = until.abandon_on_drop();
        let obtained = async {
            let named = ImageReference::parse(reference)?;
            let timed =
                tokio::time::timeout(self.bounds.time_max, Box::pin(self.obtain(&named, &until))).await;
            timed.unwrap_or(Err(Fault::Time { seconds: self.bounds.time_max.as_secs() }))
        };
        obtained.await.map_err(|fault: Fault| fault.of(reference))
    }

    async fn obtain(&self, named: &ImageReference, until: &Until) -> Result<UnpackedImage, Fault> {
        own_directory(&self.state_dir)?;
        own_directory(&self.images())?;
        if let Some(digest) = &named.digest {
            let meant = self.meant_by(digest);
            if let Some(image) = self.known(named, meant.as_ref().unwrap_or(digest), until).await? {
                return Ok(image);
            }
        }
        let mut source = Source::open(named, &self.bounds).await?;
        let found = source.find(named, &self.bounds).await?;
        if let Some(index) = named.digest.as_ref().filter(|digest| **digest != found.digest) {
            self.remember(index, &found.digest)?;
        }
        loop {
            if let Some(image) = self.known(named, &found.digest, until).await? {
                return Ok(image);
            }
            // Held by who makes it, or, once it is made, by those who use it: then it is known.
            let Some(lock) = Lock::try_now(&self.place(&found.digest, LOCK), Hold::Alone)? else {
                lock::pause(until).await?;
                continue;
            };
            if self.record(&found.digest).is_none() {
                self.make(&mut source, &found, &lock, until).await?;
            }
        }
    }

    /// An image that is there, held against eviction.
    async fn known(
        &self,
        named: &ImageReference,
        digest: &str,
        until: &Until,
    ) -> Result<Option<UnpackedImage>, Fault> {
        // Not even a lock of what is not there and nobody makes.
        if self.record(digest).is_none() {
            return Ok(None);
        }
        let lock = Lock::wait(&self.place(digest, LOCK), Hold::Together, until).await?;
        let Some(record) = self.record(digest) else { return Ok(None) };
        let place = self.directory(digest);
        // The age that eviction goes by. A disk that takes no writes does not keep anybody from reading.
        if let Err(error) =
            File::open(place.join(RECORD)).and_then(|file| file.set_modified(SystemTime::now()))
        {
            tracing::debug!(%error, digest, "an image's use could not be noted");
        }
        Ok(Some(UnpackedImage {
            reference: named.pinned(&record.digest),
            digest: record.digest,
            root: place.join(ROOT),
            path: record.path,
            env: record.env,
            _in_use: lock,
        }))
    }

    /// Makes an image whole, or leaves nothing of it. `lock` is held alone.
    async fn make(
        &self,
        source: &mut Source,
        found: &Found,
        lock: &Lock,
        until: &Until,
    ) -> Result<(), Fault> {
        let partial = self.place(&found.digest, PARTIAL);
        let made = self.make_in(source, found, &partial, lock, until).await;
        if made.is_err() {
            let lock = lock.clone();
            let removed = blocking(move || {
                let _held = lock;
                remove_tree(&partial)
            });
            // What went wrong first is what matters; the next sweep tries again.
            if let Err(fault) = removed.await {
                tracing::warn!(%fault, digest = found.digest, "a half-made image could not be removed");
            }
        }
        made
    }

    async fn make_in(
        &self,
        source: &mut Source,
        found: &Found,
        partial: &Path,
        lock: &Lock,
        until: &Until,
    ) -> Result<(), Fault> {
        let root = partial.join(ROOT);
        let (beginning, in_root, held) = (partial.to_owned(), root.clone(), lock.clone());
        let leftover = self.directory(&found.digest);
        let mut root_fs = blocking(move || {
            let _held = held;
            remove_tree(&beginning)?;
            // One of another format, or without its record.
            remove_tree(&leftover)?;
            make_directory(&beginning)?;
            make_directory(&in_root)?;
            RootFs::begin(&in_root).map_err(|error| Fault::disk("opening", &in_root, error))
        })
        .await?;
        let manifest = &found.manifest;
        let bytes = source.small(&manifest.config, "the configuration", self.bounds.config_bytes_max).await?;
        let config = Config::parse(&bytes, manifest.layers.len())?;
        let mut tally = Tally::default();
        for (layer, diff_id) in manifest.layers.iter().zip(&config.diff_ids) {
            let file = partial.join("layer");
            source.layer(&layer.descriptor, &file).await?;
            let (compression, diff_id) = (layer.compression, diff_id.clone());
            let (bounds, until, held) = (self.bounds.clone(), until.clone(), lock.clone());
            (root_fs, tally) = blocking(move || {
                let _held = held;
                let layer = LayerFile { path: &file, compression, diff_id: &diff_id };
                unpack(&layer, &mut root_fs, &mut tally, &bounds, &until)?;
                fs::remove_file(&file).map_err(|error| Fault::disk("removing", &file, error))?;
                Ok((root_fs, tally))
            })
            .await?;
        }
        let (paths, env): (Vec<_>, Vec<_>) = config.env.into_iter().partition(|(name, _)| name == "PATH");
        let record = Record {
            format: FORMAT,
            digest: found.digest.clone(),
            path: paths.into_iter().next_back().map(|(_, path)| path),
            env,
            entries: tally.entries + root_fs.made_on_the_way(),
            bytes: tally.bytes,
            skipped: tally.skipped,
        };
        if record.skipped > 0 {
            tracing::info!(
                digest = record.digest,
                count = record.skipped,
                "devices in an image were left out"
            );
        }
        let (partial, place, held) = (partial.to_owned(), self.directory(&found.digest), lock.clone());
        blocking(move || {
            let _held = held;
            root_fs.make_mount_points()?;
            let text = serde_json::to_vec(&record).map_err(|error| Fault::malformed("its record", error))?;
            fs::write(partial.join(RECORD), text).map_err(|error| Fault::disk("writing", &partial, error))?;
            put_in_place(&partial, &place)
        })
        .await
    }

    fn record(&self, digest: &str) -> Option<Record> {
        let text = fs::read(self.directory(digest).join(RECORD)).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        (record.format == FORMAT && record.digest == digest).then_some(record)
    }

    /// The image for this machine that an index was found to mean.
    fn meant_by(&self, index: &str) -> Option<String> {
        checked_digest(&fs::read_to_string(self.place(index, MEANS)).ok()?).ok()
    }

    fn remember(&self, index: &str, digest: &str) -> Result<(), Fault> {
        let place = self.place(index, MEANS);
        // Torn by a crash it is no digest, and asked for again.
        fs::write(&place, digest).map_err(|error| Fault::disk("writing", &place, error))
    }

    fn images(&self) -> PathBuf {
        self.state_dir.join("images")
    }

    fn directory(&self, digest: &str) -> PathBuf {
        self.images().join(hex_of(digest))
    }

    fn place(&self, digest: &str, kind: &str) -> PathBuf {
        self.images().join(format!("{}.{kind}", hex_of(digest)))
    }
}

fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// Everything on the disk, and only then the name under which it counts.
fn put_in_place(partial: &Path, place: &Path) -> Result<(), Fault> {
    let failed = |error: io::Error| Fault::disk("finishing", partial, error);
    let directory = File::open(partial).map_err(failed)?;
    nix::unistd::syncfs(&directory).map_err(|error| failed(error.into()))?;
    fs::rename(partial, place).map_err(failed)?;
    let parent = place.parent().unwrap_or(place);
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
}

/// A directory that nobody else can read or write: made so, or found to be so.
fn own_directory(path: &Path) -> Result<(), Fault> {
    let refuse = |why: String| Err(Fault::Directory { path: path.display().to_string(), why });
    let failed = |error| Fault::disk("making", path, error);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.is_dir() {
        return refuse("is a symlink; name the directory itself".to_owned());
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

fn make_directory(path: &Path) -> Result<(), Fault> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| Fault::disk("making", path, error))
}

fn remove_tree(path: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::disk("removing", path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The process is shutting down.
        Err(_) => Err(Fault::Abandoned),
    }
}

mod evict;
#[cfg(test)]
mod tests;
