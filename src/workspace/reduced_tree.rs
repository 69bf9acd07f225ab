//! A tree with some of another tree's files.

use git2::{Index, IndexEntry, IndexTime, ObjectType, Oid, Repository};

use super::attributes::ATTRIBUTES_FILE;
use super::bounded_walk::{WalkStep, WalkedEntry};
use super::mirror::{local_error, oid, sha};
use super::{Workspace, WorkspaceError};
use crate::domain::Sha;

/// Most files of a reduced tree.
const FILES_MAX: usize = 100_000;

impl Workspace {
    /// The tree with those files of `tree` whose path `matches`, with their modes, and with all
    /// `.gitattributes`, and those submodules whose path `matches`; the rest is left out. It is written to our own
    /// object store.
    ///
    /// # Errors
    /// The tree cannot be read or written, or is larger than the bounds.
    pub async fn reduced_tree(
        &self,
        tree: &Sha,
        matches: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Sha, WorkspaceError> {
        let tree = oid(tree);
        self.with_walker(move |walker| {
            let local = |error| local_error(walker.git_dir, "selecting files of a tree", error);
            let mut files = Vec::new();
            walker.walk(tree, |path, entry| {
                // Attributes decide how the other files are checked out.
                let is_attributes = entry.name_bytes() == ATTRIBUTES_FILE.as_bytes();
                let is_directory = entry.kind() == Some(ObjectType::Tree);
                if !is_directory && (is_attributes || matches(&String::from_utf8_lossy(path))) {
                    files.push(WalkedEntry::of(path, entry));
                }
                match files.len() > FILES_MAX {
                    true => Err(local(git2::Error::from_str("there are too many files to select"))),
                    false => Ok(WalkStep::Continue),
                }
            })?;
            write_tree_of(walker.repository, &files).map(sha).map_err(local)
        })
        .await
    }
}

/// Writes the tree with these files.
pub(super) fn write_tree_of(repository: &Repository, files: &[WalkedEntry]) -> Result<Oid, git2::Error> {
    let mut index = Index::new()?;
    for WalkedEntry { path, id, mode } in files {
        index.add(&IndexEntry {
            ctime: IndexTime::new(0, 0),
            mtime: IndexTime::new(0, 0),
            dev: 0,
            ino: 0,
            mode: u32::try_from(*mode).unwrap_or(0o100_644),
            uid: 0,
            gid: 0,
            file_size: 0,
            id: *id,
            flags: 0,
            flags_extended: 0,
            path: path.clone(),
        })?;
    }
    index.write_tree_to(repository)
}
