//! Killing the service at any moment loses nothing and duplicates nothing.

use mendwright::domain::{Message, RecordedEvent, TranscriptEvent};
use mendwright_emulator::github::FaultKind;

use crate::support::{BINARY, World, fix};

/// The request ends with its connection: this is never released.
const HANG: FaultKind = FaultKind::Hold;

fn assistant_messages(transcript: &[RecordedEvent]) -> usize {
    let is_assistant = |recorded: &&RecordedEvent| {
        matches!(&recorded.event, TranscriptEvent::MessageAdded { message: Message::Assistant { .. }, .. })
    };
    transcript.iter().filter(is_assistant).count()
}

#[tokio::test]
async fn service_killed_between_webhook_and_work_does_the_work() {
    let mut world = World::new().await;
    world.start_service().await;
    // The worker hangs at its first request to GitHub; the webhook is answered meanwhile.
    world.fail_once("GET", "^/repos/octo-org/example$", HANG);
    world.label("octo-maintainer").await;
    let deliveries = world.github.state()["deliveries"].clone();
    assert_eq!(deliveries.as_array().unwrap().last().unwrap()["status_code"], 202, "{deliveries:#}");
    world.kill_service().await;
    assert_eq!(world.pulls().len(), 0);

    world.start_service().await;
    world.jobs_ended(1).await;
    world.assert_published_once();
    world.end().await;
}

#[tokio::test]
async fn service_killed_during_the_work_continues_and_repeats_no_answered_question() {
    let mut world = World::scripted(fix().stall_at(2)).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(3).await;
    world.kill_service().await;
    assert_eq!(assistant_messages(&world.transcript().await), 2);

    world.start_service().await;
    world.jobs_ended(1).await;
    // Three answers were paid for. The third was asked for again, because it never came.
    assert_eq!(world.provider.request_count(), 4);
    assert_eq!(assistant_messages(&world.transcript().await), 3);
    world.assert_published_once();
    world.end().await;
}

#[tokio::test]
async fn service_stopped_during_the_work_continues_after_the_start() {
    let mut world = World::scripted(fix().stall_at(1)).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(2).await;
    assert_eq!(world.stop_service().await, Some(0), "{}", world.log());
    world.start_service().await;
    world.jobs_ended(1).await;
    world.assert_published_once();
    world.end().await;
}

#[tokio::test]
async fn lost_answer_to_opening_the_pull_request_opens_no_second_one() {
    let mut world = World::new().await;
    world.start_service().await;
    world.fail_once("POST", "/pulls$", FaultKind::DropAfter);
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    world.assert_published_once();
    world.end().await;
}

#[tokio::test]
async fn service_killed_while_it_publishes_publishes_once() {
    let mut world = World::new().await;
    world.start_service().await;
    world.fail_once("POST", "/pulls$", HANG);
    world.label("octo-maintainer").await;
    world.until("the branch", |world| world.repository()["branches"]["agent-fix/issue-1"].is_string()).await;
    world.kill_service().await;
    world.start_service().await;
    world.jobs_ended(1).await;
    world.assert_published_once();
    world.end().await;
}

#[tokio::test]
async fn second_service_on_the_same_data_does_not_start() {
    let mut world = World::new().await;
    world.start_service().await;
    let output = tokio::process::Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(world.directory.path().join("mendwright.toml"))
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("in use by another mendwright"), "{error}");
    world.end().await;
}
