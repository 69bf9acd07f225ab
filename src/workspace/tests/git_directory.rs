//! The `.git` directory of sandboxes, opened as git opens it.

use git2::{DescribeFormatOptions, DescribeOptions, Oid, Repository, Signature};
use tokio::io::AsyncReadExt;

use super::*;

/// A second commit on top of `main`, with an annotated tag on the first one.
fn second_commit(origin: &Path) -> (Oid, Oid) {
    let repository = Repository::open_bare(origin).unwrap();
    let by = Signature::new("a", "a@example.org", &git2::Time::new(60, 0)).unwrap();
    let first = repository.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
    repository.tag("v1.2.0", first.as_object(), &by, "a release", false).unwrap();
    let blob = repository.blob(b"changed\n").unwrap();
    let tree = first.tree().unwrap();
    let mut root = repository.treebuilder(Some(&tree)).unwrap();
    root.insert("README", blob, 0o100_644).unwrap();
    let tree = repository.find_tree(root.write().unwrap()).unwrap();
    let second = repository.commit(Some("refs/heads/main"), &by, &by, "second", &tree, &[&first]).unwrap();
    // Nothing of another branch is for the sandbox.
    let other = repository.commit(Some("refs/heads/secret"), &by, &by, "other", &tree, &[&first]).unwrap();
    repository.tag_lightweight("v9", &repository.find_object(other, None).unwrap(), false).unwrap();
    (second, other)
}

/// The base's work tree with its `.git` directory.
async fn checked_out(workspace: &Workspace) -> (tempfile::TempDir, Repository) {
    let directory = tempfile::tempdir().unwrap();
    let tree = workspace.base_tree().await.unwrap();
    let mut bytes = Vec::new();
    workspace.tar(&tree).read_to_end(&mut bytes).await.unwrap();
    tar::Archive::new(&bytes[..]).unpack(directory.path()).unwrap();
    let git_directory = workspace.git_directory().await.unwrap();
    tar::Archive::new(&git_directory[..]).unpack(directory.path()).unwrap();
    let repository = Repository::open(directory.path()).unwrap();
    (directory, repository)
}

#[tokio::test]
async fn work_tree_is_at_the_base_commit_with_its_tags() {
    let directory = tempfile::tempdir().unwrap();
    let access = origin(&directory.path().join("origin.git"));
    let (second, other) = second_commit(&directory.path().join("origin.git"));
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let workspace = mirrors.fetch(RepositoryId(1), &access, "main").await.unwrap();
    let (work_tree, repository) = checked_out(&workspace).await;
    assert_eq!(repository.head().unwrap().shorthand().unwrap(), "main");
    assert_eq!(repository.head().unwrap().target(), Some(second));
    assert_eq!(repository.revparse_single("origin/main").unwrap().id(), second);
    let described = repository.describe(&DescribeOptions::new()).unwrap();
    let described = described.format(Some(DescribeFormatOptions::new().always_use_long_format(true)));
    assert_eq!(described.unwrap(), format!("v1.2.0-1-g{}", &second.to_string()[..7]));
    assert!(repository.find_commit(other).is_err() && repository.find_reference("refs/tags/v9").is_err());
    let changed: Vec<String> = repository
        .statuses(None)
        .unwrap()
        .iter()
        .map(|status| format!("{:?} {:?}", status.path(), status.status()))
        .collect();
    assert_eq!(changed, [""; 0]);
    std::fs::write(work_tree.path().join("README"), "other\n").unwrap();
    assert_eq!(repository.statuses(None).unwrap().len(), 1);
    let diff = repository.diff_index_to_workdir(None, None).unwrap();
    assert_eq!((diff.stats().unwrap().insertions(), diff.stats().unwrap().deletions()), (1, 1));
}

#[tokio::test]
async fn history_beyond_the_base_is_without_files_and_no_path_of_this_machine_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let access = origin(&directory.path().join("origin.git"));
    second_commit(&directory.path().join("origin.git"));
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let workspace = mirrors.fetch(RepositoryId(1), &access, "main").await.unwrap();
    let (work_tree, repository) = checked_out(&workspace).await;
    let first = repository.head().unwrap().peel_to_commit().unwrap().parent(0).unwrap();
    assert_eq!(first.message().unwrap(), "first");
    assert!(repository.find_tree(first.tree_id()).is_err());
    let configuration = std::fs::read_to_string(work_tree.path().join(".git/config")).unwrap();
    assert!(!configuration.contains("file:") && !configuration.contains("origin"), "{configuration}");
    assert!(!work_tree.path().join(".git/hooks").exists());
}
