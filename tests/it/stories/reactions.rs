//! That something was seen is shown at once.

use std::time::Instant;

use serde_json::json;

use crate::support::World;

/// The reactions to an issue.
fn reactions(world: &World, number: u64) -> serde_json::Value {
    let repository = world.repository();
    let issues = repository["issues"].as_array().unwrap();
    let issue = issues.iter().find(|issue| issue["number"] == number).unwrap();
    issue["reactions"].as_array().unwrap().iter().map(|reaction| reaction["content"].clone()).collect()
}

#[tokio::test]
async fn with_the_only_worker_busy_a_label_is_seen_at_once_and_still_once_after_a_restart() {
    // Each job's first question, before and after the restart.
    let stalled = json!({"say": "hm", "fault": {"stall": true, "times": 3}});
    let conversation = json!({"model": "scripted-1", "turns": [stalled]});
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the first question", |world| world.provider.requests().len() == 1).await;

    let second = world.github.open_issue("Another", "It fails, too.", "octo-reader").unwrap();
    let third = world.github.open_issue("A third", "It fails, too.", "octo-reader").unwrap();
    let asked = Instant::now();
    world.github.label_issue(second, "agent-fix", "octo-maintainer").await.unwrap();
    world.github.label_issue(third, "agent-fix", "outsider").await.unwrap();
    world.until("the reaction", |world| reactions(world, second) == json!(["eyes"])).await;
    assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
    assert_eq!(world.provider.requests().len(), 1, "nobody works on it yet");
    assert_eq!(reactions(&world, third), json!([]), "who may not ask is not greeted");

    world.kill_service().await;
    let calls = |world: &World| world.github.state()["calls"]["reactions/create-for-issue"].clone();
    let before = calls(&world);
    let address = world.restart_service().await;
    world.github.set_webhook_url(Some(format!("{address}/webhooks/github").parse().unwrap()));
    world.until("the question again", |world| world.provider.requests().len() == 2).await;
    world.github.close_issue(world.issue, "octo-maintainer").await.unwrap();
    world.until("the second job's turn", |world| world.provider.requests().len() == 3).await;
    assert_eq!(calls(&world), before, "it was known to be done");
    world.github.close_issue(second, "octo-maintainer").await.unwrap();
    world.until("all jobs' ends", |world| world.log().matches("job ended").count() == 3).await;
    world.end().await;
}

#[tokio::test]
async fn a_command_s_comment_gets_a_reaction_and_a_stranger_s_does_not() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.github.comment(world.issue, "/agent-fix status", "octo-writer").await.unwrap();
    world.github.comment(world.issue, "/agent-fix status", "outsider").await.unwrap();
    world.until("both answers", |world| world.comments().len() == 4).await;
    let reactions_to = |world: &World, by: &str| {
        let repository = world.repository();
        let comments = repository["issues"][0]["comments"].as_array().unwrap().clone();
        comments.iter().find(|comment| comment["author"] == by).unwrap()["reactions"].clone()
    };
    world.until("the reaction", |world| reactions_to(world, "octo-writer") == json!(["eyes"])).await;
    assert_eq!(reactions_to(&world, "outsider"), json!([]));
    world.end().await;
}
