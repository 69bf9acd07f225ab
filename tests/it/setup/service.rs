//! The whole service and its setups, with crashes.

use std::path::PathBuf;

use mendwright::domain::TranscriptEvent;

use crate::support::World;

/// The tests pass only after the setup. Running and storing it takes a while.
const CONFIGURATION: &str = "setup:\n  - mkdir -p vendor && seq 20000 | split -a 4 -l 1 - vendor/n && head -c 50000000 /dev/zero > vendor/large && echo made > $HOME/made\n\
     test: grep -q made $HOME/made && test -s vendor/large && sh run-tests.sh\n";

fn setups(world: &World) -> Vec<String> {
    let directory: PathBuf = world.directory.path().join("data/sandbox/setups");
    let names = std::fs::read_dir(directory).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn crash_while_a_snapshot_is_stored_leaves_no_partial_one() {
    let more = [(".github/agent-fix.yml", CONFIGURATION)];
    let mut world = World::builder().files(&more).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world
        .until("the snapshot is being stored", |world| {
            setups(world).iter().any(|name| name.ends_with(".partial"))
        })
        .await;
    world.kill_service().await;
    let left = setups(&world);
    assert!(left.len() == 1 && left[0].ends_with(".partial"), "{left:?}");
    world.start_service().await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    let kept = setups(&world);
    assert!(kept.len() == 1 && kept[0].len() == 64, "{kept:?}");
    let transcript = world.transcript().await;
    let ran: Vec<(bool, bool)> = transcript
        .iter()
        .filter_map(|recorded| match &recorded.event {
            TranscriptEvent::SetUp { kept, reused, .. } => Some((*kept, *reused)),
            _ => None,
        })
        .collect();
    assert_eq!(ran, [(true, false)], "the partial snapshot was used");
    let body = world.pulls()[0]["body"].as_str().unwrap_or_default().to_owned();
    assert!(body.contains("| Setup | 1 command in "), "{body}");
    world.end().await;
}

#[tokio::test]
async fn failed_setup_is_reported_on_the_issue() {
    let configuration = "setup:\n  - echo looking && cat /no/such/registry\ntest: sh run-tests.sh\n";
    let mut world = World::builder().files(&[(".github/agent-fix.yml", configuration)]).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    let comments = world.until_comment("The test suite cannot be run").await;
    assert!(comments.contains("cat /no/such/registry") && comments.contains("looking"), "{comments}");
    assert!(world.pulls().is_empty());
    world.end().await;
}

/// A setup that was written for another tool, and that fails here.
const DEVCONTAINER: (&str, &str) = (
    ".devcontainer/devcontainer.json",
    r#"{ "postCreateCommand": "echo looking && cat /no/such/registry" }"#,
);
/// Detected setups run only if a host is allowed.
const ONLINE: &str = "[sandbox]\nallowed_hosts = [\"registry.example\"]\n";

#[tokio::test]
async fn failed_detected_setup_is_skipped_if_the_tests_run_without_it() {
    let mut world = World::builder().files(&[DEVCONTAINER]).start().await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    let body = world.pulls()[0]["body"].as_str().unwrap_or_default().to_owned();
    assert!(body.contains("was left out: the suite ran without it"), "{body}");
    let recorded = world.transcript().await.iter().any(|recorded| match &recorded.event {
        TranscriptEvent::PlanTried { result } => {
            result.why.as_ref().is_some_and(|why| why.contains("/no/such/registry"))
        }
        _ => false,
    });
    assert!(recorded, "the transcript does not say so");
    world.end().await;
}

#[tokio::test]
async fn failed_detected_setup_that_is_needed_is_reported_with_a_remedy() {
    let test = "test: test -e vendor/made || exit 3\n";
    let mut world = World::builder().files(&[DEVCONTAINER, (".github/agent-fix.yml", test)]).start().await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    let comments = world.until_comment("The test suite cannot be run").await;
    for expected in ["/no/such/registry", "Write commands that work into", "setup:", "test -e vendor/made"] {
        assert!(comments.contains(expected), "{expected}: {comments}");
    }
    assert!(world.pulls().is_empty());
    world.end().await;
}
