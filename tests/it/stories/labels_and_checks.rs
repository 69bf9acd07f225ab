//! What people see besides comments: state labels, the check run, review requests.

use mendwright_emulator::github::FaultKind;
use serde_json::{Value, json};

use crate::support::{World, conversation, fix, stalled};

fn issue(world: &World) -> Value {
    world.repository()["issues"][0].clone()
}

/// The labels on the issue that show the state of its job.
fn state_labels(world: &World) -> Vec<String> {
    let labels = issue(world)["labels"].as_array().cloned().unwrap_or_default();
    let labels = labels.iter().filter_map(|label| label.as_str().map(str::to_owned));
    labels.filter(|label| label.starts_with("agent-fix: ")).collect()
}

fn has_trigger_label(world: &World) -> bool {
    issue(world)["labels"].as_array().unwrap().contains(&json!("agent-fix"))
}

#[tokio::test]
async fn state_labels_follow_the_job_also_after_a_crash() {
    let mut world = World::scripted(fix().stall_at(2)).await;
    world.start_service().await;
    assert_eq!(state_labels(&world), [""; 0]);
    world.label("octo-maintainer").await;
    world.model_asked(3).await;
    assert_eq!(state_labels(&world), ["agent-fix: working"]);
    world.kill_service().await;
    assert_eq!(state_labels(&world), ["agent-fix: working"]);
    world.start_service().await;
    world.jobs_ended(1).await;
    assert_eq!(state_labels(&world), ["agent-fix: proposed"]);
    assert!(has_trigger_label(&world));
    let labels = world.repository()["labels"].to_string();
    assert!(labels.contains("agent-fix: working") && labels.contains("agent-fix: proposed"), "{labels}");
    world.end().await;
}

#[tokio::test]
async fn escalated_job_gets_the_needs_human_label() {
    let looks =
        conversation().turn("I look again.").read("src/slug.sh").with("afterwards", json!("repeat_last"));
    let mut world = World::scripted(looks).await;
    world.start_service_with("[budget]\nturns = 2\n").await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(state_labels(&world), ["agent-fix: needs-human"]);
    assert!(has_trigger_label(&world));
    world.end().await;
}

#[tokio::test]
async fn cancelled_job_removes_its_state_label() {
    let mut world = World::scripted(stalled()).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(1).await;
    world.until("the label", |world| state_labels(world) == ["agent-fix: working"]).await;
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    world.jobs_ended(1).await;
    assert_eq!(state_labels(&world), [""; 0]);
    world.end().await;
}

#[tokio::test]
async fn refused_label_adds_no_state_label() {
    let mut world = World::new().await;
    world.start_service().await;
    world.label("octo-triager").await;
    world.jobs_ended(1).await;
    assert_eq!(state_labels(&world), [""; 0]);
    world.end().await;
}

#[tokio::test]
async fn labels_checks_and_reviewers_that_are_forbidden_do_not_stop_the_work() {
    let mut world = World::new().await;
    for path in ["/labels", "/check-runs$", "/requested_reviewers$"] {
        let forbidden = FaultKind::Status { status: 403, headers: Vec::new(), message: None };
        world.fail("POST", path, 50, forbidden);
    }
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!((world.pulls().len(), state_labels(&world)), (1, Vec::new()));
    assert_eq!(world.repository()["check_runs"], json!([]));
    world.end().await;
}

#[tokio::test]
async fn owners_of_changed_files_with_write_access_are_requested_as_reviewers() {
    let owners = "*  @octo-maintainer\nsrc/  @octo-writer @outsider @octo-org/team mail@example.com\n";
    let mut world = World::builder().file(".github/CODEOWNERS", owners).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pull()["requested_reviewers"], json!(["octo-writer"]), "{}", world.log());
    assert_eq!(world.pull()["draft"], true);
    world.end().await;
}

#[tokio::test]
async fn labeller_is_requested_as_reviewer_without_owners() {
    let mut world = World::new().await;
    world.start_service().await;
    world.label("octo-writer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pull()["requested_reviewers"], json!(["octo-writer"]), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn test_that_still_fails_makes_the_check_neutral_and_is_annotated_first() {
    let broken = "another_thing_is_broken() {\n    assert_equal 1 2\n}\n";
    let mut world = World::builder().file("tests/other.sh", broken).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let check = world.repository()["check_runs"][0].clone();
    assert_eq!(check["conclusion"], "neutral", "{}", world.log());
    assert_eq!(check["title"], "Verified; 1 test fails as before the change");
    let annotations = check["annotations"].as_array().unwrap().clone();
    assert_eq!(
        (&annotations[0]["path"], &annotations[0]["annotation_level"]),
        (&json!("tests/other.sh"), &json!("warning"))
    );
    assert_eq!((annotations.len(), &annotations[0]["start_line"]), (3, &json!(1)), "{annotations:#?}");
    assert!(annotations[1..].iter().all(|at| at["annotation_level"] == "notice"), "{annotations:#?}");
    world.end().await;
}

#[tokio::test]
async fn check_run_shows_the_verdict_at_the_head_and_the_tests_that_failed_before() {
    let mut world = World::new().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let checks = world.repository()["check_runs"].clone();
    let checks = checks.as_array().unwrap();
    assert_eq!(checks.len(), 1, "{checks:#?}");
    let check = &checks[0];
    assert_eq!(check["head_sha"], world.pull()["head_sha"]);
    assert_eq!((&check["status"], &check["conclusion"]), (&json!("completed"), &json!("success")));
    assert_eq!(check["title"], "The suite passes in a fresh sandbox");
    let summary = check["summary"].as_str().unwrap();
    assert!(summary.contains("| | Before: base") && summary.contains("`runs_of_separators_become_one_dash`"));
    let annotations = check["annotations"].as_array().unwrap();
    assert_eq!(annotations.len(), 2, "{annotations:#?}");
    assert!(annotations.iter().all(|at| at["path"] == "tests/slug.sh" && at["annotation_level"] == "notice"));
    world.end().await;
}
