//! What befalls repositories and installations while a job is at work: what has only moved is followed,
//! and where nothing can be done any more the job ends, says why where it can, and is kept.

use std::collections::BTreeMap;

use mendwright::domain::{JobOutcome, TranscriptEvent};
use mendwright_emulator::github::{Disruption, FaultKind, FaultRule, RepositorySource};
use serde_json::json;

use crate::support::World;

/// The world in which something happens right before the first request that matches.
async fn world_with(method: &str, path: &str, upheaval: Disruption) -> World {
    let mut world = World::of("fix", None).await;
    let kind = FaultKind::First(upheaval);
    let rule = FaultRule { method: Some(method.into()), path: path.into(), times: 1, kind };
    world.github.inject_fault(rule).unwrap();
    world.start_service_reconciling("3600").await;
    world.label("octo-maintainer").await;
    world
        .until("the job's end", |world| {
            world.log().contains("job ended") || world.log().contains("job failed")
        })
        .await;
    world.stop_service().await;
    world
}

/// How the job ended, by its transcript; it holds the verdict, too.
async fn outcome(world: &World) -> JobOutcome {
    let transcript = world.transcript().await;
    let verified =
        |event: &TranscriptEvent| matches!(event, TranscriptEvent::VerdictReached { verified: true, .. });
    assert!(transcript.iter().any(|recorded| verified(&recorded.event)), "the verdict is kept");
    match &transcript.last().unwrap().event {
        TranscriptEvent::Ended { outcome } => outcome.clone(),
        other => panic!("it has not ended: {other:?}"),
    }
}

/// The job failed, with these words for it in its transcript and in the log, and opened nothing.
async fn assert_given_up(world: World, words: &str) {
    let JobOutcome::Failed { why } = outcome(&world).await else { panic!("{:?}", outcome(&world).await) };
    assert!(why.contains(words), "{why}");
    assert!(world.log().contains("job failed") && world.log().contains(words), "{}", world.log());
    assert_eq!(world.provider.requests().len(), 3);
    assert!(world.pulls().is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_repository_that_is_renamed_or_gets_another_owner_is_followed() {
    let rename = || Disruption::Rename { name: "specimen".into() };
    let transfer = || Disruption::Transfer { owner: "octo-heirs".into() };
    for (method, path, upheaval, name) in [
        ("GET", "/permission$", rename(), "octo-org/specimen"),
        ("GET", "/info/refs$", rename(), "octo-org/specimen"),
        ("POST", "/git-receive-pack$", transfer(), "octo-heirs/example"),
        ("POST", "/pulls$", transfer(), "octo-heirs/example"),
    ] {
        let world = world_with(method, path, upheaval).await;
        assert_eq!(world.repository()["full_name"], name);
        assert!(matches!(outcome(&world).await, JobOutcome::Proposed { .. }), "{path}: {}", world.log());
        assert_eq!((world.pulls().len(), world.comments().len()), (1, 1), "{path}");
        assert!(world.comments()[0].contains("Draft pull request opened"), "{path}");
        world.end().await;
    }
}

#[tokio::test]
async fn what_was_meant_for_a_renamed_repository_does_not_go_to_another_that_has_taken_its_name() {
    let mut world = World::of("fix", None).await;
    let slow = FaultKind::Delay { seconds: 4.0 };
    let rule = FaultRule { method: Some("POST".into()), path: "/pulls$".into(), times: 1, kind: slow };
    world.github.inject_fault(rule).unwrap();
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
    world.until("the job's end", |world| world.log().contains("job failed")).await;
    world.stop_service().await;
    let another = world.github.state()["repositories"][1].clone();
    assert_eq!(another["issues"][0]["comments"], json!([]), "{another:#}");
    assert_eq!(another["issues"][0]["labels"], json!([]), "{another:#}");
    assert_eq!(another["branches"].as_object().unwrap().len(), 1, "{another:#}");
    world.end().await;
}

#[tokio::test]
async fn a_suspended_app_ends_its_job() {
    let world = world_with("POST", "/pulls$", Disruption::Suspend).await;
    assert_given_up(world, "This installation has been suspended").await;
}

#[tokio::test]
async fn an_app_that_was_uninstalled_ends_its_job() {
    let world = world_with("POST", "/pulls$", Disruption::Uninstall).await;
    assert_given_up(world, "the App may have been uninstalled").await;
}

#[tokio::test]
async fn a_repository_that_was_taken_out_of_the_installation_ends_its_job() {
    let world = world_with("POST", "/git-receive-pack$", Disruption::TakeOut).await;
    assert_given_up(world, "reading repository octo-org/example").await;
}

#[tokio::test]
async fn a_permission_that_was_taken_back_ends_the_job_and_the_issue_says_which() {
    let permissions = [("contents", "read"), ("issues", "write"), ("metadata", "read")];
    let permissions: BTreeMap<String, String> =
        permissions.into_iter().map(|(name, level)| (name.to_owned(), level.to_owned())).collect();
    let world = world_with("POST", "/pulls$", Disruption::Grant { permissions }).await;
    let comments = world.comments().concat();
    assert!(comments.contains("opening a draft pull request"), "{comments}");
    assert_given_up(world, "opening a draft pull request").await;
}

#[tokio::test]
async fn an_archived_repository_ends_its_job() {
    let world = world_with("POST", "/pulls$", Disruption::Archive).await;
    assert_given_up(world, "Repository was archived so is read-only").await;
}

#[tokio::test]
async fn a_deleted_repository_ends_its_job() {
    let world = world_with("POST", "/pulls$", Disruption::Delete).await;
    assert_given_up(world, "opening a draft pull request").await;
}

#[tokio::test]
async fn an_issue_that_is_locked_meanwhile_has_its_pull_request_all_the_same() {
    let world = world_with("POST", "/pulls$", Disruption::Lock { issue: 1 }).await;
    assert!(matches!(outcome(&world).await, JobOutcome::Proposed { .. }), "{}", world.log());
    assert_eq!(world.pulls().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn history_that_is_rewritten_meanwhile_is_never_written_over() {
    let files = BTreeMap::from([("README.md".to_owned(), "# Anew\n".to_owned())]);
    let upheaval = Disruption::ForcePush { branch: "main".into(), files };
    let world = world_with("POST", "/pulls$", upheaval).await;
    let main = world.repository()["branches"]["main"].as_str().unwrap().to_owned();
    let git = git2::Repository::open(world.repository()["git_dir"].as_str().unwrap()).unwrap();
    let commit = git.find_commit(main.parse().unwrap()).unwrap();
    assert_eq!(commit.message().unwrap(), "Rewrite the history");
    assert_given_up(world, "no history in common with main").await;
}

#[tokio::test]
async fn deliveries_that_come_twice_make_one_job() {
    let mut world = World::of("fix", None).await;
    world.start_service_reconciling("3600").await;
    world.github.disrupt(&Disruption::DuplicateDeliveries { count: 1 }).unwrap();
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    let deliveries = world.github.state()["deliveries"].as_array().unwrap().clone();
    let labelled: Vec<_> = deliveries.iter().filter(|one| one["action"] == "labeled").take(2).collect();
    assert_eq!(labelled[0]["guid"], labelled[1]["guid"]);
    assert!(labelled[1]["response"].as_str().unwrap().contains("duplicate"), "{labelled:#?}");
    assert_eq!(world.pulls().len(), 1);
    assert_eq!(world.log().matches("job claimed").count(), 1);
    world.end().await;
}

#[tokio::test]
async fn deliveries_out_of_order_come_to_what_is_so_at_the_end() {
    // Put on and taken off, and told the other way round: nothing is worked on.
    let mut world = World::of("fix", None).await;
    world.start_service_reconciling("3600").await;
    world.github.disrupt(&Disruption::ReorderDeliveries { count: 2 }).unwrap();
    world.label("octo-maintainer").await;
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-maintainer").await.unwrap();
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    let deliveries = world.github.state()["deliveries"].as_array().unwrap().clone();
    let actions: Vec<_> = deliveries.iter().map(|one| one["action"].clone()).take(2).collect();
    assert_eq!(actions, ["unlabeled", "labeled"], "{deliveries:#?}");
    assert!(world.provider.requests().is_empty() && world.pulls().is_empty());

    // Taken off and put on again, and told the other way round: it is worked on.
    world.label("octo-maintainer").await;
    world.until("the second job", |world| world.log().matches("job claimed").count() == 2).await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.until("the second job's end", |world| world.log().matches("job ended").count() == 2).await;
    world.end().await;
}
