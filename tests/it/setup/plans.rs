//! Plans that are tried in order: over the whole service, and by `mendwright detect --try`.

use std::path::Path;
use std::process::Output;

use mendwright::domain::{PlanResult, TranscriptEvent};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{BINARY, ISSUE_BODY, World, assert_no_sandbox_left, write_slugs};

const RUN_TESTS: &str = include_str!("../../../fixtures/stories/slugs/run-tests.sh");
const SOURCE: &str = include_str!("../../../fixtures/stories/slugs/src/slug.sh");
const TESTS: &str = include_str!("../../../fixtures/stories/slugs/tests/slug.sh");

/// A setup that was written for another machine, and fails here.
const STALE_SETUP: (&str, &str) =
    (".devcontainer/devcontainer.json", r#"{ "postCreateCommand": "cat /no/such/registry" }"#);
/// A workflow whose test command names no test.
const STALE_WORKFLOW: (&str, &str) = (
    ".github/workflows/ci.yml",
    "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n    - run: sh ci/test.sh\n",
);
/// A setup runs only if a host is allowed.
const ONLINE: &str = "[sandbox]\nallowed_hosts = [\"registry.example\"]\n";

/// The repository of the stories without configuration: only a script's name says how it is tested.
fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        STALE_SETUP,
        STALE_WORKFLOW,
        ("ci/test.sh", "echo 'Cannot find module' >&2; exit 1\n"),
        ("src/slug.sh", SOURCE),
        ("tests/slug.sh", TESTS),
    ]
}

async fn tried(world: &World) -> Vec<PlanResult> {
    let events = world.transcript().await.into_iter();
    events
        .filter_map(|recorded| match recorded.event {
            TranscriptEvent::PlanTried { result } => Some(result),
            _ => None,
        })
        .collect()
}

/// The test commands of all recorded settings, in order.
async fn prepared(world: &World) -> Vec<String> {
    let events = world.transcript().await.into_iter();
    events
        .filter_map(|recorded| match recorded.event {
            TranscriptEvent::Prepared { settings, .. } => Some(settings.test_command),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn next_plan_is_tried_until_tests_pass_and_is_remembered() {
    let mut more = files();
    // Executable, since it begins with `#!`.
    more.push(("run-tests.sh", RUN_TESTS));
    let mut world = World::builder().bare().files(&more).start().await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    let results = tried(&world).await;
    let good: Vec<bool> = results.iter().map(|result| result.good).collect();
    assert_eq!(good, [false, false, true], "{results:?}");
    assert!(results[0].why.as_ref().unwrap().contains("/no/such/registry"), "{results:?}");
    assert!(results[1].why.as_ref().unwrap().contains("without naming a test"), "{results:?}");
    assert_eq!((results[2].test.as_str(), results[2].setup.len()), ("./run-tests.sh", 0));
    assert_eq!(prepared(&world).await, ["sh ci/test.sh", "./run-tests.sh"]);
    let body = world.pulls()[0]["body"].as_str().unwrap_or_default().to_owned();
    assert!(body.contains("/no/such/registry"), "a reviewer is told what was tried: {body}");
    // The next job of the repository begins with what was good.
    world.issue = world.github.open_issue("Slugs again", ISSUE_BODY, "octo-reader").unwrap();
    world.label("octo-maintainer").await;
    // The scripted model has no answer for it, so it ends after its baseline.
    world.until_comment("No pull request was opened").await;
    assert_eq!(prepared(&world).await, ["./run-tests.sh"]);
    assert_eq!(tried(&world).await, []);
    // Not `end`: the second job asked the model for an answer that it does not have.
    assert_eq!(world.stop_service().await, Some(0));
    assert_no_sandbox_left(world.directory.path());
}

#[tokio::test]
async fn suite_that_names_no_failing_test_ends_the_job_before_the_model_is_paid() {
    let mut world = World::builder().bare().files(&files()).start().await;
    world.start_service_with(&format!("{ONLINE}[budget]\nsetup_usd = 0\n")).await;
    world.label("octo-maintainer").await;
    let comments = world.until_comment("The test suite cannot be run").await;
    for expected in ["Tried, in this order", "cat /no/such/registry", "Cannot find module", "test: "] {
        assert!(comments.contains(expected), "{expected}: {comments}");
    }
    assert_eq!(world.provider.request_count(), 0);
    world.end().await;
}

/// Runs `detect --try` on a repository with these files.
async fn detect_and_try(files: &[(&str, &str)]) -> (Output, Value) {
    let directory = tempfile::tempdir().unwrap();
    write_slugs(directory.path());
    for (path, text) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    commit(directory.path());
    let mut command = Command::new(BINARY);
    command
        .args(["detect", "--try", "--json", "--allow", "registry.example", "--repo"])
        .arg(directory.path());
    let output = command.output().await.unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, json)
}

fn commit(root: &Path) {
    let repository = git2::Repository::init(root).unwrap();
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
}

#[tokio::test]
async fn detect_tries_each_plan_and_ends_with_the_file_to_commit() {
    let (output, result) =
        detect_and_try(&[STALE_SETUP, (".github/agent-fix.yml", "test: sh run-tests.sh\n")]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let tried = result["tried"].as_array().unwrap();
    assert_eq!(tried.len(), 2, "{result}");
    assert_eq!((&tried[0]["good"], &tried[1]["good"]), (&Value::Bool(false), &Value::Bool(true)));
    assert!(tried[1]["passed"].as_u64() > Some(0), "{result}");
    assert_eq!(result["repository_file"], "test: sh run-tests.sh\n");
    let progress = String::from_utf8_lossy(&output.stderr);
    assert_eq!(progress.matches("● trying").count(), 2, "{progress}");

    let broken = ("run-tests.sh", "echo not today; exit 1\n");
    let (output, result) =
        detect_and_try(&[broken, (".github/agent-fix.yml", "test: sh run-tests.sh\nsetup: [\"false\"]\n")])
            .await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(result["message"].as_str().unwrap().contains("`false` fails"), "{result}");
}

#[tokio::test]
#[ignore = "needs pytest"]
async fn test_file_that_cannot_be_loaded_is_a_known_failure_and_the_others_run() {
    let passing =
        "import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_number(n):\n    assert n >= 0\n";
    let (output, result) = detect_and_try(&[
        (".github/agent-fix.yml", "test: python3 -m pytest -q checks\nsetup: []\n"),
        ("checks/test_numbers.py", passing),
        ("checks/test_broken.py", "import no_such_module_at_all\n"),
    ])
    .await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(result["tried"][0]["passed"], 20, "{result}");
}

#[tokio::test]
#[ignore = "needs Python"]
async fn python_project_gets_a_virtual_environment_without_the_packages_of_the_system() {
    let test = "import sys, unittest\nclass T(unittest.TestCase):\n    def test_environment(self):\n        \
                self.assertNotEqual(sys.prefix, sys.base_prefix)\n        self.assertIn('.venv', sys.executable)\n";
    let (output, result) =
        detect_and_try(&[("requirements.txt", "# nothing\n"), ("tests/test_environment.py", test)]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let tried = result["tried"].as_array().unwrap();
    assert_eq!((tried.len(), &tried[0]["passed"]), (1, &Value::from(1)), "{result}");
    assert!(result["repository_file"].as_str().unwrap().contains("python3 -m venv .venv"), "{result}");
}
