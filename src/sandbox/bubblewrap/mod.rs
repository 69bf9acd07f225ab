//! The embedded backend: the system's `bwrap` with the toolbox as its first process. It needs no daemon.
//! The root is the host's `/usr`, read-only, with everything else empty, or an unpacked image with a
//! writable layer over it.
//!
//! If the service runs as root, everything inside runs as a user that owns nothing on the host, without
//! capabilities. If it runs as an ordinary user, everything inside runs in a user namespace, as a
//! subordinate user if there are any. What the machine cannot enforce is named in the sandbox's
//! description or, if the job would not be isolated, is an error.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use jiff::Timestamp;
use mendwright_protocol::SnapshotContents;
use tracing::Instrument;

use self::arguments::SnapshotView;
use self::launch::Launcher;
use super::{
    CacheLimits, CallError, DirectoryCache, ImageStore, Limits, ResolvedRoot, Root, Sandbox, SandboxError,
    SandboxOptions, SandboxSpec, SetupKey, SetupSnapshot, Toolbox, find_program,
};
use crate::domain::SandboxKind;

mod arguments;
mod cgroup;
mod diagnostics;
mod host;
mod idmap;
mod launch;
mod mounts;
mod process;
mod report;
mod subuid;

/// Memory of a sandbox that only stores a snapshot.
const SNAPSHOT_WRITER_MEMORY_BYTES: u64 = 512 << 20;

/// Starts sandboxes with `bwrap`.
#[derive(Debug)]
pub struct Bubblewrap {
    launcher: Launcher,
    cache: DirectoryCache,
}

impl Bubblewrap {
    /// Finds `bwrap` on the `PATH`, and tests what this machine allows.
    ///
    /// # Errors
    /// `bwrap` is missing (the error names the package), or the kernel does not allow namespaces.
    pub fn new() -> Result<Self, SandboxError> {
        Self::with_program(find_program("bwrap"))
    }

    /// As [`Bubblewrap::new`], with another `bwrap`.
    pub fn with_program(program: PathBuf) -> Result<Self, SandboxError> {
        cgroup::sweep();
        let state_dir = SandboxOptions::standalone(SandboxKind::Bubblewrap).state_dir;
        let launcher = Launcher::new(program, ImageStore::new(state_dir.clone()))?;
        Ok(Self { launcher, cache: DirectoryCache::new(&state_dir) })
    }

    /// The same backend, with images and snapshots in another directory.
    pub fn with_state_dir(mut self, state_dir: &Path) -> Self {
        self.launcher.images = ImageStore::new(state_dir.to_owned());
        self.cache = DirectoryCache::new(state_dir);
        self
    }

    async fn start_in_span(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError> {
        let Some(snapshot) = &spec.snapshot else { return self.launcher.launch(spec, None).await };
        let (files, lease) = self.cache.lease(&snapshot.key).map_err(SandboxError::Gone)?;
        let toolbox = self.launcher.launch(spec, Some(SnapshotView::ReadOnly(files))).await?;
        Ok(toolbox.with_lease(lease))
    }

    /// Copies a snapshot through a sandbox that runs no commands and can write to `files`.
    async fn export_snapshot(
        &self,
        toolbox: &Toolbox,
        files: PathBuf,
        bytes_max: u64,
    ) -> Result<SnapshotContents, SandboxError> {
        let limits = Limits { memory_bytes_max: SNAPSHOT_WRITER_MEMORY_BYTES, ..Limits::default() };
        let spec = SandboxSpec { limits, ..SandboxSpec::named("snapshot-writer") };
        let launched = self.launcher.launch(&spec, Some(SnapshotView::Writable(files)));
        let writer = launched.instrument(spec.span()).await?;
        let exported = toolbox.export_snapshot(&writer, bytes_max).await;
        writer.shut_down().await;
        exported.map_err(|error| match error {
            CallError::RespondToModel(why) => SandboxError::SnapshotFailed(why),
            CallError::Fatal(lost) => lost,
        })
    }
}

#[async_trait]
impl Sandbox for Bubblewrap {
    fn kind(&self) -> SandboxKind {
        SandboxKind::Bubblewrap
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError> {
        self.start_in_span(spec).instrument(spec.span()).await
    }

    async fn resolve(&self, root: &Root) -> Result<ResolvedRoot, SandboxError> {
        match root {
            Root::Host { toolchains } => {
                let (toolchains, root) = (toolchains.clone(), root.clone());
                let digest = on_thread(move || Ok(host::digest(&toolchains))).await?;
                Ok(ResolvedRoot { digest, description: "the host's /usr".to_owned(), root })
            }
            Root::Image(reference) => {
                let image = Box::pin(self.launcher.images.resolve(reference)).await?;
                let description = format!("the image {}", image.reference);
                Ok(ResolvedRoot {
                    digest: image.digest.clone(),
                    description,
                    root: Root::Image(image.reference.clone()),
                })
            }
        }
    }

    async fn save_snapshot(
        &self,
        toolbox: Toolbox,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError> {
        let (cache, new_key) = (self.cache.clone(), key.clone());
        let partial = on_thread(move || cache.begin(&new_key)).await?;
        let exported = self.export_snapshot(&toolbox, partial.files(), bytes_max).await;
        toolbox.shut_down().await;
        let cache = self.cache.clone();
        match exported {
            Ok(contents) => on_thread(move || cache.finish(partial, &contents, Timestamp::now())).await,
            Err(error) => {
                let abandoned = on_thread(move || {
                    cache.abandon(partial);
                    Ok(())
                });
                abandoned.await?;
                Err(error)
            }
        }
    }

    async fn find_snapshot(&self, key: &SetupKey) -> Result<Option<SetupSnapshot>, SandboxError> {
        Ok(self.cache.get(key))
    }

    async fn evict(&self, limits: &CacheLimits) -> Result<Vec<SetupKey>, SandboxError> {
        let (cache, limits, now) = (self.cache.clone(), *limits, SystemTime::now());
        let evicted = on_thread(move || cache.evict(&limits, now)).await?;
        // Images can be pulled again.
        let images = self.launcher.images.evict(&limits, now).await?;
        if !images.is_empty() {
            tracing::info!(count = images.len(), "evicted images");
        }
        Ok(evicted)
    }

    async fn sweep(&self) -> Result<u32, SandboxError> {
        let sandboxes = cgroup::sweep();
        let cache = self.cache.clone();
        let snapshots = on_thread(move || cache.sweep()).await?;
        Ok(sandboxes + snapshots + self.launcher.images.sweep().await?)
    }
}

/// Runs work on many files on a thread that may block.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, SandboxError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| Err(panicked.to_string())).map_err(SandboxError::SnapshotFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_bwrap_is_an_error_that_names_the_package() {
        let error = Bubblewrap::with_program("/nowhere/bwrap".into()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the sandbox cannot be used: the program '/nowhere/bwrap' cannot be started (No such file \
             or directory (os error 2)); install the package bubblewrap (Debian, Ubuntu: apt-get install bubblewrap)"
        );
    }
}
