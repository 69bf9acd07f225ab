//! How a backend is reached, and where it may store what outlives a sandbox.

use std::path::PathBuf;

use crate::domain::{EngineConfig, SandboxKind};

/// The owner of sandboxes that are started without a service. Several processes may share it.
pub(super) const STANDALONE_OWNER: &str = "by-hand";

/// How a backend is reached, and where it may store what outlives a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxOptions {
    /// The backend.
    pub kind: SandboxKind,
    /// Where images and setup snapshots are stored. It must be on a disk, and only ours.
    pub state_dir: PathBuf,
    /// Whose leftovers we may remove: the same for every process that uses one data directory.
    pub owner: String,
    /// For container engines.
    pub engine: EngineConfig,
}

impl SandboxOptions {
    /// The defaults for a backend that is used without a service. State is stored in this user's cache
    /// directory, or below the temporary directory if the user has none.
    pub fn standalone(kind: SandboxKind) -> Self {
        let temporary = || std::env::temp_dir().join(format!("mendwright-{}", nix::unistd::geteuid()));
        Self {
            kind,
            state_dir: crate::config::cache_dir().map_or_else(temporary, |caches| caches.join("mendwright")),
            owner: STANDALONE_OWNER.to_owned(),
            engine: EngineConfig::default(),
        }
    }
}
