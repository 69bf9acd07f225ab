//! What happens to repositories and installations during a job: a repository that moved is followed. If
//! nothing can be done any more, the job fails, says why if it can, and is kept.

use std::collections::BTreeMap;

use mendwright::domain::{EscalationReason, JobOutcome, TranscriptEvent};
use mendwright_emulator::github::{Disruption, FaultKind, RepositorySource};
use serde_json::{Value, json};

use crate::support::World;

/// The world in which something happens right before the first request that matches, after its job.
async fn world_with(method: &str, path: &str, disruption: Disruption) -> World {
    let mut world = World::new().await;
    world.fail_once(method, path, FaultKind::First(disruption));
    world.start_service_reconciling("3600").await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    world.stop_service().await;
    world
}

/// How the job ended. Its transcript holds the verdict, too.
async fn outcome(world: &World) -> JobOutcome {
    let transcript = world.transcript().await;
    let is_verified =
        |event: &TranscriptEvent| matches!(event, TranscriptEvent::VerdictReached { verified: true, .. });
    assert!(transcript.iter().any(|recorded| is_verified(&recorded.event)), "the verdict is lost");
    world.outcome().await
}

/// The job failed for a reason that contains `text`, and opened nothing.
async fn assert_failed(world: World, text: &str) {
    match outcome(&world).await {
        JobOutcome::Failed { why } => assert!(why.contains(text), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.provider.request_count(), 3);
    assert!(world.pulls().is_empty());
    world.end().await;
}

/// The verified change was pushed and handed over to people, for a reason that contains `text`.
async fn assert_handed_over(world: World, text: &str) {
    match outcome(&world).await {
        JobOutcome::Escalated { reason: EscalationReason::NotPublished { why, branch, .. } } => {
            assert!(why.contains(text), "{why}");
            assert_eq!(branch.as_deref(), Some("agent-fix/issue-1"));
        }
        other => panic!("{other:?}"),
    }
    assert!(world.pulls().is_empty());
    world.end().await;
}

fn deliveries(world: &World) -> Vec<Value> {
    world.github.state()["deliveries"].as_array().unwrap().clone()
}

#[tokio::test]
async fn renamed_or_transferred_repository_is_followed() {
    let rename = || Disruption::Rename { name: "specimen".into() };
    let transfer = || Disruption::Transfer { owner: "octo-heirs".into() };
    for (method, path, disruption, name) in [
        ("GET", "/permission$", rename(), "octo-org/specimen"),
        ("GET", "/info/refs$", rename(), "octo-org/specimen"),
        ("POST", "/git-receive-pack$", transfer(), "octo-heirs/example"),
        ("POST", "/pulls$", transfer(), "octo-heirs/example"),
    ] {
        let world = world_with(method, path, disruption).await;
        assert_eq!(world.repository()["full_name"], name);
        assert!(matches!(outcome(&world).await, JobOutcome::Proposed { .. }), "{path}: {}", world.log());
        assert_eq!((world.pulls().len(), world.comments().len()), (1, 1), "{path}");
        assert!(world.comments()[0].contains("Draft pull request opened"), "{path}");
        world.end().await;
    }
}

#[tokio::test]
async fn repository_that_takes_the_old_name_of_a_renamed_one_gets_nothing() {
    let mut world = World::new().await;
    world.fail_once("POST", "/pulls$", FaultKind::Hold);
    world.start_service_reconciling("3600").await;
    world.label("octo-maintainer").await;
    let branch = "agent-fix/issue-1";
    world.until("the branch", |world| world.repository()["branches"][branch].is_string()).await;
    world.github.disrupt(&Disruption::Rename { name: "specimen".into() }).unwrap();
    let files = [("README.md".to_owned(), b"# Another\n".to_vec())];
    world.github.add_repository("octo-org/Example", RepositorySource::Files(&files)).unwrap();
    let address = format!("{}_emulator/issues?repository=octo-org/Example", world.github.url());
    let issue = json!({"title": "Another's", "by": "octo-reader"});
    assert!(reqwest::Client::new().post(address).json(&issue).send().await.unwrap().status().is_success());
    world.github.continue_held_requests();
    world.jobs_ended(1).await;
    assert!(matches!(world.outcome().await, JobOutcome::Failed { .. }), "{}", world.log());
    let another = world.github.state()["repositories"][1].clone();
    assert_eq!(another["issues"][0]["comments"], json!([]), "{another:#}");
    assert_eq!(another["issues"][0]["labels"], json!([]), "{another:#}");
    assert_eq!(another["branches"].as_object().unwrap().len(), 1, "{another:#}");
    world.end().await;
}

#[tokio::test]
async fn suspended_app_fails_its_job() {
    let world = world_with("POST", "/pulls$", Disruption::Suspend).await;
    assert_failed(world, "This installation has been suspended").await;
}

#[tokio::test]
async fn uninstalled_app_fails_its_job() {
    let world = world_with("POST", "/pulls$", Disruption::Uninstall).await;
    assert_failed(world, "the App may have been uninstalled").await;
}

#[tokio::test]
async fn repository_removed_from_the_installation_fails_its_job() {
    let world = world_with("POST", "/git-receive-pack$", Disruption::TakeOut).await;
    // The change cannot be handed over either: the issue cannot be read.
    assert_failed(world, "not found on GitHub (reading the comments of octo-org/example#1)").await;
}

#[tokio::test]
async fn change_is_handed_over_if_a_permission_was_withdrawn() {
    let permissions = [("contents", "read"), ("issues", "write"), ("metadata", "read")];
    let permissions: BTreeMap<String, String> =
        permissions.into_iter().map(|(name, level)| (name.to_owned(), level.to_owned())).collect();
    let world = world_with("POST", "/pulls$", Disruption::Grant { permissions }).await;
    let comments = world.comments().concat();
    assert!(comments.contains("opening a draft pull request"), "{comments}");
    assert_handed_over(world, "opening a draft pull request").await;
}

#[tokio::test]
async fn archived_repository_fails_its_job() {
    let world = world_with("POST", "/pulls$", Disruption::Archive).await;
    assert_failed(world, "Repository was archived so is read-only").await;
}

#[tokio::test]
async fn deleted_repository_fails_its_job() {
    let world = world_with("POST", "/pulls$", Disruption::Delete).await;
    assert_failed(world, "not found on GitHub (reading the comments of octo-org/example#1)").await;
}

#[tokio::test]
async fn issue_locked_during_the_work_still_gets_its_pull_request() {
    let world = world_with("POST", "/pulls$", Disruption::Lock { issue: 1 }).await;
    assert!(matches!(outcome(&world).await, JobOutcome::Proposed { .. }), "{}", world.log());
    assert_eq!(world.pulls().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn history_rewritten_during_the_work_is_never_overwritten() {
    let files = BTreeMap::from([("README.md".to_owned(), "# Anew\n".to_owned())]);
    let disruption = Disruption::ForcePush { branch: "main".into(), files };
    let world = world_with("POST", "/pulls$", disruption).await;
    let main = world.repository()["branches"]["main"].as_str().unwrap().to_owned();
    let git = world.git();
    let commit = git.find_commit(main.parse().unwrap()).unwrap();
    assert_eq!(commit.parent_count(), 0, "the rewritten history is gone");
    assert_handed_over(world, "no history in common with main").await;
}

#[tokio::test]
async fn delivery_that_comes_twice_makes_one_job() {
    let mut world = World::new().await;
    world.start_service_reconciling("3600").await;
    world.github.disrupt(&Disruption::DuplicateDeliveries { count: 1 }).unwrap();
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let deliveries = deliveries(&world);
    let labelled: Vec<_> = deliveries.iter().filter(|one| one["action"] == "labeled").take(2).collect();
    assert_eq!(labelled[0]["guid"], labelled[1]["guid"]);
    assert!(labelled[1]["response"].as_str().unwrap().contains("duplicate"), "{labelled:#?}");
    assert_eq!(world.pulls().len(), 1);
    assert_eq!((world.job_count().await, world.claims().await), (1, 1));
    world.end().await;
}

#[tokio::test]
async fn deliveries_out_of_order_lead_to_the_state_of_the_last_one() {
    // Added and removed, and delivered the other way round: no work.
    let mut world = World::new().await;
    world.start_service_reconciling("3600").await;
    world.github.disrupt(&Disruption::ReorderDeliveries { count: 2 }).unwrap();
    world.label("octo-maintainer").await;
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-maintainer").await.unwrap();
    world.jobs_ended(1).await;
    let deliveries = deliveries(&world);
    let actions: Vec<_> = deliveries.iter().map(|one| one["action"].clone()).take(2).collect();
    assert_eq!(actions, ["unlabeled", "labeled"], "{deliveries:#?}");
    assert!(world.provider.request_count() == 0 && world.pulls().is_empty());

    world.label("octo-maintainer").await;
    world.jobs_ended(2).await;
    world.pull();
    world.end().await;
}
