//! What stops a job: each within ten seconds, and told on the issue where there is still one.

use std::time::Instant;

use mendwright_emulator::github::RepositorySource;
use serde_json::json;

use crate::support::World;

/// A world whose model was asked and does not answer.
async fn at_work() -> World {
    let conversation = json!({"model": "scripted-1", "turns": [{"say": "hm", "fault": {"stall": true}}]});
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the first question", |world| world.provider.requests().len() == 1).await;
    world
}

/// The job ends within ten seconds of `since`, and nothing is proposed.
async fn stopped(world: &World, since: Instant) {
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert!(since.elapsed().as_secs() < 10, "{:?}", since.elapsed());
    assert!(world.log().contains("Cancelled"), "{}", world.log());
}

#[tokio::test]
async fn closing_the_issue_stops_the_work() {
    let world = at_work().await;
    let asked = Instant::now();
    world.github.close_issue(world.issue, "octo-writer").await.unwrap();
    stopped(&world, asked).await;
    assert!(world.comments().concat().contains("the issue was closed by"), "{:#?}", world.comments());
    world.end().await;
}

#[tokio::test]
async fn deleting_the_issue_stops_the_work_though_nothing_can_be_said_there() {
    let world = at_work().await;
    let asked = Instant::now();
    world.github.delete_issue(world.issue, "octo-maintainer").await.unwrap();
    stopped(&world, asked).await;
    assert!(world.log().contains("the issue was deleted by @octo-maintainer"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn transferring_the_issue_stops_the_work_and_the_other_repository_is_left_alone() {
    let world = at_work().await;
    let files = [("README.md".to_owned(), b"other\n".to_vec())];
    world.github.add_repository("octo-org/other", RepositorySource::Files(&files)).unwrap();
    let asked = Instant::now();
    let new = world.github.transfer_issue(world.issue, "octo-maintainer").await.unwrap();
    stopped(&world, asked).await;
    let other = world.github.state()["repositories"][1].clone();
    let moved = other["issues"].as_array().unwrap().iter().find(|issue| issue["number"] == new).unwrap();
    assert_eq!(moved["comments"], json!([]), "{moved:#}");
    world.end().await;
}

#[tokio::test]
async fn closing_the_pull_request_of_its_branch_stops_the_work() {
    let world = at_work().await;
    let branch = "agent-fix/issue-1";
    world.github.push_branch(branch, "notes.txt", "octo-writer").await.unwrap();
    let number = world.github.open_pull_request(branch, "Mine", "", "octo-writer").await.unwrap();
    let asked = Instant::now();
    world.github.close_issue(number, "octo-writer").await.unwrap();
    stopped(&world, asked).await;
    let said = world.comments().concat();
    assert!(said.contains("Cancelled: the pull request"), "{number}: {said}");
    world.end().await;
}

#[tokio::test]
async fn deleting_its_branch_stops_the_work() {
    let world = at_work().await;
    let branch = "agent-fix/issue-1";
    world.github.push_branch(branch, "notes.txt", "octo-writer").await.unwrap();
    let asked = Instant::now();
    world.github.delete_branch(branch, "octo-writer").await.unwrap();
    stopped(&world, asked).await;
    let said = world.comments().concat();
    assert!(said.contains("was deleted by") && said.contains(branch), "{said}");
    world.end().await;
}

#[tokio::test]
async fn other_branches_and_pull_requests_that_end_stop_nothing() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.github.push_branch("agent-fix/issue-2", "notes.txt", "octo-writer").await.unwrap();
    world.github.push_branch("feature", "notes.txt", "octo-writer").await.unwrap();
    let number = world.github.open_pull_request("feature", "Mine", "", "octo-writer").await.unwrap();
    world.label("octo-maintainer").await;
    world.github.close_issue(number, "octo-writer").await.unwrap();
    world.github.delete_branch("agent-fix/issue-2", "octo-writer").await.unwrap();
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert_eq!(world.pulls().len(), 2, "{}", world.log());

    // Of a job that has ended there is nothing to stop, and nothing to say.
    let ours = world.pulls().iter().find(|pull| pull["number"] != number).unwrap()["number"].clone();
    let before = world.comments();
    world.github.close_issue(ours.as_u64().unwrap(), "octo-writer").await.unwrap();
    world.github.delete_branch("agent-fix/issue-1", "octo-writer").await.unwrap();
    let answers = world.github.state()["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .take(2)
        .cloned()
        .collect::<Vec<_>>();
    assert!(answers.iter().all(|delivery| delivery["status_code"] == 202), "{answers:#?}");
    assert_eq!(world.comments(), before);
    world.end().await;
}
