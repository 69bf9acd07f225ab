//! Plays a scenario: an emulated GitHub and a scripted model on loopback, the real service between
//! them, and a person who puts the label on. Then looks whether it ended as it has to.

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

use super::scenario::{Expected, Scenario};
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

/// Who puts the label on.
const MAINTAINER: &str = "octo-maintainer";

/// No scenario takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How often the transcript is looked at for news.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a scenario is to be played.
#[derive(Debug, Clone)]
pub struct ScenarioOptions {
    /// Which.
    pub scenario: &'static Scenario,
    /// Everything is kept here: repository, store, configuration, transcript.
    pub directory: PathBuf,
    /// Each exchange with the emulated GitHub becomes a line of this file.
    pub record: Option<PathBuf>,
    /// The sandbox backend.
    pub sandbox: String,
    /// The wire format that the model speaks.
    pub provider: Provider,
}

/// How a scenario ended.
#[derive(Debug, Serialize)]
pub struct ScenarioResult {
    /// The job's account.
    #[serde(flatten)]
    pub report: JobReport,
    /// The bare repository that the draft pull request's branch is in.
    pub git_dir: PathBuf,
    /// The transcript, a JSON object a line.
    pub transcript: PathBuf,
    /// What did not end as it has to; empty when all is well.
    #[serde(skip)]
    pub wrong: Vec<String>,
    /// What a person sees on the issue and the pull request, in Markdown.
    #[serde(skip)]
    pub pages: String,
}

/// Plays a scenario; `say` is given a line whenever something happened.
pub async fn run_scenario(
    options: &ScenarioOptions,
    say: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<ScenarioResult> {
    let scenario = options.scenario;
    let directory = &options.directory;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("the directory {} cannot be made", directory.display()))?;
    let mut present = std::fs::read_dir(directory)
        .with_context(|| format!("the directory {} cannot be read", directory.display()))?;
    if present.next().is_some() {
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
    say(&format!("▸ an emulated GitHub at {}, with the repository {REPOSITORY} ({clone_url})", github.url()));
    say(&format!("▸ a scripted model at {}", provider.url_for(options.provider)));

    let config = write_configuration(options, &github, &provider)?;
    let app = App::start(ServerConfig::load(&config, [])?, CredentialSink::InDataDir).await?;
    say(&format!("▸ mendwright at http://{}, configured by {}", app.address, config.display()));
    github.set_webhook_url(Some(Url::parse(&format!("http://{}/webhooks/github", app.address))?));

    say(&format!("▸ issue #{issue}: {}", scenario.issue_title));
    say(&format!("▸ {MAINTAINER} puts the label agent-fix on it\n"));
    github.label_issue(issue, "agent-fix", MAINTAINER).await?;
    let ended = follow(&app.store, say).await;
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
    let mut wrong = shortcomings(scenario, &job, &transcript, &state);
    wrong.extend(provider.violations());
    wrong.extend(leaks(&github, &transcript, &state));
    let report =
        JobReport::of(&job, Transcript::new(&transcript)).ok_or_else(|| anyhow!("the job has no outcome"))?;
    app.shut_down().await;
    provider.shut_down().await;
    github.shut_down().await;
    let git_dir = directory.join("github").join(format!("{REPOSITORY}.git"));
    Ok(ScenarioResult { report, git_dir, transcript: transcript_file, wrong, pages: pages(&state) })
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

/// Tells what happens until the one job has ended.
async fn follow(
    store: &Arc<dyn Store>,
    say: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<(Job, Vec<RecordedEvent>)> {
    let started = tokio::time::Instant::now();
    let mut told = 0;
    loop {
        if started.elapsed() > PATIENCE {
            bail!("the job did not end within {} minutes", PATIENCE.as_secs() / 60);
        }
        let Some(job) = store.jobs(1).await?.into_iter().next() else {
            if started.elapsed() > Duration::from_secs(20) {
                bail!("the webhook made no job");
            }
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        let transcript = store.transcript(job.id).await?;
        for recorded in transcript.iter().skip(told) {
            if let Some(line) = console_line(&recorded.event) {
                say(&format!("  {} {line}", recorded.at.strftime("%H:%M:%S")));
            }
        }
        told = transcript.len();
        let ended = transcript.iter().any(|r| matches!(r.event, TranscriptEvent::Ended { .. }));
        if job.state.is_final() && ended {
            return Ok((job, transcript));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where the end differs from what the scenario asks for, seen from GitHub's side.
fn shortcomings(scenario: &Scenario, job: &Job, transcript: &[RecordedEvent], state: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let pulls = list(&state["repositories"][0], "pulls");
    match (scenario.expected, &job.outcome) {
        (Expected::Proposed { proof }, Some(JobOutcome::Proposed { .. })) => {
            match pulls {
                [pull] if pull["draft"] == true && pull["state"] == "open" => {}
                other => wrong.push(format!("there should be one open draft pull request: {other:?}")),
            }
            let proved = transcript.iter().any(|r| {
                matches!(&r.event, TranscriptEvent::VerdictReached { verified: true, proof: Some(_), .. })
            });
            if proof != proved {
                wrong.push(format!("a proof was {}given", if proved { "" } else { "not " }));
            }
        }
        (Expected::Escalated(expected), Some(JobOutcome::Escalated { reason })) => {
            if reason.name() != expected {
                wrong.push(format!("escalated for {}, not for {expected}", reason.name()));
            }
            if !pulls.is_empty() {
                wrong.push(format!("there should be no pull request: {pulls:?}"));
            }
        }
        (expected, outcome) => wrong.push(format!("ended as {outcome:?}, expected {expected:?}")),
    }
    wrong
}

/// Secrets and traces of the hostile repository where they must not be.
fn leaks(github: &EmulatedGitHub, transcript: &[RecordedEvent], state: &Value) -> Vec<String> {
    let credentials = github.credentials();
    let told: Vec<String> = transcript.iter().filter_map(|r| serde_json::to_string(r).ok()).collect();
    let public = state.to_string();
    let key_body: Option<&str> = credentials.private_key_pem.expose_secret().lines().nth(1);
    let secrets = key_body.into_iter().chain([credentials.webhook_secret.expose_secret(), "sk-demo-"]);
    let mut wrong = Vec::new();
    for secret in secrets {
        let label = &secret[..secret.len().min(8)];
        if told.iter().any(|line| line.contains(secret)) {
            wrong.push(format!("the transcript holds the secret {label}…"));
        }
        if public.contains(secret) {
            wrong.push(format!("GitHub was shown the secret {label}…"));
        }
    }
    if told.iter().any(|line| line.contains("LEAK [") && !line.contains("none_of")) {
        wrong.push("something got out of the sandbox; look for LEAK in the transcript".to_owned());
    }
    if public.contains("planted-by-tests") {
        wrong.push("a file that a test run planted was proposed".to_owned());
    }
    wrong
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().map_or(&[], Vec::as_slice)
}

/// What a person reads at the end: the pull request, or the comments on the issue.
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
