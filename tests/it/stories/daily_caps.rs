//! Daily caps hold for jobs that have not begun, for models without a price, and for services that are
//! killed during a call.

use jiff::Timestamp;
use mendwright::domain::{DailyCap, DailyCaps, EscalationReason, JobOutcome, TranscriptEvent, WorstCase};
use mendwright::store::Store;
use serde_json::json;

use crate::support::{World, fix, stalled};

/// Lines for the section `[model]`, and the beginning of the next.
const PRICED: &str = "price = { input = 100, output = 100 }\n[budget]\nusd = 1000\n";

/// Dollars that the store counts of the repository's day.
async fn used(world: &World) -> f64 {
    let (store, job) = (world.store().await, world.newest_job().await);
    let caps = DailyCaps { repository: DailyCap { usd: Some(0.01), tokens: None }, ..DailyCaps::default() };
    let much = WorstCase { input_tokens: 1, output_tokens: 1, usd: Some(1e6) };
    let full = store.fits_daily_caps(&job, much, &caps, Timestamp::now()).await.unwrap().unwrap_err();
    store.close().await;
    full.used.trim_start_matches('$').parse().unwrap()
}

/// The comments, when the job has ended without a pull request.
async fn escalated(world: &World, ends: i64) -> String {
    world.jobs_ended(ends).await;
    assert!(world.pulls().is_empty());
    world.comments().join("\n")
}

#[tokio::test]
async fn exhausted_cap_prevents_the_job_and_the_issue_says_what_to_do() {
    for (lines, key) in [
        (format!("{PRICED}repository_usd_per_day = 0.05\n"), "budget.repository_usd_per_day"),
        (format!("{PRICED}installation_usd_per_day = 0.05\n"), "budget.installation_usd_per_day"),
        ("[budget]\nrepository_tokens_per_day = 1000\n".to_owned(), "budget.repository_tokens_per_day"),
    ] {
        let mut world = World::new().await;
        world.start_service_with(&lines).await;
        world.label("octo-maintainer").await;
        let comments = escalated(&world, 1).await;
        assert!(comments.contains("budget exhausted") && comments.contains(key), "{comments}");
        assert!(comments.contains("more than the whole"), "{comments}");
        assert_eq!(world.provider.request_count(), 0, "the model was asked");
        assert!(!world.directory.path().join("data/mirrors").exists(), "the repository was cloned");
        world.end().await;
    }
}

#[tokio::test]
async fn call_killed_in_the_middle_counts_with_its_worst_case() {
    let mut world = World::scripted(fix().fault_at(2, json!({"stall": true, "times": 9}))).await;
    world.start_service_with(PRICED).await;
    world.label("octo-maintainer").await;
    world.model_asked(3).await;
    world.kill_service().await;
    let transcript = world.transcript().await;
    let cost = |event: &TranscriptEvent| event.cost().and_then(|cost| cost.usd);
    let answered: f64 = transcript.iter().filter_map(|recorded| cost(&recorded.event)).sum();
    let used = used(&world).await;
    // 4096 tokens of output at least, at $100 for a million.
    assert!(used > answered + 0.4096, "used {used}, answered {answered}");

    // What is left is not enough for another call.
    world.start_service_with(&format!("{PRICED}repository_usd_per_day = {}\n", used + 0.1)).await;
    let comments = escalated(&world, 1).await;
    assert!(comments.contains("budget.repository_usd_per_day"), "{comments}");
    assert!(comments.contains("there is room again"), "{comments}");
    assert_eq!(world.provider.request_count(), 3, "a call was made that exceeds the cap");
    let transcript = world.transcript().await;
    let wasted = transcript.iter().filter_map(|recorded| match &recorded.event {
        TranscriptEvent::CallWasted { usd, counted, .. } => Some((usd.unwrap(), *counted)),
        _ => None,
    });
    let wasted: Vec<(f64, bool)> = wasted.collect();
    assert_eq!(wasted.len(), 1);
    assert!((wasted[0].0 - (used - answered)).abs() < 1e-3 && !wasted[0].1, "{wasted:?}");
    let outcome = world.outcome().await;
    let is_budget = matches!(&outcome, JobOutcome::Escalated { reason: EscalationReason::Budget { .. } });
    assert!(is_budget, "{outcome:?}");
    world.end().await;
}

#[tokio::test]
async fn job_cancelled_during_a_call_records_what_the_call_may_have_cost() {
    let mut world = World::scripted(stalled()).await;
    world.start_service_with(PRICED).await;
    world.label("octo-maintainer").await;
    world.model_asked(1).await;
    world.github.unlabel_issue(world.issue, "agent-fix", "octo-writer").await.unwrap();
    world.jobs_ended(1).await;
    let is_wasted = |event: &TranscriptEvent| matches!(event, TranscriptEvent::CallWasted { .. });
    let wasted = world.transcript().await.iter().filter(|one| is_wasted(&one.event)).count();
    assert_eq!(wasted, 1);
    world.end().await;
}

#[tokio::test]
async fn dollar_cap_without_a_price_prevents_the_start() {
    let mut world = World::new().await;
    let error = world.failed_start_error("[budget]\nrequire_price = true\n").await;
    assert!(
        error.contains("budget.require_price: no price is known for scripted-1; state its price in"),
        "{error}"
    );
    let error = world.failed_start_error("[budget]\ninstallation_usd_per_day = 5\n").await;
    assert!(error.contains("budget.installation_usd_per_day: no price is known for scripted-1"), "{error}");
    std::fs::write(
        world.directory.path().join("prices.toml"),
        "[[price]]\nmodel = \"scripted-1\"\ninput = 1\noutput = 2\ncache_read = 1\ncache_write = 1\n",
    )
    .unwrap();
    world.start_service_with("prices_file = \"prices.toml\"\n[budget]\nrequire_price = true\n").await;
    world.stop_service().await;
    assert!(!world.log().contains("no price is known"), "{}", world.log());
    world.start_service().await;
    // The service logs this before it listens.
    assert!(
        world.log().contains("no price is known for scripted-1: only tokens are counted"),
        "{}",
        world.log()
    );
    world.end().await;
}
