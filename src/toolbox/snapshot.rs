//! A setup snapshot: what setup commands installed, saved for later sandboxes. A snapshot is sealed in place
//! or packed into a tar stream, received from one, and copied to its directories when a sandbox starts.
//!
//! It always contains the same things: everything in `/workspace` that was not unpacked into it, and
//! everything in the home directory. It never contains a file that the repository tracks, so that a setup
//! cannot replace the source code of a later job.

pub mod build;
pub mod copy;
pub mod pack;
pub mod receive;
pub mod restore;
pub mod seal;
mod tracked;

pub use tracked::{GIT_DIRECTORY, Tracked, TrackedPaths};

use std::io;
use std::path::PathBuf;

use crate::tree::WORKSPACE;
use mendwright_protocol::SNAPSHOT;

/// Bytes of a path below `/workspace` or the home directory. Below [`SNAPSHOT`] the path is longer, and the
/// limit of Linux is 4,095.
const PATH_BYTES_MAX: usize = 3_900;
/// Files, directories and links of one snapshot.
const ENTRIES_MAX: u64 = 2_000_000;

/// The directories that a snapshot is taken from and copied to, and the directory that holds it.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/workspace`.
    pub workspace: PathBuf,
    /// The home directory.
    pub home: PathBuf,
    /// [`SNAPSHOT`].
    pub snapshot: PathBuf,
}

impl Roots {
    /// Those of this sandbox.
    pub fn of_this_sandbox() -> Result<Self, String> {
        let home = std::env::var_os("HOME").ok_or("the sandbox has no home directory: HOME is not set")?;
        Ok(Self { workspace: WORKSPACE.into(), home: home.into(), snapshot: SNAPSHOT.into() })
    }
}

/// The permission bits in a snapshot. Another user than the owner must be able to read it. The sticky bit,
/// which has no meaning for a file, marks what was private.
fn kept_mode(mode: u32, directory: bool) -> u32 {
    let (owner, readable) = if directory { (0o700, 0o005) } else { (0o400, 0o004) };
    let mode = mode & 0o777 | owner;
    if mode & readable == readable {
        return mode;
    }
    let shared = (mode & 0o500) >> 3 | (mode & 0o500) >> 6;
    0o1000 | mode & 0o700 | shared
}

/// The permission bits to restore from those of [`kept_mode`].
fn restored_mode(mode: u32) -> u32 {
    if mode & 0o1000 == 0 { mode & 0o777 } else { mode & 0o700 }
}

/// A system error about a path.
fn at(path: &[u8], error: impl Into<io::Error>) -> String {
    format!("'{}': {}", String::from_utf8_lossy(path), error.into())
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests;
