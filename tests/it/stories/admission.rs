//! What is not begun, and is said once.

use crate::support::World;

/// The label is put on, and the job ends without a word to the model; what the issue says of it.
async fn refused(world: &World) -> String {
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert!(world.provider.requests().is_empty(), "the model was asked");
    let said = world.comments();
    assert!(said.len() <= 1, "it is said once: {said:#?}");
    said.concat()
}

#[tokio::test]
async fn an_issue_that_an_open_pull_request_fixes_is_left_to_it() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.github.push_branch("mine", "notes.txt", "octo-writer").await.unwrap();
    let body = "A start.\n\nResolves #1";
    let number = world.github.open_pull_request("mine", "Mine", body, "octo-writer").await.unwrap();
    let said = refused(&world).await;
    let first = said.lines().find(|line| line.starts_with("###")).unwrap_or_default();
    insta::assert_snapshot!(first, @"### Called off: the open pull request ＃2 by `octo-writer` fixes this issue already; close it, or remove its link to the issue, to start work here");
    assert_eq!(world.pulls().len(), 1);

    // Once it is closed, the issue can be tried.
    world.github.close_issue(number, "octo-writer").await.unwrap();
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-maintainer").await.unwrap();
    world.label("octo-maintainer").await;
    world.until("a second pull request", |world| world.pulls().len() == 2).await;
    world.until("the second job's end", |world| world.log().matches("job ended").count() == 2).await;
    world.end().await;
}

#[tokio::test]
async fn a_pull_request_that_only_speaks_of_the_issue_is_not_in_the_way() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.github.push_branch("mine", "notes.txt", "octo-writer").await.unwrap();
    world.github.open_pull_request("mine", "Mine", "See #1, fixes #12", "octo-writer").await.unwrap();
    world.label("octo-maintainer").await;
    world.until("the draft", |world| world.pulls().len() == 2).await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.end().await;
}

#[tokio::test]
async fn a_server_that_does_not_know_what_closes_an_issue_is_no_obstacle() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    let unknown = mendwright_emulator::github::FaultRule {
        method: Some("POST".into()),
        path: "^/graphql$".into(),
        times: 1,
        kind: mendwright_emulator::github::FaultKind::Status {
            status: 404,
            headers: Vec::new(),
            message: None,
        },
    };
    world.github.inject_fault(unknown).unwrap();
    world.label("octo-maintainer").await;
    world.until("the draft", |world| world.pulls().len() == 1).await;
    assert!(
        world.log().contains("it is not known whether a pull request fixes the issue"),
        "{}",
        world.log()
    );
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.end().await;
}

#[tokio::test]
async fn a_locked_issue_is_left_alone() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.github.lock_issue(world.issue, "octo-maintainer").unwrap();
    // An App may not comment there; the log has the reason.
    refused(&world).await;
    assert!(world.log().contains("the issue is locked"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn an_archived_repository_is_left_alone() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.github.archive();
    refused(&world).await;
    assert!(world.log().contains("the repository is archived"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn a_repository_that_may_not_use_the_service_is_ignored_without_a_word_there() {
    let mut world = World::of("fix", None).await;
    world.start_service_for_repositories("octo-org/other", "1").await;
    world.label("octo-maintainer").await;
    world.github.comment(world.issue, "/agent-fix", "octo-maintainer").await.unwrap();
    // Reconciliation finds the label, too, were it to look.
    world
        .until("rounds", |world| {
            world.github.state()["calls"]["apps/list-repos-accessible-to-installation"].as_u64() >= Some(4)
        })
        .await;
    assert!(world.log().contains("may not use this service"), "{}", world.log());
    assert!(!world.log().contains("job claimed"), "{}", world.log());
    assert_eq!(world.comments().len(), 1, "only the command itself");
    assert_eq!(world.repository()["issues"][0]["reactions"], serde_json::json!([]));
    world.end().await;
}

#[tokio::test]
async fn a_job_whose_repository_may_no_longer_use_the_service_ends_without_a_word_there() {
    let stalled = serde_json::json!({"say": "hm", "fault": {"stall": true}});
    let conversation = serde_json::json!({"model": "scripted-1", "turns": [stalled, stalled]});
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the first question", |world| world.provider.requests().len() == 1).await;
    world.kill_service().await;
    let before = world.comments().len();
    world.start_service_for_repositories("octo-org/other", "300").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert_eq!(world.comments().len(), before);
    assert_eq!(world.provider.requests().len(), 1);
    world.end().await;
}
