//! The whole service and kept builds: jobs that are killed, and jobs that follow one another.

use std::path::PathBuf;

use mendwright::domain::TranscriptEvent;

use super::builds::SUITE;
use crate::support::{Script, World, conversation};

const TEST: &str = "grep -q 2 target/debug/deps/src-a.rs\n";
/// The test fails at the base.
const FILES: &[(&str, &str)] = &[
    (".github/agent-fix.yml", "test: sh suite.sh\n"),
    ("Cargo.toml", "[package]\n"),
    ("suite.sh", SUITE),
    ("src/a.rs", "value=1\n"),
    ("src/b.rs", "other=1\n"),
    ("tests/old.rs", TEST),
];

fn fix() -> Script {
    conversation()
        .turn("I correct the value.")
        .write("src/a.rs", "value=2\n")
        .turn("I look at it once more.")
        .read("src/a.rs")
        .turn("Done.")
        .finish("The value is 2.")
}

async fn world(script: Script) -> World {
    World::builder().bare().files(FILES).script(script).start().await
}

fn setups(world: &World) -> PathBuf {
    world.directory.path().join("data/sandbox/setups")
}

/// The notes of the transcript that contain these words.
async fn notes(world: &World, words: &str) -> Vec<String> {
    let transcript = world.transcript().await;
    let note = |recorded: &mendwright::domain::RecordedEvent| match &recorded.event {
        TranscriptEvent::Note { text } if text.contains(words) => Some(text.clone()),
        _ => None,
    };
    transcript.iter().filter_map(note).collect()
}

#[tokio::test]
async fn build_is_kept_once_and_the_verdict_of_a_resumed_job_starts_from_it() {
    let mut world = world(fix().stall_at(1)).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(2).await;
    assert_eq!(std::fs::read_dir(setups(&world)).unwrap().count(), 1);
    world.kill_service().await;
    world.start_service().await;
    world.jobs_ended(1).await;
    world.assert_published_once();
    assert_eq!(notes(&world, "built at the base is kept").await.len(), 1);
    assert_eq!(notes(&world, "Sandboxes start with what Cargo built at the base").await.len(), 1);
    let runs = notes(&world, "The verdict ran tests").await;
    assert!(runs.len() == 1 && !runs[0].contains(" 0 of them"), "{runs:?}");
    assert_eq!(std::fs::read_dir(setups(&world)).unwrap().count(), 1, "another build was stored");
    let body = world.pulls()[0]["body"].as_str().unwrap_or_default().to_owned();
    assert!(body.contains("began with what Cargo had built at the base"), "{body}");
    world.end().await;
}

#[tokio::test]
async fn resumed_job_whose_kept_build_is_gone_works_without() {
    let mut world = world(fix().stall_at(1)).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(2).await;
    world.kill_service().await;
    std::fs::remove_dir_all(setups(&world)).unwrap();
    world.start_service().await;
    world.jobs_ended(1).await;
    world.assert_published_once();
    assert_eq!(notes(&world, "Sandboxes start with what Cargo built at the base").await, [""; 0]);
    let runs = notes(&world, "The verdict ran tests").await;
    assert!(runs.len() == 1 && runs[0].contains(" 0 of them"), "{runs:?}");
    assert!(!setups(&world).exists(), "a build was stored after the model had answered");
    world.end().await;
}
