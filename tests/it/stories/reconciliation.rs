//! Labels whose webhook was lost or late: reconciliation finds them, once, and the labeller's permission
//! counts.

use jiff::Timestamp;
use mendwright_emulator::github::FaultKind;
use serde_json::{Value, json};

use crate::support::{World, stalled};

/// Waits for some more rounds of reconciliation.
async fn rounds(world: &World, count: u64) {
    let rounds = |world: &World| world.calls("apps/list-webhook-deliveries");
    let before = rounds(world);
    world.until("more rounds", |world| rounds(world) >= before + count).await;
}

fn last_delivery(world: &World) -> Value {
    world.github.state()["deliveries"].as_array().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn label_whose_webhook_is_lost_is_found_once() {
    let mut world = World::new().await;
    world.start_service_reconciling("1").await;
    world.github.hold_deliveries(1);
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    // The label stays on, and is not found again.
    rounds(&world, 3).await;
    assert_eq!((world.job_count().await, world.pulls().len()), (1, 1));
    world.end().await;
}

#[tokio::test]
async fn repositories_that_are_added_are_searched_at_once() {
    let mut world = World::new().await;
    world.start_service_reconciling("86400").await;
    let rounds = |world: &World| world.calls("apps/list-webhook-deliveries");
    world.until("the round at the start", |world| rounds(world) == 1).await;
    let payload = |action: &str| json!({"action": action, "installation": {"id": 1}, "repositories_added": [], "repositories_removed": []});
    world.deliver("installation_repositories", "e1", &payload("removed")).await;
    world.deliver("installation_repositories", "e2", &payload("added")).await;
    world.until("another round", |world| rounds(world) == 2).await;
    world.end().await;
}

#[tokio::test]
async fn label_is_found_if_the_deliveries_can_never_be_listed() {
    let mut world = World::new().await;
    let forbidden =
        FaultKind::Status { status: 403, headers: Vec::new(), message: Some("Not for you".into()) };
    world.fail("GET", "/app/hook/deliveries$", 1_000, forbidden);
    world.start_service_reconciling("1").await;
    world.github.hold_deliveries(1);
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!((world.job_count().await, world.pulls().len()), (1, 1));
    world.end().await;
}

#[tokio::test]
async fn found_label_without_write_access_is_refused_once() {
    let mut world = World::new().await;
    world.start_service_reconciling("1").await;
    world.github.hold_deliveries(1);
    world.label("octo-reader").await;
    world.jobs_ended(1).await;
    let comments = world.comments().concat();
    assert!(comments.contains("`octo-reader` set the label without write access"), "{comments}");
    assert_eq!(world.provider.request_count(), 0, "the model was asked");
    rounds(&world, 3).await;
    assert_eq!((world.job_count().await, world.comments().len()), (1, 1), "it was refused again");

    // A maintainer removes it and adds it again; this webhook is lost, too.
    world.github.hold_deliveries(2);
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-maintainer").await.unwrap();
    world.label("octo-maintainer").await;
    world.jobs_ended(2).await;
    world.pull();
    world.end().await;
}

#[tokio::test]
async fn webhook_after_reconciliation_starts_nothing_again() {
    let mut world = World::new().await;
    world.start_service_reconciling("1").await;
    world.github.hold_deliveries(1);
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    world.github.continue_held_deliveries().await;
    let last = last_delivery(&world);
    assert_eq!((&last["action"], &last["status_code"]), (&json!("labeled"), &json!(202)), "{last:#}");
    assert!(last["response"].as_str().unwrap().contains("duplicate"), "{last}");
    rounds(&world, 2).await;
    assert_eq!((world.job_count().await, world.pulls().len()), (1, 1));
    world.end().await;
}

#[tokio::test]
async fn webhook_and_reconciliation_together_make_one_job() {
    let mut world = World::scripted(stalled()).await;
    world.start_service_reconciling("1").await;
    world.github.hold_deliveries(1);
    world.label("octo-maintainer").await;
    world.model_asked(1).await;
    world.github.continue_held_deliveries().await;
    let response = last_delivery(&world)["response"].to_string();
    assert!(response.contains("already_active"), "{response}");
    rounds(&world, 2).await;
    assert_eq!(world.job_count().await, 1);
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    world.jobs_ended(1).await;
    world.end().await;
}

#[tokio::test]
async fn delivery_missed_while_the_service_was_down_is_delivered_again_once() {
    let mut world = World::new().await;
    world.start_service_reconciling("1").await;
    world.kill_service().await;
    world.label("octo-maintainer").await;
    let failed = last_delivery(&world);
    assert_eq!((&failed["action"], &failed["status_code"]), (&json!("labeled"), &json!(502)));

    world.start_service_reconciling("1").await;
    world.jobs_ended(1).await;
    world.pull();
    rounds(&world, 3).await;
    let deliveries = world.github.state()["deliveries"].clone();
    let attempts: Vec<&Value> =
        deliveries.as_array().unwrap().iter().filter(|one| one["guid"] == failed["guid"]).collect();
    assert_eq!(attempts.len(), 2, "one attempt that failed and one that was asked for: {attempts:#?}");
    // The webhook has the older text of the issue, so it is used, and not the label that was found.
    let response = attempts[1]["response"].as_str().unwrap();
    assert!(response.contains("queued"), "{response}");
    assert_eq!(world.job_count().await, 1);
    world.end().await;
}

#[tokio::test]
async fn late_webhook_of_a_removed_label_does_not_cancel_the_job_of_a_newer_label() {
    let mut world = World::scripted(stalled()).await;
    world.start_service_reconciling("3600").await;
    world.github.hold_deliveries(2);
    world.label("octo-writer").await;
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    // GitHub's times are whole seconds, and the new label must be of a later one.
    let removed = Timestamp::now().as_second();
    world.until("the next second", |_| Timestamp::now().as_second() > removed).await;
    world.label("octo-maintainer").await;
    world.model_asked(1).await;
    world.github.continue_held_deliveries().await;
    let response = last_delivery(&world)["response"].as_str().unwrap().to_owned();
    assert_eq!(response, json!({"outcome": "cancelled", "jobs": 0}).to_string());
    assert_eq!(world.job_count().await, 1);
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    world.jobs_ended(1).await;
    world.end().await;
}

#[tokio::test]
async fn command_whose_delivery_failed_again_and_again_in_an_outage_is_carried_out_after_it() {
    let mut world = World::scripted(stalled().then(stalled())).await;
    world.start_service_reconciling("1").await;
    world.label("octo-maintainer").await;
    world.model_asked(1).await;
    world.kill_service().await;
    world.say("/agent-fix stop", "octo-maintainer").await;
    let failed = last_delivery(&world);
    assert_eq!((&failed["event"], &failed["status_code"]), (&json!("issue_comment"), &json!(502)));
    for _ in 0..2 {
        world.github.redeliver(failed["guid"].as_str().unwrap()).await.unwrap();
    }
    world.start_service_reconciling("1").await;
    world.commands_handled(1).await;
    world.jobs_ended(1).await;
    world.end().await;
}
