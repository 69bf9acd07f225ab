//! What a sandbox is given of a tree, and what a proposal makes of what comes back.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use super::*;
use crate::workspace::bounded_walk::{SUBMODULE, WalkedEntry};
use crate::workspace::reduced_tree::write_tree_of;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:2d6c72fe\nsize 10\n";

/// A workspace on a repository with these files; a path may be any bytes. `sub` is a submodule.
async fn with_files(files: &[(&[u8], &[u8])]) -> (tempfile::TempDir, Workspace) {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("origin.git");
    let repository = Repository::init_bare(&at).unwrap();
    let blob = |(path, content): &(&[u8], &[u8])| WalkedEntry {
        path: path.to_vec(),
        id: repository.blob(content).unwrap(),
        mode: 0o100_644,
    };
    let mut entries: Vec<WalkedEntry> = files.iter().map(blob).collect();
    let commit = git2::Oid::from_str(&"1".repeat(40)).unwrap();
    entries.push(WalkedEntry { path: b"sub".to_vec(), id: commit, mode: SUBMODULE });
    let tree = repository.find_tree(write_tree_of(&repository, &entries).unwrap()).unwrap();
    let by = Signature::new("a", "a@example.org", &git2::Time::new(0, 0)).unwrap();
    repository.commit(Some("refs/heads/main"), &by, &by, "first", &tree, &[]).unwrap();
    let access = GitAccess {
        url: Url::from_file_path(&at).unwrap(),
        username: String::new(),
        token: SecretString::from(String::new()),
    };
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let workspace = mirrors.fetch(RepositoryId(1), &access, "main").await.unwrap();
    (directory, workspace)
}

/// The files of a tree, as a sandbox is given them; directories have no content.
async fn checked_out(workspace: &Workspace, tree: &Sha) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut bytes = Vec::new();
    workspace.tar(tree).read_to_end(&mut bytes).await.unwrap();
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().as_os_str().as_bytes().to_vec();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (path, content)
    });
    entries.collect()
}

/// What the repository has at `path` of a tree.
fn stored(workspace: &Workspace, tree: &Sha, path: &[u8]) -> Vec<u8> {
    let repository = Repository::open(workspace.git_dir()).unwrap();
    let tree = repository.find_tree(tree.as_str().parse().unwrap()).unwrap();
    let entry = tree.get_path(Path::new(std::ffi::OsStr::from_bytes(path))).unwrap();
    repository.find_blob(entry.id()).unwrap().content().to_vec()
}

fn written(path: &str, bytes: &[u8]) -> Change {
    let content = ChangedContent::File { mode: FileMode::Regular, bytes: bytes.to_vec() };
    Change { path: path.parse().unwrap(), content }
}

#[tokio::test]
async fn names_that_are_not_utf8_are_given_and_kept_byte_for_byte() {
    let names: [&[u8]; 4] = [b"caf\xe9.txt", b"dir\xe9/menu.txt", b"dir\xe9/\xfc", b"hello.txt"];
    let files: Vec<(&[u8], &[u8])> = names.iter().map(|name| (*name, *name)).collect();
    let (_directory, workspace) = with_files(&files).await;
    let base = workspace.base_tree().await.unwrap();
    let given = checked_out(&workspace, &base).await;
    for name in names {
        assert_eq!(given.get(name).map(Vec::as_slice), Some(name), "{name:?}");
    }
    assert!(given.contains_key(&b"dir\xe9/"[..]));
    let proposal = workspace.propose(vec![written("hello.txt", b"hi")]).await.unwrap();
    let proposed = checked_out(&workspace, &proposal.tree).await;
    assert_eq!(proposed.len(), given.len());
    assert_eq!(proposed[&b"dir\xe9/\xfc"[..]], b"dir\xe9/\xfc");
    let found = workspace.find_files_by_name(&base, 9, |path| path.ends_with(".txt")).await.unwrap().unwrap();
    assert_eq!(found.len(), 3);
}

#[tokio::test]
async fn attributes_are_applied_on_the_way_out_and_taken_back_on_the_way_in() {
    let rules = "*.bat text eol=crlf\nu.txt working-tree-encoding=UTF-16LE\nid.c ident\n*.sh export-ignore\n";
    let (_directory, workspace) = with_files(&[
        (b".gitattributes", rules.as_bytes()),
        (b"r.bat", b"one\ntwo\n"),
        (b"mixed.bat", b"one\r\ntwo\n"),
        (b"u.txt", b"ab\n"),
        (b"id.c", b"// $Id$\n"),
        (b"run.sh", b"x\n"),
        (b"plain", b"a\r\nb\n"),
    ])
    .await;
    let base = workspace.base_tree().await.unwrap();
    let given = checked_out(&workspace, &base).await;
    let of = |path: &str| given[path.as_bytes()].as_slice();
    assert_eq!(of("r.bat"), b"one\r\ntwo\r\n");
    assert_eq!(of("mixed.bat"), b"one\r\ntwo\r\n");
    assert_eq!(of("u.txt"), b"a\0b\0\n\0");
    assert!(of("id.c").starts_with(b"// $Id: ") && of("id.c").ends_with(b" $\n"));
    assert_eq!((of("run.sh"), of("plain")), (&b"x\n"[..], &b"a\r\nb\n"[..]));

    // What a sandbox sends back unchanged is no change, normalised in the repository or not.
    let unchanged: Vec<Change> =
        ["r.bat", "mixed.bat", "u.txt", "id.c", "plain"].iter().map(|path| written(path, of(path))).collect();
    let proposal = workspace.propose(unchanged).await.unwrap();
    assert_eq!((proposal.tree, proposal.paths.len()), (base.clone(), 0));

    let changes = vec![
        written("r.bat", b"one\r\nTWO\r\n"),
        written("u.txt", b"a\0c\0\n\0"),
        written("new.bat", b"new\r\n"),
        written("id.c", &[of("id.c"), b"int x;\n"].concat()),
    ];
    let tree = workspace.propose(changes).await.unwrap().tree;
    for (path, expected) in [
        ("r.bat", &b"one\nTWO\n"[..]),
        ("u.txt", b"ac\n"),
        ("new.bat", b"new\n"),
        ("id.c", b"// $Id$\nint x;\n"),
    ] {
        assert_eq!(stored(&workspace, &tree, path.as_bytes()), expected, "{path}");
    }
    assert_eq!(checked_out(&workspace, &tree).await[&b"r.bat"[..]], b"one\r\nTWO\r\n");
    let content = workspace.content(&tree, &"u.txt".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(content.1, b"a\0c\0\n\0");
    let again = workspace.changes_in(&tree).await.unwrap();
    assert_eq!(workspace.propose(again).await.unwrap().tree, tree);
    let patch = workspace.full_patch(&tree).await.unwrap();
    assert!(patch.contains("-two\n+TWO\n") && !patch.contains("\r"), "{patch}");
}

#[tokio::test]
async fn file_of_git_lfs_cannot_be_replaced_by_its_content() {
    let (_directory, workspace) = with_files(&[
        (b".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n*.gpg filter=crypt\n"),
        (b"data/table.bin", POINTER.as_bytes()),
        (b"key.gpg", b"?"),
    ])
    .await;
    for path in ["data/table.bin", "data/new.bin"] {
        let refused = workspace.propose(vec![written(path, b"1,2,3\n")]).await.unwrap_err().to_string();
        assert!(refused.contains("Git LFS has its content"), "{refused}");
    }
    let other = POINTER.replace("2d6c", "aaaa");
    let proposal = workspace.propose(vec![written("data/table.bin", other.as_bytes())]).await.unwrap();
    assert_eq!(stored(&workspace, &proposal.tree, b"data/table.bin"), other.as_bytes());
    let gaps = workspace.checkout_gaps().await.unwrap();
    let sample = |path: &str| PathSample { first: vec![path.to_owned()], count: 1 };
    let expected = CheckoutGaps {
        lfs_files: sample("data/table.bin"),
        submodules: [(String::new(), sample("sub"))].into(),
        filtered: sample("key.gpg"),
    };
    assert_eq!(gaps, expected);
}

#[tokio::test]
async fn submodule_is_an_empty_directory_as_in_a_checkout() {
    let (_directory, workspace) = with_files(&[(b"a", b"x")]).await;
    let given = checked_out(&workspace, &workspace.base_tree().await.unwrap()).await;
    let paths: Vec<&[u8]> = given.keys().map(Vec::as_slice).collect();
    assert_eq!(paths, [&b"a"[..], b"sub/"]);
}

#[tokio::test]
async fn reduced_tree_has_the_named_files_and_all_attributes() {
    let (_directory, workspace) = with_files(&[
        (b".gitattributes", b"*.lock eol=crlf\n"),
        (b"a/.gitattributes", b""),
        (b"a/x.lock", b"x\n"),
        (b"a/y.py", b"y\n"),
        (b"b/\xe9.lock", b"z\n"),
    ])
    .await;
    let base = workspace.base_tree().await.unwrap();
    let reduced = workspace.reduced_tree(&base, |path| path.ends_with(".lock")).await.unwrap();
    let given = checked_out(&workspace, &reduced).await;
    let files: Vec<&[u8]> = given.keys().filter(|path| !path.ends_with(b"/")).map(Vec::as_slice).collect();
    assert_eq!(files, [&b".gitattributes"[..], b"a/.gitattributes", b"a/x.lock", b"b/\xe9.lock"]);
    assert_eq!(given[&b"a/x.lock"[..]], b"x\r\n");
    // The same files make the same tree, whatever else changes.
    let other = workspace.propose(vec![written("a/y.py", b"changed\n")]).await.unwrap().tree;
    assert_eq!(workspace.reduced_tree(&other, |path| path.ends_with(".lock")).await.unwrap(), reduced);
    let other = workspace.propose(vec![written("a/x.lock", b"changed\r\n")]).await.unwrap().tree;
    assert_ne!(workspace.reduced_tree(&other, |path| path.ends_with(".lock")).await.unwrap(), reduced);
}
