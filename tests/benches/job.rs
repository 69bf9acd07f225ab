//! How long a maintainer waits for a job to begin: from the label to the reaction that says that it is
//! seen, to the first question to the model (repository fetched, sandbox up, suite run at the base), and
//! to the answer on the issue, with a model that answers at once. The whole service over real HTTP and
//! git, as the demo has it. Beside it the floor: the same fetch by `git`, and the same suite as often as
//! the baseline runs it, without any sandbox.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mendwright::app::App;
use mendwright::config::ServerConfig;
use mendwright::install::CredentialSink;
use mendwright::model::Provider;
use mendwright_emulator::github::{EmulatedGitHub, EmulatorOptions, RepositorySource};
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use secrecy::ExposeSecret;
use serde_json::json;

const FILES: usize = 1_000;
const JOBS: usize = 15;
/// A red suite is run a second time, to tell what fails by chance.
const BASELINE_RUNS: usize = 2;
/// Longer than an installation's writes are apart.
const BETWEEN_JOBS: Duration = Duration::from_millis(1_500);
const LOOK_EVERY: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, ours: Duration, floor: Duration) {
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!(
        "{what:<58} {:>9.1} ms   floor {:>8.1} ms   {ratio:>6.2} ×",
        ours.as_secs_f64() * 1e3,
        floor.as_secs_f64() * 1e3
    );
}

/// A repository whose suite is red and costs nothing.
fn source(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory.join(".github"))?;
    std::fs::write(directory.join(".github/agent-fix.yml"), "test: sh suite.sh\n")?;
    std::fs::write(directory.join("suite.sh"), "echo 'not ok 1 - adds'\nexit 1\n")?;
    for number in 0..FILES {
        let below = directory.join(format!("src/part-{}", number % 40));
        std::fs::create_dir_all(&below)?;
        let lines = (0..60).map(|line| format!("fn of_{number}_{line}() {{}}\n"));
        std::fs::write(below.join(format!("file-{number}.rs")), lines.collect::<String>())?;
    }
    Ok(())
}

/// The service's configuration, with the sandbox's defaults.
fn configuration(directory: &Path, github: &EmulatedGitHub, provider: &EmulatedProvider) -> ServerConfig {
    use std::os::unix::fs::PermissionsExt;
    let credentials = github.credentials();
    for (name, text) in [
        ("app.pem", credentials.private_key_pem.expose_secret()),
        ("webhook-secret", credentials.webhook_secret.expose_secret()),
        ("model-key", "sk-bench-0123456789abcdef"),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\
         [github]\napi_url = \"{}\"\nweb_url = \"{}\"\napp_id = {}\nprivate_key_file = \"app.pem\"\n\
         webhook_secret_file = \"webhook-secret\"\n\
         [model]\nprovider = \"anthropic\"\nurl = \"{}\"\nname = \"scripted-1\"\n\
         api_key_file = \"model-key\"\noutput_tokens_max = 4096\n",
        github.api_url(),
        github.url(),
        credentials.app_id,
        provider.url_for(Provider::Anthropic),
    );
    let path = directory.join("mendwright.toml");
    std::fs::write(&path, text).unwrap();
    ServerConfig::load(&path, []).unwrap()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what} did not come");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What people see of an issue on the emulated GitHub.
fn issue(github: &EmulatedGitHub, number: u64) -> serde_json::Value {
    let state = github.state();
    let mut issues = state["repositories"][0]["issues"].as_array().into_iter().flatten();
    issues.find(|issue| issue["number"] == number).cloned().unwrap_or_default()
}

fn count(value: &serde_json::Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

/// The same fetch and the same suite, by hand.
fn by_hand(git_dir: &Path, source: &Path, scratch: &Path) -> (Duration, Duration) {
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    };
    let clones = (0..5).map(|number| {
        let started = Instant::now();
        let url = format!("file://{}", git_dir.display());
        quiet(Command::new("git").args(["clone", "--bare", &url]).arg(scratch.join(number.to_string())));
        started.elapsed()
    });
    let suites = (0..JOBS).map(|_| {
        let started = Instant::now();
        for _ in 0..BASELINE_RUNS {
            quiet(Command::new("sh").arg("suite.sh").current_dir(source));
        }
        started.elapsed()
    });
    (median(clones.collect()), median(suites.collect()))
}

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let source_dir = directory.path().join("source");
    source(&source_dir).unwrap();
    let github = EmulatedGitHub::start(EmulatorOptions::new(directory.path().join("github"))).await.unwrap();
    github.add_repository("octo-org/example", RepositorySource::Path(&source_dir)).unwrap();
    let conversation = json!({
        "model": "scripted-1",
        "turns": [{"calls": [{"tool": "ask_human", "arguments": {"question": "What is it to do?"}}]}],
    });
    let conversation = Conversation::from_json(&conversation.to_string()).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let provider = EmulatedProvider::start(any_port, conversation).await.unwrap();
    let config = configuration(directory.path(), &github, &provider);
    let app = App::start(config, CredentialSink::InDataDir).await.unwrap();
    github.set_webhook_url(Some(format!("http://{}/webhooks/github", app.address).parse().unwrap()));

    let (mut seen, mut asked, mut answered) = (Vec::new(), Vec::new(), Vec::new());
    for job in 0..=JOBS {
        let number = github.open_issue(&format!("It is broken ({job})"), "Very.", "octo-reader").unwrap();
        // What the job before wrote last must not have this one wait for its turn.
        tokio::time::sleep(BETWEEN_JOBS).await;
        let labelled = Instant::now();
        github.label_issue(number, "agent-fix", "octo-maintainer").await.unwrap();
        until("the reaction", || count(&issue(&github, number)["reactions"]) == 1).await;
        seen.push(labelled.elapsed());
        until("the first question", || provider.requests().len() == job + 1).await;
        asked.push(labelled.elapsed());
        until("the answer on the issue", || count(&issue(&github, number)["comments"]) == 2).await;
        answered.push(labelled.elapsed());
        let started = Instant::now();
        while !app.store.jobs(1).await.unwrap()[0].state.is_final() {
            assert!(started.elapsed() < PATIENCE, "the job does not end");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    let git_dir = directory.path().join("github/octo-org/example.git");
    let (clone, suite) = by_hand(&git_dir, &source_dir, directory.path());

    println!(
        "from the label on; {FILES} files, a suite that ends at once; first job, then medians of {JOBS}"
    );
    row("first job: first question to the model", asked[0], clone + suite);
    row("later jobs: 👀 on the issue", median(seen.split_off(1)), suite);
    row("later jobs: first question to the model", median(asked.split_off(1)), suite);
    row("later jobs: the answer on the issue", median(answered.split_off(1)), suite);
    app.shut_down().await;
}
