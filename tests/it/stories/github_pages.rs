//! Lists of more than two hundred entries: GitHub gives a hundred at a time, and the entry that counts is
//! on the third page.

use mendwright_emulator::github::RepositorySource;
use serde_json::{Value, json};

use crate::support::{ISSUE_BODY, ISSUE_TITLE, World};

/// More than two pages.
const MANY: usize = 201;

/// The pages that were requested of lists whose address has this in it.
fn pages(world: &World, list: &str) -> Vec<String> {
    let exchanges = world.exchanges();
    let paths = exchanges.iter().filter(|one| one["method"] == "GET").filter_map(|one| one["path"].as_str());
    paths.filter(|path| path.contains(list)).map(str::to_owned).collect()
}

fn reaches_third_page(world: &World, list: &str) -> bool {
    pages(world, list).iter().any(|path| path.contains("page=3"))
}

async fn admin(world: &World, path: &str, body: Value) {
    let address = format!("{}_emulator/{path}", world.github.url());
    let reply = reqwest::Client::new().post(address).json(&body).send().await.unwrap();
    assert!(reply.status().is_success(), "{path}: {}", reply.status());
}

#[tokio::test]
async fn own_comment_behind_two_hundred_others_is_edited() {
    let mut world = World::new().await;
    for number in 0..MANY {
        world.say(&format!("Me too ({number})"), "octo-reader").await;
    }
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let comments = world.comments();
    assert_eq!(comments.len(), MANY + 1, "one of them is ours");
    assert!(comments[MANY].contains("Draft pull request opened"), "{}", comments[MANY]);
    assert!(reaches_third_page(&world, "/comments?"));
    world.end().await;
}

#[tokio::test]
async fn failed_delivery_before_two_hundred_others_is_requested_again() {
    let mut world = World::new().await;
    // Nobody listens there.
    world.github.set_webhook_url(Some("http://127.0.0.1:9/webhooks/github".parse().unwrap()));
    world.label("octo-maintainer").await;
    for number in 0..MANY {
        world.github.open_issue(&format!("Another ({number})"), "", "octo-reader").unwrap();
    }
    world.github.deliveries_settled().await;
    world.start_service_reconciling("3600").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 1);
    let deliveries = world.github.state()["deliveries"].as_array().unwrap().clone();
    assert!(deliveries.iter().any(|one| one["redelivery"] == true && one["action"] == "labeled"));
    assert_eq!(pages(&world, "/app/hook/deliveries?").len(), 3);
    world.end().await;
}

#[tokio::test]
async fn label_in_the_last_of_two_hundred_repositories_is_found() {
    let mut world = World::new().await;
    let readme = [("README.md".to_owned(), b"# Nothing\n".to_vec())];
    for number in 1..MANY {
        let name = format!("octo-org/n{number}");
        world.github.add_repository(&name, RepositorySource::Files(&readme)).unwrap();
    }
    let source = world.directory.path().join("source");
    world.github.add_repository("octo-org/last", RepositorySource::Path(&source)).unwrap();
    let issue = json!({"title": ISSUE_TITLE, "body": ISSUE_BODY, "labels": ["agent-fix"]});
    admin(&world, "issues?repository=octo-org/last", issue).await;
    world.start_service_reconciling("1").await;
    world.jobs_ended(1).await;
    let last = world.github.state()["repositories"][MANY].clone();
    assert_eq!((&last["full_name"], last["pulls"].as_array().unwrap().len()), (&json!("octo-org/last"), 1));
    assert!(reaches_third_page(&world, "/installation/repositories?"));
    world.end().await;
}

#[tokio::test]
async fn labelled_issue_behind_two_hundred_others_is_found() {
    let mut world = World::new().await;
    // This person has no write access, so each of the jobs is declined.
    for number in 0..=MANY {
        let issue =
            json!({"title": format!("Another ({number})"), "labels": ["agent-fix"], "by": "outsider"});
        admin(&world, "issues", issue).await;
    }
    world.start_service_reconciling("1").await;
    world.jobs_created(MANY as i64 + 1).await;
    assert!(reaches_third_page(&world, "/issues?"));
    world.end().await;
}

#[tokio::test]
async fn unchanged_list_is_answered_with_304() {
    let mut world = World::new().await;
    world.start_service_reconciling("1").await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let statuses = |world: &World| -> Vec<Value> {
        let exchanges = world.exchanges();
        let lists = exchanges
            .iter()
            .filter(|one| one["path"].as_str().is_some_and(|path| path.contains("/issues?labels=")));
        lists.map(|one| one["status"].clone()).collect()
    };
    let is_last = |world: &World, status: u16| statuses(world).last() == Some(&json!(status));
    world.until("an unchanged list", |world| is_last(world, 304)).await;
    let before = statuses(&world).len();
    world.say("Thank you", "octo-reader").await;
    let is_changed = |world: &World| statuses(world)[before..].contains(&json!(200));
    world.until("the list with its change", is_changed).await;
    world.until("an unchanged list again", |world| is_last(world, 304)).await;
    world.end().await;
}
