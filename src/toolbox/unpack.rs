//! Unpacks a tar stream into the tree: files, directories and symlinks. A symlink is created and never
//! followed, so no entry can be created outside the tree.
//!
//! An entry with a time gets that time. One without (zero) keeps the time of the unpacking, which is later than
//! that of everything that a snapshot holds: a build tool then sees that the file is new.

use std::io::{self, Read};

use rustix::fs::{Timespec, Timestamps};
use tar::{Archive, Entry, EntryType};

use crate::failure::Failure;
use crate::fingerprints::Fingerprints;
use crate::snapshot::{GIT_DIRECTORY, Tracked, TrackedPaths};
use crate::tree::{Tree, TreeError};
use mendwright_protocol::UnpackResult;

/// Most entries of one stream.
const ENTRIES_MAX: u64 = 2_000_000;

/// Unpacks all entries of `reader`, and adds their paths to `tracked` and their contents to `fingerprints`. What a
/// setup created at an entry's path is removed; what this or an earlier stream created there is an error.
pub fn unpack(
    tree: &Tree,
    reader: impl Read,
    tracked: &mut TrackedPaths,
    fingerprints: &mut Fingerprints,
) -> Result<UnpackResult, Failure> {
    let broken = |e: io::Error| Failure::from(format!("the tar stream cannot be read: {e}"));
    let mut archive = Archive::new(reader);
    let mut entries = 0;
    let mut directories = Vec::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        // A name is bytes: a repository may hold some that are not UTF-8.
        let path = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&path);
        let parts = tree.byte_parts_or_root(&path)?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let executable = entry.header().mode().map_err(broken)? & 0o100 != 0;
                let mut file =
                    with_way(tree, tracked, &parts, false, || tree.create_file(&path, executable))?;
                let digest = fingerprints
                    .copy(&mut entry, &mut file)
                    .map_err(|e| Failure::at(format_args!("'{shown}'"), &e))?;
                if let Some(times) = times(&entry).map_err(broken)? {
                    rustix::fs::futimens(&file, &times)
                        .map_err(|e| Failure::at(format_args!("'{shown}'"), &e.into()))?;
                }
                // Git's own files change whenever git is used, and are no part of a proposal.
                if parts.first() != Some(&GIT_DIRECTORY) {
                    fingerprints.remember(&parts.join(&b'/'), digest);
                }
                tracked.add_leaf(&parts);
            }
            EntryType::Directory => {
                with_way(tree, tracked, &parts, true, || tree.create_directory(&path))?;
                tracked.add_directory(&parts);
                directories.extend(times(&entry).map_err(broken)?.map(|times| (path.clone(), times)));
            }
            EntryType::Symlink => {
                let target =
                    entry.link_name_bytes().ok_or_else(|| format!("'{shown}': a symlink to nothing"))?;
                with_way(tree, tracked, &parts, false, || tree.create_symlink(&path, &target))?;
                tracked.add_leaf(&parts);
            }
            EntryType::XGlobalHeader => continue,
            other => {
                return Err(format!("'{shown}' has a type that a tree cannot contain: {other:?}").into());
            }
        }
        entries += 1;
        if entries > ENTRIES_MAX {
            return Err(format!("the tar stream has over {ENTRIES_MAX} entries").into());
        }
    }
    // An entry that is created changes the time of its directory.
    for (path, times) in directories {
        tree.set_directory_times(&path, &times)?;
    }
    Ok(UnpackResult { entries })
}

/// The time of an entry, if it has one.
fn times(entry: &Entry<'_, impl Read>) -> io::Result<Option<Timestamps>> {
    let seconds = i64::try_from(entry.header().mtime()?).unwrap_or(0);
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Ok((seconds > 0).then_some(Timestamps { last_access: time, last_modification: time }))
}

/// Calls `make`. If it fails, and something untracked is in the way, removes that and calls it again.
fn with_way<T>(
    tree: &Tree,
    tracked: &TrackedPaths,
    parts: &[&[u8]],
    directory: bool,
    make: impl Fn() -> Result<T, TreeError>,
) -> Result<T, TreeError> {
    match make() {
        Ok(made) => Ok(made),
        Err(first) => match tree.clear_way(parts, directory, |path| tracked.kind(path) != Tracked::No)? {
            true => make(),
            false => Err(first),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn entry(kind: EntryType, path: impl AsRef<[u8]>, mode: u32, content: &str, target: &str) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        let path = path.as_ref();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn unpacked(entries: &[Vec<u8>]) -> (tempfile::TempDir, Result<UnpackResult, Failure>) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tree")).unwrap();
        let tree = Tree::open(&directory.path().join("tree")).unwrap();
        let tar = [entries.concat(), vec![0; 1024]].concat();
        let outcome =
            unpack(&tree, tar.as_slice(), &mut TrackedPaths::default(), &mut Fingerprints::default());
        (directory, outcome)
    }

    #[test]
    fn files_modes_directories_and_symlinks_arrive_as_they_are() {
        let (directory, outcome) = unpacked(&[
            entry(EntryType::Directory, "a/", 0o755, "", ""),
            entry(EntryType::Regular, "a/run", 0o755, "#!", ""),
            entry(EntryType::Regular, "b/c/plain", 0o664, "text", ""),
            entry(EntryType::Symlink, "link", 0o777, "", "/etc/passwd"),
        ]);
        assert_eq!(outcome.unwrap().entries, 4);
        let root = directory.path().join("tree");
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a/run"), mode("b/c/plain")), (0o755, 0o644));
        assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("/etc/passwd"));
    }

    #[test]
    fn entries_with_a_time_get_it_and_others_the_time_of_the_unpacking() {
        let at = |kind, path: &str, time: u64| {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(0);
            header.set_mtime(time);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        let (directory, outcome) = unpacked(&[
            at(EntryType::Directory, "old/", 1_000_000_000),
            at(EntryType::Regular, "old/old", 1_000_000_000),
            at(EntryType::Regular, "old/new", 0),
            at(EntryType::Directory, "new/", 0),
        ]);
        assert_eq!(outcome.unwrap().entries, 4);
        let is_old = |path: &str| {
            let modified =
                fs::metadata(directory.path().join("tree").join(path)).unwrap().modified().unwrap();
            modified == SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
        };
        assert_eq!(["old", "old/old", "old/new", "new"].map(is_old), [true, true, false, false]);
    }

    #[test]
    fn names_that_are_not_utf8_arrive_byte_for_byte() {
        let (directory, outcome) = unpacked(&[
            entry(EntryType::Directory, b"caf\xe9/", 0o755, "", ""),
            entry(EntryType::Regular, b"caf\xe9/men\xfc.txt", 0o644, "espresso", ""),
            entry(EntryType::Regular, b"na\xefve/deep", 0o755, "x", ""),
            entry(EntryType::Symlink, b"li\xe9n", 0o777, "", "caf"),
        ]);
        assert_eq!(outcome.unwrap().entries, 4);
        let root = directory.path().join("tree");
        let at = |name: &[u8]| root.join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(fs::read_to_string(at(b"caf\xe9/men\xfc.txt")).unwrap(), "espresso");
        assert_eq!(fs::metadata(at(b"na\xefve/deep")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(at(b"li\xe9n")).unwrap(), Path::new("caf"));
        assert_eq!(fs::read_dir(root).unwrap().count(), 3);
    }

    #[test]
    fn nothing_is_created_outside_through_a_symlink_or_dots() {
        for hostile in [
            vec![
                entry(EntryType::Symlink, "out", 0o777, "", ".."),
                entry(EntryType::Regular, "out/x", 0o644, "x", ""),
            ],
            vec![entry(EntryType::Regular, "../x", 0o644, "x", "")],
            vec![entry(EntryType::Regular, b"\xe9/../../x", 0o644, "x", "")],
            vec![entry(EntryType::Regular, "/x-from-mendwright", 0o644, "x", "")],
            vec![entry(EntryType::Link, "hard", 0o644, "", "../x")],
            vec![entry(EntryType::Fifo, "fifo", 0o644, "", "")],
        ] {
            let (directory, outcome) = unpacked(&hostile);
            assert!(outcome.is_err());
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn files_of_a_setup_are_replaced_and_tracked_files_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("tree");
        fs::create_dir_all(root.join("file/deep")).unwrap();
        fs::write(root.join("file/deep/x"), "").unwrap();
        fs::write(root.join("directory"), "a file").unwrap();
        fs::write(directory.path().join("outside"), "outside").unwrap();
        std::os::unix::fs::symlink("..", root.join("src")).unwrap();
        std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
        let tree = Tree::open(&root).unwrap();
        let mut tracked = TrackedPaths::default();
        let tar = [
            entry(EntryType::Regular, "file", 0o644, "new", ""),
            entry(EntryType::Directory, "directory/", 0o755, "", ""),
            entry(EntryType::Regular, "src/outside", 0o644, "inside", ""),
            entry(EntryType::Regular, "link", 0o644, "new", ""),
            vec![0; 1024],
        ];
        unpack(&tree, tar.concat().as_slice(), &mut tracked, &mut Fingerprints::default()).unwrap();
        assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "new");
        assert_eq!(fs::read_to_string(root.join("src/outside")).unwrap(), "inside");
        assert_eq!(fs::read_to_string(directory.path().join("outside")).unwrap(), "outside");
        assert!(fs::symlink_metadata(root.join("src")).unwrap().is_dir());
        assert!(fs::symlink_metadata(root.join("link")).unwrap().is_file());
        for contradiction in ["file/x", "src"] {
            let tar = [entry(EntryType::Regular, contradiction, 0o644, "x", ""), vec![0; 1024]].concat();
            assert!(
                unpack(&tree, tar.as_slice(), &mut tracked, &mut Fingerprints::default()).is_err(),
                "{contradiction}"
            );
        }
    }
}
