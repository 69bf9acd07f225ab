//! GitHub refuses to take a verified change: what passes is tried again, and what lasts is handed over.

use mendwright::domain::{EscalationReason, JobOutcome};
use mendwright_emulator::github::FaultKind;

use crate::support::World;

fn refusal(status: u16, message: &str) -> FaultKind {
    FaultKind::Status { status, headers: Vec::new(), message: Some(message.into()) }
}

/// Puts the label on, and waits until the verified change is handed over. Returns the comment that says so.
async fn handed_over(world: &World) -> String {
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let outcome = world.outcome().await;
    let is_handed_over =
        matches!(outcome, JobOutcome::Escalated { reason: EscalationReason::NotPublished { .. } });
    assert!(is_handed_over, "{outcome:?} {}", world.log());
    let comments = world.comments();
    let found = comments.iter().find(|comment| comment.contains("mendwright:escalation:"));
    found.unwrap_or_else(|| panic!("{comments:#?}")).clone()
}

#[tokio::test]
async fn lasting_refusal_of_the_pull_request_is_handed_over_and_continue_publishes_without_the_model() {
    let mut world = World::new().await;
    world.start_service().await;
    world.fail(
        "POST",
        "/pulls$",
        2,
        refusal(422, "Draft pull requests are not supported in this repository."),
    );
    let comment = handed_over(&world).await;
    assert!(comment.contains("A verified change could not be published"), "{comment}");
    assert!(comment.contains("Draft pull requests are not supported"), "{comment}");
    assert!(comment.contains("is on the branch `agent-fix/issue-1`"), "{comment}");
    assert!(comment.contains("diff --git") && comment.contains("exit code 0"), "{comment}");
    assert!(!world.comments().concat().contains("Mendwright itself failed"), "{:#?}", world.comments());
    let requests = world.provider.request_count();

    // Refused once more: reported once more, in the same place.
    world.say("/agent-fix continue", "octo-writer").await;
    world.jobs_ended(2).await;
    assert!(world.pulls().is_empty(), "{}", world.log());
    world.say("/agent-fix continue", "octo-writer").await;
    world.jobs_ended(3).await;
    world.pull();
    assert_eq!(world.provider.request_count(), requests, "the model was asked again");
    world.end().await;
}

#[tokio::test]
async fn missing_permission_for_the_pull_request_is_handed_over_and_continue_publishes() {
    let mut world = World::new().await;
    world.start_service().await;
    world.fail_once("POST", "/pulls$", refusal(403, "Resource not accessible by integration"));
    let comment = handed_over(&world).await;
    assert!(comment.contains("Resource not accessible by integration"), "{comment}");
    world.say("/agent-fix continue", "octo-writer").await;
    world.jobs_ended(2).await;
    world.pull();
    world.end().await;
}

#[tokio::test]
async fn pull_request_that_was_submitted_too_quickly_is_opened_later() {
    let mut world = World::new().await;
    world.start_service().await;
    world.fail_once("POST", "/pulls$", refusal(422, "Validation Failed: was submitted too quickly"));
    world.label("octo-maintainer").await;
    world.job_postponed().await;
    assert!(world.pulls().is_empty());
    let transcript = format!("{:?}", world.transcript().await);
    assert!(!transcript.contains("Ended"), "{transcript}");
    world.end().await;
}

#[tokio::test]
async fn branch_that_blocks_every_branch_of_ours_ends_the_job_at_once() {
    let mut world = World::new().await;
    world.start_service().await;
    world.github.push_branch("agent-fix", "notes.txt", "octo-writer").await.unwrap();
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let JobOutcome::Cancelled { why } = world.outcome().await else { panic!("{}", world.log()) };
    insta::assert_snapshot!(why, @"the branch `agent-fix` exists, so git can have no branch `agent-fix/issue-1`; delete or rename it to start over");
    assert_eq!(world.provider.request_count(), 0, "the model was asked");
    world.end().await;
}

#[tokio::test]
async fn branch_below_ours_is_named_when_the_verified_change_is_handed_over() {
    let mut world = World::new().await;
    world.start_service().await;
    world.github.push_branch("agent-fix/issue-1/notes", "notes.txt", "octo-writer").await.unwrap();
    let comment = handed_over(&world).await;
    assert!(comment.contains("agent-fix/issue-1/notes"), "{comment}");
    assert!(comment.contains("diff --git"), "{comment}");
    world.end().await;
}
