//! What a set-up made, on its way to later sandboxes: sealed in place, packed into a stream, taken
//! in from one, and copied to where it belongs when a sandbox starts.
//!
//! The selection is always the same: everything in `/workspace` that was not unpacked into it, and
//! everything in the home directory. What the repository tracks is never part of it, so that no
//! set-up can put another source under a later job.

pub mod copy;
pub mod pack;
mod place;
pub mod receive;
pub mod restore;
pub mod seal;
mod tracked;

pub use place::Place;
pub use tracked::{Tracked, TrackedPaths};

use std::io;
use std::path::PathBuf;

use crate::tree::WORKSPACE;
use mendwright_protocol::SNAPSHOT;

/// Directories below one another. Deeper is no file system that a package manager makes.
const DEPTH_MAX: usize = 256;
/// Bytes of a path below `/workspace` or the home directory: below [`SNAPSHOT`] it is longer, and
/// Linux takes 4,095.
const PATH_BYTES_MAX: usize = 3_900;
/// Files, directories and links of one set-up.
const ENTRIES_MAX: u64 = 2_000_000;

/// Between where things belong and where they are kept.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/workspace`.
    pub workspace: PathBuf,
    /// The home directory.
    pub home: PathBuf,
    /// [`SNAPSHOT`].
    pub prepared: PathBuf,
}

impl Roots {
    /// Those of this sandbox.
    pub fn of_this_sandbox() -> Result<Self, String> {
        let home = std::env::var_os("HOME").ok_or("the sandbox has no home directory: HOME is not set")?;
        Ok(Self { workspace: WORKSPACE.into(), home: home.into(), prepared: SNAPSHOT.into() })
    }
}

/// The permission bits under which something is kept: another user than the one that made it must
/// be able to read it. The sticky bit, which means nothing for a file, marks what was private.
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

/// An error of the system's about a path.
fn at(path: &[u8], error: impl Into<io::Error>) -> String {
    format!("'{}': {}", String::from_utf8_lossy(path), error.into())
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests;
