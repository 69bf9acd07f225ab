//! Labels that no webhook told of in time: they are found, once, and by whom they were put on counts.

use mendwright::store::{SqliteStore, Store};
use serde_json::json;

use crate::support::World;

async fn jobs(world: &World) -> usize {
    let store = SqliteStore::open(&world.directory.path().join("data/mendwright.sqlite")).await.unwrap();
    let jobs = store.jobs(100).await.unwrap().len();
    store.close().await;
    jobs
}

fn calls(world: &World, operation: &str) -> u64 {
    world.github.state()["calls"][operation].as_u64().unwrap_or(0)
}

/// Some more rounds of reconciliation.
async fn rounds(world: &World, count: u64) {
    let before = calls(world, "apps/list-webhook-deliveries");
    world.until("more rounds", |world| calls(world, "apps/list-webhook-deliveries") >= before + count).await;
}

#[tokio::test]
async fn a_label_whose_webhook_never_came_is_found_once() {
    let mut world = World::of("fix", None).await;
    world.start_service_reconciling("1").await;
    world.github.hold_deliveries(1);
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert!(world.log().contains("missed label recovered"), "{}", world.log());
    // The label stays on, and is not found again.
    rounds(&world, 3).await;
    assert_eq!((jobs(&world).await, world.pulls().len()), (1, 1));
    world.end().await;
}

#[tokio::test]
async fn a_label_that_is_found_counts_for_no_more_than_its_labeller() {
    let mut world = World::of("fix", None).await;
    world.start_service_reconciling("1").await;
    world.github.hold_deliveries(1);
    world.label("octo-reader").await;
    world.until("the refusal", |world| world.log().contains("job ended")).await;
    let said = world.comments().concat();
    assert!(said.contains("`octo-reader` set the label without write access"), "{said}");
    assert!(world.provider.requests().is_empty(), "the model was asked");
    rounds(&world, 3).await;
    assert_eq!((jobs(&world).await, world.comments().len()), (1, 1), "it was refused again");

    // Somebody who may puts it on anew; this webhook is lost, too.
    world.github.hold_deliveries(2);
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-maintainer").await.unwrap();
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.until("the second job's end", |world| world.log().matches("job ended").count() == 2).await;
    world.end().await;
}

#[tokio::test]
async fn a_webhook_that_comes_after_reconciliation_starts_nothing_again() {
    let mut world = World::of("fix", None).await;
    world.start_service_reconciling("1").await;
    world.github.hold_deliveries(1);
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.github.release_held_deliveries().await;
    let deliveries = world.github.state()["deliveries"].clone();
    let last = deliveries.as_array().unwrap().last().unwrap();
    assert_eq!((&last["action"], &last["status_code"]), (&json!("labeled"), &json!(202)), "{deliveries:#}");
    assert!(last["response"].as_str().unwrap().contains("duplicate"), "{last}");
    rounds(&world, 2).await;
    assert_eq!((jobs(&world).await, world.pulls().len()), (1, 1));
    world.end().await;
}

#[tokio::test]
async fn a_webhook_and_reconciliation_at_once_make_one_job() {
    let conversation = json!({"model": "scripted-1", "turns": [{"say": "hm", "fault": {"stall": true}}]});
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service_reconciling("1").await;
    world.github.hold_deliveries(1);
    world.label("octo-maintainer").await;
    world.until("the first question", |world| world.provider.requests().len() == 1).await;
    world.github.release_held_deliveries().await;
    let deliveries = world.github.state()["deliveries"].clone();
    let answer = deliveries.as_array().unwrap().last().unwrap()["response"].as_str().unwrap().to_owned();
    assert!(answer.contains("already_active"), "{answer}");
    rounds(&world, 2).await;
    assert_eq!(jobs(&world).await, 1);
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.end().await;
}

#[tokio::test]
async fn what_was_delivered_while_the_service_was_down_is_delivered_again_once() {
    let mut world = World::of("fix", None).await;
    world.start_service_reconciling("1").await;
    world.kill_service().await;
    world.label("octo-maintainer").await;
    let failed = world.github.state()["deliveries"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&failed["action"], &failed["status_code"]), (&json!("labeled"), &json!(502)));

    world.start_service_reconciling("1").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    rounds(&world, 3).await;
    let deliveries = world.github.state()["deliveries"].clone();
    let again = deliveries.as_array().unwrap().iter().filter(|one| one["guid"] == failed["guid"]).count();
    assert_eq!(again, 2, "the attempt that failed and the one that was asked for: {deliveries:#}");
    assert_eq!(jobs(&world).await, 1);
    assert!(
        !world.log().contains("missed label recovered"),
        "the webhook has the older text, and goes before"
    );
    world.end().await;
}

#[tokio::test]
async fn a_late_word_that_the_label_was_taken_off_does_not_end_the_job_of_a_newer_label() {
    let conversation = json!({"model": "scripted-1", "turns": [{"say": "hm", "fault": {"stall": true}}]});
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service_reconciling("3600").await;
    world.github.hold_deliveries(2);
    world.label("octo-writer").await;
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    // GitHub's times are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    world.label("octo-maintainer").await;
    world.until("the first question", |world| world.provider.requests().len() == 1).await;
    world.github.release_held_deliveries().await;
    let deliveries = world.github.state()["deliveries"].clone();
    let answer = deliveries.as_array().unwrap().last().unwrap()["response"].as_str().unwrap().to_owned();
    assert_eq!(answer, json!({"outcome": "cancelled", "jobs": 0}).to_string());
    assert_eq!(jobs(&world).await, 1);
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.end().await;
}
