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
    assert!(tree.create_directory("outside/mendwright").is_err());
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
