//! What may be spent in a day holds for jobs that have not begun, for models without a price, and
//! for services that are killed while a call is under way.

use jiff::Timestamp;
use mendwright::domain::{
    DailyCap, DailyCaps, EscalationReason, Job, JobOutcome, TranscriptEvent, WorstCase,
};
use mendwright::store::{SqliteStore, Store};
use serde_json::{Value, json};

use crate::support::World;

/// Lines for the section `[model]`, and the beginning of the next.
const PRICED: &str = "price = { input = 100, output = 100 }\n[budget]\nusd = 1000\n";

/// The one job.
async fn job(store: &SqliteStore) -> Job {
    store.jobs(1).await.unwrap().remove(0)
}

/// Dollars that the store counts of the repository's day.
async fn used(world: &World) -> f64 {
    let store = SqliteStore::open(&world.directory.path().join("data/mendwright.sqlite")).await.unwrap();
    let caps = DailyCaps { repository: DailyCap { usd: Some(0.01), tokens: None }, ..DailyCaps::default() };
    let much = WorstCase { input_tokens: 1, output_tokens: 1, usd: Some(1e6) };
    let full =
        store.fits_daily_caps(&job(&store).await, much, &caps, Timestamp::now()).await.unwrap().unwrap_err();
    store.close().await;
    full.used.trim_start_matches('$').parse().unwrap()
}

/// The comments, when the job has ended without a pull request.
async fn ended(world: &World) -> String {
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert!(world.pulls().is_empty());
    world.comments().join("\n")
}

#[tokio::test]
async fn a_job_that_finds_no_room_is_not_begun_and_the_issue_says_what_to_do() {
    for (lines, words) in [
        (format!("{PRICED}repository_usd_per_day = 0.05\n"), "budget.repository_usd_per_day"),
        (format!("{PRICED}installation_usd_per_day = 0.05\n"), "budget.installation_usd_per_day"),
        ("[budget]\nrepository_tokens_per_day = 1000\n".to_owned(), "budget.repository_tokens_per_day"),
    ] {
        let mut world = World::of("fix", None).await;
        world.start_service_with(&lines).await;
        world.label("octo-maintainer").await;
        let said = ended(&world).await;
        assert!(said.contains("budget exhausted") && said.contains(words), "{said}");
        assert!(said.contains("more than the whole"), "{said}");
        assert!(world.provider.requests().is_empty(), "the model was asked");
        assert!(!world.directory.path().join("data/mirrors").exists(), "the repository was cloned");
        world.end().await;
    }
}

#[tokio::test]
async fn killed_during_a_call_it_counts_as_its_worst_case_and_the_cap_still_holds() {
    let mut conversation: Value =
        serde_json::from_str(mendwright::demo::scenario::Scenario::by_name("fix").unwrap().conversation)
            .unwrap();
    conversation["turns"][2]["fault"] = json!({"stall": true, "times": 9});
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service_with(PRICED).await;
    world.label("octo-maintainer").await;
    world.until("the third question", |world| world.provider.requests().len() == 3).await;
    world.kill_service().await;
    let answered: f64 = world
        .transcript()
        .await
        .iter()
        .filter_map(|recorded| recorded.event.cost().and_then(|cost| cost.usd))
        .sum();
    let used = used(&world).await;
    // 4096 tokens of output at least, at $100 for a million.
    assert!(used > answered + 0.4096, "used {used}, answered {answered}");

    // What is left is not enough for another call.
    world.start_service_with(&format!("{PRICED}repository_usd_per_day = {}\n", used + 0.1)).await;
    let said = ended(&world).await;
    assert!(said.contains("budget.repository_usd_per_day") && said.contains("there is room again"), "{said}");
    assert_eq!(world.provider.requests().len(), 3, "a call was made that did not fit");
    let transcript = world.transcript().await;
    let wasted: Vec<_> = transcript
        .iter()
        .filter_map(|recorded| match &recorded.event {
            TranscriptEvent::CallWasted { usd, counted, .. } => Some((usd.unwrap(), *counted)),
            _ => None,
        })
        .collect();
    assert_eq!(wasted.len(), 1);
    assert!((wasted[0].0 - (used - answered)).abs() < 1e-3 && !wasted[0].1, "{wasted:?}");
    let escalated = transcript.iter().any(|recorded| {
        let reason = |outcome: &JobOutcome| {
            matches!(outcome, JobOutcome::Escalated { reason: EscalationReason::Budget { .. } })
        };
        matches!(&recorded.event, TranscriptEvent::Ended { outcome } if reason(outcome))
    });
    assert!(escalated, "{transcript:#?}");
    world.end().await;
}

#[tokio::test]
async fn a_job_stopped_during_a_call_says_what_it_may_have_cost() {
    let conversation = json!({"model": "scripted-1", "turns": [{"say": "hm", "fault": {"stall": true}}]});
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service_with(PRICED).await;
    world.label("octo-maintainer").await;
    world.until("the first question", |world| world.provider.requests().len() == 1).await;
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    let transcript = world.transcript().await;
    let wasted = transcript.iter().filter(|r| matches!(r.event, TranscriptEvent::CallWasted { .. })).count();
    assert_eq!(wasted, 1);
    world.end().await;
}

#[tokio::test]
async fn dollars_that_cannot_be_held_are_refused_at_the_start_and_tokens_only_is_said() {
    let mut world = World::of("fix", None).await;
    let demanded = world.failed_start_error("[budget]\nrequire_price = true\n").await;
    assert!(
        demanded.contains("budget.require_price: no price is known for scripted-1; state its price in"),
        "{demanded}"
    );
    let capped = world.failed_start_error("[budget]\ninstallation_usd_per_day = 5\n").await;
    assert!(capped.contains("budget.installation_usd_per_day: no price is known for scripted-1"), "{capped}");
    std::fs::write(
        world.directory.path().join("prices.toml"),
        "[[price]]\nmodel = \"scripted-1\"\ninput = 1\noutput = 2\ncache_read = 1\ncache_write = 1\n",
    )
    .unwrap();
    world.start_service_with("prices_file = \"prices.toml\"\n[budget]\nrequire_price = true\n").await;
    world.stop_service().await;
    assert!(!world.log().contains("no price is known"), "{}", world.log());
    world.start_service().await;
    assert!(
        world.log().contains("no price is known for scripted-1: only tokens are counted"),
        "{}",
        world.log()
    );
    world.end().await;
}
