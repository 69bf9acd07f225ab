//! `mendwright detect`: what it reads, its output, and its exit code.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::support::BINARY;

/// Runs the command with an empty home and only the given variables.
async fn detect(repo: &Path, home: &Path, variables: &[(&str, &str)], json: bool) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("detect").arg("--repo").arg(repo).env_clear().env("HOME", home);
    command.envs(variables.iter().copied());
    if json {
        command.arg("--json");
    }
    command.output().await.unwrap()
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn commit(root: &Path) {
    let repository = git2::Repository::init(root).unwrap();
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn detect_reads_the_commit_and_this_machines_package_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let (repo, home) = (directory.path().join("repo"), directory.path().join("home"));
    write(
        &repo,
        &[
            ("package.json", r#"{"scripts": {"test": "jest"}, "devDependencies": {"jest": "1"}}"#),
            (
                "package-lock.json",
                r#"{"packages": {"a": {"resolved": "https://registry.example.org/a.tgz"}}}"#,
            ),
            (".github/agent-fix.yml", "image: registry.example/ci:1\nnetwork: {hosts: [api.example.org]}\n"),
        ],
    );
    commit(&repo);
    // Uncommitted files are not part of the base.
    write(&repo, &[("package.json", "{}"), ("go.mod", "module x\n")]);
    write(
        &home,
        &[(
            ".npmrc",
            "//mirror.example.org/:_authToken=SECRET\nregistry=https://u:SECRET@mirror.example.org/npm/\n",
        )],
    );
    let output =
        detect(&repo, &home, &[("NPM_CONFIG_REGISTRY", "https://x:SECRET@third.example.org")], true).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let result = json(&output);
    assert_eq!((&result["test"]["value"], &result["found"]), (&"npm test".into(), &true.into()));
    assert_eq!(result["image"]["source"], "`.github/agent-fix.yml`");
    assert_eq!(result["agent_hosts"], serde_json::json!(["api.example.org"]));
    let hosts: Vec<&str> = result["hosts"]["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| host["host"].as_str().unwrap())
        .collect();
    assert_eq!(hosts, ["mirror.example.org", "registry.example.org", "third.example.org"]);
    assert_eq!(
        result["operator_toml"],
        "[sandbox]\nallowed_hosts = [\"mirror.example.org\", \"registry.example.org\", \"third.example.org\"]\n"
    );

    let text_output = detect(&repo, &home, &[], false).await;
    let text = String::from_utf8(text_output.stdout.clone()).unwrap();
    assert!(
        text.contains("npm ci") && text.contains("allowed_hosts = [") && text.contains("(master)"),
        "{text}"
    );
    assert!(!text.contains("SECRET") && !String::from_utf8_lossy(&output.stdout).contains("SECRET"));
}

#[tokio::test]
async fn directory_without_a_repository_is_read_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &[("go.mod", "module x\n")]);
    write(directory.path(), &[(".devcontainer.json", r#"{"postCreateCommand": "echo \u001b[2J\u009bx"}"#)]);
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join("Cargo.toml")).unwrap();
    let output =
        detect(directory.path(), directory.path(), &[("GOPROXY", "https://go.example.org,direct")], true)
            .await;
    let result = json(&output);
    assert_eq!((result["test"]["value"].as_str(), output.status.code()), (Some("go test ./..."), Some(0)));
    assert_eq!(result["hosts"]["hosts"][0]["host"], "go.example.org");
    assert!(result["repository"].as_str().unwrap().contains("no git repository"));
    // Control characters do not reach the terminal.
    let text_output = detect(directory.path(), directory.path(), &[], false).await;
    let text = String::from_utf8(text_output.stdout).unwrap();
    assert!(text.contains("echo \u{fffd}[2J\u{fffd}x") && !text.contains('\u{1b}'), "{text}");
}

#[tokio::test]
async fn nothing_detected_and_an_invalid_file_have_their_own_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = detect(directory.path(), directory.path(), &[], true).await;
    assert_eq!(nothing.status.code(), Some(3), "{nothing:?}");
    let result = json(&nothing);
    assert_eq!((&result["found"], &result["test"]), (&false.into(), &Value::Null));
    assert!(result["message"].as_str().unwrap().contains("test: ./run-tests.sh"), "{result}");

    write(directory.path(), &[(".github/agent-fix.yml", "tests: x\n")]);
    let wrong = detect(directory.path(), directory.path(), &[], false).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `test`?"), "{wrong:?}");

    let missing = detect(&directory.path().join("nowhere"), directory.path(), &[], false).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("not a directory"), "{missing:?}");
}
