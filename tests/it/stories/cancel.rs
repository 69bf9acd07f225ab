//! What stops a job that is at work, and what the issue says about it, if there still is one.

use mendwright::domain::JobOutcome;
use mendwright_emulator::github::RepositorySource;
use serde_json::json;

use crate::support::{World, stalled};

const BRANCH: &str = "agent-fix/issue-1";

/// A world whose model was asked and does not answer.
async fn at_work() -> World {
    let mut world = World::scripted(stalled()).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(1).await;
    world
}

/// Waits until the job has been cancelled, while the model still does not answer. Returns the reason.
async fn cancelled(world: &World) -> String {
    world.jobs_ended(1).await;
    assert_eq!(world.provider.request_count(), 1);
    match world.outcome().await {
        JobOutcome::Cancelled { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn closed_issue_cancels_the_job() {
    let world = at_work().await;
    world.github.close_issue(world.issue, "octo-writer").await.unwrap();
    cancelled(&world).await;
    assert!(world.comments().concat().contains("the issue was closed by"), "{:#?}", world.comments());
    world.end().await;
}

#[tokio::test]
async fn deleted_issue_cancels_the_job_without_a_comment() {
    let world = at_work().await;
    world.github.delete_issue(world.issue, "octo-maintainer").await.unwrap();
    assert_eq!(cancelled(&world).await, "the issue was deleted by @octo-maintainer");
    world.end().await;
}

#[tokio::test]
async fn transferred_issue_cancels_the_job_and_the_other_repository_is_left_alone() {
    let world = at_work().await;
    let files = [("README.md".to_owned(), b"other\n".to_vec())];
    world.github.add_repository("octo-org/other", RepositorySource::Files(&files)).unwrap();
    let new = world.github.transfer_issue(world.issue, "octo-maintainer").await.unwrap();
    cancelled(&world).await;
    let other = world.github.state()["repositories"][1].clone();
    let moved = other["issues"].as_array().unwrap().iter().find(|issue| issue["number"] == new).unwrap();
    assert_eq!(moved["comments"], json!([]), "{moved:#}");
    world.end().await;
}

#[tokio::test]
async fn closed_pull_request_of_its_branch_cancels_the_job() {
    let world = at_work().await;
    world.github.push_branch(BRANCH, "notes.txt", "octo-writer").await.unwrap();
    let number = world.github.open_pull_request(BRANCH, "Mine", "", "octo-writer").await.unwrap();
    world.github.close_issue(number, "octo-writer").await.unwrap();
    cancelled(&world).await;
    let comments = world.comments().concat();
    assert!(comments.contains("Cancelled: the pull request"), "{number}: {comments}");
    world.end().await;
}

#[tokio::test]
async fn deleted_branch_cancels_its_job() {
    let world = at_work().await;
    world.github.push_branch(BRANCH, "notes.txt", "octo-writer").await.unwrap();
    world.github.delete_branch(BRANCH, "octo-writer").await.unwrap();
    cancelled(&world).await;
    let comments = world.comments().concat();
    assert!(comments.contains("was deleted by") && comments.contains(BRANCH), "{comments}");
    world.end().await;
}

#[tokio::test]
async fn removed_label_cancels_the_job() {
    let world = at_work().await;
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    cancelled(&world).await;
    assert!(world.pulls().is_empty());
    world.end().await;
}

#[tokio::test]
async fn other_branches_and_pull_requests_cancel_nothing() {
    let mut world = World::new().await;
    world.start_service().await;
    world.github.push_branch("agent-fix/issue-2", "notes.txt", "octo-writer").await.unwrap();
    world.github.push_branch("feature", "notes.txt", "octo-writer").await.unwrap();
    let number = world.github.open_pull_request("feature", "Mine", "", "octo-writer").await.unwrap();
    world.label("octo-maintainer").await;
    world.github.close_issue(number, "octo-writer").await.unwrap();
    world.github.delete_branch("agent-fix/issue-2", "octo-writer").await.unwrap();
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 2, "{}", world.log());

    // A job that has ended cannot be stopped, and nothing is said.
    let ours = world.pulls().iter().find(|pull| pull["number"] != number).unwrap()["number"].clone();
    let before = world.comments();
    world.github.close_issue(ours.as_u64().unwrap(), "octo-writer").await.unwrap();
    world.github.delete_branch(BRANCH, "octo-writer").await.unwrap();
    let deliveries = world.github.state()["deliveries"].as_array().unwrap().clone();
    let last: Vec<_> = deliveries.iter().rev().take(2).collect();
    assert!(last.iter().all(|delivery| delivery["status_code"] == 202), "{last:#?}");
    assert_eq!(world.comments(), before);
    world.end().await;
}
