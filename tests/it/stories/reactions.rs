//! A reaction shows that a request was seen, before anything else is done.

use serde_json::{Value, json};

use crate::support::{World, conversation};

/// The reactions to an issue.
fn reactions(world: &World, number: u64) -> Value {
    let repository = world.repository();
    let issues = repository["issues"].as_array().unwrap();
    let issue = issues.iter().find(|issue| issue["number"] == number).unwrap();
    issue["reactions"].as_array().unwrap().iter().map(|reaction| reaction["content"].clone()).collect()
}

#[tokio::test]
async fn label_while_the_only_worker_is_busy_gets_a_reaction_once() {
    // Each job's first question stalls, before and after the restart.
    let stalled = conversation().turn("hm").fault(json!({"stall": true, "times": 3}));
    let mut world = World::scripted(stalled).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(1).await;

    let second = world.github.open_issue("Another", "It fails, too.", "octo-reader").unwrap();
    let third = world.github.open_issue("A third", "It fails, too.", "octo-reader").unwrap();
    world.github.label_issue(second, "agent-fix", "octo-maintainer").await.unwrap();
    world.github.label_issue(third, "agent-fix", "outsider").await.unwrap();
    // The model never answers, so the worker does not come to the second job before the reaction.
    world.until("the reaction", |world| reactions(world, second) == json!(["eyes"])).await;
    assert_eq!(world.provider.request_count(), 1, "the second job has begun");
    assert_eq!(reactions(&world, third), json!([]), "a label without write access got a reaction");

    world.jobs_acknowledged(2).await;
    world.kill_service().await;
    let before = world.calls("reactions/create-for-issue");
    let address = world.restart_service().await;
    world.github.set_webhook_url(Some(format!("{address}/webhooks/github").parse().unwrap()));
    world.model_asked(2).await;
    world.github.close_issue(world.issue, "octo-maintainer").await.unwrap();
    world.model_asked(3).await;
    assert_eq!(world.calls("reactions/create-for-issue"), before, "the reaction was sent again");
    world.github.close_issue(second, "octo-maintainer").await.unwrap();
    world.jobs_ended(3).await;
    world.end().await;
}

#[tokio::test]
async fn command_of_a_writer_gets_a_reaction_and_one_of_a_stranger_does_not() {
    let mut world = World::new().await;
    world.start_service().await;
    world.say("/agent-fix status", "octo-writer").await;
    world.say("/agent-fix status", "outsider").await;
    world.until("both answers", |world| world.comments().len() >= 4).await;
    let reactions_to = |world: &World, by: &str| {
        let repository = world.repository();
        let comments = repository["issues"][0]["comments"].as_array().unwrap().clone();
        comments.iter().find(|comment| comment["author"] == by).unwrap()["reactions"].clone()
    };
    world.until("the reaction", |world| reactions_to(world, "octo-writer") == json!(["eyes"])).await;
    assert_eq!(reactions_to(&world, "outsider"), json!([]));
    world.end().await;
}
