//! Issues that the service declines to work on, and what it says about it, once.

use mendwright::domain::JobOutcome;
use mendwright_emulator::github::FaultKind;

use crate::support::{World, conversation};

/// Puts the label on, and waits until the job is declined. Returns what the issue says about it.
async fn declined(world: &World) -> String {
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.provider.request_count(), 0, "the model was asked");
    let comments = world.comments();
    assert!(comments.len() <= 1, "it is said more than once: {comments:#?}");
    comments.concat()
}

async fn cancel_reason(world: &World) -> String {
    match world.outcome().await {
        JobOutcome::Cancelled { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn issue_that_an_open_pull_request_fixes_is_declined_until_that_is_closed() {
    let mut world = World::new().await;
    world.start_service().await;
    world.github.push_branch("mine", "notes.txt", "octo-writer").await.unwrap();
    let body = "A start.\n\nResolves #1";
    let number = world.github.open_pull_request("mine", "Mine", body, "octo-writer").await.unwrap();
    let comment = declined(&world).await;
    let first = comment.lines().find(|line| line.starts_with("###")).unwrap_or_default();
    insta::assert_snapshot!(first, @"### Cancelled: the open pull request ＃2 by `octo-writer` fixes this issue already; close it, or remove its link to the issue, to start work here");
    assert_eq!(world.pulls().len(), 1);

    world.github.close_issue(number, "octo-writer").await.unwrap();
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-maintainer").await.unwrap();
    world.label("octo-maintainer").await;
    world.jobs_ended(2).await;
    assert_eq!(world.pulls().len(), 2, "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn pull_request_that_only_mentions_the_issue_does_not_block_it() {
    let mut world = World::new().await;
    world.start_service().await;
    world.github.push_branch("mine", "notes.txt", "octo-writer").await.unwrap();
    world.github.open_pull_request("mine", "Mine", "See #1, fixes #12", "octo-writer").await.unwrap();
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 2, "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn pull_request_from_a_fork_of_a_stranger_does_not_block_the_work() {
    let mut world = World::new().await;
    world.start_service().await;
    for (branch, by) in [("theirs", "outsider"), ("reads", "octo-reader")] {
        world.github.push_branch(branch, "notes.txt", by).await.unwrap();
        world.github.open_pull_request(branch, "Mine", "Fixes #1", by).await.unwrap();
    }
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 3, "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn server_without_linked_pull_requests_does_not_block_the_work() {
    let mut world = World::new().await;
    world.start_service().await;
    let unknown = FaultKind::Status { status: 404, headers: Vec::new(), message: None };
    world.fail_once("POST", "^/graphql$", unknown);
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn locked_issue_is_declined_without_a_comment() {
    let mut world = World::new().await;
    world.start_service().await;
    world.github.lock_issue(world.issue, "octo-maintainer").unwrap();
    // An App may not comment there; the transcript has the reason.
    declined(&world).await;
    assert!(cancel_reason(&world).await.contains("the issue is locked"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn archived_repository_is_declined_without_a_comment() {
    let mut world = World::new().await;
    world.start_service().await;
    world.github.archive();
    declined(&world).await;
    assert!(cancel_reason(&world).await.contains("the repository is archived"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn repository_outside_the_allow_list_is_ignored_without_a_comment() {
    let mut world = World::new().await;
    world.start_service_for_repositories("octo-org/other", "1").await;
    world.label("octo-maintainer").await;
    world.say("/agent-fix", "octo-maintainer").await;
    // Reconciliation would find the label, too, if it looked.
    let rounds = |world: &World| world.calls("apps/list-repos-accessible-to-installation");
    world.until("rounds of reconciliation", |world| rounds(world) >= 4).await;
    assert_eq!(world.job_count().await, 0);
    assert_eq!(world.comments().len(), 1, "only the command itself");
    assert_eq!(world.repository()["issues"][0]["reactions"], serde_json::json!([]));
    world.end().await;
}

#[tokio::test]
async fn job_of_a_repository_that_leaves_the_allow_list_ends_without_a_comment() {
    let stalled = || conversation().turn("hm").stall();
    let mut world = World::scripted(stalled().then(stalled())).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(1).await;
    world.kill_service().await;
    let before = world.comments().len();
    world.start_service_for_repositories("octo-org/other", "300").await;
    world.jobs_ended(1).await;
    assert_eq!(world.comments().len(), before);
    assert_eq!(world.provider.request_count(), 1);
    world.end().await;
}
