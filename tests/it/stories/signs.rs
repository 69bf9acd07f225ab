//! What people see beside comments: state labels, the check run, requests for review.

use mendwright::demo::scenario::Scenario;
use mendwright_emulator::github::{FaultKind, FaultRule};
use serde_json::{Value, json};

use crate::support::World;

fn issue(world: &World) -> Value {
    world.repository()["issues"][0].clone()
}

/// The labels on the issue that say where its job stands.
fn signs(world: &World) -> Vec<String> {
    let labels = issue(world)["labels"].as_array().cloned().unwrap_or_default();
    let labels = labels.iter().filter_map(|label| label.as_str().map(str::to_owned));
    labels.filter(|label| label.starts_with("agent-fix: ")).collect()
}

fn asks_for_work(world: &World) -> bool {
    issue(world)["labels"].as_array().unwrap().contains(&json!("agent-fix"))
}

async fn ended(world: &World) {
    world.until("the job's end", |world| world.log().contains("job ended")).await;
}

fn stalling_fix(turn: usize) -> Value {
    let mut conversation: Value =
        serde_json::from_str(Scenario::by_name("fix").unwrap().conversation).unwrap();
    conversation["turns"][turn]["fault"] = json!({"stall": true});
    conversation
}

#[tokio::test]
async fn labels_say_where_the_job_stands_also_after_a_crash_and_leave_the_one_that_asks_alone() {
    let mut world = World::of("fix", Some(stalling_fix(2))).await;
    world.start_service().await;
    assert_eq!(signs(&world), [""; 0]);
    world.label("octo-maintainer").await;
    world.until("the third question", |world| world.provider.requests().len() == 3).await;
    assert_eq!(signs(&world), ["agent-fix: working"]);
    world.kill_service().await;
    assert_eq!(signs(&world), ["agent-fix: working"]);
    world.start_service().await;
    ended(&world).await;
    assert_eq!(signs(&world), ["agent-fix: proposed"]);
    assert!(asks_for_work(&world));
    let labels = world.repository()["labels"].to_string();
    assert!(labels.contains("agent-fix: working") && labels.contains("agent-fix: proposed"), "{labels}");
    world.end().await;
}

#[tokio::test]
async fn a_job_that_needs_a_person_says_so_and_one_that_is_called_off_takes_its_label_with_it() {
    let mut world = World::of("budget", None).await;
    world.start_service_with("[budget]\nturns = 4\n").await;
    world.label("octo-maintainer").await;
    ended(&world).await;
    assert_eq!(signs(&world), ["agent-fix: needs-human"]);
    assert!(asks_for_work(&world));
    world.end().await;

    let mut world = World::of("fix", Some(stalling_fix(0))).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the first question", |world| world.provider.requests().len() == 1).await;
    world.until("the label", |world| signs(world) == ["agent-fix: working"]).await;
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    ended(&world).await;
    assert_eq!(signs(&world), [""; 0]);
    world.end().await;
}

#[tokio::test]
async fn a_refused_label_puts_none_on_and_labels_that_cannot_be_made_do_not_stop_the_work() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.label("octo-triager").await;
    ended(&world).await;
    assert_eq!(signs(&world), [""; 0]);
    world.end().await;

    let mut world = World::of("fix", None).await;
    for path in ["/labels", "/check-runs$", "/requested_reviewers$"] {
        let kind = FaultKind::Status { status: 403, headers: Vec::new(), message: None };
        let fault = FaultRule { method: Some("POST".into()), path: path.into(), times: 50, kind };
        world.github.inject_fault(fault).unwrap();
    }
    world.start_service().await;
    world.label("octo-maintainer").await;
    ended(&world).await;
    assert_eq!((world.pulls().len(), signs(&world)), (1, Vec::new()));
    assert!(world.log().contains("the check run could not be made"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn owners_of_the_changed_files_are_asked_for_a_review_as_far_as_github_takes_them() {
    let owners = "*  @octo-maintainer\nsrc/  @octo-writer @outsider @octo-org/team mail@example.com\n";
    let mut world = World::with("fix", None, &[(".github/CODEOWNERS", owners)]).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    ended(&world).await;
    assert_eq!(world.pulls()[0]["requested_reviewers"], json!(["octo-writer"]), "{}", world.log());
    assert_eq!(world.pulls()[0]["draft"], true);
    world.end().await;
}

#[tokio::test]
async fn without_owners_whoever_asked_for_the_work_is_asked_for_the_review() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.label("octo-writer").await;
    ended(&world).await;
    assert_eq!(world.pulls()[0]["requested_reviewers"], json!(["octo-writer"]), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn a_test_that_still_fails_makes_the_check_neutral_and_is_remarked_first() {
    let broken = "#[test]\nfn another_thing_is_broken() {\n    assert_eq!(1, 2);\n}\n";
    let mut world = World::with("fix", None, &[("tests/other.rs", broken)]).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    ended(&world).await;
    let check = world.repository()["check_runs"][0].clone();
    assert_eq!(check["conclusion"], "neutral", "{}", world.log());
    assert_eq!(check["title"], "Verified; 1 test fails as before the change");
    let annotations = check["annotations"].as_array().unwrap().clone();
    assert_eq!(
        (&annotations[0]["path"], &annotations[0]["annotation_level"]),
        (&json!("tests/other.rs"), &json!("warning"))
    );
    assert_eq!((annotations.len(), &annotations[0]["start_line"]), (3, &json!(3)), "{annotations:#?}");
    assert!(annotations[1..].iter().all(|at| at["annotation_level"] == "notice"), "{annotations:#?}");
    world.end().await;
}

#[tokio::test]
async fn the_check_run_tells_the_verdict_at_the_branch_s_head_and_which_tests_failed_before() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    ended(&world).await;
    let checks = world.repository()["check_runs"].clone();
    let checks = checks.as_array().unwrap();
    assert_eq!(checks.len(), 1, "{checks:#?}");
    let check = &checks[0];
    assert_eq!(check["head_sha"], world.pulls()[0]["head_sha"]);
    assert_eq!((&check["status"], &check["conclusion"]), (&json!("completed"), &json!("success")));
    assert_eq!(check["title"], "The suite passes in a fresh sandbox");
    let summary = check["summary"].as_str().unwrap();
    assert!(summary.contains("| | Before: base") && summary.contains("`runs_of_separators_become_one_dash`"));
    let annotations = check["annotations"].as_array().unwrap();
    assert_eq!(annotations.len(), 2, "{annotations:#?}");
    assert!(annotations.iter().all(|at| at["path"] == "tests/slug.rs" && at["annotation_level"] == "notice"));
    world.end().await;
}
