//! GitHub's rate limits: a limit holds for all jobs of an installation and over a restart, and is
//! respected before it is met.

use jiff::Timestamp;
use mendwright_emulator::github::FaultKind;
use serde_json::Value;

use crate::support::World;

const SPACED: [(&str, &str); 2] =
    [("MENDWRIGHT_GITHUB_SECONDS_BETWEEN_WRITES", "1"), ("MENDWRIGHT_SERVER_WORKERS", "2")];

/// The write that is sent without waiting for others.
const REACTIONS: &str = "/reactions";

fn limited(seconds: u32) -> FaultKind {
    FaultKind::Status {
        status: 403,
        headers: vec![("retry-after".into(), seconds.to_string())],
        message: Some("You have exceeded a secondary rate limit. Please wait a few minutes.".into()),
    }
}

fn at(exchange: &Value) -> Timestamp {
    exchange["at"].as_str().unwrap().parse().unwrap()
}

fn path(exchange: &Value) -> &str {
    exchange["path"].as_str().unwrap_or_default()
}

/// Those that need a token of the installation.
fn for_the_installation(exchanges: &[Value]) -> Vec<&Value> {
    let needs_token =
        |one: &&Value| path(one).starts_with("/repos") || path(one).starts_with("/installation/");
    exchanges.iter().filter(needs_token).collect()
}

#[tokio::test]
async fn rate_limit_holds_for_all_jobs_and_over_a_restart() {
    let mut world = World::new().await;
    world.start_service_reconciling("1").await;
    world.fail_once("POST", "/pulls$", limited(6));
    world.label("octo-maintainer").await;
    world.job_postponed().await;
    let refused = world.exchanges().iter().rfind(|one| one["status"] == 403).map(at).unwrap();
    world.kill_service().await;
    world.start_service_reconciling("1").await;
    // Another job of the same installation waits, too.
    let other = world.github.open_issue("Another", "It is broken, too", "octo-reader").unwrap();
    world.github.label_issue(other, "agent-fix", "octo-reader").await.unwrap();
    world.jobs_ended(2).await;

    let exchanges = world.exchanges();
    let next = for_the_installation(&exchanges).into_iter().map(at).find(|time| *time > refused).unwrap();
    let waited = next.duration_since(refused);
    assert!(waited.as_millis() >= 5_900, "{waited:?}");
    assert_eq!((world.pulls().len(), world.comments().len()), (1, 1), "{:#?}", world.comments());
    assert_eq!(world.provider.request_count(), 3, "an answer of the model was paid for twice");
    world.end().await;
}

#[tokio::test]
async fn last_request_of_the_hour_is_not_followed_by_another() {
    let mut world = World::new().await;
    world.start_service().await;
    world.until("the first round", |world| world.calls("issues/list-for-repo") == 1).await;
    world.github.set_rate_limit(5_000, 4_996, std::time::Duration::from_secs(6));
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 1);
    let refused = world.exchanges().iter().filter(|one| one["status"] == 403).count();
    assert_eq!(refused, 0, "GitHub had to refuse");
    assert!(world.claims().await > 1, "the job did not wait: {}", world.log());
    world.end().await;
}

#[tokio::test]
async fn writes_of_an_installation_are_a_second_apart_after_the_first_reaction() {
    let mut world = World::new().await;
    world.start_service_with_environment(&SPACED).await;
    world.label("octo-maintainer").await;
    let other = world.github.open_issue("Another", "It is broken, too", "octo-reader").unwrap();
    world.github.label_issue(other, "agent-fix", "octo-reader").await.unwrap();
    world.jobs_ended(2).await;

    let exchanges = world.exchanges();
    let writes: Vec<&Value> =
        for_the_installation(&exchanges).into_iter().filter(|one| one["method"] != "GET").collect();
    assert!(path(writes[0]).ends_with(REACTIONS), "the reaction waited: {:#?}", writes[0]);
    let spaced: Vec<Timestamp> =
        writes.iter().filter(|one| !path(one).ends_with(REACTIONS)).map(|one| at(one)).collect();
    assert!(spaced.len() >= 10, "{writes:#?}");
    // A busy machine makes the pauses longer, and never shorter: the service waits between its requests.
    let all = spaced[spaced.len() - 1].duration_since(spaced[0]).as_millis();
    assert!(all >= (spaced.len() as i128 - 1) * 1_000 - 500, "{all} ms\n{writes:#?}");
    world.end().await;
}
