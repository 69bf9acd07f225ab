//! Runs a scenario: an emulated GitHub and a scripted model on loopback, the real service between them, and a
//! person who adds the label. Then checks the outcome.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::scenario::{ExpectedOutcome, Scenario};
use crate::app::App;
use crate::config::ServerConfig;
use crate::domain::{Job, JobOutcome, RecordedEvent, Transcript, TranscriptEvent};
use crate::install::CredentialSink;
use crate::model::Provider;
use crate::publish::console_line;
use crate::recording::Recording;
use crate::store::Store;
use crate::worker::JobReport;
use mendwright_emulator::github::{EmulatedGitHub, EmulatorOptions, RepositorySource};
use mendwright_emulator::model::{Conversation, EmulatedProvider};

/// The repository's name on the emulated GitHub.
pub const REPOSITORY: &str = "octo-org/example";

/// The login that adds the label.
const MAINTAINER: &str = "octo-maintainer";

/// The longest that a scenario may take, with a margin for slow machines.
const JOB_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// How often the transcript is read for new events.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How to run a scenario.
#[derive(Debug, Clone)]
pub struct ScenarioOptions {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// The directory for repository, store, configuration and transcript.
    pub directory: PathBuf,
    /// If set, each exchange with the emulated GitHub is appended to this file as one line.
    pub record: Option<PathBuf>,
    /// The sandbox backend.
    pub sandbox: String,
    /// The wire format of the model.
    pub provider: Provider,
}

/// The result of a scenario.
#[derive(Debug, Serialize)]
pub struct ScenarioResult {
    /// The job's report.
    #[serde(flatten)]
    pub report: JobReport,
    /// The bare repository with the branch of the draft pull request.
    pub git_dir: PathBuf,
    /// The transcript: one JSON object a line.
    pub transcript: PathBuf,
    /// The failed expectations; empty if the scenario succeeded.
    #[serde(skip)]
    pub failures: Vec<String>,
    /// The texts on the issue and the pull request, in Markdown.
    #[serde(skip)]
    pub pages: String,
}

/// Runs a scenario. `print` receives a line for each event.
pub async fn run_scenario(
    options: &ScenarioOptions,
    print: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<ScenarioResult> {
    let scenario = options.scenario;
    let directory = &options.directory;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("the directory {} cannot be created", directory.display()))?;
    let mut entries = std::fs::read_dir(directory)
        .with_context(|| format!("the directory {} cannot be read", directory.display()))?;
    if entries.next().is_some() {
        bail!("the directory {} is not empty; name a new one", directory.display());
    }
    let source = directory.join("source");
    scenario.write_to(&source).context("the scenario's files cannot be written")?;

    let mut emulator_options = EmulatorOptions::new(directory.join("github"));
    emulator_options.record = options.record.clone();
    let github = EmulatedGitHub::start(emulator_options).await?;
    let clone_url = github.add_repository(REPOSITORY, RepositorySource::Path(&source))?;
    let issue = github.open_issue(scenario.issue_title, scenario.issue_body, "octo-reader")?;
    let conversation = Conversation::from_json(scenario.conversation)?;
    let provider = EmulatedProvider::start(SocketAddr::from(([127, 0, 0, 1], 0)), conversation).await?;
    print(&format!(
        "▸ an emulated GitHub at {}, with the repository {REPOSITORY} ({clone_url})",
        github.url()
    ));
    print(&format!("▸ a scripted model at {}", provider.url_for(options.provider)));

    let config = write_configuration(options, &github, &provider)?;
    let app = App::start(ServerConfig::load(&config, [])?, CredentialSink::InDataDir).await?;
    print(&format!("▸ mendwright at http://{}, configured by {}", app.address, config.display()));
    github.set_webhook_url(Some(Url::parse(&format!("http://{}/webhooks/github", app.address))?));

    print(&format!("▸ issue #{issue}: {}", scenario.issue_title));
    print(&format!("▸ {MAINTAINER} adds the label agent-fix\n"));
    github.label_issue(issue, "agent-fix", MAINTAINER).await?;
    let ended = follow(&app.store, print).await;
    github.deliveries_settled().await;
    let state = github.state();
    let (job, transcript) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            app.shut_down().await;
            return Err(error.context(format!("deliveries: {}", state["deliveries"])));
        }
    };
    let transcript_file = directory.join("transcript.jsonl");
    Recording::of(&job, app.store.transcript_text(job.id).await?).save(&transcript_file)?;
    let mut failures = unmet_expectations(scenario, &job, &transcript, &state);
    failures.extend(provider.violations());
    failures.extend(leaks(&github, &transcript, &state));
    let report =
        JobReport::of(&job, Transcript::new(&transcript)).ok_or_else(|| anyhow!("the job has no outcome"))?;
    app.shut_down().await;
    provider.shut_down().await;
    github.shut_down().await;
    let git_dir = directory.join("github").join(format!("{REPOSITORY}.git"));
    Ok(ScenarioResult { report, git_dir, transcript: transcript_file, failures, pages: pages(&state) })
}

/// The service's configuration, as an operator would write it.
fn write_configuration(
    options: &ScenarioOptions,
    github: &EmulatedGitHub,
    provider: &EmulatedProvider,
) -> anyhow::Result<PathBuf> {
    let credentials = github.credentials();
    let secret_file = |name: &str, content: &str| -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = options.directory.join(name);
        let mut open = std::fs::OpenOptions::new();
        let mut file = open.create_new(true).write(true).mode(0o600).open(&path)?;
        std::io::Write::write_all(&mut file, content.as_bytes())?;
        Ok(path)
    };
    secret_file("app.pem", credentials.private_key_pem.expose_secret())?;
    secret_file("webhook-secret", credentials.webhook_secret.expose_secret())?;
    secret_file("model-key", "sk-demo-0123456789abcdef0123456789abcdef")?;
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\n\
         [github]\napi_url = \"{}\"\nweb_url = \"{}\"\napp_id = {}\nprivate_key_file = \"app.pem\"\n\
         webhook_secret_file = \"webhook-secret\"\nseconds_between_writes = 0\n\n\
         [model]\nprovider = \"{}\"\nurl = \"{}\"\nname = \"scripted-1\"\napi_key_file = \"model-key\"\n\
         output_tokens_max = 4096\nprice = {{ input = 3.0, output = 15.0, cache_read = 0.3, cache_write = 3.75 }}\n\n\
         [sandbox]\nkind = \"{}\"\ntoolchains = \"detect\"\n\n[budget]\n{}",
        github.api_url(),
        github.url(),
        credentials.app_id,
        options.provider.name(),
        provider.url_for(options.provider),
        options.sandbox,
        options.scenario.budget,
    );
    let path = options.directory.join("mendwright.toml");
    std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(path)
}

/// Prints the events of the one job until it has ended.
async fn follow(
    store: &Arc<dyn Store>,
    print: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<(Job, Vec<RecordedEvent>)> {
    let started = tokio::time::Instant::now();
    let mut printed = 0;
    loop {
        if started.elapsed() > JOB_TIME_MAX {
            bail!("the job did not end within {} minutes", JOB_TIME_MAX.as_secs() / 60);
        }
        let Some(job) = store.jobs(1).await?.into_iter().next() else {
            if started.elapsed() > Duration::from_secs(20) {
                bail!("the webhook created no job");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
            continue;
        };
        let transcript = store.transcript(job.id).await?;
        for recorded in transcript.iter().skip(printed) {
            if let Some(line) = console_line(&recorded.event) {
                print(&format!("  {} {line}", recorded.at.strftime("%H:%M:%S")));
            }
        }
        printed = transcript.len();
        let ended = transcript.iter().any(|r| matches!(r.event, TranscriptEvent::Ended { .. }));
        if job.state.is_final() && ended {
            return Ok((job, transcript));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The expectations of the scenario that the job and the state of GitHub do not meet.
fn unmet_expectations(
    scenario: &Scenario,
    job: &Job,
    transcript: &[RecordedEvent],
    state: &Value,
) -> Vec<String> {
    let mut failures = Vec::new();
    let pulls = list(&state["repositories"][0], "pulls");
    match (scenario.expected, &job.outcome) {
        (ExpectedOutcome::Proposed { proof }, Some(JobOutcome::Proposed { .. })) => {
            match pulls {
                [pull] if pull["draft"] == true && pull["state"] == "open" => {}
                other => failures.push(format!("there should be one open draft pull request: {other:?}")),
            }
            let proved = transcript.iter().any(|r| {
                matches!(&r.event, TranscriptEvent::VerdictReached { verified: true, proof: Some(_), .. })
            });
            if proof != proved {
                failures.push(format!("a proof was {}given", if proved { "" } else { "not " }));
            }
        }
        (ExpectedOutcome::Escalated(expected), Some(JobOutcome::Escalated { reason })) => {
            if reason.name() != expected {
                failures.push(format!("escalated for {}, not for {expected}", reason.name()));
            }
            if !pulls.is_empty() {
                failures.push(format!("there should be no pull request: {pulls:?}"));
            }
        }
        (expected, outcome) => failures.push(format!("the outcome is {outcome:?}, expected {expected:?}")),
    }
    failures
}

/// Secrets, and traces of the hostile repository, in places where they must not be.
fn leaks(github: &EmulatedGitHub, transcript: &[RecordedEvent], state: &Value) -> Vec<String> {
    let credentials = github.credentials();
    let lines: Vec<String> = transcript.iter().filter_map(|r| serde_json::to_string(r).ok()).collect();
    let public = state.to_string();
    let key_body: Option<&str> = credentials.private_key_pem.expose_secret().lines().nth(1);
    let secrets = key_body.into_iter().chain([credentials.webhook_secret.expose_secret(), "sk-demo-"]);
    let mut failures = Vec::new();
    for secret in secrets {
        let label = &secret[..secret.len().min(8)];
        if lines.iter().any(|line| line.contains(secret)) {
            failures.push(format!("the transcript holds the secret {label}…"));
        }
        if public.contains(secret) {
            failures.push(format!("GitHub received the secret {label}…"));
        }
    }
    if lines.iter().any(|line| line.contains("LEAK [") && !line.contains("none_of")) {
        failures.push("something escaped the sandbox; look for LEAK in the transcript".to_owned());
    }
    if public.contains("planted-by-tests") {
        failures.push("the proposal contains a file that a test run created".to_owned());
    }
    failures
}

fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map_or(&[], Vec::as_slice)
}

/// The texts of the pull request and of the comments on the issue.
fn pages(state: &Value) -> String {
    let mut text = String::new();
    let repository = &state["repositories"][0];
    for pull in list(repository, "pulls") {
        let _ = writeln!(
            text,
            "── draft pull request #{}: {} ({} → {})\n\n{}\n",
            pull["number"],
            pull["title"].as_str().unwrap_or_default(),
            pull["head"].as_str().or(pull["head"]["ref"].as_str()).unwrap_or_default(),
            pull["base"].as_str().or(pull["base"]["ref"].as_str()).unwrap_or_default(),
            pull["body"].as_str().unwrap_or_default(),
        );
    }
    for comment in list(repository, "issues").iter().flat_map(|issue| list(issue, "comments")) {
        let _ =
            writeln!(text, "── comment on the issue\n\n{}\n", comment["body"].as_str().unwrap_or_default());
    }
    text
}
