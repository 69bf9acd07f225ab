//! Walks a git tree in order, by the bytes of its names: a repository may hold names that are not UTF-8,
//! which git2's own walk refuses.

use git2::{Oid, Repository};

/// Most entries of one walk: as many as a sandbox unpacks. Few objects can stand for a tree without end.
const ENTRIES_MAX: usize = 2_000_000;
/// Directories below one another. A deeper path is longer than Linux accepts.
const DEPTH_MAX: usize = 2_048;

/// A mode of an entry, as git writes it.
pub(super) const DIRECTORY: i32 = 0o040_000;
/// See [`DIRECTORY`].
pub(super) const SYMLINK: i32 = 0o120_000;
/// See [`DIRECTORY`].
pub(super) const SUBMODULE: i32 = 0o160_000;
/// See [`DIRECTORY`].
pub(super) const EXECUTABLE: i32 = 0o100_755;

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WalkedEntry {
    /// Its path from the tree's root.
    pub(super) path: Vec<u8>,
    /// Its content.
    pub(super) id: Oid,
    /// Its mode.
    pub(super) mode: i32,
}

impl WalkedEntry {
    /// Whether it is a file or a symbolic link.
    pub(super) fn is_blob(&self) -> bool {
        !matches!(self.mode, DIRECTORY | SUBMODULE)
    }

    /// Its path as text; bytes that are not UTF-8 are replaced.
    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }
}

/// Visits every entry below `tree`: a directory before what is in it, names in git's order.
///
/// # Errors
/// The tree cannot be read, is larger than the bounds, or `visit` fails.
pub(super) fn walk<E>(
    repository: &Repository,
    tree: Oid,
    failed: impl Fn(git2::Error) -> E,
    mut visit: impl FnMut(&WalkedEntry) -> Result<(), E>,
) -> Result<(), E> {
    let mut pending = vec![entries_of(repository, &[], tree).map_err(&failed)?.into_iter()];
    let mut seen = 0_usize;
    while let Some(directory) = pending.last_mut() {
        let Some(entry) = directory.next() else {
            pending.pop();
            continue;
        };
        seen += 1;
        if seen > ENTRIES_MAX || pending.len() > DEPTH_MAX {
            let words = format!("the tree has over {ENTRIES_MAX} entries, or over {DEPTH_MAX} levels");
            return Err(failed(git2::Error::from_str(&words)));
        }
        visit(&entry)?;
        if entry.mode == DIRECTORY {
            pending.push(entries_of(repository, &entry.path, entry.id).map_err(&failed)?.into_iter());
        }
    }
    Ok(())
}

fn entries_of(repository: &Repository, parent: &[u8], tree: Oid) -> Result<Vec<WalkedEntry>, git2::Error> {
    let tree = repository.find_tree(tree)?;
    let entry = |entry: git2::TreeEntry<'_>| {
        let mut path = parent.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(entry.name_bytes());
        WalkedEntry { path, id: entry.id(), mode: entry.filemode() }
    };
    Ok(tree.iter().map(entry).collect())
}
