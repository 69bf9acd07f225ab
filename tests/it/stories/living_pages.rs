//! Lists of more than two hundred entries: GitHub gives a hundred at a time, and what counts is on the
//! third page.

use mendwright::demo::scenario::Scenario;
use mendwright_emulator::github::RepositorySource;
use serde_json::{Value, json};

use crate::support::World;

/// More than two pages.
const MANY: usize = 201;

/// The pages that were asked for, of lists whose address has this in it.
fn pages(world: &World, list: &str) -> Vec<String> {
    let exchanges = world.exchanges();
    let paths = exchanges.iter().filter(|one| one["method"] == "GET").filter_map(|one| one["path"].as_str());
    paths.filter(|path| path.contains(list)).map(str::to_owned).collect()
}

async fn admin(world: &World, path: &str, body: Value) -> Value {
    let address = format!("{}_emulator/{path}", world.github.url());
    let reply = reqwest::Client::new().post(address).json(&body).send().await.unwrap();
    assert!(reply.status().is_success(), "{path}: {}", reply.status());
    reply.json().await.unwrap()
}

async fn ended(world: &World, jobs: usize) {
    world.until("the jobs' end", |world| world.log().matches("job ended").count() == jobs).await;
}

#[tokio::test]
async fn our_comment_behind_two_hundred_others_is_found_and_edited() {
    let mut world = World::of("fix", None).await;
    for number in 0..MANY {
        world.github.comment(world.issue, &format!("Me too ({number})"), "octo-reader").await.unwrap();
    }
    world.start_service().await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    let comments = world.comments();
    assert_eq!(comments.len(), MANY + 1, "one of them is ours");
    assert!(comments[MANY].contains("Draft pull request opened"), "{}", comments[MANY]);
    assert!(pages(&world, "/comments?").iter().any(|path| path.contains("page=3")));
    world.end().await;
}

#[tokio::test]
async fn a_delivery_that_failed_before_two_hundred_others_is_asked_for_again() {
    let mut world = World::of("fix", None).await;
    // Nobody listens there.
    world.github.set_webhook_url(Some("http://127.0.0.1:9/webhooks/github".parse().unwrap()));
    world.label("octo-maintainer").await;
    for number in 0..MANY {
        world.github.open_issue(&format!("Another ({number})"), "", "octo-reader").unwrap();
    }
    world.github.deliveries_settled().await;
    world.start_service_reconciling("3600").await;
    ended(&world, 1).await;
    assert_eq!(world.pulls().len(), 1);
    assert!(world.log().contains("redelivery requested"), "{}", world.log());
    assert_eq!(pages(&world, "/app/hook/deliveries?").len(), 3);
    world.end().await;
}

#[tokio::test]
async fn a_label_in_the_last_of_two_hundred_repositories_is_found() {
    let mut world = World::of("fix", None).await;
    let nothing = [("README.md".to_owned(), b"# Nothing\n".to_vec())];
    for number in 1..MANY {
        world
            .github
            .add_repository(&format!("octo-org/n{number}"), RepositorySource::Files(&nothing))
            .unwrap();
    }
    let source = world.directory.path().join("source");
    world.github.add_repository("octo-org/last", RepositorySource::Path(&source)).unwrap();
    let scenario = Scenario::by_name("fix").unwrap();
    let issue = json!({"title": scenario.issue_title, "body": scenario.issue_body, "labels": ["agent-fix"]});
    admin(&world, "issues?repository=octo-org/last", issue).await;
    world.start_service_reconciling("1").await;
    ended(&world, 1).await;
    let last = world.github.state()["repositories"][MANY].clone();
    assert_eq!((&last["full_name"], last["pulls"].as_array().unwrap().len()), (&json!("octo-org/last"), 1));
    assert!(pages(&world, "/installation/repositories?").iter().any(|path| path.contains("page=3")));
    world.end().await;
}

#[tokio::test]
async fn an_issue_behind_two_hundred_others_with_the_label_is_found() {
    let mut world = World::of("fix", None).await;
    // Nobody may ask for those.
    for number in 0..=MANY {
        let issue =
            json!({"title": format!("Another ({number})"), "labels": ["agent-fix"], "by": "outsider"});
        admin(&world, "issues", issue).await;
    }
    world.start_service_reconciling("1").await;
    let found = "missed label recovered";
    world.until("each is found", |world| world.log().matches(found).count() == MANY + 1).await;
    assert!(pages(&world, "/issues?").iter().any(|path| path.contains("page=3")));
    world.end().await;
}

#[tokio::test]
async fn a_list_that_has_not_changed_is_not_said_again() {
    let mut world = World::of("fix", None).await;
    world.start_service_reconciling("1").await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    let told = |world: &World| {
        let exchanges = world.exchanges();
        let listed = |one: &&Value| one["path"].as_str().is_some_and(|path| path.contains("/issues?labels="));
        exchanges.iter().rfind(listed).map(|one| one["status"].clone())
    };
    world.until("a list that is not said again", |world| told(world) == Some(json!(304))).await;
    world.github.comment(world.issue, "Thank you", "octo-reader").await.unwrap();
    world.until("the list with its change", |world| told(world) == Some(json!(200))).await;
    world.until("a list that is not said again", |world| told(world) == Some(json!(304))).await;
    world.end().await;
}
