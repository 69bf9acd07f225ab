//! What the loop itself costs: a job of many turns with a model that answers at once, a real sandbox,
//! a real store on disk, real git. Each turn reads a file, as most do; every tenth writes one. Beside
//! it the floor: the same calls of the sandbox alone, with one record on disk a turn. Figures to hold:
//! 5 ms a turn over the floor, 5 MB of memory for 100 turns.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mendwright::agent::{Agent, AgentEnding, AgentRole, Conversation, MeteredModel, TaskInput};
use mendwright::domain::{
    AssistantBlock, BoundedOutput, Budget, DailyCaps, ExitStatus, InstallationId, IssueNumber, IssueSnapshot,
    JobSettings, Price, ProcessOutput, RepositoryId, RepositoryRef, SandboxKind, StopReason, TestReport,
    TestRun, ToolArguments, ToolCall, TranscriptEvent, Trigger, Usage,
};
use mendwright::domain::{DeliveryRequest, NewDelivery};
use mendwright::model::{Model, ModelError, ModelReply, ModelRequest};
use mendwright::sandbox::protocol::{ReadFile, WriteFile};
use mendwright::sandbox::{SandboxSpec, Toolbox, connect_default};
use mendwright::store::{Journal, SqliteStore, Store};
use mendwright::workspace::{LocalRepository, Mirrors, Workspace};
use serde_json::json;

const TURNS: usize = 600;
/// About 6 KB: what a window of a file has.
const LINES: usize = 200;

/// Answers at once, and notes when.
struct Instantly {
    turns: AtomicUsize,
}

fn call(turn: usize) -> (&'static str, serde_json::Value) {
    let path = format!("file-{}.txt", turn % 40);
    match turn % 10 {
        9 => ("write_file", json!({"path": path, "content": content(turn)})),
        _ => ("read_file", json!({"path": path})),
    }
}

fn content(seed: usize) -> String {
    (0..LINES).map(|line| format!("line {line} of {seed}, as it is\n")).collect()
}

#[async_trait]
impl Model for Instantly {
    fn name(&self) -> &str {
        "instantly"
    }

    fn price(&self) -> Option<Price> {
        None
    }

    async fn complete(&self, request: &ModelRequest) -> Result<ModelReply, ModelError> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let (name, arguments) = match turn {
            TURNS => ("finish", json!({"summary": "Done."})),
            turn => call(turn),
        };
        let call = ToolCall {
            id: format!("call_{turn}"),
            name: name.to_owned(),
            arguments: ToolArguments::Json(arguments),
        };
        // To count is the provider's work; it is looked at now and then, to see how much is shown.
        let bytes = |message| format!("{message:?}").len() as u64;
        let input = match turn % 50 {
            0 => request.messages.iter().map(bytes).sum::<u64>() / 4,
            _ => 0,
        };
        Ok(ModelReply {
            blocks: vec![AssistantBlock::ToolCall(call)],
            stop: StopReason::ToolCalls,
            usage: Usage { input_tokens: input, output_tokens: 50, ..Usage::default() },
            model: "instantly".to_owned(),
        })
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

async fn journal(directory: &Path) -> Journal {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&directory.join("b.sqlite")).await.unwrap());
    let repository = RepositoryRef {
        installation: InstallationId(1),
        id: RepositoryId(1),
        name: "acme/rocket".parse().unwrap(),
    };
    let trigger = Trigger::by("somebody".parse().unwrap(), repository, issue());
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
    Journal::new(store, claim, Timestamp::now)
}

fn issue() -> IssueSnapshot {
    IssueSnapshot {
        number: IssueNumber(5),
        title: "It is broken".into(),
        body: "Very.".into(),
        author: "somebody".parse().unwrap(),
        labels: Vec::new(),
    }
}

async fn workspace(directory: &Path) -> Workspace {
    let path = directory.join("repository");
    let repository = git2::Repository::init(&path).unwrap();
    for number in 0..40 {
        std::fs::write(path.join(format!("file-{number}.txt")), content(number)).unwrap();
    }
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
    let access = LocalRepository::open(&path).unwrap().access().unwrap();
    Mirrors::new(directory.join("mirrors")).fetch(RepositoryId(1), &access, "HEAD").await.unwrap()
}

fn settings() -> JobSettings {
    JobSettings {
        budget: Budget {
            turns_max: 10_000,
            tool_calls_max: 100_000,
            tokens_max: 1_000_000_000,
            usd_max: 1e6,
            ..Budget::default()
        },
        ..JobSettings::of_test_command("true")
    }
}

/// The same calls without the loop: sandbox, and one record on disk.
async fn floor(toolbox: &Toolbox, journal: &Journal) -> Duration {
    let started = Instant::now();
    for turn in 0..TURNS {
        let (name, arguments) = call(turn);
        let path = arguments["path"].as_str().unwrap().to_owned();
        let text = match name {
            "write_file" => {
                let content = arguments["content"].as_str().unwrap().to_owned();
                format!(
                    "{:?}",
                    toolbox.write_file(&WriteFile { path, content, executable: None }).await.unwrap()
                )
            }
            _ => toolbox.read_file(&ReadFile { path, first_line: 1, lines_max: 400 }).await.unwrap().text,
        };
        journal.append(&[TranscriptEvent::Note { text }]).await.unwrap();
    }
    started.elapsed() / u32::try_from(TURNS).unwrap()
}

async fn work() {
    let directory = tempfile::tempdir().unwrap();
    let workspace = workspace(directory.path()).await;
    let sandbox = connect_default(SandboxKind::Bubblewrap).unwrap();
    let toolbox = sandbox.start(&SandboxSpec::named("bench-turns")).await.unwrap();
    let tree = workspace.base_tree().await.unwrap();
    toolbox.unpack(workspace.tar(&tree)).await.unwrap();
    let apart = tempfile::tempdir().unwrap();
    let floor = floor(&toolbox, &journal(apart.path()).await).await;

    let (journal, settings, caps) = (journal(directory.path()).await, settings(), DailyCaps::default());
    let model = Instantly { turns: AtomicUsize::new(0) };
    let metered_model =
        MeteredModel { model: &model, journal: &journal, budget: &settings.budget, caps: &caps };
    let agent = Agent {
        role: AgentRole::Fix,
        metered_model,
        output_tokens_max: 16_384,
        context_tokens: 200_000,
        planner: None,
        summarizer: metered_model,
        summarizer_context_tokens: 200_000,
        toolbox: &toolbox,
        workspace: &workspace,
        settings: &settings,
        abilities: Default::default(),
        scripts: None,
        journal: &journal,
    };
    let baseline = TestRun {
        command: "true".into(),
        result: ProcessOutput {
            ending: ExitStatus::Exited { code: 0 },
            output: BoundedOutput::default(),
            duration: Duration::ZERO,
        },
        selection: None,
        report: TestReport::default(),
    };
    let mut state = Conversation::replay(&[]);
    agent.open(&mut state, TaskInput { issue: &issue(), comments: &[] }, &baseline).await.unwrap();
    let (before, started) = (resident_bytes(), Instant::now());
    let ending = agent.run(&mut state).await.unwrap();
    let each = started.elapsed() / u32::try_from(TURNS).unwrap();
    let grown = resident_bytes().saturating_sub(before);
    assert!(matches!(ending, AgentEnding::Finished(_)), "{ending:?}");
    let per_hundred = grown as f64 / 1e6 / (TURNS as f64 / 100.0);
    let over = each.saturating_sub(floor);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "a turn of {TURNS}: {:.3} ms; its tool calls and one record alone: {:.3} ms; the loop: {:.3} ms (bound 5 ms)",
        milliseconds(each),
        milliseconds(floor),
        milliseconds(over)
    );
    println!(
        "memory grown: {per_hundred:.2} MB for 100 turns (bound 5 MB); shown at the end: {} tokens",
        state.view.tokens()
    );
    toolbox.shut_down().await;
    assert!(over < Duration::from_millis(5), "the loop is slower than its bound");
    assert!(per_hundred < 5.0, "memory grows by more than its bound");
}

fn main() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work());
}
