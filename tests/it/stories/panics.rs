//! What a panic does to a job, and not to the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use mendwright::config::JobRules;
use mendwright::domain::{
    AssistantBlock, Budget, DailyCaps, EscalationReason, IssueNumber, IssueSnapshot, JobOutcome, Price,
    SandboxKind, StopReason, ToolArguments, ToolCall, Usage,
};
use mendwright::model::{Model, ModelError, ModelReply, ModelRequest};
use mendwright::sandbox::{SandboxSpec, connect_default};
use mendwright::setup::{SetupLocks, SetupPolicy};
use mendwright::worker::local::{LocalContext, LocalJob, LocalTask, TestBench};
use mendwright::worker::{JobPolicy, SettingsOverride};
use mendwright::workspace::LocalRepository;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Panics so many times, then asks a person.
struct PanickingModel {
    times: u32,
    asked: AtomicU32,
}

#[async_trait]
impl Model for PanickingModel {
    fn name(&self) -> &str {
        "panics"
    }

    fn price(&self) -> Option<Price> {
        None
    }

    async fn complete(&self, _: &ModelRequest) -> Result<ModelReply, ModelError> {
        assert!(self.asked.fetch_add(1, Ordering::Relaxed) >= self.times, "a defect");
        let arguments = ToolArguments::Json(json!({"question": "What now?"}));
        let call = ToolCall { id: "call_1".into(), name: "ask_human".into(), arguments };
        Ok(ModelReply {
            blocks: vec![AssistantBlock::ToolCall(call)],
            stop: StopReason::ToolCalls,
            usage: Usage::default(),
            model: "panics".into(),
        })
    }
}

/// How a job ends whose model panics so many times, and how often the model was asked.
async fn ended_after(times: u32) -> (JobOutcome, u32) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("repository");
    let repository = git2::Repository::init(&path).unwrap();
    let tree = repository.find_tree(repository.index().unwrap().write_tree().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
    let issue = IssueSnapshot {
        number: IssueNumber(1),
        title: "It is broken".into(),
        body: String::new(),
        author: "ada".parse().unwrap(),
        labels: vec!["agent-fix".into()],
    };
    let work = LocalTask {
        issue,
        name: "o/r".parse().unwrap(),
        repository: LocalRepository::open(&path).unwrap(),
        base: "HEAD".into(),
    };
    let local = LocalJob::open(&directory.path().join("job"), work).await.unwrap();
    let policy = JobPolicy {
        rules: JobRules::default(),
        budget: Budget::default(),
        caps: DailyCaps::default(),
        sandbox: SandboxSpec::named("defects"),
        setup: SetupPolicy::default(),
        output_tokens_max: 4_096,
        context_tokens: 64_000,
        summarizer_context_tokens: 64_000,
        settings_override: Some(SettingsOverride {
            test_command: Some("false".into()),
            ..SettingsOverride::default()
        }),
    };
    let model = Arc::new(PanickingModel { times, asked: AtomicU32::new(0) });
    let sandbox = connect_default(SandboxKind::Bubblewrap).unwrap();
    let bench = TestBench { sandbox, policy, setup_locks: SetupLocks::default() };
    let parts = LocalContext { model: model.clone(), planner_model: None, bench };
    let end = local.run(&parts, &CancellationToken::new(), |_| {}).await.unwrap().unwrap();
    (end.job.outcome.unwrap(), model.asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn job_continues_after_a_panic_of_its_worker() {
    let (outcome, asked) = ended_after(1).await;
    let question = EscalationReason::Question { question: "What now?".into() };
    assert_eq!((outcome, asked), (JobOutcome::Escalated { reason: question }, 2));
}

#[tokio::test]
async fn job_that_panics_each_time_fails_with_the_reason() {
    let (outcome, asked) = ended_after(u32::MAX).await;
    let JobOutcome::Failed { why } = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("not tried again"), "{why}");
    assert_eq!(asked, 5);
}
