//! The one way in which trees are walked: within bounds, and only as long as somebody waits for the result. A few
//! small objects can name billions of files, because git's trees may contain one tree many times.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use git2::{ObjectType, Oid, Repository, TreeEntry};

use super::WorkspaceError;

/// Files and directories of one tree: several times as many as the largest public repositories have.
const ENTRIES_MAX: u64 = 1_000_000;
/// Directories in one another: a path of 4,096 bytes, Linux's limit, rarely has more.
const DEPTH_MAX: u32 = 256;
/// Contents of all files of a tree that is written out.
const BYTES_MAX: u64 = 32 << 30;

/// A bound that a tree exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeBound {
    /// Files and directories.
    Entries,
    /// Directories in one another.
    Depth,
    /// Bytes of all files together.
    Bytes,
}

impl fmt::Display for TreeBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries => write!(f, "more than {ENTRIES_MAX} files and directories"),
            Self::Depth => write!(f, "directories more than {DEPTH_MAX} deep"),
            Self::Bytes => write!(f, "files of more than {} GiB together", BYTES_MAX >> 30),
        }
    }
}

/// Whether somebody still waits for a piece of work. The work ends soon after nobody does.
#[derive(Debug, Clone, Default)]
pub(super) struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sets [`Abandoned`] when it is dropped.
pub(super) struct AbandonOnDrop(pub(super) Abandoned);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// What to do after an entry was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkStep {
    Continue,
    End,
}

/// The mode of a directory, as git writes it.
pub(super) const DIRECTORY: i32 = 0o040_000;
/// The mode of a symbolic link.
pub(super) const SYMLINK: i32 = 0o120_000;
/// The mode of a submodule.
pub(super) const SUBMODULE: i32 = 0o160_000;
/// The mode of an executable file.
pub(super) const EXECUTABLE: i32 = 0o100_755;

/// An entry of a tree, kept after the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WalkedEntry {
    /// Its path from the tree's root. It may not be UTF-8.
    pub(super) path: Vec<u8>,
    /// Its content.
    pub(super) id: Oid,
    /// Its mode.
    pub(super) mode: i32,
}

impl WalkedEntry {
    pub(super) fn of(path: &[u8], entry: &TreeEntry<'_>) -> Self {
        Self { path: path.to_vec(), id: entry.id(), mode: entry.filemode() }
    }
}

/// The repository in which trees are walked, and for whom.
pub(super) struct Walker<'r> {
    pub(super) repository: &'r Repository,
    pub(super) git_dir: &'r Path,
    pub(super) abandoned: &'r Abandoned,
}

/// Of a tree: its entries, those of its directories included, and how deep these are.
#[derive(Debug, Clone, Copy)]
struct Extent {
    entries: u64,
    depth: u32,
}

impl Walker<'_> {
    /// Fails if the tree exceeds a bound. Reads each directory once, however often the tree contains it.
    pub(super) fn check(&self, root: Oid) -> Result<(), WorkspaceError> {
        self.extent(root, root, 0, &mut HashMap::new()).map(drop)
    }

    fn extent(
        &self,
        root: Oid,
        tree: Oid,
        depth: u32,
        known: &mut HashMap<Oid, Extent>,
    ) -> Result<Extent, WorkspaceError> {
        let exceeds = |bound| WorkspaceError::TreeTooLarge { tree: root.to_string(), bound };
        if let Some(extent) = known.get(&tree) {
            return match depth + extent.depth > DEPTH_MAX {
                true => Err(exceeds(TreeBound::Depth)),
                false => Ok(*extent),
            };
        }
        if depth > DEPTH_MAX {
            return Err(exceeds(TreeBound::Depth));
        }
        if self.abandoned.is_set() {
            return Err(WorkspaceError::Abandoned);
        }
        let found = self.repository.find_tree(tree).map_err(|error| self.unreadable(&error))?;
        let mut extent = Extent { entries: found.len() as u64, depth: 0 };
        for entry in &found {
            if entry.kind() == Some(ObjectType::Tree) {
                let below = self.extent(root, entry.id(), depth + 1, known)?;
                extent.entries = extent.entries.saturating_add(below.entries);
                extent.depth = extent.depth.max(below.depth + 1);
            }
            if extent.entries > ENTRIES_MAX {
                return Err(exceeds(TreeBound::Entries));
            }
        }
        known.insert(tree, extent);
        Ok(extent)
    }

    /// Visits every entry of a tree with its path, a directory before what it contains. The tree is checked first.
    pub(super) fn walk(
        &self,
        root: Oid,
        mut visit: impl FnMut(&[u8], &TreeEntry<'_>) -> Result<WalkStep, WorkspaceError>,
    ) -> Result<(), WorkspaceError> {
        self.check(root)?;
        self.walk_below(root, &mut Vec::new(), &mut visit).map(drop)
    }

    fn walk_below(
        &self,
        tree: Oid,
        path: &mut Vec<u8>,
        visit: &mut impl FnMut(&[u8], &TreeEntry<'_>) -> Result<WalkStep, WorkspaceError>,
    ) -> Result<WalkStep, WorkspaceError> {
        if self.abandoned.is_set() {
            return Err(WorkspaceError::Abandoned);
        }
        let found = self.repository.find_tree(tree).map_err(|error| self.unreadable(&error))?;
        let parent_bytes = path.len();
        for entry in &found {
            path.extend_from_slice(entry.name_bytes());
            let mut next = visit(path, &entry)?;
            if next == WalkStep::Continue && entry.kind() == Some(ObjectType::Tree) {
                path.push(b'/');
                next = self.walk_below(entry.id(), path, visit)?;
            }
            path.truncate(parent_bytes);
            if next == WalkStep::End {
                return Ok(WalkStep::End);
            }
        }
        Ok(WalkStep::Continue)
    }

    fn unreadable(&self, error: &git2::Error) -> WorkspaceError {
        WorkspaceError::Local {
            git_dir: self.git_dir.display().to_string(),
            action: "reading a tree",
            detail: error.message().to_owned(),
        }
    }
}

/// Counts the bytes of the files of a tree that is written out.
#[derive(Debug)]
pub(super) struct ByteCount {
    tree: Oid,
    bytes: u64,
}

impl ByteCount {
    pub(super) fn of(tree: Oid) -> Self {
        Self { tree, bytes: 0 }
    }

    /// Fails if the files are more than the bound together.
    pub(super) fn add(&mut self, bytes: u64) -> Result<(), WorkspaceError> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes > BYTES_MAX {
            true => {
                Err(WorkspaceError::TreeTooLarge { tree: self.tree.to_string(), bound: TreeBound::Bytes })
            }
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use git2::FileMode;

    use super::*;

    fn tree_of(repository: &Repository, entries: &[(String, Oid, FileMode)]) -> Oid {
        let mut builder = repository.treebuilder(None).unwrap();
        for (name, id, mode) in entries {
            builder.insert(name, *id, i32::from(*mode)).unwrap();
        }
        builder.write().unwrap()
    }

    /// A tree of `width` directories, each of which is the same tree of `width` directories, and so on: `levels` trees
    /// in all. The innermost has one file.
    fn nested(repository: &Repository, width: usize, levels: usize) -> Oid {
        let blob = repository.blob(b"x\n").unwrap();
        let mut tree = tree_of(repository, &[("f".to_owned(), blob, FileMode::Blob)]);
        for _ in 0..levels {
            let entries: Vec<_> = (0..width).map(|n| (format!("d{n}"), tree, FileMode::Tree)).collect();
            tree = tree_of(repository, &entries);
        }
        tree
    }

    fn with_walker<T>(work: impl FnOnce(&Walker<'_>, &Abandoned) -> T) -> T {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(directory.path()).unwrap();
        let abandoned = Abandoned::default();
        work(
            &Walker { repository: &repository, git_dir: directory.path(), abandoned: &abandoned },
            &abandoned,
        )
    }

    fn exceeded(result: Result<(), WorkspaceError>) -> TreeBound {
        match result {
            Err(WorkspaceError::TreeTooLarge { bound, .. }) => bound,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tree_that_names_billions_of_files_is_refused_after_reading_each_directory_once() {
        with_walker(|walker, _| {
            let bomb = nested(walker.repository, 10, 10);
            let mut visited = 0_u64;
            let walked = walker.walk(bomb, |_, _| {
                visited += 1;
                Ok(WalkStep::Continue)
            });
            assert_eq!((exceeded(walked), visited), (TreeBound::Entries, 0));
        });
    }

    #[test]
    fn tree_that_is_too_deep_is_refused_also_if_its_parts_are_not() {
        with_walker(|walker, _| {
            let deepest = nested(walker.repository, 1, DEPTH_MAX as usize);
            walker.check(deepest).unwrap();
            let deeper = nested(walker.repository, 1, DEPTH_MAX as usize + 1);
            assert_eq!(exceeded(walker.check(deeper)), TreeBound::Depth);
            // The inner tree is known, and allowed, from its first place.
            let [first, second] = ["a", "b"].map(|name| (name.to_owned(), deepest, FileMode::Tree));
            let two = tree_of(walker.repository, &[first, second]);
            assert_eq!(exceeded(walker.check(two)), TreeBound::Depth);
        });
    }

    #[test]
    fn every_entry_is_visited_with_its_path_also_if_that_is_not_utf8() {
        with_walker(|walker, _| {
            let blob = walker.repository.blob(b"x\n").unwrap();
            let mut inner = walker.repository.treebuilder(None).unwrap();
            inner.insert(b"caf\xe9".as_slice(), blob, i32::from(FileMode::Blob)).unwrap();
            let inner = inner.write().unwrap();
            let mut root = walker.repository.treebuilder(None).unwrap();
            root.insert(b"d\xe9".as_slice(), inner, i32::from(FileMode::Tree)).unwrap();
            root.insert("z", blob, i32::from(FileMode::Blob)).unwrap();
            let root = root.write().unwrap();
            let mut paths = Vec::new();
            walker
                .walk(root, |path, _| {
                    paths.push(path.to_vec());
                    Ok(WalkStep::Continue)
                })
                .unwrap();
            assert_eq!(paths, [b"d\xe9".to_vec(), b"d\xe9/caf\xe9".to_vec(), b"z".to_vec()]);
        });
    }

    #[test]
    fn walk_ends_when_nobody_waits_for_it() {
        with_walker(|walker, abandoned| {
            let tree = nested(walker.repository, 3, 3);
            let mut visited = 0;
            let walked = walker.walk(tree, |_, _| {
                visited += 1;
                drop(AbandonOnDrop(abandoned.clone()));
                Ok(WalkStep::Continue)
            });
            assert!(matches!(walked, Err(WorkspaceError::Abandoned)), "{walked:?}");
            assert_eq!(visited, 1);
        });
    }

    #[test]
    fn bytes_beyond_the_bound_are_refused_with_its_name() {
        let mut count = ByteCount::of(Oid::ZERO_SHA1);
        count.add(BYTES_MAX).unwrap();
        let error = count.add(1).unwrap_err().to_string();
        assert!(error.contains("files of more than 32 GiB together"), "{error}");
    }
}
