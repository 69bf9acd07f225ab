use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn tree() -> (tempfile::TempDir, Tree) {
    let directory = tempfile::tempdir().unwrap();
    let tree = Tree::open(directory.path()).unwrap();
    (directory, tree)
}

#[test]
fn no_symlink_is_followed_wherever_it_stands() {
    let (directory, tree) = tree();
    let root = directory.path();
    fs::create_dir(root.join("real")).unwrap();
    fs::write(root.join("real/file"), "x").unwrap();
    symlink("/etc", root.join("outside")).unwrap();
    symlink("real", root.join("inside")).unwrap();
    symlink("real/file", root.join("link")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    for path in ["outside/passwd", "inside/file", "link", "loop", "loop/x"] {
        assert!(matches!(tree.open_file(path), Err(TreeError::Symlink(_))), "{path} was opened");
        assert!(matches!(tree.write_file(path, b"y"), Err(TreeError::Symlink(_))), "{path} was written");
    }
    assert_eq!(fs::read(root.join("real/file")).unwrap(), b"x");
    assert!(tree.create_directory(b"outside/mendwright").is_err());
}

#[test]
fn paths_out_of_the_tree_are_refused() {
    let (_directory, tree) = tree();
    for path in ["/etc/passwd", "../x", "a/../../x", "", ".", "a\0b", "/workspacex/a"] {
        assert!(matches!(tree.open_file(path), Err(TreeError::Path(..))), "{path:?} was accepted");
    }
}

#[test]
fn the_roots_own_name_and_dots_are_understood() {
    let (directory, tree) = tree();
    fs::write(directory.path().join("a"), "x").unwrap();
    for path in ["a", "./a", "/workspace/a", "/workspace//a"] {
        assert!(tree.open_file(path).is_ok(), "{path:?} was refused");
    }
}

#[test]
fn a_pipe_is_refused_and_does_not_hang() {
    let (directory, tree) = tree();
    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    assert!(matches!(tree.open_file("fifo"), Err(TreeError::Special(_))));
    assert!(matches!(tree.write_file("fifo", b""), Err(TreeError::Special(_))));
}

#[test]
fn a_replaced_file_keeps_its_mode_and_leaves_nothing_beside_it() {
    let (directory, tree) = tree();
    let script = directory.path().join("run.sh");
    fs::write(&script, "old").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    assert!(!tree.write_file("run.sh", b"new").unwrap());
    assert!(tree.write_file("deep/er/new", b"new").unwrap());
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    assert!(matches!(tree.write_file("deep", b""), Err(TreeError::Directory(_))));
    assert!(matches!(tree.write_file("run.sh/x", b""), Err(TreeError::NotDirectory(_))));
}

#[test]
fn a_file_is_deleted_and_moved_and_directories_that_are_empty_without_it_go() {
    let (directory, tree) = tree();
    let root = directory.path();
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::write(root.join("a/b/c/file"), "x").unwrap();
    fs::write(root.join("a/other"), "y").unwrap();
    tree.move_file("a/b/c/file", "new/place/file").unwrap();
    assert!(!root.join("a/b").exists() && root.join("a/other").exists());
    assert_eq!(fs::read(root.join("new/place/file")).unwrap(), b"x");
    assert!(matches!(tree.move_file("a/other", "new/place/file"), Err(TreeError::Exists(_))));
    assert!(matches!(tree.move_file("a/other", "new/place"), Err(TreeError::Exists(_))));
    assert!(matches!(tree.move_file("gone", "x"), Err(TreeError::Missing(_))));
    assert!(matches!(tree.move_file("new", "x"), Err(TreeError::Directory(_))));
    assert_eq!(fs::read(root.join("new/place/file")).unwrap(), b"x", "nothing is moved over a file");
    tree.remove_file("new/place/file").unwrap();
    assert!(!root.join("new").exists());
    symlink("a/other", root.join("link")).unwrap();
    assert!(matches!(tree.remove_file("link"), Err(TreeError::Symlink(_))));
    assert!(matches!(tree.remove_file("a"), Err(TreeError::Directory(_))));
    assert!(root.join("a/other").exists());
}

#[test]
fn a_file_is_made_executable_for_whoever_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, tree) = tree();
    let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
    tree.write_file_as("run", b"#!/bin/sh\n", Some(true)).unwrap();
    assert_eq!(mode("run"), 0o755);
    tree.write_file("run", b"#!/bin/sh\n:\n").unwrap();
    assert_eq!(mode("run"), 0o755, "an edit keeps it");
    tree.write_file_as("run", b"text", Some(false)).unwrap();
    assert_eq!(mode("run"), 0o644);
}
