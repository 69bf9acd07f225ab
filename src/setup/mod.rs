//! How a repository's dependencies are installed, and how the result is cached.
//!
//! - *Plan*: [`detect`](crate::detect) finds the setup commands, or the repository's file names them.
//! - *Permission*: `permissions` decides which of them the operator's rules allow.
//! - *Key*: `cache_key` computes what a cached setup depends on.
//! - *Run*: `environment` runs the setup in a sandbox of its own, caches the result, and starts every
//!   later sandbox from it.
//! - *Fallback*: `fallback` has the texts for a detected setup that failed and was left out.
//! - *Cache*: each sandbox backend stores setup snapshots in its own form (`sandbox/*/setup_cache.rs`).

mod cache_key;
mod environment;
mod failure;
mod fallback;
mod locks;
mod permissions;

pub use environment::{Environment, SetupPolicy};
pub use failure::SetupFailure;
pub(crate) use fallback::{SkippedSetup, inconclusive_baseline};
pub use locks::SetupLocks;
pub(crate) use permissions::{Permitted, permit};
