//! Killing the service at any moment loses nothing and duplicates nothing.

use mendwright::demo::scenario::Scenario;
use mendwright::domain::{Message, RecordedEvent, TranscriptEvent};
use mendwright_emulator::github::{FaultKind, FaultRule};
use serde_json::{Value, json};

use crate::support::World;

fn fault(method: &str, path: &str, kind: FaultKind) -> FaultRule {
    FaultRule { method: Some(method.into()), path: path.into(), times: 1, kind }
}

/// The scenario's conversation, with a fault in one turn.
fn conversation_with(turn: usize, fault: Value) -> Value {
    let mut conversation: Value =
        serde_json::from_str(Scenario::by_name("fix").unwrap().conversation).unwrap();
    conversation["turns"][turn]["fault"] = fault;
    conversation
}

fn assistant_messages(transcript: &[RecordedEvent]) -> usize {
    let is_assistant = |recorded: &&RecordedEvent| {
        matches!(&recorded.event, TranscriptEvent::MessageAdded { message: Message::Assistant { .. }, .. })
    };
    transcript.iter().filter(is_assistant).count()
}

/// One draft pull request, one progress comment, one reaction.
fn assert_published_once(world: &World) {
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 1, "{pulls:#?}");
    assert_eq!(pulls[0]["draft"], true);
    assert_eq!(world.comments().len(), 1, "{:#?}", world.comments());
    let repository = world.repository();
    assert_eq!(repository["issues"][0]["reactions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn killed_between_the_webhook_and_the_work_it_still_does_the_work() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    // The worker hangs at its first question to GitHub; the webhook is answered meanwhile.
    let hang = fault("GET", "^/repos/octo-org/example$", FaultKind::Delay { seconds: 60.0 });
    world.github.inject_fault(hang).unwrap();
    world.label("octo-maintainer").await;
    let deliveries = world.github.state()["deliveries"].clone();
    assert_eq!(deliveries.as_array().unwrap().last().unwrap()["status_code"], 202, "{deliveries:#}");
    world.kill_service().await;
    assert_eq!(world.pulls().len(), 0);

    world.start_service().await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.stop_service().await;
    assert_published_once(&world);
    world.end().await;
}

#[tokio::test]
async fn killed_in_the_middle_of_the_work_it_goes_on_and_asks_nothing_twice() {
    let mut world = World::of("fix", Some(conversation_with(2, json!({"stall": true})))).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the third question", |world| world.provider.requests().len() == 3).await;
    world.kill_service().await;
    assert_eq!(assistant_messages(&world.transcript().await), 2);

    world.start_service().await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.stop_service().await;
    // Three answers were paid for, and the third was asked for again because it never came.
    assert_eq!(world.provider.requests().len(), 4);
    assert_eq!(assistant_messages(&world.transcript().await), 3);
    assert_published_once(&world);
    world.end().await;
}

#[tokio::test]
async fn stopped_politely_in_the_middle_of_the_work_it_goes_on_at_once() {
    let mut world = World::of("fix", Some(conversation_with(1, json!({"stall": true})))).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the second question", |world| world.provider.requests().len() == 2).await;
    assert_eq!(world.stop_service().await, Some(0), "{}", world.log());
    world.start_service().await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.stop_service().await;
    assert_published_once(&world);
    world.end().await;
}

#[tokio::test]
async fn an_answer_lost_after_the_pull_request_was_opened_opens_no_second_one() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.github.inject_fault(fault("POST", "/pulls$", FaultKind::DropAfter)).unwrap();
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.stop_service().await;
    assert_published_once(&world);
    world.end().await;
}

#[tokio::test]
async fn killed_while_it_publishes_it_publishes_once() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    let slow = fault("POST", "/pulls$", FaultKind::Delay { seconds: 3.0 });
    world.github.inject_fault(slow).unwrap();
    world.label("octo-maintainer").await;
    world.until("the branch", |world| world.repository()["branches"]["agent-fix/issue-1"].is_string()).await;
    world.kill_service().await;
    world.start_service().await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.stop_service().await;
    assert_published_once(&world);
    world.end().await;
}

#[tokio::test]
async fn a_second_service_on_the_same_data_is_refused() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    let output = tokio::process::Command::new(crate::support::BINARY)
        .args(["serve", "--config"])
        .arg(world.directory.path().join("mendwright.toml"))
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("in use by another mendwright"), "{said}");
    world.end().await;
}
