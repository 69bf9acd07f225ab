//! `mendwright fix`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::demo::ProviderArgument;
use super::local_forge::LocalForge;
use super::{allowed_host, tidy_by_hand};
use crate::config::AllowedHost;
use crate::demo::story::write_transcript;
use crate::domain::{
    Budget, DayCaps, DeliveryId, InstallationId, IssueNumber, IssueSnapshot, JobId, Outcome, Price,
    RepositoryId, RepositoryRef, Trigger,
};
use crate::model::{ModelConfig, Provider, context_tokens};
use crate::publish::narrate;
use crate::sandbox::{Root, SandboxSpec, detect_toolchains, sandbox_by_name};
use crate::store::{DeliveryRecorded, DeliveryRequest, NewDelivery, SqliteStore, Store};
use crate::telemetry;
use crate::verdict::{SetUpLocks, SetUpPolicy};
use crate::worker::{JobReport, Parts, Rules, SettingsOverride, Worker};
use crate::workspace::{LocalRepository, Mirrors};

/// As a shell shows a command that SIGINT ended.
const INTERRUPTED_CODE: i32 = 130;

/// An issue file over this is a mistake.
const ISSUE_BYTES_MAX: u64 = 1 << 20;

/// Fixes one issue in a repository, without GitHub: the same pipeline, sandbox and verdict. The
/// result is the branch agent-fix/WORDS-OF-THE-TITLE of that repository (its work tree is not
/// touched), and the pull request's text on standard output. Exit code 0: proposed; 3: escalated;
/// 1: failed.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  mendwright fix --repo . --issue bug.md --model claude-sonnet-4-5 --max-usd 2"
)]
pub struct FixArguments {
    /// The repository: a directory, or an address to clone (bare, into the current directory).
    #[arg(long, value_name = "DIR|URL")]
    repo: String,
    /// The issue, in Markdown: its first line is the title.
    #[arg(long, value_name = "FILE")]
    issue: PathBuf,
    /// The branch or revision to start from. Default: what HEAD is.
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// The test command. Default: .github/agent-fix.yml, else detected.
    #[arg(long, value_name = "CMD")]
    test: Option<String>,
    /// A command to run before the tests; may be given several times.
    #[arg(long, value_name = "CMD")]
    setup: Vec<String>,
    /// A host that the set-up commands may reach by HTTP(S), an internal one with the addresses at
    /// which it is; may be given several times. Default: none, and no network.
    #[arg(long, value_name = "HOST[=RANGE]", value_parser = allowed_host)]
    allow: Vec<AllowedHost>,
    /// A variable for the set-up commands, such as where a package manager finds an internal
    /// registry; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    setup_variable: Vec<(String, String)>,
    /// Whose wire format the model speaks.
    #[arg(long, value_enum, default_value = "anthropic")]
    provider: ProviderArgument,
    /// The provider's address. Default: its own.
    #[arg(long, value_name = "URL")]
    model_url: Option<Url>,
    /// The model's name, as the provider spells it.
    #[arg(long, value_name = "NAME", default_value = "claude-sonnet-4-5")]
    model: String,
    /// A cheaper model of the same provider that writes a brief before the work begins, and sums up a
    /// conversation that has become too long. Default: no brief, and the model itself sums up.
    #[arg(long, value_name = "NAME")]
    brief_model: Option<String>,
    /// How many tokens the model can hold. Default: what is known of it.
    #[arg(long, value_name = "N")]
    context_tokens: Option<u64>,
    /// The key. Give it in the environment, not on the command line.
    #[arg(
        long,
        value_name = "KEY",
        env = "MENDWRIGHT_MODEL_API_KEY",
        hide_env_values = true,
        default_value = ""
    )]
    model_api_key: SecretString,
    /// Model calls.
    #[arg(long, value_name = "N")]
    max_turns: Option<u32>,
    /// US dollars. Holds only where the model's price is known, or given with --price.
    #[arg(long, value_name = "X")]
    max_usd: Option<f64>,
    /// Tokens, in and out together.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// What the model costs: US dollars for a million tokens of input and of output, and of input
    /// read from and written to a cache where that has a price of its own. Default: the built-in
    /// table's, where it has one.
    #[arg(long, value_name = "IN,OUT[,READ,WRITE]", value_parser = parse_price)]
    price: Option<Price>,
    /// Refuses to begin where no price is known, instead of counting tokens only.
    #[arg(long)]
    require_price: bool,
    /// Minutes.
    #[arg(long, value_name = "M")]
    max_minutes: Option<u64>,
    /// The sandbox backend.
    #[arg(long, value_name = "KIND", default_value = "bubblewrap")]
    sandbox: String,
    /// The image that the sandbox's root file system is; docker must have one. Default: the host's
    /// own /usr.
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    /// A directory with a toolchain that the sandbox sees read-only; may be given several times.
    /// Default: what is found in the usual places.
    #[arg(long, value_name = "DIR")]
    toolchain: Vec<PathBuf>,
    /// Ends with one line of JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// The JSON line.
#[derive(Debug, Serialize)]
struct FixEnd<'a> {
    #[serde(flatten)]
    report: &'a JobReport,
    git_dir: &'a Path,
    transcript: &'a Path,
}

/// Runs the command. Answers with the exit code.
pub(super) async fn run(arguments: FixArguments) -> anyhow::Result<i32> {
    telemetry::init(Some("warn"), Some(telemetry::LineFormat::Human))?;
    let issue = read_issue(&arguments.issue)?;
    if arguments.test.as_deref().is_some_and(|command| command.trim().is_empty()) {
        bail!(
            "--test: it is empty; name the command whose exit code is the verdict, or leave the option out"
        );
    }
    let repository = open(&arguments.repo).await?;
    let base = arguments.base.clone().unwrap_or_else(|| repository.head.clone());
    let directory = tempfile::Builder::new().prefix("mendwright-fix-").tempdir()?.keep();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&directory.join("mendwright.sqlite")).await?);
    let forge = Arc::new(LocalForge::new(repository.clone(), base, issue.clone())?);
    let model = crate::model::connect(model_config(&arguments, &arguments.model))?;
    let brief_model = arguments.brief_model.as_ref();
    let brief_model =
        brief_model.map(|name| crate::model::connect(model_config(&arguments, name))).transpose()?;
    if model.price().is_none() {
        let model = &arguments.model;
        if arguments.require_price {
            bail!("--require-price: no price is known for {model}; give it with --price IN,OUT");
        }
        eprintln!(
            "no price known: tokens only are counted for {model}; the limits of turns, tokens and minutes hold, \
             that of dollars does not (--price IN,OUT states a price)"
        );
    }
    let sandbox = sandbox_by_name(&arguments.sandbox)?;
    let parts = Parts {
        store: store.clone(),
        github: forge.clone(),
        model,
        brief_model,
        sandbox: sandbox.clone(),
        mirrors: Mirrors::new(directory.join("mirrors")),
        rules: rules(&arguments, &repository.git_dir)?,
        wake: Arc::new(Notify::new()),
        set_ups: SetUpLocks::default(),
        clock: Timestamp::now,
    };
    let job = record(&store, issue).await?;
    let worked = work(parts, &store, job).await?;
    tidy_by_hand(&*sandbox).await;
    if let Worked::Interrupted = worked {
        eprintln!("interrupted; what was recorded is in {}", directory.display());
        return Ok(INTERRUPTED_CODE);
    }

    let job = store.job(job).await?.ok_or_else(|| anyhow!("the job is gone from its store"))?;
    let transcript = store.transcript(job.id).await?;
    let transcript_file = directory.join("transcript.jsonl");
    write_transcript(&transcript_file, &transcript)?;
    let report = JobReport::of(&job, &transcript).ok_or_else(|| anyhow!("the job has no outcome"))?;
    let published = forge.published();
    match (&job.outcome, published.pull_request) {
        (Some(Outcome::Proposed { branch, head, .. }), Some((title, body))) => {
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
    if arguments.json {
        let end = FixEnd { report: &report, git_dir: &repository.git_dir, transcript: &transcript_file };
        println!("{}", serde_json::to_string(&end)?);
    }
    Ok(match job.outcome {
        Some(Outcome::Proposed { .. }) => 0,
        Some(Outcome::Escalated { .. }) => 3,
        Some(Outcome::Cancelled { .. } | Outcome::Failed { .. }) | None => 1,
    })
}

fn read_issue(path: &Path) -> anyhow::Result<IssueSnapshot> {
    let what = || format!("--issue {}: the file cannot be read", path.display());
    let bytes = std::fs::metadata(path).with_context(what)?.len();
    if bytes > ISSUE_BYTES_MAX {
        bail!("--issue {}: it has {bytes} bytes; at most {ISSUE_BYTES_MAX} are read", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(what)?;
    let (title, body) = text.trim_start().split_once('\n').unwrap_or((text.trim(), ""));
    let title = title.trim_start_matches('#').trim();
    if title.is_empty() {
        bail!("--issue {}: it is empty; write a title in its first line", path.display());
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
    let url: Url = repo.parse().with_context(|| format!("--repo {repo}: it is no address"))?;
    let name = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or("repository");
    let into = std::path::absolute(format!("{}.git", name.trim_end_matches(".git")))?;
    if into.exists() {
        bail!("--repo {repo}: {} is there already; name that directory, or remove it", into.display());
    }
    eprintln!("cloning {url} into {}", into.display());
    let cloned = tokio::task::spawn_blocking(move || LocalRepository::clone_bare(&url, &into)).await?;
    Ok(cloned?)
}

fn model_config(arguments: &FixArguments, name: &str) -> ModelConfig {
    let provider: Provider = arguments.provider.into();
    let mut config = ModelConfig::new(provider, name.to_owned(), arguments.model_api_key.clone());
    config.url = arguments.model_url.clone();
    config.price = arguments.price;
    config
}

/// "3,15" or "3,15,0.3,3.75".
fn parse_price(text: &str) -> Result<Price, String> {
    let amounts: Option<Vec<f64>> = text
        .split(',')
        .map(|amount| amount.trim().parse().ok().filter(|usd: &f64| usd.is_finite() && *usd >= 0.0))
        .collect();
    match amounts.as_deref() {
        Some(&[input, output]) => Ok(Price::flat(input, output, input, input * 1.25)),
        Some(&[input, output, cache_read, cache_write]) => {
            Ok(Price::flat(input, output, cache_read, cache_write))
        }
        Some(_) | None => Err("write US dollars for a million tokens, as 3,15 or 3,15,0.3,3.75".to_owned()),
    }
}

fn rules(arguments: &FixArguments, git_dir: &Path) -> anyhow::Result<Rules> {
    let defaults = Budget::default();
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    Ok(Rules {
        label: "agent-fix".to_owned(),
        bots_allowed: Vec::new(),
        budget: Budget {
            turns_max: arguments.max_turns.unwrap_or(defaults.turns_max),
            usd_max: arguments.max_usd.unwrap_or(defaults.usd_max),
            tokens_max: arguments.max_tokens.unwrap_or(defaults.tokens_max),
            time_max: arguments.max_minutes.map_or(defaults.time_max, minutes),
            ..defaults
        },
        // The store of one run begins empty: there is no day to look back on.
        caps: DayCaps::default(),
        sandbox: SandboxSpec {
            root: match &arguments.image {
                Some(image) => Root::Image(image.clone()),
                None => Root::Host {
                    toolchains: match arguments.toolchain.is_empty() {
                        true => detect_toolchains(),
                        false => arguments.toolchain.clone(),
                    },
                },
            },
            ..SandboxSpec::named("fix")
        },
        set_up: SetUpPolicy {
            allowed_hosts: arguments.allow.clone(),
            variables: arguments.setup_variable.clone(),
            repository: Some(git_dir.display().to_string()),
            ..SetUpPolicy::default()
        },
        output_tokens_max: 16_384,
        context_tokens: arguments.context_tokens.unwrap_or_else(|| context_tokens(&arguments.model)),
        scribe_context_tokens: match &arguments.brief_model {
            Some(name) => context_tokens(name),
            None => arguments.context_tokens.unwrap_or_else(|| context_tokens(&arguments.model)),
        },
        settings_override: Some(SettingsOverride {
            test_command: arguments.test.clone(),
            setup_commands: arguments.setup.clone(),
            image_given: arguments.image.is_some(),
        }),
    })
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// Records the job as a delivery, as a webhook would be.
async fn record(store: &Arc<dyn Store>, issue: IssueSnapshot) -> anyhow::Result<JobId> {
    let trigger = Trigger {
        repository: RepositoryRef {
            installation: InstallationId(0),
            id: RepositoryId(0),
            name: "local/repository".parse()?,
        },
        labeller: issue.author.clone(),
        labeller_id: 0,
        labeller_is_bot: false,
        labelled_at: None,
        found: false,
        issue,
    };
    let delivery = NewDelivery {
        id: "local".parse::<DeliveryId>()?,
        event: "fix".to_owned(),
        action: None,
        payload_sha256: String::new(),
        request: Some(DeliveryRequest::Start(trigger)),
    };
    match store.record_delivery(&delivery, Timestamp::now()).await? {
        DeliveryRecorded::Job(job) => Ok(job),
        other => bail!("the job was not recorded: {other:?}"),
    }
}

/// How the work came to rest.
enum Worked {
    /// The job has ended.
    ToItsEnd,
    /// A person stopped it.
    Interrupted,
}

/// Works on the job until it has ended, and tells what happens on standard error.
async fn work(parts: Parts, store: &Arc<dyn Store>, job: JobId) -> anyhow::Result<Worked> {
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = CancellationToken::new();
    let worker = Worker::new(parts, "fix");
    let working = worker.run(&shutdown);
    tokio::pin!(working);
    let mut told = 0;
    loop {
        let interrupted = tokio::select! {
            () = &mut working => false,
            _ = tokio::signal::ctrl_c() => true,
            _ = terminate.recv() => true,
            () = tokio::time::sleep(Duration::from_millis(100)) => false,
        };
        if interrupted {
            // The worker takes its sandbox down before it returns.
            shutdown.cancel();
            working.await;
            return Ok(Worked::Interrupted);
        }
        let transcript = store.transcript(job).await?;
        for recorded in transcript.iter().skip(told) {
            if let Some(line) = narrate(&recorded.event) {
                eprintln!("  {} {line}", recorded.at.strftime("%H:%M:%S"));
            }
        }
        told = transcript.len();
        let state = store.job(job).await?.map(|job| job.state);
        if state.is_some_and(|state| state.is_final()) {
            shutdown.cancel();
            working.await;
            return Ok(Worked::ToItsEnd);
        }
    }
}
