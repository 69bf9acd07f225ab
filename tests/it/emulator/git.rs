//! Git over HTTP: clone, fetch and push, with libgit2 and with git itself.

use std::path::Path;
use std::process::Command;

use git2::{Cred, FetchOptions, PushOptions, RemoteCallbacks, Repository, Signature};
use mendwright_emulator::github::RepositorySource;
use serde_json::{Value, json};

use super::{EmulatorTest, REPOSITORY};

fn address(test: &EmulatorTest) -> String {
    format!("{}{REPOSITORY}.git", test.github.url())
}

fn credentials(token: &str) -> RemoteCallbacks<'_> {
    let mut callbacks = RemoteCallbacks::new();
    let mut attempts = 0;
    callbacks.credentials(move |_, _, _| {
        attempts += 1;
        match attempts {
            1 => Cred::userpass_plaintext("x-access-token", token),
            _ => Err(git2::Error::from_str("credentials refused")),
        }
    });
    callbacks
}

/// Clones with libgit2.
pub fn clone(test: &EmulatorTest, directory: &Path, token: &str) -> Repository {
    try_clone(test, directory, token, 0).unwrap()
}

fn try_clone(
    test: &EmulatorTest,
    directory: &Path,
    token: &str,
    depth: i32,
) -> Result<Repository, git2::Error> {
    let mut options = FetchOptions::new();
    options.remote_callbacks(credentials(token)).depth(depth);
    git2::build::RepoBuilder::new().fetch_options(options).clone(&address(test), directory)
}

fn fetch(repository: &Repository, token: &str) -> usize {
    let mut options = FetchOptions::new();
    options.remote_callbacks(credentials(token));
    let mut remote = repository.find_remote("origin").unwrap();
    remote.fetch(&[] as &[&str], Some(&mut options), None).unwrap();
    remote.stats().total_objects()
}

/// Makes a commit on HEAD that changes these files.
pub fn commit(repository: &Repository, files: &[(&str, &str)], message: &str) -> git2::Oid {
    let parent = repository.head().unwrap().peel_to_commit().unwrap();
    let mut index = repository.index().unwrap();
    index.read_tree(&parent.tree().unwrap()).unwrap();
    for (path, content) in files {
        let entry = git2::IndexEntry {
            ctime: git2::IndexTime::new(0, 0),
            mtime: git2::IndexTime::new(0, 0),
            dev: 0,
            ino: 0,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            file_size: 0,
            id: git2::Oid::from_str(&"0".repeat(40)).unwrap(),
            flags: 0,
            flags_extended: 0,
            path: path.as_bytes().to_vec(),
        };
        index.add_frombuffer(&entry, content.as_bytes()).unwrap();
    }
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let author = Signature::now("octo-writer", "octo-writer@users.noreply.github.com").unwrap();
    repository.commit(Some("HEAD"), &author, &author, message, &tree, &[&parent]).unwrap()
}

/// Pushes one refspec. The error is the server's message about the reference.
pub fn push(repository: &Repository, token: &str, refspec: &str) -> Result<(), String> {
    let (commit, name) = refspec.split_once(':').unwrap();
    let force = commit.starts_with('+');
    let source = match commit.trim_start_matches('+') {
        "" => String::new(),
        commit => {
            let oid = git2::Oid::from_str(commit).unwrap();
            repository.reference("refs/heads/to-push", oid, true, "test").unwrap();
            "refs/heads/to-push".to_owned()
        }
    };
    let mut rejected = None;
    let mut callbacks = credentials(token);
    callbacks.push_update_reference(|_, status| {
        rejected = status.map(str::to_owned);
        Ok(())
    });
    let mut options = PushOptions::new();
    options.remote_callbacks(callbacks);
    let refspec = format!("{}{source}:{name}", if force { "+" } else { "" });
    let mut remote = repository.find_remote("origin").unwrap();
    let pushed = remote.push(&[refspec], Some(&mut options)).map_err(|error| error.message().to_owned());
    drop(options);
    pushed.and(match rejected {
        Some(why) => Err(why),
        None => Ok(()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn clone_push_and_fetch_transfer_only_new_commits() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let first = clone(&test, &test.directory.path().join("first"), &token);
    let second = clone(&test, &test.directory.path().join("second"), &token);
    assert!(first.workdir().unwrap().join("src/greeter.py").exists());
    let made = commit(&first, &[("src/greeter.py", "def greet(name):\n    return name\n")], "Fix");
    push(&first, &token, &format!("{made}:refs/heads/agent-fix/issue-1")).unwrap();
    assert_eq!(test.head("agent-fix/issue-1"), made.to_string());
    assert_eq!(fetch(&second, &token), 4, "a commit, two trees and a blob");
    let name = "refs/remotes/origin/agent-fix/issue-1";
    assert_eq!(second.find_reference(name).unwrap().target(), Some(made));
    assert_eq!(fetch(&second, &token), 0);

    // A push from an older state is rejected, and the newer one stays.
    let theirs = commit(&second, &[("src/greeter.py", "def greet(name):\n    return 1\n")], "Other");
    let refused = push(&second, &token, &format!("{theirs}:refs/heads/agent-fix/issue-1"));
    assert!(refused.is_err(), "libgit2 itself rejects what is not a fast-forward");
    push(&second, &token, &format!("+{theirs}:refs/heads/agent-fix/issue-1")).unwrap();
    assert_eq!(test.head("agent-fix/issue-1"), theirs.to_string());
    push(&second, &token, ":refs/heads/agent-fix/issue-1").unwrap();
    assert_eq!(test.head("agent-fix/issue-1"), "");
    let refused = push(&second, &token, ":refs/heads/main").unwrap_err();
    assert!(refused.contains("refusing to delete the current branch"), "{refused}");
    test.github.deliveries_settled().await;
    let pushes: Vec<(Value, Value)> = test
        .webhooks
        .received()
        .iter()
        .filter(|hook| hook.headers["x-github-event"] == "push")
        .map(|hook| (hook.payload()["forced"].clone(), hook.payload()["deleted"].clone()))
        .collect();
    assert_eq!(pushes, [(false, false), (true, false), (false, true)].map(|(f, d)| (json!(f), json!(d))));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_history_is_fetched_incrementally_and_to_the_requested_depth() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let writer = clone(&test, &test.directory.path().join("writer"), &token);
    let reader = clone(&test, &test.directory.path().join("reader"), &token);
    let mut last = writer.head().unwrap().target().unwrap();
    for number in 0..120 {
        let content = format!("line {number}\n");
        last = commit(&writer, &[("deep/er/log.txt", &content)], &format!("Change {number}"));
    }
    push(&writer, &token, &format!("{last}:refs/heads/main")).unwrap();
    // The reader has commits that the server has never seen, so that negotiation is needed.
    for number in 0..40 {
        commit(&reader, &[("mine.txt", &format!("{number}\n"))], "Mine");
    }
    assert_eq!(fetch(&reader, &token), 120 * 5, "a commit, three trees and a blob each");
    let shallow = try_clone(&test, &test.directory.path().join("shallow"), &token, 1).unwrap();
    let mut walk = shallow.revwalk().unwrap();
    walk.push_head().unwrap();
    assert_eq!(walk.count(), 1);
    assert!(shallow.is_shallow());
    let more = commit(&writer, &[("deep/er/log.txt", "more\n")], "More");
    push(&writer, &token, &format!("{more}:refs/heads/main")).unwrap();
    assert_eq!(fetch(&shallow, &token), 5, "a shallow clone gets what is new and nothing older");
}

#[tokio::test(flavor = "multi_thread")]
async fn git_access_needs_a_token_with_the_permission_for_it() {
    let test = EmulatorTest::start().await;
    let clone_to = |name: &str, token: &str| {
        try_clone(&test, &test.directory.path().join(name), token, 0)
            .map(drop)
            .map_err(|e| e.message().to_owned())
    };
    assert!(clone_to("nobody", "ghs_wrong").is_err());
    let issues_only = test.token_for(json!({"permissions": {"issues": "write"}})).await;
    assert!(clone_to("issues", &issues_only).unwrap_err().contains("403"));
    let read = test.token_for(json!({"permissions": {"contents": "read"}})).await;
    let repository = clone(&test, &test.directory.path().join("read"), &read);
    let made = commit(&repository, &[("a.txt", "a\n")], "A");
    assert!(push(&repository, &read, &format!("{made}:refs/heads/topic")).unwrap_err().contains("403"));
    let files = [("README.md".to_owned(), b"# Elsewhere\n".to_vec())];
    test.github.add_repository("octo-maintainer/elsewhere", RepositorySource::Files(&files)).unwrap();
    let elsewhere = test.token_for(json!({"repositories": ["elsewhere"]})).await;
    assert!(clone_to("elsewhere", &elsewhere).unwrap_err().contains("404"));
    test.github.expire_tokens();
    assert!(clone_to("late", &read).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn push_that_changes_workflows_is_rejected_with_githubs_message() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let repository = clone(&test, &test.directory.path().join("clone"), &token);
    let made = commit(&repository, &[(".github/workflows/ci.yml", "on: push\n")], "CI");
    let refused = push(&repository, &token, &format!("{made}:refs/heads/topic")).unwrap_err();
    insta::assert_snapshot!(refused, @"refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml` without `workflows` permission");
    assert_eq!(test.head("topic"), "");
    // Still rejected if a later commit removes the file again.
    let hidden = commit(&repository, &[(".github/workflows/ci.yml", ""), ("a.txt", "a\n")], "Hide");
    assert!(push(&repository, &token, &format!("{hidden}:refs/heads/topic")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn repository_is_imported_with_branches_and_default_branch() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let source = clone(&test, &test.directory.path().join("source"), &token);
    let made = commit(&source, &[("b.txt", "b\n")], "B");
    source.reference("refs/heads/trunk", made, true, "test").unwrap();
    source.set_head("refs/heads/trunk").unwrap();
    let path = test.directory.path().join("source");
    test.github.add_repository("octo-maintainer/copy", RepositorySource::Path(&path)).unwrap();
    let copy = test.github.state()["repositories"][1].clone();
    assert_eq!(
        (&copy["default_branch"], &copy["branches"]["trunk"]),
        (&json!("trunk"), &json!(made.to_string()))
    );
    let plain = test.directory.path().join("plain/sub");
    std::fs::create_dir_all(&plain).unwrap();
    std::fs::write(plain.join("run.sh"), "#!/bin/sh\n").unwrap();
    let plain = plain.parent().unwrap();
    test.github.add_repository("octo-maintainer/plain", RepositorySource::Path(plain)).unwrap();
    let twice = test.github.add_repository("octo-maintainer/plain", RepositorySource::Path(plain));
    assert!(twice.unwrap_err().to_string().ends_with("choose another name, or an empty data directory"));
    assert!(test.github.add_repository("../escape", RepositorySource::Path(plain)).is_err());
    let path = "/repos/octo-maintainer/plain/contents/sub/run.sh";
    let reply = test.send("GET", path, Some(&format!("Bearer {}", test.token().await)), Value::Null).await;
    assert_eq!((reply.status, &reply.body["size"]), (200, &json!(10)));
}

/// Runs the git program without the machine's configuration.
fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.version=2"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs git"]
async fn git_program_clones_pushes_fetches_and_deepens() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let root = test.directory.path().to_owned();
    let url = address(&test).replace("http://", &format!("http://x-access-token:{token}@"));
    git(&root, &["clone", &url, "one"]);
    git(&root, &["clone", &url, "two"]);
    let (one, two) = (root.join("one"), root.join("two"));
    for number in 0..60 {
        std::fs::write(one.join("log.txt"), format!("{number}\n")).unwrap();
        git(&one, &["add", "-A"]);
        git(&one, &["commit", "-m", &format!("Change {number}")]);
    }
    git(&one, &["tag", "-a", "v1", "-m", "One"]);
    git(&one, &["push", "origin", "HEAD:refs/heads/main", "v1"]);
    for number in 0..40 {
        git(&two, &["commit", "--allow-empty", "-m", &format!("Mine {number}")]);
    }
    git(&two, &["fetch", "--tags"]);
    assert_eq!(git(&two, &["rev-list", "--count", "origin/main"]).trim(), "61");
    assert_eq!(git(&two, &["tag", "-l"]).trim(), "v1");
    git(&root, &["clone", "--depth", "1", &url, "shallow"]);
    let shallow = root.join("shallow");
    assert_eq!(git(&shallow, &["rev-list", "--count", "HEAD"]).trim(), "1");
    git(&shallow, &["commit", "--allow-empty", "-m", "From a shallow clone"]);
    git(&shallow, &["push", "origin", "HEAD:refs/heads/from-shallow"]);
    git(&shallow, &["reset", "--hard", "origin/main"]);
    git(&shallow, &["fetch", "--depth", "5"]);
    assert_eq!(git(&shallow, &["rev-list", "--count", "HEAD"]).trim(), "5");
    git(&shallow, &["fetch", "--unshallow"]);
    assert_eq!(git(&shallow, &["rev-list", "--count", "HEAD"]).trim(), "61");
    git(&shallow, &["fsck", "--full", "--strict"]);
    git(&two, &["fsck", "--full", "--strict"]);
    // GitHub allows fetching an older commit by its id.
    let older = git(&one, &["rev-parse", "HEAD~7"]);
    git(&root, &["init", "by-id"]);
    git(&root.join("by-id"), &["fetch", "--depth", "1", &url, older.trim()]);
    git(&one, &["push", "origin", ":refs/tags/v1"]);
    assert_eq!(git(&one, &["ls-remote", "--tags", "origin"]).trim(), "");
}
