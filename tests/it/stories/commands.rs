//! `mendwright fix` and what the commands say when something is missing.

use std::net::SocketAddr;
use std::path::Path;

use mendwright::demo::scenario::Scenario;
use mendwright::model::Provider;
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{BINARY, assert_no_sandbox_left};

/// A repository with a work tree, as a person has it.
pub fn checkout(scenario: &Scenario, at: &Path) -> git2::Oid {
    scenario.write_to(at).unwrap();
    let repository = git2::Repository::init(at).unwrap();
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    let head = repository.head().ok().and_then(|head| head.target());
    assert!(head.is_none());
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap()
}

#[tokio::test]
async fn a_local_issue_is_fixed_on_a_branch_and_the_work_tree_is_not_touched() {
    let scenario = Scenario::by_name("fix").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let repository_path = directory.path().join("repository");
    let first = checkout(scenario, &repository_path);
    std::fs::write(repository_path.join("notes.txt"), "mine\n").unwrap();
    let issue = directory.path().join("issue.md");
    std::fs::write(&issue, format!("# {}\n\n{}\n", scenario.issue_title, scenario.issue_body)).unwrap();
    let conversation = Conversation::from_json(scenario.conversation).unwrap();
    let provider =
        EmulatedProvider::start(SocketAddr::from(([127, 0, 0, 1], 0)), conversation).await.unwrap();

    let output = Command::new(BINARY)
        .args(["fix", "--json", "--provider", "openai", "--model", "scripted-1", "--repo"])
        .arg(&repository_path)
        .arg("--issue")
        .arg(&issue)
        .arg("--model-url")
        .arg(provider.url_for(Provider::OpenAi).as_str())
        .env("MENDWRIGHT_MODEL_API_KEY", "sk-story")
        .env("TMPDIR", directory.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let end: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let branch = "agent-fix/slugs-of-titles-with-several-separators";
    assert_eq!(end["pull_request"]["head"], branch);
    assert_eq!(end["pull_request"]["number"], Value::Null);
    assert!(said.contains("exit code 0"), "the pull request text is missing: {said}");

    let repository = git2::Repository::open(&repository_path).unwrap();
    let commit =
        repository.find_branch(branch, git2::BranchType::Local).unwrap().get().peel_to_commit().unwrap();
    assert_eq!(commit.id().to_string(), end["pull_request"]["head_sha"]);
    assert_eq!(commit.parent_id(0).unwrap(), first);
    assert_eq!(repository.head().unwrap().target(), Some(first));
    let source = std::fs::read_to_string(repository_path.join("src/lib.rs")).unwrap();
    assert!(source.contains("slug.push('-');") && !source.contains("word_ended"));
    assert_eq!(std::fs::read_to_string(repository_path.join("notes.txt")).unwrap(), "mine\n");
    assert_eq!(provider.violations(), [""; 0]);
    provider.shut_down().await;
    assert_no_sandbox_left(directory.path());
}

async fn said_by(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(BINARY).args(arguments).output().await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn mistakes_are_answered_with_what_and_where_and_what_to_do() {
    let (code, said) = said_by(&["demo", "--scenario", "fox"]).await;
    assert_eq!((code, said.contains("the scenarios are fix, proof")), (Some(1), true), "{said}");
    let (code, said) = said_by(&["serve", "--config", "/nonexistent/m.toml"]).await;
    assert_eq!((code, said.contains("/nonexistent/m.toml")), (Some(1), true), "{said}");
    let (code, said) = said_by(&["fix", "--repo", "/nonexistent", "--issue", "/nonexistent/i.md"]).await;
    assert_eq!((code, said.contains("--issue /nonexistent/i.md")), (Some(1), true), "{said}");
}

#[tokio::test]
async fn every_command_s_help_has_an_example() {
    for command in [
        &["demo"][..],
        &["fix"],
        &["serve"],
        &["emulate"],
        &["detect"],
        &["sandbox", "run"],
        &["transcript"],
        &["verify"],
        &["replay"],
        &["evaluate"],
    ] {
        let output = Command::new(BINARY).args(command).arg("--help").output().await.unwrap();
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && help.contains("Example"), "{command:?}: {help}");
    }
}
