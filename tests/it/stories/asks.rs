//! Commands in comments: who may give them, what each does, and that each is answered once.

use std::time::Instant;

use mendwright_emulator::github::{FaultKind, FaultRule};
use serde_json::json;

use crate::support::World;

/// A model that never comes to an end of its answer.
fn stalls() -> serde_json::Value {
    json!({"model": "scripted-1", "turns": [{"say": "hm", "fault": {"stall": true}}]})
}

async fn say(world: &World, body: &str, by: &str) {
    world.github.comment(world.issue, body, by).await.unwrap();
}

/// Our answers on the issue, without their hidden first line.
fn answers(world: &World) -> Vec<String> {
    let comments = world.comments();
    let ours = |comment: &String| {
        let (first, rest) = comment.split_once('\n')?;
        let is_answer = first.contains("mendwright:answer:") || first.contains("mendwright:refused:");
        is_answer.then(|| rest.trim().to_owned())
    };
    comments.iter().filter_map(ours).collect()
}

async fn answered(world: &World, times: usize) -> String {
    world.until("an answer", |world| answers(world).len() == times).await;
    answers(world).pop().unwrap()
}

/// Commands that have come to an end, by the log.
fn carried(world: &World) -> usize {
    world.log().lines().filter(|line| line.contains("result=") || line.contains("\"result\"")).count()
}

#[tokio::test]
async fn a_writer_s_command_begins_work_without_the_label_and_is_answered_once() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    say(&world, "I can see it, too.\n\n/agent-fix", "octo-writer").await;
    let guid = world.github.state()["deliveries"].as_array().unwrap().last().unwrap()["guid"].clone();
    world.github.redeliver(guid.as_str().unwrap()).await.unwrap();
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert_eq!(answers(&world), ["Working on it. A comment on the issue shows the progress."]);

    say(&world, "/agent-fix status", "octo-writer").await;
    let told = answered(&world, 2).await;
    assert!(told.contains("Done: draft pull request #2. Spent: 3 turns"), "{told}");
    let number = world.pulls()[0]["number"].as_u64().unwrap();
    world.github.comment(number, "/agent-fix explain", "octo-maintainer").await.unwrap();
    let on_pull = |world: &World| world.repository()["pulls"][0]["comments"].to_string();
    world.until("an answer there", |world| on_pull(world).contains("mendwright:answer:")).await;
    assert!(on_pull(&world).contains("The last verdict: verified."), "{}", on_pull(&world));
    world.end().await;
}

#[tokio::test]
async fn stop_is_heard_while_the_only_worker_is_busy() {
    let mut world = World::of("fix", Some(stalls())).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the first question", |world| world.provider.requests().len() == 1).await;
    say(&world, "/agent-fix", "octo-writer").await;
    assert!(answered(&world, 1).await.contains("A job for this issue is already running"));
    let asked = Instant::now();
    say(&world, "/agent-fix stop", "octo-writer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert!(asked.elapsed().as_secs() < 10, "{:?}", asked.elapsed());
    assert_eq!(answered(&world, 2).await, "Stopping. Nothing more will be spent.");
    assert!(world.comments().concat().contains("asked for it"), "{:#?}", world.comments());
    say(&world, "/agent-fix stop", "octo-writer").await;
    assert_eq!(answered(&world, 3).await, "No job is running here.");
    world.end().await;
}

#[tokio::test]
async fn who_may_not_write_is_told_once_and_begins_nothing() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    for command in ["/agent-fix", "/agent-fix stop", "/agent-fix publish"] {
        say(&world, command, "octo-triager").await;
    }
    say(&world, "/agent-fix", "ci-helper[bot]").await;
    world.until("four commands", |world| carried(world) == 4).await;
    let told = answers(&world);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("`octo-triager`") && told[0].contains("needs write access"), "{told:?}");
    assert!(world.provider.requests().is_empty() && world.pulls().is_empty());
    assert!(!world.log().contains("job claimed"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn what_is_quoted_edited_or_unknown_begins_nothing() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    say(&world, "> /agent-fix\n\nWhat would that do?", "octo-maintainer").await;
    say(&world, "/agent-fix it please", "octo-maintainer").await;
    let told = answered(&world, 1).await;
    assert!(told.starts_with("Unknown command `it`. Available commands:"), "{told}");
    assert!(world.provider.requests().is_empty());
    say(&world, "/agent-fix explain", "octo-maintainer").await;
    assert!(answered(&world, 2).await.contains("no job for this issue yet"));
    world.end().await;
}

#[tokio::test]
async fn an_answer_whose_success_was_not_heard_is_not_given_twice() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    let rule = |kind| FaultRule { method: Some("POST".into()), path: "/comments$".into(), times: 1, kind };
    world.github.inject_fault(rule(FaultKind::DropAfter)).unwrap();
    say(&world, "/agent-fix help", "octo-maintainer").await;
    world.until("the command's end", |world| carried(world) == 1).await;
    assert_eq!(answers(&world).len(), 1, "{:#?}", world.comments());
    let limited = FaultKind::Status {
        status: 403,
        headers: vec![("retry-after".into(), "2".into())],
        message: Some("You have exceeded a secondary rate limit".into()),
    };
    world.github.inject_fault(rule(limited)).unwrap();
    say(&world, "/agent-fix status", "octo-maintainer").await;
    world.until("the wait", |world| world.log().contains("command deferred")).await;
    world.kill_service().await;
    world.start_service().await;
    assert!(answered(&world, 2).await.contains("no job for this issue yet"));
    world.end().await;
}

#[tokio::test]
async fn what_is_held_back_goes_out_by_a_command() {
    let mut world = World::with("fix", None, &[(".github/agent-fix.yml", "publish: hold\n")]).await;
    world.start_service().await;
    say(&world, "/agent-fix publish", "octo-writer").await;
    assert_eq!(answered(&world, 1).await, "No change is waiting for approval here.");
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert!(world.pulls().is_empty());
    say(&world, "/agent-fix publish", "octo-writer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    assert!(answered(&world, 2).await.starts_with("Publishing the change exactly as shown"));
    world.until("the job's end", |world| world.log().matches("job ended").count() == 2).await;
    world.end().await;
}
