//! The paths that were unpacked into `/workspace`. They are the repository's own files, which no snapshot may
//! contain.

use std::collections::HashSet;

/// Paths that are remembered. A larger tree can be worked on, but its setup cannot be cached.
const PATHS_MAX: usize = 1_000_000;
/// Bytes of all of them.
const PATH_BYTES_MAX: usize = 128 << 20;

/// What the host lays into every tree anew: nothing that a setup leaves there is saved.
pub const GIT_DIRECTORY: &[u8] = b".git";

/// The paths of all trees unpacked so far.
#[derive(Debug, Default)]
pub struct TrackedPaths {
    leaves: HashSet<Box<[u8]>>,
    directories: HashSet<Box<[u8]>>,
    bytes: usize,
    overflown: bool,
}

/// What a path is to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracked {
    /// A file or symlink of its own.
    Leaf,
    /// A directory with something of its own in it.
    Directory,
    /// Nothing.
    No,
}

impl TrackedPaths {
    /// Adds a file or symlink, and the directories above it.
    pub fn add_leaf(&mut self, parts: &[&[u8]]) {
        let path = parts.join(&b'/');
        self.add_directory(&parts[..parts.len().saturating_sub(1)]);
        if self.has_room_for(&path) {
            self.leaves.insert(path.into());
        }
    }

    /// Adds a directory, and those above it.
    pub fn add_directory(&mut self, parts: &[&[u8]]) {
        for depth in (1..=parts.len()).rev() {
            let path = parts[..depth].join(&b'/');
            if self.directories.contains(path.as_slice()) || !self.has_room_for(&path) {
                return;
            }
            self.directories.insert(path.into());
        }
    }

    /// What `path` is to the repository.
    pub fn kind(&self, path: &[u8]) -> Tracked {
        let in_git_directory =
            path.strip_prefix(GIT_DIRECTORY).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        if in_git_directory || self.leaves.contains(path) {
            Tracked::Leaf
        } else if self.directories.contains(path) {
            Tracked::Directory
        } else {
            Tracked::No
        }
    }

    /// An error if not all paths were remembered: then it is unknown what the setup created.
    pub fn complete(&self) -> Result<(), String> {
        if self.overflown {
            return Err(format!(
                "the tree has over {PATHS_MAX} paths or {PATH_BYTES_MAX} bytes of them, too many to know what a \
                 setup created"
            ));
        }
        Ok(())
    }

    fn has_room_for(&mut self, path: &[u8]) -> bool {
        let count = self.leaves.len() + self.directories.len();
        let fits = count < PATHS_MAX && self.bytes + path.len() <= PATH_BYTES_MAX;
        self.overflown |= !fits;
        if fits {
            self.bytes += path.len();
        }
        fits
    }
}
