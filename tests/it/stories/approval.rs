//! `publish: hold`: a verified change is shown, and published once, when a writer approves it.

use mendwright::domain::{CommentId, EscalationReason, IssueNumber, Job, JobOutcome, JobState, Login};
use mendwright::github::{GitHubConnection, OctocrabGitHub};
use mendwright::worker::{Approval, ApprovalComment, approve};
use mendwright_emulator::github::FaultKind;

use crate::support::{World, conversation};

const HOLD: [(&str, &str); 1] = [("MENDWRIGHT_GITHUB_PUBLISH", "hold")];

/// A world whose verified change awaits approval, because the repository wants it.
async fn awaiting_approval() -> World {
    let mut world = World::builder().file(".github/agent-fix.yml", "publish: hold\n").start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    world
}

async fn job(world: &World) -> Job {
    world.newest_job().await
}

/// What the command does.
async fn publish(world: &World, by: &str) -> Approval {
    let credentials = world.github.credentials();
    let connection = GitHubConnection {
        api_url: world.github.api_url(),
        web_url: world.github.url().clone(),
        app_id: credentials.app_id,
        private_key_pem: credentials.private_key_pem.clone(),
    };
    let github = OctocrabGitHub::new(connection).unwrap();
    let (store, job) = (world.store().await, job(world).await);
    let at = &job.trigger.repository;
    let by: Login = by.parse().unwrap();
    let now = jiff::Timestamp::now();
    let comment =
        ApprovalComment { by: &by, by_is_bot: false, id: CommentId(u64::MAX), at: Some(now), commit: None };
    let approval = approve(&github, &store, at, IssueNumber(world.issue), comment, &[], now).await.unwrap();
    store.close().await;
    approval
}

fn branches(world: &World) -> usize {
    world.repository()["branches"].as_object().unwrap().len()
}

#[tokio::test]
async fn verified_change_is_shown_and_published_after_approval() {
    let world = awaiting_approval().await;
    assert_eq!((world.pulls().len(), branches(&world)), (0, 1));
    let comments = world.comments();
    assert_eq!(comments.len(), 2, "{comments:#?}");
    assert!(comments[0].contains("A verified change is waiting for approval"), "{}", comments[0]);
    assert!(
        comments[1].contains("`/agent-fix publish ") && comments[1].contains("+    echo"),
        "{}",
        comments[1]
    );
    let shown = job(&world).await;
    assert_eq!(shown.state, JobState::Held);
    let labels = world.repository()["issues"][0]["labels"].to_string();
    assert!(labels.contains("agent-fix: needs-human"), "{labels}");

    let refused = publish(&world, "octo-triager").await;
    assert!(matches!(&refused, Approval::Refused(why) if why.contains("write access")), "{refused:?}");
    assert!(matches!(publish(&world, "octo-writer").await, Approval::Approved(_)));
    assert_eq!(publish(&world, "octo-writer").await, Approval::NothingToApprove, "it is published twice");
    world.jobs_ended(2).await;
    let pull = world.pull();
    assert_eq!(branches(&world), 2, "{}", world.log());
    let Some(JobOutcome::Held { head, .. }) = shown.outcome else { panic!("{shown:?}") };
    assert_eq!(pull["head_sha"], head.as_str(), "another commit than the one shown");
    assert_eq!(world.provider.request_count(), 3, "the model was asked again");
    assert_eq!(world.repository()["check_runs"].as_array().unwrap().len(), 1);
    assert_eq!(publish(&world, "octo-writer").await, Approval::NothingToApprove);
    world.end().await;
}

#[tokio::test]
async fn crash_while_an_approved_change_is_published_publishes_once() {
    let mut world = World::new().await;
    world.start_service_with_environment(&HOLD).await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!((world.pulls().len(), branches(&world)), (0, 1));
    world.fail_once("POST", "/pulls$", FaultKind::Hold);
    assert!(matches!(publish(&world, "octo-maintainer").await, Approval::Approved(_)));
    world.until("the branch", |world| branches(world) == 2).await;
    world.kill_service().await;
    world.start_service_with_environment(&HOLD).await;
    world.jobs_ended(2).await;
    world.pull();
    assert_eq!(world.comments().len(), 2, "{:#?}", world.comments());
    assert_eq!(job(&world).await.state, JobState::Proposed);
    world.end().await;
}

#[tokio::test]
async fn base_that_moved_before_approval_is_mentioned_and_a_closed_issue_publishes_nothing() {
    let world = awaiting_approval().await;
    let git = world.git();
    let main = git.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
    let by = git2::Signature::now("grace", "grace@example.com").unwrap();
    git.commit(Some("refs/heads/main"), &by, &by, "Go on\n", &main.tree().unwrap(), &[&main]).unwrap();
    world.github.close_issue(world.issue, "octo-reader").await.unwrap();
    let refused = publish(&world, "octo-maintainer").await;
    assert_eq!(refused, Approval::Refused("the issue is closed".to_owned()));
    world.github.reopen_issue(world.issue, "octo-maintainer").await.unwrap();
    assert!(matches!(publish(&world, "octo-maintainer").await, Approval::Approved(_)));
    world.jobs_ended(2).await;
    let body = world.pull()["body"].to_string();
    assert!(body.contains("the base branch moved since"), "{body}");
    world.end().await;
}

/// A repository that demands no proof, and a model whose two jobs propose different changes.
async fn two_changes() -> World {
    let change =
        |text: &str| conversation().turn("I write.").write("notes.txt", text).turn("Done.").finish(text);
    let mut world = World::builder()
        .script(change("patch A").then(change("patch B")))
        .file(".github/agent-fix.yml", "publish: hold\nproof: waived\ntest: \"true\"\n")
        .start()
        .await;
    world.start_service().await;
    world
}

fn answers(world: &World) -> Vec<String> {
    world.comments().into_iter().filter(|comment| comment.contains("mendwright:answer:")).collect()
}

#[tokio::test]
async fn old_approval_that_is_delivered_again_never_releases_a_newer_change() {
    let world = two_changes().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    world.github.hold_deliveries(1);
    world.say("/agent-fix publish", "octo-maintainer").await;
    world.say("/agent-fix retry", "octo-writer").await;
    world.jobs_ended(2).await;
    assert_eq!(job(&world).await.state, JobState::Held, "{}", world.log());
    world.github.continue_held_deliveries().await;
    world.commands_handled(2).await;
    assert_eq!((world.pulls().len(), branches(&world)), (0, 1), "{}", world.log());
    let answers = answers(&world);
    let last = answers.last().unwrap();
    assert!(last.contains("this command was given before the change that waits now was shown"), "{last}");
    world.say("/agent-fix publish", "octo-maintainer").await;
    world.jobs_ended(3).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn approval_of_a_commit_releases_only_that_commit() {
    let world = awaiting_approval().await;
    let Some(JobOutcome::Held { head, .. }) = job(&world).await.outcome else { panic!() };
    let head = head.to_string();
    let other: String = head.chars().rev().take(10).collect();
    world.say(&format!("/agent-fix publish {other}"), "octo-writer").await;
    world.commands_handled(1).await;
    world.say(&format!("/agent-fix publish {}", &head[..6]), "octo-writer").await;
    world.commands_handled(2).await;
    assert_eq!((world.pulls().len(), branches(&world)), (0, 1), "{}", world.log());
    let refused = answers(&world);
    assert!(refused.iter().all(|answer| answer.contains("another commit waits")), "{refused:?}");
    let line = world.comments()[1]
        .split('`')
        .find(|code| code.starts_with("/agent-fix publish "))
        .unwrap()
        .to_owned();
    assert_eq!(line, format!("/agent-fix publish {}", &head[..10]));
    world.say(&line, "octo-writer").await;
    world.jobs_ended(2).await;
    assert_eq!(world.pull()["head_sha"], head.as_str());
    world.end().await;
}

#[tokio::test]
async fn change_that_cannot_be_shown_whole_is_handed_over_and_cannot_be_published() {
    let long: String =
        (0..6_000).map(|n| format!("- line {n} of notes that nobody needs to read, at length\n")).collect();
    let script = conversation()
        .turn("I write.")
        .call("delete_file", serde_json::json!({"path": "CHANGES.md"}))
        .write("zz_helper.sh", "echo HIDDEN\n")
        .turn("Done.")
        .finish("Everything.");
    let mut world = World::builder()
        .script(script)
        .file(".github/agent-fix.yml", "publish: hold\nproof: waived\ntest: \"true\"\n")
        .file("CHANGES.md", &long)
        .start()
        .await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let Some(JobOutcome::Escalated { reason }) = job(&world).await.outcome else { panic!("{}", world.log()) };
    assert!(matches!(reason, EscalationReason::NotShown { .. }), "{reason:?}");
    let comments = world.comments().concat();
    assert!(comments.contains("A verified change cannot be shown for approval"), "{comments}");
    assert!(comments.contains("`zz_helper.sh`") && comments.contains("`CHANGES.md`"), "{comments}");
    assert!(!comments.contains("mendwright:held"), "{comments}");
    world.say("/agent-fix publish", "octo-maintainer").await;
    world.commands_handled(1).await;
    assert_eq!((world.pulls().len(), branches(&world)), (0, 1), "{}", world.log());
    world.end().await;
}
