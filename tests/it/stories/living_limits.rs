//! GitHub's rate limits: met once for all jobs of an installation, waited for in the store, and kept to
//! before they are met.

use jiff::Timestamp;
use mendwright_emulator::github::{FaultKind, FaultRule};
use serde_json::Value;

use crate::support::World;

const SPACED: [(&str, &str); 2] =
    [("MENDWRIGHT_GITHUB_SECONDS_BETWEEN_WRITES", "1"), ("MENDWRIGHT_SERVER_WORKERS", "2")];

fn limited(seconds: u32) -> FaultKind {
    FaultKind::Status {
        status: 403,
        headers: vec![("retry-after".into(), seconds.to_string())],
        message: Some("You have exceeded a secondary rate limit. Please wait a few minutes.".into()),
    }
}

fn once(method: &str, path: &str, kind: FaultKind) -> FaultRule {
    FaultRule { method: Some(method.into()), path: path.into(), times: 1, kind }
}

fn at(exchange: &Value) -> Timestamp {
    exchange["at"].as_str().unwrap().parse().unwrap()
}

/// Those that need a token of the installation.
fn for_the_installation(exchanges: &[Value]) -> Vec<&Value> {
    let path = |exchange: &Value| exchange["path"].as_str().unwrap_or_default().to_owned();
    let counts = |path: &str| path.starts_with("/repos") || path.starts_with("/installation/");
    exchanges.iter().filter(|exchange| counts(&path(exchange))).collect()
}

async fn ended(world: &World, jobs: usize) {
    world.until("the jobs' end", |world| world.log().matches("job ended").count() == jobs).await;
}

#[tokio::test]
async fn a_limit_that_is_met_is_kept_to_by_all_jobs_and_over_a_restart() {
    let mut world = World::of("fix", None).await;
    world.start_service_reconciling("1").await;
    world.github.inject_fault(once("POST", "/pulls$", limited(6))).unwrap();
    world.label("octo-maintainer").await;
    world.until("the pause", |world| world.log().contains("job put back")).await;
    let refused = world.exchanges().iter().rfind(|one| one["status"] == 403).map(at).unwrap();
    world.kill_service().await;
    world.start_service_reconciling("1").await;
    // Another job of the same installation waits, too.
    let other = world.github.open_issue("Another", "It is broken, too", "octo-reader").unwrap();
    world.github.label_issue(other, "agent-fix", "octo-reader").await.unwrap();
    ended(&world, 2).await;

    let exchanges = world.exchanges();
    let next = for_the_installation(&exchanges).into_iter().map(at).find(|time| *time > refused).unwrap();
    let waited = next.duration_since(refused);
    assert!(waited.as_millis() >= 5_900, "{waited:?}");
    assert_eq!((world.pulls().len(), world.comments().len()), (1, 1), "{:#?}", world.comments());
    assert_eq!(world.provider.requests().len(), 3, "no answer of the model was paid for twice");
    world.end().await;
}

#[tokio::test]
async fn the_last_request_of_the_hour_is_not_followed_by_another() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    world.until("the first round", |world| world.github.state()["calls"]["issues/list-for-repo"] == 1).await;
    world.github.set_rate_limit(5_000, 4_996, std::time::Duration::from_secs(6));
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    assert_eq!(world.pulls().len(), 1);
    let refused = world.exchanges().iter().filter(|one| one["status"] == 403).count();
    assert_eq!(refused, 0, "GitHub had to refuse");
    assert!(world.log().contains("GitHub's rate limit"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn what_is_written_for_one_installation_is_a_second_apart_and_the_first_is_not_waited_for() {
    let mut world = World::of("fix", None).await;
    world.start_service_with_environment(&SPACED).await;
    let labelled = Timestamp::now();
    world.label("octo-maintainer").await;
    let other = world.github.open_issue("Another", "It is broken, too", "octo-reader").unwrap();
    world.github.label_issue(other, "agent-fix", "octo-reader").await.unwrap();
    world.until("the first question", |world| !world.provider.requests().is_empty()).await;
    let asked = Timestamp::now().duration_since(labelled);
    ended(&world, 2).await;

    let exchanges = world.exchanges();
    let writes: Vec<&Value> =
        for_the_installation(&exchanges).into_iter().filter(|one| one["method"] != "GET").collect();
    let reacts = |one: &&&Value| one["path"].as_str().unwrap().ends_with("/reactions");
    let first = writes.iter().find(reacts).map(|one| at(one)).unwrap();
    assert!(first.duration_since(labelled).as_millis() < 1_000, "the reaction waited");
    let spaced: Vec<Timestamp> = writes.iter().filter(|one| !reacts(one)).map(|one| at(one)).collect();
    assert!(spaced.len() >= 10, "{writes:#?}");
    for pair in spaced.windows(2) {
        // The times are taken when the answer is ready, which a busy machine shifts.
        assert!(pair[1].duration_since(pair[0]).as_millis() >= 500, "{pair:?}\n{writes:#?}");
    }
    let all = spaced[spaced.len() - 1].duration_since(spaced[0]).as_millis();
    assert!(all >= (spaced.len() as i128 - 1) * 1_000 - 500, "{all} ms\n{writes:#?}");
    assert!(asked.as_secs() < 5, "the work waited for what is told: {asked:?}");
    world.end().await;
}
