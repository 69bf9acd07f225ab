//! `mendwright demo`, every scenario, with secrets in the environment that must not be published.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::support::{BINARY, CommandOutput, assert_no_sandbox_left};

/// The value of the secrets, which is looked for in everything that is published.
const CANARY: &str = "canary-7f3a9c";

struct DemoRun {
    end: Value,
    transcript: String,
    record: String,
    _directory: tempfile::TempDir,
}

async fn demo(scenario: &str) -> DemoRun {
    let directory = tempfile::tempdir().unwrap();
    let keep = directory.path().join("kept");
    let record = directory.path().join("record.jsonl");
    let mut command = Command::new(BINARY);
    command
        .args(["demo", "--json", "--scenario", scenario, "--keep"])
        .arg(&keep)
        .arg("--record")
        .arg(&record)
        .env("DEPLOY_TOKEN", CANARY)
        .env("AWS_SECRET_ACCESS_KEY", CANARY);
    let output = CommandOutput::of(&mut command).await;
    output.assert_success();
    let end = output.last_json();
    let transcript = std::fs::read_to_string(end["transcript"].as_str().unwrap()).unwrap();
    let record = std::fs::read_to_string(&record).unwrap();
    assert!(!transcript.contains("Notice: "), "an honest run of {scenario} got a notice");
    for (name, text) in [("transcript", &transcript), ("record", &record)] {
        assert!(!text.contains(CANARY), "the {name} of {scenario} holds a secret of the environment");
        assert!(!text.replace("ghs_***", "").contains("ghs_"), "the {name} of {scenario} holds a token");
        assert!(!text.contains("BEGIN RSA"), "the {name} of {scenario} holds the App's key");
    }
    assert_no_secret_in_git(&keep);
    assert_no_sandbox_left(directory.path());
    DemoRun { end, transcript, record, _directory: directory }
}

/// No mirror has a token in its configuration.
fn assert_no_secret_in_git(kept: &Path) {
    for mirror in std::fs::read_dir(kept.join("data/mirrors")).into_iter().flatten().flatten() {
        let config = std::fs::read_to_string(mirror.path().join("config")).unwrap();
        assert!(!config.contains("ghs_") && !config.contains("x-access-token"), "{config}");
    }
}

#[tokio::test]
async fn demo_fix_ends_in_a_draft_pull_request() {
    let demo = demo("fix").await;
    assert_eq!(demo.end["outcome"], "proposed");
    assert_eq!(demo.end["pull_request"]["draft"], true);
    assert_eq!(demo.end["pull_request"]["head"], "agent-fix/issue-1");
    assert_eq!(
        demo.end["baseline"],
        serde_json::json!({
            "exit_code": 101, "failed": ["no_dash_at_either_end", "runs_of_separators_become_one_dash"]
        })
    );
    assert_eq!(demo.end["verdict"], serde_json::json!({"exit_code": 0, "failed": [], "proof": null}));
    assert!(demo.end["cost_usd"].as_f64().unwrap() > 0.0);

    let git = git2::Repository::open(demo.end["git_dir"].as_str().unwrap()).unwrap();
    let branch = git.find_branch("agent-fix/issue-1", git2::BranchType::Local).unwrap();
    let commit = branch.get().peel_to_commit().unwrap();
    assert_eq!(commit.id().to_string(), demo.end["pull_request"]["head_sha"]);
    assert_eq!(commit.author().name().unwrap(), "mendwright-demo[bot]");
    assert!(commit.message().unwrap().contains("Co-authored-by: octo-maintainer <"));
    let base = commit.parent(0).unwrap().tree().unwrap();
    let diff = git.diff_tree_to_tree(Some(&base), Some(&commit.tree().unwrap()), None).unwrap();
    let changed: Vec<_> = diff.deltas().map(|delta| delta.new_file().path().unwrap().to_owned()).collect();
    assert_eq!(changed, [Path::new("src/lib.rs")], "what the test run left behind was proposed");
    assert!(
        demo.record.contains("\"path\":\"/repos/octo-org/example/pulls\""),
        "no pull request was recorded"
    );
}

#[tokio::test]
async fn demo_proof_adds_a_test_that_fails_without_the_change() {
    let demo = demo("proof").await;
    assert_eq!(demo.end["outcome"], "proposed");
    assert_eq!(demo.end["baseline"]["exit_code"], 0);
    assert_eq!(demo.end["verdict"]["proof"], serde_json::json!(["parts_are_compared_as_numbers"]));
    assert!(demo.transcript.contains("the change must bring a test"), "the first try was not sent back");
}

#[tokio::test]
async fn demo_lying_model_gets_no_pull_request() {
    let demo = demo("lying-model").await;
    assert_eq!((&demo.end["outcome"], &demo.end["reason"]), (&"escalated".into(), &"not_verified".into()));
    assert_eq!(demo.end["pull_request"], Value::Null);
    assert_eq!(demo.end["verdict"]["exit_code"], 101);
}

#[tokio::test]
async fn demo_budget_escalates_with_the_partial_patch() {
    let demo = demo("budget").await;
    assert_eq!((&demo.end["outcome"], &demo.end["reason"]), (&"escalated".into(), &"budget".into()));
    assert_eq!(demo.end["turns"], 4);
    let posted: Vec<&str> =
        demo.record.lines().filter(|line| line.contains("Runs of separators should")).collect();
    assert!(!posted.is_empty(), "the partial patch was not posted");
}

#[tokio::test]
async fn demo_hostile_publishes_nothing() {
    let demo = demo("hostile").await;
    assert_eq!((&demo.end["outcome"], &demo.end["reason"]), (&"escalated".into(), &"refused".into()));
    // Every attack of the suite failed: only the issue's own test failed the suite.
    assert_eq!(demo.end["baseline"]["failed"], serde_json::json!(["the_issue_s_own_test"]));
    assert!(demo.transcript.contains("test the_network ... ok"), "the attacks did not run");
    assert!(
        !demo.transcript.contains("SYSTEM OVERRIDE") || demo.transcript.contains("left out of the issue")
    );
    assert!(!demo.record.contains("refs/heads/agent-fix"), "a branch was made");
    assert!(!demo.record.contains("git-receive-pack"));
}
