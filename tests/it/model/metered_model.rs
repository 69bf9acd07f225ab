//! The recorded cost of a job's calls when the provider interrupts its responses.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mendwright::agent::{Completion, MeteredModel, ModelCallError, charge_unrecorded_call};
use mendwright::domain::{
    AssistantBlock, Budget, BudgetExhausted, DailyCap, DailyCaps, InstallationId, IssueNumber, IssueSnapshot,
    Message, Price, RepositoryId, RepositoryRef, Spend, TranscriptEvent, Trigger, Usage,
};
use mendwright::domain::{DeliveryRequest, NewDelivery};
use mendwright::model::{Model, ModelConfig, ModelError, Provider, connect, worst_case};
use mendwright::store::{Journal, SqliteStore, Store};
use mendwright_emulator::model::EmulatedProvider;

use super::{provider, quick_config, task, text};

const PRICE: Price = Price { input: 3.0, output: 15.0, cache_read: 0.3, cache_write: 3.75, long: None };

/// A claimed job in its own store.
struct ClaimedJob {
    store: Arc<SqliteStore>,
    journal: Journal,
    caps: DailyCaps,
    budget: Budget,
    _directory: tempfile::TempDir,
}

impl ClaimedJob {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&directory.path().join("m.sqlite")).await.unwrap());
        let repository = RepositoryRef {
            installation: InstallationId(7),
            id: RepositoryId(70),
            name: "acme/rocket".parse().unwrap(),
        };
        let issue = IssueSnapshot {
            number: IssueNumber(5),
            title: "It is broken".into(),
            body: "Very.".into(),
            author: "somebody".parse().unwrap(),
            labels: vec!["agent-fix".into()],
        };
        let trigger = Trigger::by("octo-maintainer".parse().unwrap(), repository, issue);
        let delivery = NewDelivery {
            id: "d1".parse().unwrap(),
            event: "issues".into(),
            action: None,
            payload_sha256: String::new(),
            request: Some(DeliveryRequest::Start(trigger)),
        };
        let now = Timestamp::now();
        store.record_delivery(&delivery, now).await.unwrap();
        let claim = store.claim("w", now + SignedDuration::from_hours(1), now).await.unwrap().unwrap();
        let journal = Journal::new(store.clone(), claim, Timestamp::now);
        let (caps, budget) = (DailyCaps::default(), Budget::default());
        Self { store, journal, caps, budget, _directory: directory }
    }

    fn metered_model<'a>(&'a self, model: &'a dyn Model) -> MeteredModel<'a> {
        MeteredModel { model, journal: &self.journal, budget: &self.budget, caps: &self.caps }
    }

    /// The calls without a reply, as the transcript records them.
    async fn wasted(&self) -> Vec<(Usage, Option<f64>, bool)> {
        let transcript = self.journal.transcript().await.unwrap();
        let wasted = |event: &TranscriptEvent| match event {
            TranscriptEvent::CallWasted { usage, usd, counted, .. } => Some((*usage, *usd, *counted)),
            _ => None,
        };
        transcript.iter().filter_map(|recorded| wasted(&recorded.event)).collect()
    }

    async fn record(&self, completion: &Completion) {
        let event = TranscriptEvent::MessageAdded {
            message: Message::Assistant { blocks: completion.reply.blocks.clone() },
            usage: Some(completion.reply.usage),
            usd: completion.usd,
            model: Some(completion.reply.model.clone()),
            milliseconds: completion.milliseconds,
        };
        self.journal.append(&[event]).await.unwrap();
    }

    /// What the store counts for the repository's day.
    async fn used(&self) -> String {
        let full = DailyCap { usd: Some(0.01), tokens: None };
        let caps = DailyCaps { repository: full, ..DailyCaps::default() };
        let worst = worst_case(&task(), Some(Price::flat(1e6, 1e6, 1e6, 1e6)));
        self.store
            .fits_daily_caps(self.journal.job(), worst, &caps, Timestamp::now())
            .await
            .unwrap()
            .unwrap_err()
            .used
            .into_string()
    }
}

async fn with_fault(format: Provider, fault: &str) -> (EmulatedProvider, Arc<dyn Model>) {
    let turn = r#""say": "At last.", "usage": {"input": 1000, "output": 100}"#;
    let conversation = format!(r#"{{"model": "demo-model", "turns": [{{{turn}, "fault": {fault}}}]}}"#);
    let provider = provider(&conversation).await;
    let config = ModelConfig { price: Some(PRICE), ..quick_config(format, provider.url_for(format)) };
    (provider, connect(config).unwrap())
}

#[tokio::test]
async fn interrupted_response_is_charged_and_retried() {
    let faults = [
        r#"{"cut_after_bytes": 0, "times": 2}"#,
        r#"{"cut_after_bytes": 600, "times": 2}"#,
        r#"{"cut_after_bytes": 600, "times": 2, "cleanly": true}"#,
        r#"{"stream_error": "overloaded_error", "times": 2}"#,
        r#"{"status": 504, "times": 2}"#,
    ];
    for format in Provider::ALL {
        for fault in faults {
            let (provider, model) = with_fault(format, fault).await;
            let job = ClaimedJob::new().await;
            let mut spend = Spend::zero();
            let completion = job.metered_model(&*model).ask(&mut spend, &task()).await.unwrap();
            assert_eq!(text(&completion.reply.blocks), "At last.");
            let answered = Usage { input_tokens: 1000, output_tokens: 100, ..Usage::default() };
            assert_eq!(completion.usd, Some(PRICE.of(&answered)));
            assert_eq!(provider.requests().len(), 3, "{fault}");
            let wasted = job.wasted().await;
            assert_eq!(wasted.len(), 2, "{fault}");
            let worst = worst_case(&task(), Some(PRICE));
            for (usage, usd, counted) in &wasted {
                // Anthropic counts the input when the message begins; OpenAI counts at the end.
                let began = !fault.contains(": 0,") && !fault.contains("504");
                assert_eq!(*counted, format == Provider::Anthropic && began, "{fault}");
                if *counted {
                    assert_eq!(usage.input_tokens, 1000);
                    assert!((1..100).contains(&usage.output_tokens), "{usage:?}");
                } else {
                    assert_eq!((usage.total(), *usd), (worst.tokens(), worst.usd));
                }
            }
            let sum: f64 = wasted.iter().map(|(_, usd, _)| usd.unwrap()).sum();
            assert!((spend.usd.unwrap() - sum).abs() < 1e-9, "{fault}");
            provider.shut_down().await;
        }
    }
}

#[tokio::test]
async fn call_fails_after_three_interrupted_responses() {
    for format in Provider::ALL {
        let (provider, model) = with_fault(format, r#"{"cut_after_bytes": 500, "times": 99}"#).await;
        let job = ClaimedJob::new().await;
        let denied = job.metered_model(&*model).ask(&mut Spend::zero(), &task()).await.unwrap_err();
        assert!(matches!(denied, ModelCallError::Unusable(ModelError::Interrupted { .. })), "{denied}");
        assert_eq!(provider.requests().len(), 3);
        assert_eq!(job.wasted().await.len(), 3);
        assert!(job.journal.unsettled_call().await.unwrap().is_none());
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn reservation_of_an_unbilled_call_is_released() {
    for format in Provider::ALL {
        for fault in
            [r#"{"status": 401}"#, r#"{"status": 529, "times": 9}"#, r#"{"content_type": "text/html"}"#]
        {
            let (provider, model) = with_fault(format, fault).await;
            let job = ClaimedJob::new().await;
            let mut spend = Spend::zero();
            job.metered_model(&*model).ask(&mut spend, &task()).await.unwrap_err();
            assert_eq!((spend, job.wasted().await), (Spend::zero(), Vec::new()), "{fault}");
            assert_eq!(job.used().await, "$0.0000", "{fault}");
            provider.shut_down().await;
        }
    }
}

#[tokio::test]
async fn retry_needs_its_own_budget() {
    let worst = worst_case(&task(), Some(PRICE));
    // Enough for one attempt, not for a second one after the first was counted as its worst case.
    let cap = DailyCap { usd: worst.usd.map(|usd| usd * 1.5), tokens: None };
    let by_cap = DailyCaps { installation: cap, ..DailyCaps::default() };
    let by_budget = Budget { usd_max: worst.usd.unwrap() * 1.5, ..Budget::default() };
    for (caps, budget) in [(by_cap, Budget::default()), (DailyCaps::default(), by_budget)] {
        let (provider, model) = with_fault(Provider::OpenAi, r#"{"cut_after_bytes": 600, "times": 9}"#).await;
        let job = ClaimedJob { caps, budget, ..ClaimedJob::new().await };
        let denied = job.metered_model(&*model).ask(&mut Spend::zero(), &task()).await.unwrap_err();
        let is_limit = matches!(
            denied,
            ModelCallError::Exhausted(BudgetExhausted::Day(_) | BudgetExhausted::Dollars { .. })
        );
        assert!(is_limit, "{denied}");
        assert_eq!(provider.requests().len(), 1);
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn unrecorded_reply_is_charged_at_its_worst_case() {
    let (provider, model) = with_fault(Provider::Anthropic, r#"{"status": 429, "times": 0}"#).await;
    let job = ClaimedJob::new().await;
    let worst = worst_case(&task(), Some(PRICE));
    let at_most = format!("${:.4}", worst.usd.unwrap());
    let mut spend = Spend::zero();
    // The process dies before it records the reply.
    job.metered_model(&*model).ask(&mut spend, &task()).await.unwrap();
    assert_eq!(job.used().await, at_most);
    // The next call charges the lost one once, and records its own cost.
    let completion = job.metered_model(&*model).ask(&mut spend, &task()).await.unwrap();
    job.record(&completion).await;
    assert_eq!(charge_unrecorded_call(&job.journal).await.unwrap(), None);
    assert_eq!(job.wasted().await.len(), 1);
    assert_eq!(spend.usd, worst.usd);
    assert_eq!(job.used().await, format!("${:.4}", worst.usd.unwrap() + completion.usd.unwrap()));
    assert!(matches!(completion.reply.blocks[0], AssistantBlock::Text { .. }));
    provider.shut_down().await;
}

#[tokio::test]
async fn model_without_a_price_is_limited_by_the_daily_tokens() {
    let (provider, model) = {
        let (provider, _) = with_fault(Provider::OpenAi, r#"{"status": 429, "times": 0}"#).await;
        let config = quick_config(Provider::OpenAi, provider.url_for(Provider::OpenAi));
        (provider, connect(config).unwrap())
    };
    let tokens = worst_case(&task(), None).tokens();
    let cap = DailyCap { usd: Some(0.01), tokens: Some(tokens + 1_099) };
    let job =
        ClaimedJob { caps: DailyCaps { repository: cap, ..DailyCaps::default() }, ..ClaimedJob::new().await };
    let mut spend = Spend::zero();
    let completion = job.metered_model(&*model).ask(&mut spend, &task()).await.unwrap();
    assert_eq!((completion.usd, completion.reply.usage.total()), (None, 1_100));
    job.record(&completion).await;
    let denied = job.metered_model(&*model).ask(&mut spend, &task()).await.unwrap_err();
    assert!(denied.to_string().contains("tokens in 24 hours"), "{denied}");
    assert_eq!(provider.requests().len(), 1);
    provider.shut_down().await;
}
