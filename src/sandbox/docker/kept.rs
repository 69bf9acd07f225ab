//! What set-ups made, kept as images: found by their labels, and let go of when they are old or too
//! many. When each was last used lies beside, in our own directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};
use nix::libc;
use sha2::{Digest, Sha256};

use super::archive::{self, toolbox_digest};
use super::container::Label;
use super::engine::{Engine, failed, is_absent, is_conflict};
use super::images::{commit, upload};
use super::running::{remove, written};
use crate::sandbox::{CacheLimits, SandboxError, SetupKey, SetupSnapshot};

/// Where what is kept is named, with a part for each owner. No registry has that name.
const KEPT: &str = "localhost/mendwright-kept";
/// Of an owner's digest: enough that no two of one engine are alike.
const OWNER_DIGITS: usize = 32;

/// A set-up that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    snapshot: SetupSnapshot,
    used: SystemTime,
    /// The toolbox in it is another than ours: it cannot be started any more.
    is_stale: bool,
}

/// What is kept for one owner.
#[derive(Debug)]
pub(super) struct Store {
    owner: String,
    uses: PathBuf,
}

impl Store {
    pub(super) fn new(owner: &str, state_dir: &Path) -> Self {
        Self { owner: owner.to_owned(), uses: state_dir.join("docker-kept") }
    }

    /// What two owners keep under the same key are two things.
    fn name(&self) -> String {
        let owner = hex::encode(Sha256::digest(self.owner.as_bytes()));
        format!("{KEPT}/{}", &owner[..OWNER_DIGITS])
    }

    /// Makes an image of a container that has been ended, and removes the container.
    pub(super) async fn add(
        &self,
        engine: &Engine,
        container: &str,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError> {
        let made = async {
            let bytes = written(&engine.api, container).await;
            let bytes = bytes.map_err(|error| failed("measure what a set-up made", &error))?;
            if bytes > bytes_max {
                let (bytes, most) = (bytes >> 20, bytes_max >> 20);
                return Err(SandboxError::SnapshotFailed(format!(
                    "it is {bytes} MiB, larger than the {most} MiB that may be kept"
                )));
            }
            // What ran in there as root may have put another program in the toolbox's place.
            let toolbox = archive::of_toolbox();
            let toolbox = toolbox
                .map_err(|error| SandboxError::Gone(format!("the toolbox cannot be packed: {error}")))?;
            upload(engine, container, toolbox).await?;
            let labels = [
                (Label::Owner, self.owner.clone()),
                (Label::Setup, key.to_string()),
                (Label::Toolbox, toolbox_digest().to_owned()),
                (Label::Bytes, bytes.to_string()),
            ];
            let place = commit(engine, container, &self.name(), key.as_str(), &labels).await?;
            Ok(SetupSnapshot { key: key.clone(), place, bytes })
        }
        .await;
        remove(engine, container).await;
        if made.is_ok() {
            self.note_use(key).await;
        }
        made
    }

    /// What is kept under `key`, if this toolbox can still be started from it.
    pub(super) async fn find(
        &self,
        engine: &Engine,
        key: &SetupKey,
    ) -> Result<Option<SetupSnapshot>, SandboxError> {
        let all = self.all(engine).await?;
        let found = all.into_iter().find(|kept| kept.snapshot.key == *key && !kept.is_stale);
        if found.is_some() {
            self.note_use(key).await;
        }
        Ok(found.map(|kept| kept.snapshot))
    }

    /// Removes what the bounds have no room for at `now`.
    pub(super) async fn evict(
        &self,
        engine: &Engine,
        bounds: &CacheLimits,
        now: SystemTime,
    ) -> Result<Vec<SetupKey>, SandboxError> {
        let mut gone = Vec::new();
        for unwanted in unwanted(self.all(engine).await?, bounds, now) {
            let reference = format!("{}:{}", self.name(), unwanted.key);
            match engine.api.remove_image(&reference, None::<RemoveImageOptions>, None).await {
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                // A sandbox uses it; its turn will come.
                Err(error) if is_conflict(&error) => continue,
                Err(error) => return Err(failed(&format!("remove the image {reference}"), &error)),
            }
            let _ = tokio::fs::remove_file(self.uses.join(unwanted.key.as_str())).await;
            gone.push(unwanted.key);
        }
        Ok(gone)
    }

    async fn all(&self, engine: &Engine) -> Result<Vec<Kept>, SandboxError> {
        let ours = format!("{}={}", Label::Owner.name(), self.owner);
        // One label only: asked for two, Podman 4.3 finds nothing.
        let filters = [("label".to_owned(), vec![ours])];
        let options = ListImagesOptions { filters: Some(filters.into()), ..ListImagesOptions::default() };
        let images = engine.api.list_images(Some(options)).await;
        let images = images.map_err(|error| failed("list what is kept of set-ups", &error))?;
        let mut by_key = BTreeMap::new();
        for image in images {
            let label = |label: Label| image.labels.get(label.name()).cloned().unwrap_or_default();
            let Some(key) = SetupKey::from_hex(label(Label::Setup)) else { continue };
            // One that has lost its name was kept anew since.
            if !image.repo_tags.iter().any(|tag| tag.ends_with(key.as_str())) {
                continue;
            }
            let made = SystemTime::UNIX_EPOCH + Duration::from_secs(image.created.try_into().unwrap_or(0));
            let kept = Kept {
                used: self.last_use(&key).await.unwrap_or(made),
                is_stale: label(Label::Toolbox) != toolbox_digest(),
                snapshot: SetupSnapshot {
                    key: key.clone(),
                    place: image.id,
                    bytes: label(Label::Bytes).parse().unwrap_or(0),
                },
            };
            by_key.insert(key, kept);
        }
        Ok(by_key.into_values().collect())
    }

    async fn last_use(&self, key: &SetupKey) -> Option<SystemTime> {
        tokio::fs::metadata(self.uses.join(key.as_str())).await.ok()?.modified().ok()
    }

    /// Best effort: without it, the time at which it was made counts.
    async fn note_use(&self, key: &SetupKey) {
        let noted = async {
            tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.uses).await?;
            let file = tokio::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .custom_flags(libc::O_NOFOLLOW)
                .open(self.uses.join(key.as_str()))
                .await?;
            file.into_std().await.set_modified(SystemTime::now())
        };
        if let Err(error) = noted.await {
            tracing::warn!("the use of a set-up cannot be noted in {}: {error}", self.uses.display());
        }
    }
}

/// What is of no use, too old, or too much: what was used last stays.
fn unwanted(mut all: Vec<Kept>, bounds: &CacheLimits, now: SystemTime) -> Vec<SetupSnapshot> {
    all.sort_by_key(|kept| std::cmp::Reverse(kept.used));
    let (mut count, mut bytes) = (0, 0_u64);
    let mut goes = |kept: &Kept| {
        // A use that lies ahead was noted by another clock.
        let age = now.duration_since(kept.used).unwrap_or_default();
        if kept.is_stale || age > bounds.age_max {
            return true;
        }
        count += 1;
        bytes = bytes.saturating_add(kept.snapshot.bytes);
        count > bounds.count_max || bytes > bounds.bytes_max
    };
    let mut unwanted: Vec<SetupSnapshot> = Vec::new();
    for kept in all {
        if goes(&kept) {
            unwanted.push(kept.snapshot);
        }
    }
    unwanted.reverse();
    unwanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let kept = |digit: char, age: u64, bytes: u64, is_stale: bool| Kept {
            snapshot: SetupSnapshot {
                key: SetupKey::from_hex(digit.to_string().repeat(64)).unwrap(),
                place: String::new(),
                bytes,
            },
            used: now - Duration::from_secs(age),
            is_stale,
        };
        let all = vec![
            kept('a', 50, 10, false),
            kept('b', 10, 10, false),
            kept('c', 5, 10, true),
            kept('d', 90, 1, false),
        ];
        let gone = |count_max, bytes_max, seconds| {
            let bounds = CacheLimits { count_max, bytes_max, age_max: Duration::from_secs(seconds) };
            let gone = unwanted(all.clone(), &bounds, now);
            gone.iter().map(|gone| &gone.key.as_str()[..1]).collect::<String>()
        };
        assert_eq!(gone(9, 99, 99), "c", "only the one that nobody can start");
        assert_eq!(gone(2, 99, 99), "dc");
        assert_eq!(gone(9, 10, 99), "dac");
        assert_eq!(gone(9, 99, 40), "dac");
        assert_eq!(gone(0, 99, 99), "dabc");
    }
}
