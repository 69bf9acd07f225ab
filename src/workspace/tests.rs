use std::path::Path;

use git2::{FileMode as GitMode, Repository, Signature};
use secrecy::SecretString;
use tokio::io::AsyncReadExt;
use url::Url;

use super::mirror::Author;
use super::*;
use crate::domain::*;
use crate::github::GitAccess;

mod checkout;
mod git_directory;
mod submodules;

/// A repository with a file, an executable, a symlink, and a directory behind a symlink.
fn origin(at: &Path) -> GitAccess {
    let repository = Repository::init_bare(at).unwrap();
    let blob = |bytes: &[u8]| repository.blob(bytes).unwrap();
    let mut inner = repository.treebuilder(None).unwrap();
    inner.insert("lib.py", blob(b"x = 1\n"), i32::from(GitMode::Blob)).unwrap();
    let inner = inner.write().unwrap();
    let mut root = repository.treebuilder(None).unwrap();
    root.insert("README", blob(b"hello\n"), i32::from(GitMode::Blob)).unwrap();
    root.insert("run.sh", blob(b"#!/bin/sh\n"), i32::from(GitMode::BlobExecutable)).unwrap();
    root.insert("link", blob(b"/etc"), i32::from(GitMode::Link)).unwrap();
    root.insert("src", inner, i32::from(GitMode::Tree)).unwrap();
    let tree = repository.find_tree(root.write().unwrap()).unwrap();
    let by = Signature::new("a", "a@example.org", &git2::Time::new(0, 0)).unwrap();
    repository.commit(Some("refs/heads/main"), &by, &by, "first", &tree, &[]).unwrap();
    GitAccess {
        url: Url::from_file_path(at).unwrap(),
        username: "x-access-token".into(),
        token: SecretString::from("unused"),
    }
}

fn file(path: &str, text: &str) -> Change {
    Change {
        path: path.parse().unwrap(),
        content: ChangedContent::File { mode: FileMode::Regular, bytes: text.as_bytes().to_vec() },
    }
}

async fn opened() -> (tempfile::TempDir, GitAccess, Workspace) {
    let directory = tempfile::tempdir().unwrap();
    let access = origin(&directory.path().join("origin.git"));
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let workspace = mirrors.fetch(RepositoryId(1), &access, "main").await.unwrap();
    (directory, access, workspace)
}

#[tokio::test]
async fn base_is_streamed_as_a_tar_with_modes_and_links() {
    let (_directory, _, workspace) = opened().await;
    let tree = workspace.base_tree().await.unwrap();
    let mut bytes = Vec::new();
    workspace.tar(&tree).read_to_end(&mut bytes).await.unwrap();
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut seen: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let kind = entry.header().entry_type();
            format!("{:?} {:o} {}", kind, entry.header().mode().unwrap(), entry.path().unwrap().display())
        })
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "Directory 755 src/",
            "Regular 644 README",
            "Regular 644 src/lib.py",
            "Regular 755 run.sh",
            "Symlink 777 link"
        ]
    );
}

#[tokio::test]
async fn tar_of_a_missing_tree_is_an_error() {
    let (_directory, _, workspace) = opened().await;
    let missing: Sha = "1".repeat(40).parse().unwrap();
    let error = workspace.tar(&missing).read_to_end(&mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("reading a tree"), "{error}");
}

#[tokio::test]
async fn changes_are_committed_and_pushed_to_a_branch() {
    let (_directory, access, workspace) = opened().await;
    let changes =
        vec![file("src/lib.py", "x = 2\n"), file("src/new.py", "y = 1\n"), file("README", "hello\n")];
    let proposal = workspace.propose(changes).await.unwrap();
    let paths: Vec<&str> = proposal.paths.iter().map(RepoPath::as_str).collect();
    assert_eq!(paths, ["src/lib.py", "src/new.py"], "an unchanged file is not a change");

    let author = Author { name: "m[bot]".into(), email: "1+m[bot]@users.noreply.github.com".into() };
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let commit = workspace.commit(&proposal.tree, workspace.base(), &author, "Fix it\n", at).await.unwrap();
    assert_eq!(
        commit,
        workspace.commit(&proposal.tree, workspace.base(), &author, "Fix it\n", at).await.unwrap()
    );

    let cleared = workspace.clear("agent-fix/issue-1", &commit).await.unwrap().unwrap();
    workspace.push(&access, &cleared, None).await.unwrap();
    workspace.push(&access, &cleared, None).await.unwrap();
    let origin = Repository::open(access.url.to_file_path().unwrap()).unwrap();
    let head = origin.refname_to_id("refs/heads/agent-fix/issue-1").unwrap();
    assert_eq!(head.to_string(), commit.as_str());
    assert_eq!(
        origin.find_commit(head).unwrap().parent_id(0).unwrap().to_string(),
        workspace.base().as_str()
    );

    let other = workspace.commit(&proposal.tree, workspace.base(), &author, "Other\n", at).await.unwrap();
    let other = workspace.clear("agent-fix/issue-1", &other).await.unwrap().unwrap();
    let taken = workspace.push(&access, &other, None).await.unwrap_err();
    assert!(matches!(taken, WorkspaceError::BranchTaken { .. }), "{taken}");

    let patch = workspace.patch(&proposal.tree).await.unwrap();
    assert!(patch.text.contains("-x = 1\n+x = 2\n"), "{}", patch.text);
    assert_eq!(patch.stat, PatchStat { files: 2, insertions: 2, deletions: 1 });
}

#[tokio::test]
async fn trees_are_merged_unless_they_conflict() {
    let (_directory, _, workspace) = opened().await;
    let made = async |changes: Vec<Change>| workspace.propose(changes).await.unwrap().tree;
    let before = workspace.base_tree().await.unwrap();
    let ours = made(vec![file("src/lib.py", "x = 2\n")]).await;
    let theirs = made(vec![file("README", "hello you\n"), file("src/new.py", "y = 1\n")]).await;
    let both = made(vec![
        file("src/lib.py", "x = 2\n"),
        file("README", "hello you\n"),
        file("src/new.py", "y = 1\n"),
    ]);
    let both = both.await;
    assert_eq!(workspace.merge_trees(&before, &ours, &theirs).await.unwrap(), Some(both));
    let other = made(vec![file("src/lib.py", "x = 3\n")]).await;
    assert_eq!(workspace.merge_trees(&before, &ours, &other).await.unwrap(), None);
    assert_eq!(
        workspace.changed_paths(&ours, &theirs).await.unwrap(),
        ["README", "src/lib.py", "src/new.py"]
    );

    let author = Author { name: "m".into(), email: "m@example.org".into() };
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let base = workspace.base();
    let commit =
        async |tree: &Sha, parent: &Sha| workspace.commit(tree, parent, &author, "c\n", at).await.unwrap();
    let one = commit(&ours, base).await;
    let two = commit(&theirs, &one).await;
    let beside = commit(&theirs, base).await;
    assert_eq!(workspace.tree_of(&two).await.unwrap(), theirs);
    assert_eq!(workspace.merge_base(&two, &beside).await.unwrap().as_ref(), Some(base));
    assert!(
        workspace.is_ancestor(&one, &two).await.unwrap() && workspace.is_ancestor(&two, &two).await.unwrap()
    );
    assert!(
        !workspace.is_ancestor(&two, &one).await.unwrap()
            && !workspace.is_ancestor(&one, &beside).await.unwrap()
    );
}

#[tokio::test]
async fn change_through_a_symlink_or_over_a_directory_is_rejected() {
    let (_directory, _, workspace) = opened().await;
    for path in ["link", "link/passwd", "src", "README/x"] {
        let refused = workspace.propose(vec![file(path, "x")]).await.unwrap_err();
        assert!(matches!(refused, WorkspaceError::RefusedChange { .. }), "{path}: {refused}");
    }
    let gone = Change { path: "src/lib.py".parse().unwrap(), content: ChangedContent::Absent };
    let proposal = workspace.propose(vec![gone]).await.unwrap();
    assert_eq!(proposal.paths.len(), 1);
}

#[tokio::test]
async fn base_files_are_read_and_a_missing_branch_is_named() {
    let (directory, access, workspace) = opened().await;
    assert_eq!(workspace.base_file("README").await.unwrap().as_deref(), Some(&b"hello\n"[..]));
    assert_eq!(workspace.base_file("link").await.unwrap(), None);
    assert_eq!(workspace.base_file("nothing/here").await.unwrap(), None);
    assert_eq!(workspace.base_directory("").await.unwrap(), ["README", "link", "run.sh", "src/"]);
    assert_eq!(workspace.base_directory("src").await.unwrap(), ["lib.py"]);
    assert_eq!(workspace.base_directory("README").await.unwrap(), [""; 0]);
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let error = mirrors.fetch(RepositoryId(1), &access, "gone").await.unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
}

#[tokio::test]
async fn proposal_survives_conversion_to_changes_and_to_a_patch() {
    let directory = tempfile::tempdir().unwrap();
    let access = origin(&directory.path().join("origin.git"));
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let workspace = mirrors.fetch(RepositoryId(1), &access, "main").await.unwrap();
    let gone = Change { path: "README".parse().unwrap(), content: ChangedContent::Absent };
    let changes = vec![gone, file("run.sh", "#!/bin/sh\ntrue\n"), file("src/é.py", "no end of line")];
    let tree = workspace.propose(changes).await.unwrap().tree;
    let again = workspace.changes_in(&tree).await.unwrap();
    assert_eq!(again.len(), 3);
    assert_eq!(workspace.propose(again).await.unwrap().tree, tree);
    let patch = workspace.full_patch(&tree).await.unwrap();
    let base = workspace.base_tree().await.unwrap();
    assert_eq!(workspace.apply_patch(&base, &patch).await.unwrap(), tree);
    assert_eq!(workspace.apply_patch(&base, "").await.unwrap(), base);
    let error = workspace.apply_patch(&tree, &patch).await.unwrap_err().to_string();
    assert!(error.contains("applying a patch"), "{error}");

    let empty = Repository::open(workspace.git_dir()).unwrap().treebuilder(None).unwrap().write().unwrap();
    let error = workspace.changes_in(&empty.to_string().parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, WorkspaceError::RefusedChange { .. }), "{error}");
}

#[test]
fn interrupted_creation_leaves_no_repository() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("a.git");
    let cut = mirror::create_atomically(&place, |place| {
        Repository::init_bare(place)?;
        Err(git2::Error::from_str("killed"))
    });
    assert!(cut.is_err() && !place.exists());
    mirror::create_atomically(&place, |place| Repository::init_bare(place).map(drop)).unwrap();
    mirror::create_atomically(&place, |place| Repository::init_bare(place).map(drop)).unwrap();
    assert!(Repository::open_bare(&place).is_ok());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "a temporary directory is left");
}

#[tokio::test]
async fn lock_of_a_repository_is_dropped_after_its_fetch() {
    let directory = tempfile::tempdir().unwrap();
    let access = origin(&directory.path().join("origin.git"));
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    for id in 1..=3 {
        mirrors.fetch(RepositoryId(id), &access, "main").await.unwrap();
    }
    assert!(mirrors.locks_kept() <= 1, "a lock is kept for every repository");
}

#[tokio::test]
async fn references_beyond_the_bound_are_deleted_oldest_first() {
    let (_directory, _, workspace) = opened().await;
    let tree = workspace.base_tree().await.unwrap();
    let jobs: Vec<JobId> = (0..3).map(|_| JobId::new()).collect();
    for job in &jobs {
        workspace.pin_checkpoint(*job, &tree).await.unwrap();
    }
    let repository = Repository::open(workspace.git_dir()).unwrap();
    let by_name = |reference: &git2::Reference<'_>| reference.name().unwrap().to_owned();
    references::delete_oldest(&repository, "refs/mendwright/checkpoints/", 2, by_name).unwrap();
    let is_pinned =
        |job: &JobId| repository.find_reference(&format!("refs/mendwright/checkpoints/{job}")).is_ok();
    let mut sorted: Vec<String> = jobs.iter().map(JobId::to_string).collect();
    sorted.sort();
    let pinned: Vec<bool> = sorted.iter().map(|job| is_pinned(&job.parse().unwrap())).collect();
    assert_eq!(pinned, [false, true, true]);
}

/// A tree with these entries at its root, as id of the tree.
fn tree_of(repository: &Repository, entries: &[(&str, &[u8], GitMode)]) -> git2::Oid {
    let mut root = repository.treebuilder(None).unwrap();
    for (name, bytes, mode) in entries {
        let id = match mode {
            GitMode::Commit => git2::Oid::from_str(&hex::encode(bytes)).unwrap(),
            _ => repository.blob(bytes).unwrap(),
        };
        root.insert(*name, id, i32::from(*mode)).unwrap();
    }
    root.write().unwrap()
}

/// The diff between two trees that no proposal could make.
async fn patch_between(old: &[(&str, &[u8], GitMode)], new: &[(&str, &[u8], GitMode)]) -> Patch {
    let directory = tempfile::tempdir().unwrap();
    let access = origin(&directory.path().join("origin.git"));
    let repository = Repository::open(access.url.to_file_path().unwrap()).unwrap();
    let by = Signature::new("a", "a@example.org", &git2::Time::new(0, 0)).unwrap();
    let commit = |branch: &str, tree: git2::Oid| {
        let tree = repository.find_tree(tree).unwrap();
        repository.commit(Some(&format!("refs/heads/{branch}")), &by, &by, "x", &tree, &[]).unwrap();
        tree.id().to_string().parse::<Sha>().unwrap()
    };
    commit("old", tree_of(&repository, old));
    let tree = commit("new", tree_of(&repository, new));
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    mirrors.fetch(RepositoryId(1), &access, "new").await.unwrap();
    let workspace = mirrors.fetch(RepositoryId(1), &access, "old").await.unwrap();
    workspace.patch(&tree).await.unwrap()
}

#[tokio::test]
async fn files_of_a_patch_have_their_true_names_and_counts() {
    const BLOB: GitMode = GitMode::Blob;
    let long = b"a long line that makes the two files alike enough\n".repeat(20);
    let link = |byte: u8| vec![byte; 20];
    let (link_before, link_after) = (link(1), link(2));
    let old: &[(&str, &[u8], GitMode)] = &[
        ("gone", b"a\nb\n", BLOB),
        ("mode.sh", b"#!/bin/sh\n", BLOB),
        ("old name", &long, BLOB),
        ("picture", b"\0\x01", BLOB),
        ("sub", &link_before, GitMode::Commit),
        ("\u{e4}.md", b"one\n", BLOB),
    ];
    let new: &[(&str, &[u8], GitMode)] = &[
        ("mode.sh", b"#!/bin/sh\n", GitMode::BlobExecutable),
        ("new\tname", &long, BLOB),
        ("picture", b"\0\x02", BLOB),
        ("say \"hi\"", b"--- a/x\n+++ b/x\n", BLOB),
        ("sub", &link_after, GitMode::Commit),
        ("\u{e4}.md", b"one\ntwo", BLOB),
    ];
    let patch = patch_between(old, new).await;
    let shown: Vec<String> = patch
        .files
        .iter()
        .map(|file| {
            let old = file.old_path.as_ref().map(|old| format!(" from {old:?}")).unwrap_or_default();
            let binary = if file.is_binary { " binary" } else { "" };
            format!("{:?} +{} -{}{old}{binary}", file.path, file.added, file.removed)
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#""gone" +0 -2"#,
            r#""mode.sh" +0 -0"#,
            r#""new\tname" +0 -0 from "old name""#,
            r#""picture" +0 -0 binary"#,
            r#""say \"hi\"" +2 -0"#,
            r#""sub" +1 -1"#,
            "\"\u{e4}.md\" +1 -0",
        ]
    );
}

#[tokio::test]
async fn files_of_a_patch_are_complete_when_its_text_is_cut() {
    let long = b"0123456789abcdef0123456789abcdef\n".repeat(20_000);
    let patch =
        patch_between(&[], &[("package-lock.json", &long, GitMode::Blob), ("src.rs", b"x\n", GitMode::Blob)])
            .await;
    assert!(patch.truncated && !patch.text.contains("src.rs"));
    let files: Vec<(&str, u64)> = patch.files.iter().map(|file| (file.path.as_str(), file.added)).collect();
    assert_eq!(files, [("package-lock.json", 20_000), ("src.rs", 1)]);
}
