//! What the tracked files held when they were unpacked, so that the host can be told which of them a
//! command changed. Commands run as the same user and may write every file of the tree, but they
//! cannot read or write the memory of this process.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

use crate::tree::{Tree, TreeError};
use mendwright_protocol::{TrackedChange, TrackedChangeKind, TrackedChanges, TrackedChangesFound};

/// Most files remembered. Those of a larger tree that come later are not compared.
const FILES_MAX: usize = 300_000;
/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The digests of all tracked files.
#[derive(Debug, Default)]
pub struct Fingerprints {
    /// Its keys are random and known to this process only, so nobody can make a file with the digest of
    /// another.
    keys: RandomState,
    files: BTreeMap<Box<str>, u64>,
    forgotten: u64,
}

impl Fingerprints {
    /// Copies a file's content, and returns its digest.
    pub fn copy(&self, from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
        let mut digest = self.keys.build_hasher();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match from.read(&mut chunk) {
                Ok(0) => return Ok(digest.finish()),
                Ok(count) => {
                    digest.write(&chunk[..count]);
                    to.write_all(&chunk[..count])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Remembers the digest of the file at `path`. A path that is not UTF-8 is not compared.
    pub fn remember(&mut self, path: &[u8], digest: u64) {
        let Ok(path) = std::str::from_utf8(path) else {
            self.forgotten += 1;
            return;
        };
        if self.files.len() >= FILES_MAX && !self.files.contains_key(path) {
            self.forgotten += 1;
            return;
        }
        self.files.insert(path.into(), digest);
    }

    /// The files that are not as they were unpacked.
    pub fn changes(&self, tree: &Tree, request: &TrackedChanges) -> TrackedChangesFound {
        let mut found = TrackedChangesFound { unchecked: self.forgotten, ..TrackedChangesFound::default() };
        let changed = self.files.iter().filter_map(|(path, digest)| {
            let kind = self.change(tree, path, *digest, request.since_ns)?;
            Some(TrackedChange { path: path.to_string(), kind })
        });
        for change in changed {
            match found.changes.len() < request.changes_max as usize {
                true => found.changes.push(change),
                false => found.omitted += 1,
            }
        }
        found
    }

    fn change(&self, tree: &Tree, path: &str, digest: u64, since_ns: u64) -> Option<TrackedChangeKind> {
        let mut open = match tree.open_file(path) {
            Ok(open) => open,
            Err(TreeError::Missing(_) | TreeError::NotDirectory(_)) => {
                return Some(TrackedChangeKind::Removed);
            }
            Err(
                TreeError::Symlink(_)
                | TreeError::Directory(_)
                | TreeError::Exists(_)
                | TreeError::Special(_)
                | TreeError::Path(..)
                | TreeError::Io(..),
            ) => return Some(TrackedChangeKind::Rewritten),
        };
        match self.copy(&mut open.file, &mut io::sink()) {
            Ok(now) if now == digest => {}
            Ok(_) | Err(_) => return Some(TrackedChangeKind::Rewritten),
        }
        if changed_ns(&open.file).is_none_or(|changed| changed > since_ns) {
            return Some(TrackedChangeKind::Touched);
        }
        self.is_shadowed(tree, path).then_some(TrackedChangeKind::Shadowed)
    }

    /// Whether Python would import something else, which was not unpacked, in place of this module: a
    /// package or an extension module of the same name.
    fn is_shadowed(&self, tree: &Tree, path: &str) -> bool {
        let Some(stem) = path.strip_suffix(".py") else { return false };
        let beside = ["/__init__.py", "/__init__.pyc", ".so", ".abi3.so"];
        beside.iter().any(|ending| {
            let other = format!("{stem}{ending}");
            !self.files.contains_key(other.as_str())
                && !matches!(tree.open_file(&other), Err(TreeError::Missing(_) | TreeError::NotDirectory(_)))
        })
    }
}

/// When the file's content or name was last changed, in nanoseconds since 1970. The kernel sets this time:
/// unlike the time of modification, a command cannot choose it.
fn changed_ns(file: &File) -> Option<u64> {
    let metadata = file.metadata().ok()?;
    let seconds = u64::try_from(metadata.ctime()).ok()?;
    let rest = u64::try_from(metadata.ctime_nsec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const ALL: TrackedChanges = TrackedChanges { since_ns: u64::MAX, changes_max: 10 };

    fn remembered(root: &Path, files: &[(&str, &str)]) -> (Tree, Fingerprints) {
        let mut fingerprints = Fingerprints::default();
        for (path, content) in files {
            let at = root.join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            let mut file = File::create(at).unwrap();
            let digest = fingerprints.copy(&mut content.as_bytes(), &mut file).unwrap();
            fingerprints.remember(path.as_bytes(), digest);
        }
        (Tree::open(root).unwrap(), fingerprints)
    }

    fn described(found: TrackedChangesFound) -> Vec<String> {
        found.changes.into_iter().map(|change| format!("{} {:?}", change.path, change.kind)).collect()
    }

    #[test]
    fn changed_files_are_named_with_what_happened_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let files =
            ["same", "rewritten", "removed", "replaced", "linked", "below/it"].map(|path| (path, "text"));
        let (tree, fingerprints) = remembered(root, &files);
        assert_eq!(fingerprints.changes(&tree, &ALL), TrackedChangesFound::default());
        fs::write(root.join("rewritten"), "tex").unwrap();
        fs::remove_file(root.join("removed")).unwrap();
        fs::remove_file(root.join("replaced")).unwrap();
        fs::create_dir(root.join("replaced")).unwrap();
        fs::remove_file(root.join("linked")).unwrap();
        std::os::unix::fs::symlink("same", root.join("linked")).unwrap();
        fs::remove_dir_all(root.join("below")).unwrap();
        fs::write(root.join("new"), "").unwrap();
        assert_eq!(
            described(fingerprints.changes(&tree, &ALL)),
            [
                "below/it Removed",
                "linked Rewritten",
                "removed Removed",
                "replaced Rewritten",
                "rewritten Rewritten"
            ]
        );
        let few = TrackedChanges { changes_max: 2, ..ALL };
        let found = fingerprints.changes(&tree, &few);
        assert_eq!((found.changes.len(), found.omitted, found.unchecked), (2, 3, 0));
    }

    #[test]
    fn file_that_was_rewritten_and_restored_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, fingerprints) = remembered(directory.path(), &[("a", "text"), ("b", "text")]);
        fs::write(directory.path().join("a"), "other").unwrap();
        fs::write(directory.path().join("a"), "text").unwrap();
        let b = changed_ns(&File::open(directory.path().join("b")).unwrap()).unwrap();
        let a = changed_ns(&File::open(directory.path().join("a")).unwrap()).unwrap();
        assert_eq!(described(fingerprints.changes(&tree, &ALL)), [""; 0]);
        let before = TrackedChanges { since_ns: a.min(b) - 1, ..ALL };
        assert_eq!(described(fingerprints.changes(&tree, &before)), ["a Touched", "b Touched"]);
    }

    #[test]
    fn module_behind_a_package_of_the_same_name_is_shadowed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let files =
            [("t/test_a.py", ""), ("t/test_b.py", ""), ("t/known.py", ""), ("t/known/__init__.py", "")];
        let (tree, fingerprints) = remembered(root, &files);
        assert_eq!(described(fingerprints.changes(&tree, &ALL)), [""; 0]);
        fs::create_dir(root.join("t/test_a")).unwrap();
        fs::write(root.join("t/test_a/__init__.py"), "").unwrap();
        fs::write(root.join("t/test_b.abi3.so"), "").unwrap();
        assert_eq!(
            described(fingerprints.changes(&tree, &ALL)),
            ["t/test_a.py Shadowed", "t/test_b.py Shadowed"]
        );
    }
}
