//! Setup snapshots, stored as images: they are found by their labels, and removed when they are old or
//! too many. The time of their last use is stored in our own directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};
use jiff::Timestamp;
use nix::libc;
use sha2::{Digest, Sha256};

use super::archive::{self, toolbox_digest};
use super::container::{remove, written_bytes};
use super::engine::{Engine, failed, is_conflict, is_not_found};
use super::images::{commit, upload};
use super::labels::Label;
use crate::sandbox::{CacheLimits, SandboxError, SetupKey, SetupSnapshot};

/// The repository of snapshots, with a part for each owner. No registry has that name.
const REPOSITORY: &str = "localhost/mendwright-kept";
/// Digits of an owner's digest: enough to tell the owners of one engine apart.
const OWNER_DIGITS: usize = 32;

/// A stored snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CachedSnapshot {
    snapshot: SetupSnapshot,
    last_used: SystemTime,
    /// The toolbox in it is not ours, so it can no longer be started.
    is_stale: bool,
}

/// The snapshots of one owner.
#[derive(Debug)]
pub(super) struct SetupCache {
    owner: String,
    uses: PathBuf,
}

impl SetupCache {
    pub(super) fn new(owner: &str, state_dir: &Path) -> Self {
        Self { owner: owner.to_owned(), uses: state_dir.join("docker-kept") }
    }

    /// Two owners with the same key have two snapshots.
    fn name(&self) -> String {
        let owner = hex::encode(Sha256::digest(self.owner.as_bytes()));
        format!("{REPOSITORY}/{}", &owner[..OWNER_DIGITS])
    }

    /// Creates an image from a stopped container, and removes the container.
    pub(super) async fn add(
        &self,
        engine: &Engine,
        container: &str,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError> {
        let saved = async {
            let bytes = written_bytes(&engine.api, container).await;
            let bytes = bytes.map_err(|error| failed("measure the setup snapshot", &error))?;
            if bytes > bytes_max {
                let (bytes, most) = (bytes >> 20, bytes_max >> 20);
                return Err(SandboxError::SnapshotFailed(format!(
                    "it is {bytes} MiB, larger than the {most} MiB that are allowed"
                )));
            }
            // A process that ran as root may have replaced the toolbox.
            let toolbox = archive::toolbox_files();
            let toolbox = toolbox
                .map_err(|error| SandboxError::Gone(format!("the toolbox cannot be packed: {error}")))?;
            upload(engine, container, toolbox).await?;
            let labels = [
                (Label::Owner, self.owner.clone()),
                (Label::Setup, key.to_string()),
                (Label::Toolbox, toolbox_digest().to_owned()),
                (Label::Bytes, bytes.to_string()),
            ];
            commit(engine, container, &self.name(), key.as_str(), &labels).await?;
            // As the engine recorded it, so that the same snapshot is found later.
            let found = self.all(engine).await?.into_iter().find(|cached| cached.snapshot.key == *key);
            let found = found.ok_or_else(|| SandboxError::Gone("it was removed at once".to_owned()))?;
            Ok(found.snapshot)
        }
        .await;
        remove(engine, container).await;
        if saved.is_ok() {
            self.record_use(key).await;
        }
        saved
    }

    /// The snapshot under `key`, if this toolbox can be started from it.
    pub(super) async fn find(
        &self,
        engine: &Engine,
        key: &SetupKey,
    ) -> Result<Option<SetupSnapshot>, SandboxError> {
        let all = self.all(engine).await?;
        let found = all.into_iter().find(|cached| cached.snapshot.key == *key && !cached.is_stale);
        if found.is_some() {
            self.record_use(key).await;
        }
        Ok(found.map(|cached| cached.snapshot))
    }

    /// Removes the snapshots that exceed the limits at `now`.
    pub(super) async fn evict(
        &self,
        engine: &Engine,
        limits: &CacheLimits,
        now: SystemTime,
    ) -> Result<Vec<SetupKey>, SandboxError> {
        let mut evicted = Vec::new();
        for snapshot in to_evict(self.all(engine).await?, limits, now) {
            let reference = format!("{}:{}", self.name(), snapshot.key);
            match engine.api.remove_image(&reference, None::<RemoveImageOptions>, None).await {
                Ok(_) => {}
                Err(error) if is_not_found(&error) => {}
                // A sandbox uses it. A later eviction removes it.
                Err(error) if is_conflict(&error) => continue,
                Err(error) => return Err(failed(&format!("remove the image {reference}"), &error)),
            }
            let _ = tokio::fs::remove_file(self.uses.join(snapshot.key.as_str())).await;
            evicted.push(snapshot.key);
        }
        Ok(evicted)
    }

    async fn all(&self, engine: &Engine) -> Result<Vec<CachedSnapshot>, SandboxError> {
        let ours = format!("{}={}", Label::Owner.name(), self.owner);
        // Only one label: Podman 4.3 finds nothing for two.
        let filters = [("label".to_owned(), vec![ours])];
        let options = ListImagesOptions { filters: Some(filters.into()), ..ListImagesOptions::default() };
        let images = engine.api.list_images(Some(options)).await;
        let images = images.map_err(|error| failed("list the setup snapshots", &error))?;
        let mut by_key = BTreeMap::new();
        for image in images {
            let label = |label: Label| image.labels.get(label.name()).cloned().unwrap_or_default();
            let Some(key) = SetupKey::from_hex(label(Label::Setup)) else { continue };
            // An image without its name has been replaced.
            if !image.repo_tags.iter().any(|tag| tag.ends_with(key.as_str())) {
                continue;
            }
            let created = SystemTime::UNIX_EPOCH + Duration::from_secs(image.created.try_into().unwrap_or(0));
            let cached = CachedSnapshot {
                last_used: self.last_use(&key).await.unwrap_or(created),
                is_stale: label(Label::Toolbox) != toolbox_digest(),
                snapshot: SetupSnapshot {
                    key: key.clone(),
                    location: image.id,
                    bytes: label(Label::Bytes).parse().unwrap_or(0),
                    created: Timestamp::from_second(image.created).unwrap_or_default(),
                },
            };
            by_key.insert(key, cached);
        }
        Ok(by_key.into_values().collect())
    }

    async fn last_use(&self, key: &SetupKey) -> Option<SystemTime> {
        tokio::fs::metadata(self.uses.join(key.as_str())).await.ok()?.modified().ok()
    }

    /// Best effort: if it fails, the time of creation counts.
    async fn record_use(&self, key: &SetupKey) {
        let recorded = async {
            tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.uses).await?;
            let file = tokio::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .custom_flags(libc::O_NOFOLLOW)
                .open(self.uses.join(key.as_str()))
                .await?;
            file.into_std().await.set_modified(SystemTime::now())
        };
        if let Err(error) = recorded.await {
            tracing::warn!(directory = %self.uses.display(), %error, "could not record the use of a setup snapshot");
        }
    }
}

/// The snapshots that are unusable, too old or too many. The most recently used ones stay.
fn to_evict(mut all: Vec<CachedSnapshot>, limits: &CacheLimits, now: SystemTime) -> Vec<SetupSnapshot> {
    all.sort_by_key(|cached| std::cmp::Reverse(cached.last_used));
    let (mut count, mut bytes) = (0, 0_u64);
    let mut exceeds = |cached: &CachedSnapshot| {
        // A use in the future was recorded by another clock.
        let age = now.duration_since(cached.last_used).unwrap_or_default();
        if cached.is_stale || age > limits.age_max {
            return true;
        }
        count += 1;
        bytes = bytes.saturating_add(cached.snapshot.bytes);
        count > limits.count_max || bytes > limits.bytes_max
    };
    let mut evicted: Vec<SetupSnapshot> = Vec::new();
    for cached in all {
        if exceeds(&cached) {
            evicted.push(cached.snapshot);
        }
    }
    evicted.reverse();
    evicted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_recently_used_snapshots_stay() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let cached = |digit: char, age: u64, bytes: u64, is_stale: bool| CachedSnapshot {
            snapshot: SetupSnapshot {
                key: SetupKey::from_hex(digit.to_string().repeat(64)).unwrap(),
                location: String::new(),
                bytes,
                created: Timestamp::UNIX_EPOCH,
            },
            last_used: now - Duration::from_secs(age),
            is_stale,
        };
        let all = vec![
            cached('a', 50, 10, false),
            cached('b', 10, 10, false),
            cached('c', 5, 10, true),
            cached('d', 90, 1, false),
        ];
        let gone = |count_max, bytes_max, seconds| {
            let limits = CacheLimits { count_max, bytes_max, age_max: Duration::from_secs(seconds) };
            let evicted = to_evict(all.clone(), &limits, now);
            evicted.iter().map(|snapshot| &snapshot.key.as_str()[..1]).collect::<String>()
        };
        assert_eq!(gone(9, 99, 99), "c", "only the one that cannot be started");
        assert_eq!(gone(2, 99, 99), "dc");
        assert_eq!(gone(9, 10, 99), "dac");
        assert_eq!(gone(9, 99, 40), "dac");
        assert_eq!(gone(0, 99, 99), "dabc");
    }
}
