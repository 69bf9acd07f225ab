use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode};

use super::*;
use crate::directory::{DEPTH_MAX, OpenDirectory};
use crate::fingerprints::Fingerprints;
use crate::tree::Tree;
use crate::unpack::unpack;
use mendwright_protocol::{SnapshotContents, UnpackPrepared};

const PLENTY: UnpackPrepared = UnpackPrepared { bytes_max: 1 << 30, entries_max: 10_000 };

struct World {
    _directory: tempfile::TempDir,
    roots: Roots,
    tracked: TrackedPaths,
}

fn write(root: &Path, path: &str, content: &str, mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
}

/// A tree with two tracked files, and what a setup then did.
fn after_a_setup() -> World {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let roots = Roots { workspace: at("work"), home: at("home"), snapshot: at("snapshot") };
    fs::create_dir(&roots.workspace).unwrap();
    fs::create_dir(&roots.home).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    for path in ["src/main.py", "src/only/tracked", "setup.lock", "replaced"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, &b"base\n"[..]).unwrap();
    }
    let mut tracked = TrackedPaths::default();
    let tree = Tree::open(&roots.workspace).unwrap();
    unpack(&tree, tar.into_inner().unwrap().as_slice(), &mut tracked, &mut Fingerprints::default()).unwrap();
    let work = &roots.workspace;
    write(work, "setup.lock", "tampered\n", 0o644);
    fs::remove_file(work.join("replaced")).unwrap();
    write(work, "replaced/by/a/directory", "", 0o644);
    write(work, "src/__pycache__/main.pyc", "compiled", 0o644);
    write(work, "vendor/bin/tool", "#!", 0o755);
    // The host lays it anew.
    write(work, ".git/hooks/pre-commit", "#!", 0o755);
    write(work, "vendor/read-only/x", "x", 0o444);
    fs::set_permissions(work.join("vendor/read-only"), Permissions::from_mode(0o555)).unwrap();
    symlink("../../outside", work.join("vendor/link")).unwrap();
    symlink("//odd/./target/", work.join("vendor/odd")).unwrap();
    fs::hard_link(work.join("vendor/bin/tool"), work.join("vendor/bin/same")).unwrap();
    fs::hard_link(work.join("vendor/bin/tool"), roots.home.join("same")).unwrap();
    rustix::fs::mknodat(CWD, work.join("vendor/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::create_dir(work.join("vendor/empty")).unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(250));
    write(work, &long, "long", 0o644);
    symlink("t".repeat(300), work.join("long-target")).unwrap();
    fs::write(work.join(std::ffi::OsStr::from_bytes(b"latin-\xe9")), "e").unwrap();
    write(&roots.home, ".netrc", "private", 0o600);
    write(&roots.home, ".cache/private/x", "private", 0o600);
    fs::set_permissions(roots.home.join(".cache/private"), Permissions::from_mode(0o700)).unwrap();
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for path in ["vendor/bin/tool", "vendor/bin"] {
        fs::File::open(work.join(path)).unwrap().set_modified(past).unwrap();
    }
    World { _directory: directory, roots, tracked }
}

/// Every path below `root` with its kind, mode, and content or target.
fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let mode = meta.mode() & 0o7777;
            if meta.is_dir() {
                found.push(format!("{name}/ {mode:o}"));
                pending.push(path);
            } else if meta.is_symlink() {
                found.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
            } else {
                found.push(format!(
                    "{name} {mode:o} {:?}",
                    String::from_utf8_lossy(&fs::read(&path).unwrap())
                ));
            }
        }
    }
    found.sort();
    found
}

/// What `after_a_setup` leaves to later sandboxes, below the workspace and below the home directory.
fn assert_arrived(roots: &Roots) {
    let expected_long = format!("{}/{} 644 \"long\"", "d".repeat(120), "f".repeat(250));
    let mut expected = vec![
        format!("{}/ 755", "d".repeat(120)),
        expected_long,
        "latin-\u{fffd} 644 \"e\"".to_owned(),
        format!("long-target -> {}", "t".repeat(300)),
        "src/ 755".to_owned(),
        "src/__pycache__/ 755".to_owned(),
        "src/__pycache__/main.pyc 644 \"compiled\"".to_owned(),
        "vendor/ 755".to_owned(),
        "vendor/bin/ 755".to_owned(),
        "vendor/bin/same 755 \"#!\"".to_owned(),
        "vendor/bin/tool 755 \"#!\"".to_owned(),
        "vendor/empty/ 755".to_owned(),
        "vendor/link -> ../../outside".to_owned(),
        "vendor/odd -> //odd/./target/".to_owned(),
        "vendor/read-only/ 755".to_owned(),
        "vendor/read-only/x 444 \"x\"".to_owned(),
    ];
    expected.sort();
    assert_eq!(listing(&roots.workspace), expected);
    assert_eq!(
        listing(&roots.home),
        [
            ".cache/ 755",
            ".cache/private/ 700",
            ".cache/private/x 600 \"private\"",
            ".netrc 600 \"private\"",
            "same 755 \"#!\"",
        ]
    );
    let tool = fs::metadata(roots.workspace.join("vendor/bin/tool")).unwrap();
    assert_eq!((tool.mtime(), tool.nlink()), (1_000_000_000, 3));
    assert_eq!(fs::metadata(roots.workspace.join("vendor/bin")).unwrap().mtime(), 1_000_000_000);
}

/// A sandbox that starts with a snapshot.
fn start_with(snapshot: &Path) -> World {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let roots = Roots { workspace: at("work"), home: at("home"), snapshot: snapshot.to_owned() };
    fs::create_dir(&roots.workspace).unwrap();
    fs::create_dir(&roots.home).unwrap();
    copy::copy_snapshot(&roots).unwrap();
    World { _directory: directory, roots, tracked: TrackedPaths::default() }
}

#[test]
fn what_is_sealed_arrives_in_a_later_sandbox_and_nothing_tracked_does() {
    let world = after_a_setup();
    let selected = seal::seal(&world.roots, &world.tracked).unwrap();
    assert_eq!(selected.skipped, 1, "the pipe");
    assert!(listing(&world.roots.workspace).is_empty() && listing(&world.roots.home).is_empty());
    let unreadable: Vec<String> = listing(&world.roots.snapshot)
        .into_iter()
        .filter(|line| line.contains(" 600") || line.contains(" 700"))
        .collect();
    assert_eq!(unreadable, [""; 0], "another user could not copy it");
    assert_arrived(&start_with(&world.roots.snapshot).roots);
}

#[test]
fn what_is_packed_and_received_arrives_as_what_is_sealed() {
    let world = after_a_setup();
    let mut tar = Vec::new();
    let packed = pack::pack(&world.roots, &world.tracked, &mut tar, 1 << 30).unwrap();
    let snapshot = tempfile::tempdir().unwrap();
    let received = receive::receive(snapshot.path(), tar.as_slice(), &PLENTY).unwrap();
    assert_eq!((received.entries, received.bytes), (packed.entries, packed.bytes));
    assert_eq!(packed.skipped, 1);
    assert_arrived(&start_with(snapshot.path()).roots);
    // Packing takes nothing away, and sealing finds the very same.
    let sealed = seal::seal(&world.roots, &world.tracked).unwrap();
    assert_eq!(sealed.entries, packed.entries);
    assert_eq!(listing(&world.roots.snapshot), listing(snapshot.path()));
}

#[test]
fn sandbox_with_a_snapshot_can_make_another_one() {
    let world = after_a_setup();
    seal::seal(&world.roots, &world.tracked).unwrap();
    let later = start_with(&world.roots.snapshot);
    let mut tar = Vec::new();
    pack::pack(&later.roots, &later.tracked, &mut tar, 1 << 30).unwrap();
    let snapshot = tempfile::tempdir().unwrap();
    receive::receive(snapshot.path(), tar.as_slice(), &PLENTY).unwrap();
    assert_arrived(&start_with(snapshot.path()).roots);
}

#[test]
fn too_large_snapshot_is_an_error() {
    let world = after_a_setup();
    let refused = pack::pack(&world.roots, &world.tracked, &mut Vec::new(), 2048).unwrap_err();
    assert!(refused.contains("larger than the 0 MiB that are allowed"), "{refused}");
    let mut tar = Vec::new();
    pack::pack(&world.roots, &world.tracked, &mut tar, 1 << 30).unwrap();
    for bounds in [UnpackPrepared { bytes_max: 3, ..PLENTY }, UnpackPrepared { entries_max: 3, ..PLENTY }] {
        let snapshot = tempfile::tempdir().unwrap();
        assert!(receive::receive(snapshot.path(), tar.as_slice(), &bounds).is_err());
    }
}

#[test]
fn a_directory_nested_without_end_is_refused() {
    let world = after_a_setup();
    let mut directory = OpenDirectory::open(&world.roots.home).unwrap();
    for _ in 0..=DEPTH_MAX {
        directory = directory.make(c"d").unwrap();
    }
    let refused = pack::pack(&world.roots, &world.tracked, &mut Vec::new(), 1 << 30).unwrap_err();
    assert!(refused.contains("nested over 256"), "{refused}");
    let refused = seal::seal(&world.roots, &world.tracked).unwrap_err();
    assert!(refused.contains("nested over 256"), "{refused}");
}

/// The header of an archive's entry with these names, as they are.
pub(super) fn hostile_entry(kind: tar::EntryType, path: &str, target: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o4777);
    header.set_mtime(0);
    header.set_size(0);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn a_hostile_stream_lands_nowhere_else() {
    use hostile_entry as entry;
    use tar::EntryType as Kind;
    for hostile in [
        vec![entry(Kind::Symlink, "home/out", "../.."), entry(Kind::Regular, "home/out/x", "")],
        vec![entry(Kind::Symlink, "home/out", "../.."), entry(Kind::Directory, "home/out/d", "")],
        vec![entry(Kind::Symlink, "home/out", "../../x"), entry(Kind::Regular, "home/out", "")],
        vec![entry(Kind::Link, "home/hard", "../x")],
        vec![entry(Kind::Link, "home/hard", "/etc/passwd")],
        vec![entry(Kind::Symlink, "home/up", ".."), entry(Kind::Link, "home/hard", "home/up/secret")],
        vec![entry(Kind::Regular, "../x", "")],
        vec![entry(Kind::Regular, "/tmp/x-from-mendwright", "")],
        vec![entry(Kind::Regular, "elsewhere/x", "")],
        vec![entry(Kind::Symlink, "home", "..")],
        vec![entry(Kind::Regular, "home/../../x", "")],
        vec![entry(Kind::Fifo, "home/fifo", "")],
        vec![entry(Kind::Char, "home/null", "")],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let snapshot = directory.path().join("snapshot");
        fs::create_dir(&snapshot).unwrap();
        fs::write(directory.path().join("secret"), "").unwrap();
        let tar = [hostile.concat(), vec![0; 1024]].concat();
        let refused = receive::receive(&snapshot, tar.as_slice(), &PLENTY);
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        assert_eq!(fs::metadata(directory.path().join("secret")).unwrap().nlink(), 1);
    }
    let snapshot = tempfile::tempdir().unwrap();
    let tar = [entry(Kind::Regular, "home/setuid", ""), vec![0; 1024]].concat();
    let received = receive::receive(snapshot.path(), tar.as_slice(), &PLENTY).unwrap();
    assert_eq!(received, SnapshotContents { entries: 1, bytes: 0, skipped: 0 });
    assert_eq!(fs::metadata(snapshot.path().join("home/setuid")).unwrap().mode() & 0o7777, 0o777);
}

#[test]
fn modes_come_back_and_everybody_can_read_what_is_kept() {
    for (mode, directory, kept, restored) in [
        (0o644, false, 0o644, 0o644),
        (0o755, false, 0o755, 0o755),
        (0o444, false, 0o444, 0o444),
        (0o600, false, 0o1644, 0o600),
        (0o700, false, 0o1755, 0o700),
        (0o000, false, 0o1444, 0o400),
        (0o4755, false, 0o755, 0o755),
        (0o700, true, 0o1755, 0o700),
        (0o555, true, 0o755, 0o755),
        (0o1777, true, 0o777, 0o777),
    ] {
        assert_eq!(kept_mode(mode, directory), kept, "{mode:o}");
        assert_eq!(restored_mode(kept), restored, "{mode:o}");
        assert_eq!(kept_mode(kept, directory) & 0o777, kept & 0o777, "{mode:o}");
    }
}
