//! Submodules of a base: where they are found, what sandboxes get of them, and what no proposal can change.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use git2::build::TreeUpdateBuilder;
use git2::{ObjectType, Oid};

use super::*;
use crate::github::{SubmoduleAccess, SubmoduleRequest};

const ID: RepositoryId = RepositoryId(1);

/// Commits files and submodules (path and commit) to `main` of a repository, which is created if it is missing.
fn commit(at: &Path, files: &[(&str, &str)], submodules: &[(&str, Oid)]) -> Oid {
    let repository = Repository::open(at).or_else(|_| Repository::init_bare(at)).unwrap();
    let mut update = TreeUpdateBuilder::new();
    for (path, text) in files {
        update.upsert(*path, repository.blob(text.as_bytes()).unwrap(), GitMode::Blob);
    }
    for (path, commit) in submodules {
        update.upsert(*path, *commit, GitMode::Commit);
    }
    let empty = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
    let tree = update.create_updated(&repository, &empty).unwrap();
    commit_tree(&repository, tree)
}

fn commit_tree(repository: &Repository, tree: Oid) -> Oid {
    let by = Signature::new("a", "a@example.org", &git2::Time::new(0, 0)).unwrap();
    let tree = repository.find_tree(tree).unwrap();
    repository.commit(None, &by, &by, "a commit", &tree, &[]).unwrap()
}

/// A workspace at `base` of the repository at `at`.
async fn workspace_at(at: &Path, base: Oid) -> (tempfile::TempDir, Mirrors, Workspace) {
    let directory = tempfile::tempdir().unwrap();
    let mirrors = Mirrors::new(directory.path());
    let workspace = mirrors.fetch(ID, &access_to(at), &base.to_string()).await.unwrap();
    (directory, mirrors, workspace)
}

fn access_to(at: &Path) -> GitAccess {
    let url = Url::from_file_path(at).unwrap();
    GitAccess { url, username: String::new(), token: SecretString::from(String::new()) }
}

fn sha_of(id: Oid) -> Sha {
    id.to_string().parse().unwrap()
}

fn fetched(path: &str, commit: Oid) -> FetchedSubmodule {
    FetchedSubmodule { path: path.parse().unwrap(), commit: sha_of(commit), source: "x".into() }
}

/// Fetches the commit at `from` for the submodule `path`.
async fn fetch(
    mirrors: &Mirrors,
    path: &str,
    commit: Oid,
    from: &Path,
    allowance: &mut SubmoduleAllowance,
) -> Result<(), String> {
    let path = path.parse().unwrap();
    mirrors.fetch_submodule(ID, &path, &sha_of(commit), &access_to(from), allowance).await.unwrap()
}

async fn checked_out(workspace: &Workspace) -> BTreeMap<String, String> {
    let tree = workspace.base_tree().await.unwrap();
    let mut bytes = Vec::new();
    workspace.tar(&tree).read_to_end(&mut bytes).await.unwrap();
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path().unwrap().as_os_str().as_bytes().to_vec()).unwrap();
        let mut content = String::new();
        std::io::Read::read_to_string(&mut entry, &mut content).unwrap();
        (path, content)
    });
    entries.collect()
}

#[tokio::test]
async fn sandbox_gets_the_files_of_submodules_as_a_checkout_has_them() {
    let directory = tempfile::tempdir().unwrap();
    let [inner, outer, main] = ["inner.git", "outer.git", "main.git"].map(|name| directory.path().join(name));
    let inner_commit = commit(&inner, &[("i.txt", "inner\n")], &[]);
    let attributes = "*.bat text eol=crlf\n*.bin filter=lfs\n";
    let outer_files = [("lib.bat", "x\n"), (".gitattributes", attributes), ("d/t.bin", "pointer")];
    let outer_commit = commit(&outer, &outer_files, &[("deep/inner", inner_commit), ("gone", inner_commit)]);
    let base = commit(&main, &[("a", "1\n")], &[("vendor/outer", outer_commit), ("absent", inner_commit)]);
    let (_mirrors, mirrors, workspace) = workspace_at(&main, base).await;

    let mut allowance = SubmoduleAllowance::default();
    fetch(&mirrors, "vendor/outer", outer_commit, &outer, &mut allowance).await.unwrap();
    fetch(&mirrors, "vendor/outer/deep/inner", inner_commit, &inner, &mut allowance).await.unwrap();
    let there = [fetched("vendor/outer", outer_commit), fetched("vendor/outer/deep/inner", inner_commit)];
    let why = "it is on another host, `evil.example`".to_owned();
    let missing = [MissingSubmodule { path: "vendor/outer/gone".into(), why }];
    // Nothing is given that was not decided for this workspace, though it is in the mirror.
    assert!(!checked_out(&workspace).await.contains_key("vendor/outer/lib.bat"));
    assert_eq!(workspace.submodules_identity(), "");
    let workspace = workspace.with_submodules(&mirrors, ID, &there, &missing);

    let given = checked_out(&workspace).await;
    let names: Vec<&str> = given.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "a",
            "absent/",
            "vendor/",
            "vendor/outer/",
            "vendor/outer/.gitattributes",
            "vendor/outer/d/",
            "vendor/outer/d/t.bin",
            "vendor/outer/deep/",
            "vendor/outer/deep/inner/",
            "vendor/outer/deep/inner/i.txt",
            "vendor/outer/gone/",
            "vendor/outer/lib.bat",
        ]
    );
    assert_eq!(
        (given["vendor/outer/lib.bat"].as_str(), given["vendor/outer/deep/inner/i.txt"].as_str()),
        ("x\r\n", "inner\n")
    );
    insta::assert_snapshot!(workspace.checkout_gaps().await.unwrap().describe().join("\n"), @r#"
    the sandbox has only the pointers of the files in Git LFS, not their contents: `vendor/outer/d/t.bin`
    the sandbox has only empty directories for the submodules: `absent`
    the sandbox has only an empty directory for a submodule, because it is on another host, `evil.example`: `vendor/outer/gone`
    "#);
    assert_ne!(workspace.submodules_identity(), "");
    // The same commit at another path is not the submodule that was fetched.
    let elsewhere = workspace.with_submodules(&mirrors, ID, &[fetched("absent", outer_commit)], &[]);
    assert!(!checked_out(&elsewhere).await.keys().any(|path| path.starts_with("absent/d")));
}

#[tokio::test]
async fn proposal_keeps_a_submodule_and_changes_nothing_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let [sub, main] = ["sub.git", "main.git"].map(|name| directory.path().join(name));
    let sub_commit = commit(&sub, &[("lib.py", "x\n")], &[]);
    let base = commit(&main, &[("a", "1\n")], &[("vendor/sub", sub_commit)]);
    let (_mirrors, mirrors, workspace) = workspace_at(&main, base).await;
    let mut allowance = SubmoduleAllowance::default();
    fetch(&mirrors, "vendor/sub", sub_commit, &sub, &mut allowance).await.unwrap();
    let workspace = workspace.with_submodules(&mirrors, ID, &[fetched("vendor/sub", sub_commit)], &[]);
    let refused = workspace.propose(vec![file("vendor/sub/lib.py", "y\n")]).await.unwrap_err().to_string();
    assert!(
        refused.contains("vendor/sub/lib.py") && refused.contains("belong to another repository"),
        "{refused}"
    );
    for path in ["vendor/sub", "vendor/sub/new/file"] {
        assert!(workspace.propose(vec![file(path, "y\n")]).await.is_err(), "{path}");
        let found = workspace.submodule_of(&path.parse().unwrap()).await.unwrap();
        assert_eq!(found.as_deref(), Some("vendor/sub"));
    }
    for path in ["a", "vendor/other", "new"] {
        assert_eq!(workspace.submodule_of(&path.parse().unwrap()).await.unwrap(), None, "{path}");
    }
    let proposal = workspace.propose(vec![file("a", "2\n")]).await.unwrap();
    assert_eq!(proposal.paths.len(), 1);
    let repository = Repository::open(workspace.git_dir()).unwrap();
    let tree = repository.find_tree(proposal.tree.as_str().parse().unwrap()).unwrap();
    let entry = tree.get_path(Path::new("vendor/sub")).unwrap();
    assert_eq!((entry.id(), entry.filemode()), (sub_commit, 0o160_000));
    let reduced = workspace.reduced_tree(&proposal.tree, |path| path == "vendor/sub").await.unwrap();
    let reduced = repository.find_tree(reduced.as_str().parse().unwrap()).unwrap();
    assert_eq!(reduced.get_path(Path::new("vendor/sub")).unwrap().id(), sub_commit);
}

#[tokio::test]
async fn submodules_are_declared_with_what_gitmodules_says_of_their_path() {
    let directory = tempfile::tempdir().unwrap();
    let main = directory.path().join("main.git");
    let pinned = Oid::from_str(&"1".repeat(40)).unwrap();
    let modules = "[submodule \"one\"]\n\tpath = libs/one/\n\turl = ../one.git\n\
                   [submodule \"a file\"]\n\tpath = README\n\turl = ../file.git\n\
                   [submodule \"out\"]\n\tpath = ../../etc\n\turl = ../out.git\n";
    let files = [(".gitmodules", modules), ("README", "hello\n")];
    let base = commit(&main, &files, &[("libs/one", pinned), ("libs/two", pinned)]);
    let (_mirrors, _, workspace) = workspace_at(&main, base).await;
    let declared = workspace.declared_submodules(None).await.unwrap();
    let found: Vec<String> =
        declared.iter().map(|one| format!("{} {:?} {:?}", one.path, one.name, one.url)).collect();
    assert_eq!(found, ["libs/one \"one\" \"../one.git\"", "libs/two \"\" \"\""]);
    let many: Vec<(String, Oid)> = (0..2_000).map(|n| (format!("m{n}"), pinned)).collect();
    let many: Vec<(&str, Oid)> = many.iter().map(|(path, id)| (path.as_str(), *id)).collect();
    let base = commit(&main, &[], &many);
    let (_mirrors, _, workspace) = workspace_at(&main, base).await;
    assert_eq!(workspace.declared_submodules(None).await.unwrap().len(), SUBMODULES_MAX);
    let gaps = workspace.checkout_gaps().await.unwrap();
    assert_eq!(gaps.submodules[""].count, 2_000);
}

#[tokio::test]
async fn submodule_beyond_a_bound_or_with_a_hostile_name_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let sub = directory.path().join("sub.git");
    let plain = commit(&sub, &[("a", "12345"), ("b/c", "x")], &[]);
    let repository = Repository::open(&sub).unwrap();
    // libgit2 refuses to make such trees; a server may have them.
    let raw = |mode: &str, name: &str, id: Oid| {
        let bytes = [format!("{mode} {name}\0").as_bytes(), id.as_bytes()].concat();
        repository.odb().unwrap().write(ObjectType::Tree, &bytes).unwrap()
    };
    let blob = repository.blob(b"[core]\n").unwrap();
    let inner = raw("100644", "config", blob);
    let hostile = [".git", ".GIT", ".g\u{200c}it", "git~1", "..", "."]
        .map(|name| commit_tree(&repository, raw("40000", name, inner)));
    let dangling = raw("100644", "a", Oid::from_str(&"2".repeat(40)).unwrap());
    let dangling = commit_tree(&repository, dangling);
    let unknown = Oid::from_str(&"3".repeat(40)).unwrap();
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let with = |entries, bytes| SubmoduleAllowance { entries, bytes, ..SubmoduleAllowance::default() };
    let mut enough = with(3, 6);
    fetch(&mirrors, "s", plain, &sub, &mut enough).await.unwrap();
    assert_eq!((enough.entries, enough.bytes), (0, 0));
    let mut refusals = Vec::new();
    for mut too_little in [with(2, 6), with(3, 5)] {
        refusals.push(fetch(&mirrors, "s", plain, &sub, &mut too_little).await.unwrap_err());
    }
    for commit in hostile.into_iter().chain([dangling, unknown]) {
        let mut allowance = SubmoduleAllowance::default();
        refusals.push(fetch(&mirrors, "s", commit, &sub, &mut allowance).await.unwrap_err());
    }
    insta::assert_snapshot!(refusals.join("\n"), @r"
    the submodules are too large together
    the submodules are too large together
    it has a name that git does not check out
    it has a name that git does not check out
    it has a name that git does not check out
    it has a name that git does not check out
    it has a name that git does not check out
    it has a name that git does not check out
    its repository does not have all of its files
    its repository does not have the commit `3333333333`
    ");
}

/// A repository with a work tree, and one as git clones a submodule for it.
fn clone_with_module(directory: &Path, module: &str) -> (LocalRepository, Oid) {
    let work = directory.join("work");
    let repository = Repository::init(&work).unwrap();
    let by = Signature::new("a", "a@example.org", &git2::Time::new(0, 0)).unwrap();
    let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
    let pinned = commit(&work.join(".git/modules").join(module), &[("a", "1")], &[]);
    (LocalRepository::open(&work).unwrap(), pinned)
}

fn found(local: &LocalRepository, name: &str, url: &str, commit: Oid) -> Result<PathBuf, String> {
    let (parent, commit) = (local.access().unwrap().url, sha_of(commit));
    match local.submodule_access(SubmoduleRequest { parent: &parent, name, url, commit: &commit }) {
        SubmoduleAccess::Granted { access, .. } => Ok(access.url.to_file_path().unwrap()),
        SubmoduleAccess::Refused(why) => Err(why),
    }
}

#[test]
fn local_submodule_is_the_clones_own_or_a_repository_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let (local, pinned) = clone_with_module(&root, "libs/a");
    let url = "https://forge.example/octo/a.git";
    assert!(found(&local, "libs/a", url, pinned).unwrap().ends_with("work/.git/modules/libs/a"));
    let beside = commit(&root.join("beside.git"), &[("b", "2")], &[]);
    let below = commit(&root.join("work/below.git"), &[("c", "3")], &[]);
    for (url, commit) in [
        ("../beside.git", beside),
        ("./below.git", below),
        (root.join("beside.git").to_str().unwrap(), beside),
    ] {
        assert!(found(&local, "x", url, commit).is_ok(), "{url}");
    }
    let file = Url::from_file_path(root.join("beside.git")).unwrap();
    assert!(found(&local, "x", file.as_str(), beside).is_ok());
}

#[test]
fn local_submodule_leads_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let (local, pinned) = clone_with_module(&root.join("home"), "a");
    let elsewhere = root.join("elsewhere/secret.git");
    let secret = commit(&elsewhere, &[("s", "secret")], &[]);
    std::os::unix::fs::symlink(&elsewhere, root.join("home/work/.git/modules/link")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, root.join("home/work/link")).unwrap();
    let url = "https://forge.example/octo/a.git";
    let absolute = elsewhere.display().to_string();
    for name in
        ["../../../../elsewhere/secret.git", "link", &absolute, "a/../../../../../elsewhere/secret.git", ""]
    {
        assert!(found(&local, name, url, secret).is_err(), "{name}");
    }
    for url in ["../../elsewhere/secret.git", "./link", &absolute, &format!("file://{absolute}"), "ext::sh"] {
        assert!(found(&local, "none", url, secret).is_err(), "{url}");
    }
    let unknown = Oid::from_str(&"4".repeat(40)).unwrap();
    let why = found(&local, "a", url, unknown).unwrap_err();
    assert!(why.contains("git submodule update --init --recursive"), "{why}");
    assert!(found(&local, "a", url, pinned).is_ok());
    // The repository itself is no submodule of its own work tree.
    let own = Repository::open(&local.git_dir).unwrap().head().unwrap().target().unwrap();
    assert!(found(&local, "none", "./", own).is_err());
}
