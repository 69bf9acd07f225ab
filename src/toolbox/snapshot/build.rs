//! Moves what a build tool left in its own directories from one sandbox into another: `target` of Cargo, the build
//! tree of CMake. Only what the host's globs name is packed, because tests leave their own files there, too.

use std::io::{Read, Write};
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::FileType;

use super::pack::Packer;
use super::seal::check_depth;
use super::tracked::{Tracked, TrackedPaths};
use super::{Roots, at, joined, receive};
use crate::directory::{OpenDirectory, kind};
use mendwright_protocol::{BuildDirectories, PackBuild, SnapshotContents, UnpackBuild};

/// Writes what the request names to `writer`. It is an error if it has more than the request's `bytes_max` bytes.
pub fn pack_build(
    roots: &Roots,
    tracked: &TrackedPaths,
    writer: impl Write,
    request: &PackBuild,
) -> Result<SnapshotContents, String> {
    tracked.complete()?;
    let finder = BuildFinder::new(tracked, &request.directories)?;
    let root = open(&roots.workspace)?;
    let mut packer = Packer::new(writer, request.bytes_max);
    finder.walk(&mut packer, &root, b"", 0)?;
    packer.finish()
}

/// Unpacks such a stream into `workspace`, in place of the build directories that a setup left.
pub fn receive_build(
    workspace: &Path,
    reader: impl Read,
    request: &UnpackBuild,
) -> Result<SnapshotContents, String> {
    receive::receive_below(workspace, &request.marker, reader, &request.bounds)
}

fn open(path: &Path) -> Result<OpenDirectory, String> {
    OpenDirectory::open(path).map_err(|e| format!("{}: {e}", path.display()))
}

struct BuildFinder<'a> {
    tracked: &'a TrackedPaths,
    marker: &'a str,
    files: GlobSet,
}

impl<'a> BuildFinder<'a> {
    fn new(tracked: &'a TrackedPaths, directories: &'a BuildDirectories) -> Result<Self, String> {
        let mut files = GlobSetBuilder::new();
        for glob in &directories.files {
            let glob = GlobBuilder::new(glob).literal_separator(true).build();
            files.add(glob.map_err(|e| e.to_string())?);
        }
        let files = files.build().map_err(|e| e.to_string())?;
        Ok(Self { tracked, marker: &directories.marker, files })
    }

    /// Packs the build directories in the repository's directory `path`, and in those below it.
    fn walk(
        &self,
        packer: &mut Packer<impl Write>,
        directory: &OpenDirectory,
        path: &[u8],
        depth: usize,
    ) -> Result<(), String> {
        check_depth(path, depth)?;
        for name in directory.names().map_err(|e| at(path, e))? {
            let inner = joined(path, name.to_bytes());
            let Some(stat) = directory.stat(&name).map_err(|e| at(&inner, e))? else { continue };
            if kind(&stat) != FileType::Directory {
                continue;
            }
            let below = match self.tracked.kind(&inner) {
                Tracked::Leaf => continue,
                Tracked::Directory | Tracked::No => directory.enter(&name).map_err(|e| at(&inner, e))?,
            };
            packer.within(&inner, &stat, |packer| match self.tracked.kind(&inner) {
                Tracked::Directory => self.walk(packer, &below, &inner, depth + 1),
                Tracked::No if self.is_build_directory(&below)? => {
                    let skipped = inner.len() + 1;
                    let wanted = |path: &[u8]| {
                        std::str::from_utf8(&path[skipped..]).is_ok_and(|path| self.files.is_match(path))
                    };
                    packer.walk_wanted(&below, &inner, &wanted, depth + 1)
                }
                Tracked::No | Tracked::Leaf => Ok(()),
            })?;
        }
        Ok(())
    }

    fn is_build_directory(&self, directory: &OpenDirectory) -> Result<bool, String> {
        let marker = std::ffi::CString::new(self.marker).map_err(|e| e.to_string())?;
        let stat = directory.stat(&marker).map_err(|e| at(self.marker.as_bytes(), e))?;
        Ok(stat.is_some_and(|stat| kind(&stat) == FileType::RegularFile))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;
    use mendwright_protocol::UnpackPrepared;

    fn write(root: &Path, path: &str) {
        let at = root.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, path).unwrap();
    }

    fn roots(directory: &tempfile::TempDir) -> Roots {
        let at = |name: &str| directory.path().join(name);
        let roots = Roots { workspace: at("work"), home: at("home"), snapshot: at("snapshot") };
        fs::create_dir(&roots.workspace).unwrap();
        roots
    }

    fn request(bytes_max: u64) -> PackBuild {
        let files = ["mark", "*/deps/**"].map(str::to_owned).to_vec();
        PackBuild { directories: BuildDirectories { marker: "mark".to_owned(), files }, bytes_max }
    }

    fn bounds(bytes_max: u64) -> UnpackBuild {
        let bounds = UnpackPrepared { bytes_max, entries_max: 100 };
        UnpackBuild { marker: "mark".to_owned(), bounds }
    }

    /// Every file below `root`, and every empty directory.
    fn listing(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            let entries: Vec<_> = fs::read_dir(&directory).unwrap().flatten().collect();
            if entries.is_empty() {
                found.push(format!("{}/", directory.strip_prefix(root).unwrap().display()));
            }
            for entry in entries {
                match entry.file_type().unwrap().is_dir() {
                    true => pending.push(entry.path()),
                    false => found.push(entry.path().strip_prefix(root).unwrap().display().to_string()),
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn only_named_files_of_build_directories_arrive_in_place_of_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let roots = roots(&directory);
        let (work, mut tracked) = (&roots.workspace, TrackedPaths::default());
        tracked.add_leaf(&[b"crate", b"src", b"a.rs"]);
        // A build directory of the repository's own.
        tracked.add_leaf(&[b"vendored", b"mark"]);
        for path in [
            "crate/src/a.rs",
            "crate/target/mark",
            "crate/target/debug/deps/a.o",
            "crate/target/debug/notes",
            "crate/target/tmp/database",
            "target/mark",
            "target/debug/deps/deep/b.o",
            "vendored/mark",
            "vendored/debug/deps/c.o",
            "other/debug/deps/d.o",
            "other/target/mark",
            ".git/target/mark",
        ] {
            write(work, path);
        }
        fs::create_dir(work.join("target/debug/deps/empty")).unwrap();
        fs::hard_link(work.join("target/mark"), work.join("target/debug/deps/mark")).unwrap();
        symlink("/etc/passwd", work.join("target/debug/deps/link")).unwrap();
        symlink("target", work.join("linked")).unwrap();
        fs::set_permissions(work.join("target/mark"), fs::Permissions::from_mode(0o600)).unwrap();
        let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        fs::File::open(work.join("crate/target/debug/deps/a.o")).unwrap().set_modified(past).unwrap();
        let mut tar = Vec::new();
        let packed = pack_build(&roots, &tracked, &mut tar, &request(1 << 20)).unwrap();

        let other = tempfile::tempdir().unwrap();
        write(other.path(), "target/mark");
        write(other.path(), "target/debug/deps/old.o");
        write(other.path(), "crate/kept");
        let received = receive_build(other.path(), tar.as_slice(), &bounds(1 << 20)).unwrap();
        assert_eq!((received.entries, received.bytes), (packed.entries, packed.bytes));
        assert_eq!(
            listing(other.path()),
            [
                "crate/kept",
                "crate/target/debug/deps/a.o",
                "crate/target/mark",
                "target/debug/deps/deep/b.o",
                "target/debug/deps/empty/",
                "target/debug/deps/link",
                "target/debug/deps/mark",
                "target/mark",
            ]
        );
        let mark = fs::metadata(other.path().join("target/mark")).unwrap();
        assert_eq!((mark.nlink(), mark.mode() & 0o777), (2, 0o600));
        let object = fs::metadata(other.path().join("crate/target/debug/deps/a.o")).unwrap();
        assert_eq!(object.mtime(), 1_500_000_000);
    }

    #[test]
    fn build_that_is_too_large_is_an_error_on_both_sides() {
        let directory = tempfile::tempdir().unwrap();
        let roots = roots(&directory);
        write(&roots.workspace, "target/mark");
        write(&roots.workspace, "target/debug/deps/a.o");
        let refused = pack_build(&roots, &TrackedPaths::default(), Vec::new(), &request(1024)).unwrap_err();
        assert!(refused.contains("larger than"), "{refused}");
        let mut tar = Vec::new();
        pack_build(&roots, &TrackedPaths::default(), &mut tar, &request(1 << 20)).unwrap();
        let other = tempfile::tempdir().unwrap();
        assert!(receive_build(other.path(), tar.as_slice(), &bounds(4)).is_err());
    }

    #[test]
    fn hostile_stream_lands_nowhere_else() {
        use tar::EntryType as Kind;

        use crate::snapshot::tests::hostile_entry as entry;
        for hostile in [
            vec![entry(Kind::Symlink, "out", ".."), entry(Kind::Regular, "out/x", "")],
            vec![entry(Kind::Symlink, "out", ".."), entry(Kind::Directory, "out/d", "")],
            vec![entry(Kind::Link, "hard", "../secret")],
            vec![entry(Kind::Regular, "../x", "")],
            vec![entry(Kind::Regular, "/tmp/x-from-mendwright", "")],
            vec![entry(Kind::Directory, "..", "")],
            vec![entry(Kind::Fifo, "fifo", "")],
        ] {
            let directory = tempfile::tempdir().unwrap();
            let workspace = directory.path().join("work");
            fs::create_dir(&workspace).unwrap();
            fs::write(directory.path().join("secret"), "").unwrap();
            fs::write(directory.path().join("mark"), "").unwrap();
            let tar = [hostile.concat(), vec![0; 1024]].concat();
            assert!(receive_build(&workspace, tar.as_slice(), &bounds(1 << 20)).is_err());
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
            assert_eq!(fs::metadata(directory.path().join("secret")).unwrap().nlink(), 1);
        }
    }
}
