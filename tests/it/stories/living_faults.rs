//! GitHub and the network at their worst: whatever goes wrong with an answer, each thing that people see
//! is there once in the end.

use mendwright_emulator::github::{Disruption, FaultKind, FaultRule};
use serde_json::{Value, json};

use crate::support::World;

fn rule(method: &str, path: &str, times: u32, kind: FaultKind) -> FaultRule {
    FaultRule { method: Some(method.into()), path: path.into(), times, kind }
}

fn status(status: u16) -> FaultKind {
    FaultKind::Status { status, headers: Vec::new(), message: None }
}

async fn ended(world: &World, jobs: usize) {
    world.until("the job's end", |world| world.log().matches("job ended").count() == jobs).await;
}

fn count(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

/// All that people see of a job is there, once.
fn assert_published_once(world: &World) {
    let (repository, pulls) = (world.repository(), world.pulls());
    assert_eq!((pulls.len(), &pulls[0]["draft"]), (1, &json!(true)), "{pulls:#?}");
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:#?}");
    assert!(comments[0].contains("Draft pull request opened"), "{comments:#?}");
    let issue = &repository["issues"][0];
    assert_eq!(count(&issue["reactions"]), 1);
    assert_eq!(issue["labels"], json!(["agent-fix", "agent-fix: proposed"]), "{issue:#}");
    assert_eq!(count(&repository["check_runs"]), 1);
    assert_eq!(pulls[0]["requested_reviewers"], json!(["octo-maintainer"]), "{pulls:#?}");
}

/// Everything that is written goes wrong in this way, the first time.
async fn each_write_fails_once(kind: FaultKind) {
    let mut world = World::of("fix", None).await;
    for path in ["/reactions$", "/comments$", "/labels$", "/pulls$", "/check-runs$", "/requested_reviewers$"]
    {
        world.github.inject_fault(rule("POST", path, 1, kind.clone())).unwrap();
    }
    world.github.inject_fault(rule("PATCH", "/issues/comments/", 1, kind.clone())).unwrap();
    world.github.inject_fault(rule("DELETE", "/labels/", 1, kind)).unwrap();
    world.start_service().await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    assert_published_once(&world);
    assert_eq!(world.provider.requests().len(), 3, "no answer of the model was paid for twice");
    world.end().await;
}

#[tokio::test]
async fn what_github_refuses_for_a_moment_is_there_once() {
    each_write_fails_once(status(502)).await;
}

#[tokio::test]
async fn what_a_reset_connection_kept_from_github_is_there_once() {
    each_write_fails_once(FaultKind::Drop).await;
}

#[tokio::test]
async fn what_was_done_and_not_answered_is_there_once() {
    each_write_fails_once(FaultKind::DropAfter).await;
}

#[tokio::test]
async fn what_was_done_and_answered_with_half_a_body_is_there_once() {
    each_write_fails_once(FaultKind::Truncate).await;
}

#[tokio::test]
async fn what_was_done_and_answered_with_half_of_the_json_is_there_once() {
    each_write_fails_once(FaultKind::Halve).await;
}

#[tokio::test]
async fn reading_and_git_get_over_a_moment_of_trouble_too() {
    let mut world = World::of("fix", None).await;
    for kind in [FaultKind::Truncate, FaultKind::Drop] {
        for path in ["/permission$", "/issues/1$", "/pulls$", "/access_tokens$", "^/users/"] {
            let fault = FaultRule { method: None, path: path.into(), times: 1, kind: kind.clone() };
            world.github.inject_fault(fault).unwrap();
        }
    }
    world.github.inject_fault(rule("GET", "/info/refs$", 1, FaultKind::Drop)).unwrap();
    world.start_service().await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    assert_published_once(&world);
    world.end().await;
}

#[tokio::test]
async fn tokens_that_are_revoked_or_end_are_minted_once_more_wherever_it_is_found_out() {
    let places = [
        ("GET", "/permission$", Disruption::RevokeTokens),
        ("POST", "/git-upload-pack$", Disruption::RevokeTokens),
        ("POST", "/git-receive-pack$", Disruption::RevokeTokens),
        ("POST", "/pulls$", Disruption::ExpireTokens),
        ("POST", "/check-runs$", Disruption::RevokeTokens),
    ];
    let mut world = World::of("fix", None).await;
    let count = places.len();
    for (method, path, upheaval) in places {
        world.github.inject_fault(rule(method, path, 1, FaultKind::First(upheaval))).unwrap();
    }
    world.start_service_reconciling("3600").await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    assert_published_once(&world);
    let tokens = world.github.state()["tokens"].as_array().unwrap().len();
    // One for the job, one for reconciliation, one after each upheaval.
    assert!((count + 1..=count + 3).contains(&tokens), "{tokens}");
    world.end().await;
}

#[tokio::test]
async fn a_token_that_is_refused_again_ends_the_job_and_is_not_asked_for_for_ever() {
    let mut world = World::of("fix", None).await;
    world.github.inject_fault(rule("POST", "/pulls$", 1_000, status(401))).unwrap();
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job failed")).await;
    world.stop_service().await;
    let comments = world.comments().concat();
    assert!(comments.contains("forbidden by GitHub (opening a draft pull request"), "{comments}");
    assert!(world.pulls().is_empty());
    let tokens = world.github.state()["tokens"].as_array().unwrap().len();
    assert!(tokens <= 4, "{tokens}");
    world.end().await;
}
