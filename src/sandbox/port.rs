//! The port that every backend implements.

use async_trait::async_trait;

use super::error::SandboxError;
use super::spec::{CacheLimits, ResolvedRoot, Root, SandboxSpec, SetupKey, SetupSnapshot};
use super::toolbox::Toolbox;
use crate::domain::SandboxKind;

/// A backend: it starts sandboxes, and stores the result of a setup for later ones.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Which backend this is.
    fn kind(&self) -> SandboxKind;

    /// Starts a sandbox with the toolbox running and an empty `/workspace`, or one that contains
    /// [`SandboxSpec::snapshot`]. Fails closed: everything that the spec requires is applied, or the
    /// error names what is missing. Implementations run in `SandboxSpec::span`.
    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError>;

    /// What `root` is at this moment, so that two sandboxes can be started from exactly the same one:
    /// an image by its digest (pulled if it is missing), a host by its installed packages.
    async fn resolve(&self, root: &Root) -> Result<ResolvedRoot, SandboxError>;

    /// Stops a sandbox of [`SandboxPurpose::Setup`](super::SandboxPurpose::Setup) and stores what was
    /// created in it under `key`, for [`SandboxSpec::snapshot`]: everything in `/workspace` that was
    /// not unpacked into it, the home directory and, if the backend can, the rest of the root file
    /// system.
    ///
    /// # Errors
    /// It is larger than `bytes_max`, the sandbox is lost, or the disk is full.
    async fn save_snapshot(
        &self,
        toolbox: Toolbox,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError>;

    /// The snapshot that is stored under `key`, if there is one. Counts as a use.
    async fn find_snapshot(&self, key: &SetupKey) -> Result<Option<SetupSnapshot>, SandboxError>;

    /// Removes the least recently used snapshots until `limits` hold, and returns which were removed.
    async fn evict(&self, limits: &CacheLimits) -> Result<Vec<SetupKey>, SandboxError>;

    /// Removes what earlier processes left running or on disk, and returns how many things that were.
    async fn sweep(&self) -> Result<u32, SandboxError>;
}
