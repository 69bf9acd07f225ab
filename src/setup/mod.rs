//! How a repository's dependencies are installed, and how the result is cached.
//!
//! - *Plan*: [`detect`](crate::detect) finds the setup commands, or the repository's file names them.
//! - *Permission*: `permissions` decides which of them the operator's rules allow.
//! - *Key*: `cache_key` computes what a cached setup depends on.
//! - *Run*: `environment` runs the setup in a sandbox of its own, caches the result, and starts every
//!   later sandbox from it.
//! - *Trial*: the worker tries one plan after another (`worker/plans.rs`); `missing_programs` and
//!   `outdated_tools` say what the root file system lacks.
//! - *Build*: `kept_build` keeps what the base's own build left, so that later sandboxes compile only changes.
//! - *Cache*: each sandbox backend stores setup snapshots in its own form (`sandbox/directory_cache.rs`, `sandbox/docker/setup_cache.rs`).

mod cache_key;
mod environment;
mod failure;
mod kept_build;
mod locks;
mod missing_programs;
mod outdated_tools;
mod permissions;
mod policy;
mod warm_start;

pub use environment::Environment;
pub use failure::SetupFailure;
pub use locks::SetupLocks;
pub(crate) use missing_programs::lacking;
pub(crate) use permissions::{Permitted, permit};
pub use policy::SetupPolicy;
