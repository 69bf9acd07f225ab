//! `mendwright fix`: works on one issue in a local repository, without GitHub.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::common_args::{ModelArguments, SandboxArguments, SuiteArguments};
use super::{clean_up, exit_code};
use crate::app::harden_process;
use crate::domain::{IssueNumber, IssueSnapshot, JobOutcome, RecordedEvent, Transcript};
use crate::publish::console_line;
use crate::recording::Recording;
use crate::setup::SetupLocks;
use crate::telemetry;
use crate::worker::JobReport;
use crate::worker::local::{LocalContext, LocalJob, LocalResult, LocalTask, TestBench};
use crate::workspace::LocalRepository;

/// A larger issue file is a mistake.
const ISSUE_BYTES_MAX: u64 = 1 << 20;

/// Fix one issue in a local repository, without GitHub
///
/// Uses the same pipeline, sandbox and verdict as the service. The result is the branch
/// agent-fix/WORDS-OF-THE-TITLE of the repository, whose work tree does not change, and the pull request's
/// text on standard output. Exit code 0: proposed; 3: escalated; 1: failed.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  mendwright fix --repo . --issue bug.md --model claude-sonnet-4-5 --max-usd 2"
)]
pub struct FixArguments {
    /// The repository: a directory, or an address to clone into the current directory
    #[arg(long, value_name = "DIR|URL")]
    repo: String,
    /// The issue, in Markdown; its first line is the title
    #[arg(long, value_name = "FILE")]
    issue: PathBuf,
    /// The branch or revision to start from [default: HEAD]
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    #[command(flatten)]
    suite: SuiteArguments,
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    sandbox: SandboxArguments,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

/// The object of `--json`.
#[derive(Debug, Serialize)]
struct FixResult<'a> {
    #[serde(flatten)]
    report: &'a JobReport,
    git_dir: &'a Path,
    transcript: &'a Path,
    manifest: Option<&'a Path>,
}

/// Run the command. Returns the exit code.
pub(super) async fn run(arguments: FixArguments) -> anyhow::Result<i32> {
    telemetry::init(Some("warn"), telemetry::LogFormat::Human)?;
    // Before any secret is read.
    harden_process();
    let issue = read_issue(&arguments.issue)?;
    let settings = arguments.suite.settings()?;
    let repository = open(&arguments.repo).await?;
    let base = arguments.base.clone().unwrap_or_else(|| repository.head.clone());
    let directory = tempfile::Builder::new().prefix("mendwright-fix-").tempdir()?.keep();
    let work = LocalTask { issue, name: "local/repository".parse()?, repository: repository.clone(), base };
    let local = LocalJob::open(&directory, work).await?;
    let cache_scope = repository.git_dir.display().to_string();
    let bench = TestBench {
        sandbox: arguments.sandbox.connect()?,
        policy: arguments.sandbox.policy(cache_scope, arguments.model.budget(), settings),
        setup_locks: SetupLocks::default(),
    };
    let parts = arguments.model.with(bench)?;
    let worked = work_on(&local, &parts).await?;
    clean_up(parts.bench.sandbox.as_ref()).await;
    let Some(end) = worked else {
        eprintln!("interrupted; the job's record is in {}", directory.display());
        return Ok(exit_code::INTERRUPTED);
    };

    let LocalResult { job, transcript, published } = end;
    let transcript_file = directory.join("transcript.jsonl");
    Recording::of(&job, local.store.transcript_text(job.id).await?).save(&transcript_file)?;
    let report = JobReport::of(&job, Transcript::new(&transcript))
        .ok_or_else(|| anyhow!("the job ended without an outcome; this is a bug in Mendwright"))?;
    match (&job.outcome, published.pull_request) {
        (Some(JobOutcome::Proposed { branch, head, .. }), Some((title, body))) => {
            println!("{title}\n\n{body}");
            eprintln!("\nproposed on branch {branch} ({}) of {}", head.short(), repository.git_dir.display());
        }
        (_, _) => {
            for comment in published.comments {
                println!("{}\n", comment.body);
            }
            eprintln!("\n{}: {}", report.outcome, report.reason.as_deref().unwrap_or("no reason"));
        }
    }
    eprintln!("transcript: {}", transcript_file.display());
    let manifest = local.store.manifest(job.id).await?;
    let manifest_file = directory.join("manifest.json");
    if let Some(manifest) = &manifest {
        std::fs::write(&manifest_file, manifest)
            .with_context(|| format!("{} cannot be written", manifest_file.display()))?;
        eprintln!("manifest: {}", manifest_file.display());
    }
    if arguments.json {
        let end = FixResult {
            report: &report,
            git_dir: &repository.git_dir,
            transcript: &transcript_file,
            manifest: manifest.is_some().then_some(&manifest_file),
        };
        println!("{}", serde_json::to_string(&end)?);
    }
    Ok(match job.outcome {
        Some(JobOutcome::Proposed { .. }) => exit_code::SUCCESS,
        Some(JobOutcome::Escalated { .. }) => exit_code::OTHER_RESULT,
        Some(JobOutcome::Held { .. } | JobOutcome::Cancelled { .. } | JobOutcome::Failed { .. }) | None => 1,
    })
}

fn read_issue(path: &Path) -> anyhow::Result<IssueSnapshot> {
    let what = || format!("--issue {}: cannot be read", path.display());
    let bytes = std::fs::metadata(path).with_context(what)?.len();
    if bytes > ISSUE_BYTES_MAX {
        bail!("--issue {}: has {bytes} bytes; at most {ISSUE_BYTES_MAX} are read", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(what)?;
    let text = text.trim_start_matches('\u{feff}');
    let (title, body) = text.trim_start().split_once('\n').unwrap_or((text.trim(), ""));
    let title = title.trim_start_matches('#').trim();
    if title.is_empty() {
        bail!("--issue {}: is empty; write a title in its first line", path.display());
    }
    Ok(IssueSnapshot {
        number: IssueNumber(0),
        title: title.to_owned(),
        body: body.trim().to_owned(),
        author: "local".parse()?,
        labels: vec!["agent-fix".to_owned()],
    })
}

async fn open(repo: &str) -> anyhow::Result<LocalRepository> {
    if !repo.contains("://") {
        return Ok(LocalRepository::open(&std::path::absolute(repo)?)?);
    }
    let url: Url = repo.parse().with_context(|| format!("--repo {repo}: not a valid address"))?;
    let name = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or("repository");
    let into = std::path::absolute(format!("{}.git", name.trim_end_matches(".git")))?;
    if into.exists() {
        bail!("--repo {repo}: {} exists already; name that directory, or remove it", into.display());
    }
    eprintln!("cloning {url} into {}", into.display());
    let cloned = tokio::task::spawn_blocking(move || LocalRepository::clone_bare(&url, &into)).await?;
    Ok(cloned?)
}

/// Works on the job until it ends, and reports its events on standard error. `None`: a person stopped it.
async fn work_on(local: &LocalJob, parts: &LocalContext) -> anyhow::Result<Option<LocalResult>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let report = |recorded: &RecordedEvent| {
        if let Some(line) = console_line(&recorded.event) {
            eprintln!("  {} {line}", recorded.at.strftime("%H:%M:%S"));
        }
    };
    let working = local.run(parts, &stop, report);
    tokio::pin!(working);
    tokio::select! {
        ended = &mut working => return ended,
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    // The worker ends its sandbox before it returns.
    stop.cancel();
    working.await?;
    Ok(None)
}
