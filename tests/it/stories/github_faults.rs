//! GitHub and the network at their worst: whatever happens to an answer, each thing that people see is
//! there once in the end.

use mendwright_emulator::github::{Disruption, FaultKind, FaultRule};
use serde_json::{Value, json};

use crate::support::World;

fn status(status: u16) -> FaultKind {
    FaultKind::Status { status, headers: Vec::new(), message: None }
}

fn count(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

/// All that people see of a job is there, once.
fn assert_all_is_there_once(world: &World) {
    world.assert_published_once();
    let (repository, pull) = (world.repository(), world.pull());
    let comments = world.comments();
    assert!(comments[0].contains("Draft pull request opened"), "{comments:#?}");
    let issue = &repository["issues"][0];
    assert_eq!(issue["labels"], json!(["agent-fix", "agent-fix: proposed"]), "{issue:#}");
    assert_eq!(count(&repository["check_runs"]), 1);
    assert_eq!(pull["requested_reviewers"], json!(["octo-maintainer"]), "{pull:#}");
}

/// The first write of each kind fails in this way.
async fn each_write_fails_once(kind: FaultKind) {
    let mut world = World::new().await;
    for path in ["/reactions$", "/comments$", "/labels$", "/pulls$", "/check-runs$", "/requested_reviewers$"]
    {
        world.fail_once("POST", path, kind.clone());
    }
    world.fail_once("PATCH", "/issues/comments/", kind.clone());
    world.fail_once("DELETE", "/labels/", kind);
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_all_is_there_once(&world);
    assert_eq!(world.provider.request_count(), 3, "an answer of the model was paid for twice");
    world.end().await;
}

#[tokio::test]
async fn write_that_fails_with_502_happens_once() {
    each_write_fails_once(status(502)).await;
}

#[tokio::test]
async fn write_on_a_connection_that_is_reset_happens_once() {
    each_write_fails_once(FaultKind::Drop).await;
}

#[tokio::test]
async fn write_without_an_answer_happens_once() {
    each_write_fails_once(FaultKind::DropAfter).await;
}

#[tokio::test]
async fn write_answered_with_half_a_body_happens_once() {
    each_write_fails_once(FaultKind::Truncate).await;
}

#[tokio::test]
async fn write_answered_with_half_of_the_json_happens_once() {
    each_write_fails_once(FaultKind::Halve).await;
}

#[tokio::test]
async fn reads_and_git_transfers_that_fail_once_are_retried() {
    let mut world = World::new().await;
    for kind in [FaultKind::Truncate, FaultKind::Drop] {
        for path in ["/permission$", "/issues/1$", "/pulls$", "/access_tokens$", "^/users/"] {
            let fault = FaultRule { method: None, path: path.into(), times: 1, kind: kind.clone() };
            world.github.inject_fault(fault).unwrap();
        }
    }
    world.fail_once("GET", "/info/refs$", FaultKind::Drop);
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_all_is_there_once(&world);
    world.end().await;
}

#[tokio::test]
async fn revoked_or_expired_token_is_replaced_once_by_whatever_finds_out() {
    let places = [
        ("GET", "/permission$", Disruption::RevokeTokens),
        ("POST", "/git-upload-pack$", Disruption::RevokeTokens),
        ("POST", "/git-receive-pack$", Disruption::RevokeTokens),
        ("POST", "/pulls$", Disruption::ExpireTokens),
        ("POST", "/check-runs$", Disruption::RevokeTokens),
    ];
    let mut world = World::new().await;
    let disruptions = places.len();
    for (method, path, disruption) in places {
        world.fail_once(method, path, FaultKind::First(disruption));
    }
    world.start_service_reconciling("3600").await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_all_is_there_once(&world);
    let tokens = count(&world.github.state()["tokens"]);
    // One for the job, one for reconciliation, one after each disruption.
    assert!((disruptions + 1..=disruptions + 3).contains(&tokens), "{tokens}");
    world.end().await;
}

#[tokio::test]
async fn token_that_is_refused_again_fails_the_job() {
    let mut world = World::new().await;
    world.fail("POST", "/pulls$", 1_000, status(401));
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let comments = world.comments().concat();
    assert!(comments.contains("forbidden by GitHub (opening a draft pull request"), "{comments}");
    assert!(world.pulls().is_empty());
    let tokens = count(&world.github.state()["tokens"]);
    assert!(tokens <= 4, "{tokens}");
    world.end().await;
}
