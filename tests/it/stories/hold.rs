//! `publish: hold`: a verified change is shown, and goes out once, when a writer says so.

use mendwright::domain::{IssueNumber, Job, JobState, Login};
use mendwright::github::{GitHubConnection, OctocrabGitHub};
use mendwright::store::{SqliteStore, Store};
use mendwright::worker::{Approval, approve};
use mendwright_emulator::github::{FaultKind, FaultRule};

use crate::support::World;

const HOLD: &str = "publish: hold\n";

/// A world whose repository holds back what is verified, at the moment that it is held.
async fn held() -> World {
    let mut world = World::with("fix", None, &[(".github/agent-fix.yml", HOLD)]).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    world
}

async fn ended(world: &World, times: usize) {
    world.until("the job's end", |world| world.log().matches("job ended").count() == times).await;
}

async fn store(world: &World) -> SqliteStore {
    SqliteStore::open(&world.directory.path().join("data/mendwright.sqlite")).await.unwrap()
}

async fn job(world: &World) -> Job {
    let store = store(world).await;
    let job = store.jobs(1).await.unwrap().remove(0);
    store.close().await;
    job
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
    let (store, job) = (store(world).await, job(world).await);
    let at = &job.trigger.repository;
    let by: Login = by.parse().unwrap();
    let now = jiff::Timestamp::now();
    let outcome =
        approve(&github, &store, at, IssueNumber(world.issue), (&by, false), &[], now).await.unwrap();
    store.close().await;
    outcome
}

fn branches(world: &World) -> usize {
    world.repository()["branches"].as_object().unwrap().len()
}

#[tokio::test]
async fn what_is_verified_is_shown_and_pushed_only_after_a_writer_says_so() {
    let world = held().await;
    assert_eq!((world.pulls().len(), branches(&world)), (0, 1));
    let comments = world.comments();
    assert_eq!(comments.len(), 2, "{comments:#?}");
    assert!(comments[0].contains("A verified change is waiting for approval"), "{}", comments[0]);
    assert!(comments[1].contains("`/agent-fix publish`") && comments[1].contains("+    let mut word_ended"));
    let shown = job(&world).await;
    assert_eq!(shown.state, JobState::Held);
    let labels = world.repository()["issues"][0]["labels"].to_string();
    assert!(labels.contains("agent-fix: needs-human"), "{labels}");

    let refused = publish(&world, "octo-triager").await;
    assert!(matches!(&refused, Approval::Refused(why) if why.contains("write access")), "{refused:?}");
    assert!(matches!(publish(&world, "octo-writer").await, Approval::Approved(_)));
    // Said again at once: it goes out once.
    let again = publish(&world, "octo-writer").await;
    assert_eq!(again, Approval::NothingToApprove);
    ended(&world, 2).await;
    let pulls = world.pulls();
    assert_eq!((pulls.len(), branches(&world)), (1, 2), "{}", world.log());
    let Some(mendwright::domain::JobOutcome::Held { head, .. }) = shown.outcome else { panic!("{shown:?}") };
    assert_eq!(pulls[0]["head_sha"], head.as_str(), "another commit than the one shown");
    assert_eq!(world.provider.requests().len(), 3, "the model was asked again");
    assert_eq!(world.repository()["check_runs"].as_array().unwrap().len(), 1);
    assert_eq!(publish(&world, "octo-writer").await, Approval::NothingToApprove);
    world.end().await;
}

#[tokio::test]
async fn the_operator_s_hold_holds_and_a_crash_while_publishing_publishes_once() {
    let mut world = World::of("fix", None).await;
    world.start_service_with_environment(&[("MENDWRIGHT_GITHUB_PUBLISH", "hold")]).await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    assert_eq!((world.pulls().len(), branches(&world)), (0, 1));
    let hang = FaultRule {
        method: Some("POST".into()),
        path: "/pulls$".into(),
        times: 1,
        kind: FaultKind::Delay { seconds: 3.0 },
    };
    world.github.inject_fault(hang).unwrap();
    assert!(matches!(publish(&world, "octo-maintainer").await, Approval::Approved(_)));
    world.until("the branch", |world| branches(world) == 2).await;
    world.kill_service().await;
    world.start_service_with_environment(&[("MENDWRIGHT_GITHUB_PUBLISH", "hold")]).await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    ended(&world, 2).await;
    assert_eq!(world.comments().len(), 2, "{:#?}", world.comments());
    assert_eq!(job(&world).await.state, JobState::Proposed);
    world.end().await;
}

#[tokio::test]
async fn a_base_that_has_gone_on_meanwhile_is_told_and_a_closed_issue_publishes_nothing() {
    let world = held().await;
    let git_dir = world.repository()["git_dir"].as_str().unwrap().to_owned();
    let git = git2::Repository::open(git_dir).unwrap();
    let main = git.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
    let by = git2::Signature::now("grace", "grace@example.com").unwrap();
    git.commit(Some("refs/heads/main"), &by, &by, "Go on\n", &main.tree().unwrap(), &[&main]).unwrap();
    world.github.close_issue(world.issue, "octo-reader").await.unwrap();
    let refused = publish(&world, "octo-maintainer").await;
    assert_eq!(refused, Approval::Refused("the issue is closed".to_owned()));
    world.github.reopen_issue(world.issue, "octo-maintainer").await.unwrap();
    assert!(matches!(publish(&world, "octo-maintainer").await, Approval::Approved(_)));
    ended(&world, 2).await;
    let body = world.pulls()[0]["body"].to_string();
    assert!(body.contains("the base branch moved since"), "{body}");
    world.end().await;
}
