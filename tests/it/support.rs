//! A small world for stories: an emulated GitHub, a scripted model, and the service as a real
//! process that can be killed and started again.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mendwright::demo::scenario::Scenario;
use mendwright::model::Provider;
use mendwright::store::{SqliteStore, Store};
use mendwright_emulator::github::{EmulatedGitHub, EmulatorOptions, RepositorySource};
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_mendwright");

/// Nothing in a story takes longer.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// What was said to GitHub and by it, in a world's directory.
const EXCHANGES: &str = "exchanges.jsonl";

pub struct World {
    pub directory: tempfile::TempDir,
    pub github: EmulatedGitHub,
    pub provider: EmulatedProvider,
    pub issue: u64,
    service: Option<Child>,
    said: Option<Lines<BufReader<ChildStdout>>>,
}

impl World {
    /// A repository and an open issue from a scenario; the model says what `conversation` says, or
    /// the scenario's own.
    pub async fn of(scenario: &str, conversation: Option<Value>) -> Self {
        Self::with(scenario, conversation, &[]).await
    }

    /// The same, with more files in the repository; one that begins with `#!` is executable.
    pub async fn with(scenario: &str, conversation: Option<Value>, more: &[(&str, &str)]) -> Self {
        let scenario = Scenario::by_name(scenario).expect("a known scenario");
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        scenario.write_to(&source).unwrap();
        for (path, text) in more {
            let path = source.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            }
        }
        let mut options = EmulatorOptions::new(directory.path().join("github"));
        options.record = Some(directory.path().join(EXCHANGES));
        let github = EmulatedGitHub::start(options).await.unwrap();
        github.add_repository("octo-org/example", RepositorySource::Path(&source)).unwrap();
        let issue = github.open_issue(scenario.issue_title, scenario.issue_body, "octo-reader").unwrap();
        let text = conversation.map_or_else(|| scenario.conversation.to_owned(), |value| value.to_string());
        let conversation = Conversation::from_json(&text).unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let provider = EmulatedProvider::start(any_port, conversation).await.unwrap();
        Self { directory, github, provider, issue, service: None, said: None }
    }

    fn write_configuration(&self, extra: &str, with_app: bool) -> PathBuf {
        let credentials = self.github.credentials();
        let secret = |name: &str, text: &str| {
            let path = self.directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        secret("app.pem", credentials.private_key_pem.expose_secret());
        secret("webhook-secret", credentials.webhook_secret.expose_secret());
        secret("model-key", "sk-story-0123456789abcdef");
        let app = match with_app {
            true => format!(
                "app_id = {}\nprivate_key_file = \"app.pem\"\nwebhook_secret_file = \"webhook-secret\"\n",
                credentials.app_id
            ),
            false => String::new(),
        };
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\
             [github]\napi_url = \"{}\"\nweb_url = \"{}\"\nseconds_between_writes = 0\n{app}\
             [model]\nprovider = \"anthropic\"\nurl = \"{}\"\nname = \"scripted-1\"\n\
             api_key_file = \"model-key\"\noutput_tokens_max = 4096\n{extra}",
            self.github.api_url(),
            self.github.url(),
            self.provider.url_for(Provider::Anthropic),
        );
        let path = self.directory.path().join("mendwright.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts the service and points the webhook at it.
    pub async fn start_service(&mut self) {
        self.start_service_with("").await;
    }

    /// The same, with more lines in its configuration.
    pub async fn start_service_with(&mut self, extra: &str) {
        let configuration = self.write_configuration(extra, true);
        let address = self.spawn(&configuration, &[], &[]).await;
        self.deliver_to(&address);
    }

    /// The same, with so many seconds between rounds of reconciliation.
    pub async fn start_service_reconciling(&mut self, seconds: &str) {
        let configuration = self.write_configuration("", true);
        let often = [("MENDWRIGHT_GITHUB_RECONCILE_SECONDS", seconds)];
        let address = self.spawn(&configuration, &[], &often).await;
        self.deliver_to(&address);
    }

    /// The same, for these repositories only, with so many seconds between rounds of reconciliation.
    pub async fn start_service_for_repositories(&mut self, repositories: &str, seconds: &str) {
        let told = [
            ("MENDWRIGHT_GITHUB_REPOSITORIES", repositories),
            ("MENDWRIGHT_GITHUB_RECONCILE_SECONDS", seconds),
        ];
        self.start_service_with_environment(&told).await;
    }

    /// The same, with more in its environment.
    pub async fn start_service_with_environment(&mut self, environment: &[(&str, &str)]) {
        let configuration = self.write_configuration("", true);
        let address = self.spawn(&configuration, &[], environment).await;
        self.deliver_to(&address);
    }

    fn deliver_to(&self, address: &str) {
        let url = format!("{address}/webhooks/github").parse().unwrap();
        self.github.set_webhook_url(Some(url));
    }

    /// Starts a service that has no App yet. Answers with the page that it invites to.
    pub async fn start_service_without_app(
        &mut self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> String {
        let configuration = self.write_configuration("", false);
        self.spawn(&configuration, arguments, environment).await;
        let said = self.next_line().await;
        said.split_once("register one: ").unwrap_or_else(|| panic!("{said}")).1.to_owned()
    }

    /// Starts the service as it was configured last. Answers with its address.
    pub async fn restart_service(&mut self) -> String {
        let configuration = self.directory.path().join("mendwright.toml");
        self.spawn(&configuration, &[], &[]).await
    }

    /// Runs `serve` and answers with the address that it says.
    async fn spawn(
        &mut self,
        configuration: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> String {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("service.log"))
            .unwrap();
        let mut child = Command::new(BINARY)
            .args(["serve", "--config"])
            .arg(configuration)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.said = Some(BufReader::new(child.stdout.take().unwrap()).lines());
        self.service = Some(child);
        let said = self.next_line().await;
        said.split_once("listening on ").unwrap_or_else(|| panic!("{said}")).1.to_owned()
    }

    /// The next line that the service says on standard output.
    pub async fn next_line(&mut self) -> String {
        let lines = self.said.as_mut().expect("a started service");
        let said = tokio::time::timeout(WAIT_MAX, lines.next_line()).await.expect("the service speaks");
        said.unwrap().unwrap_or_else(|| panic!("the service ended: {}", self.log()))
    }

    /// The words with which a service with these lines in its configuration does not start.
    pub async fn failed_start_error(&self, extra: &str) -> String {
        let configuration = self.write_configuration(extra, true);
        let ended = Command::new(BINARY).args(["serve", "--config"]).arg(&configuration).output();
        let ended = tokio::time::timeout(WAIT_MAX, ended).await.expect("it ends").unwrap();
        assert_eq!(ended.status.code(), Some(1));
        String::from_utf8_lossy(&ended.stderr).into_owned()
    }

    /// SIGKILL: nothing is cleaned up, nothing is flushed.
    pub async fn kill_service(&mut self) {
        let mut child = self.service.take().expect("a running service");
        child.kill().await.unwrap();
    }

    /// SIGTERM, and the exit code.
    pub async fn stop_service(&mut self) -> Option<i32> {
        let mut child = self.service.take().expect("a running service");
        let id = i32::try_from(child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended = tokio::time::timeout(WAIT_MAX, child.wait()).await.expect("the service stops").unwrap();
        ended.code()
    }

    pub async fn label(&self, by: &str) {
        self.github.label_issue(self.issue, "agent-fix", by).await.unwrap();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("service.log")).unwrap_or_default()
    }

    /// The repository as the emulated GitHub has it.
    pub fn repository(&self) -> Value {
        self.github.state()["repositories"][0].clone()
    }

    pub fn pulls(&self) -> Vec<Value> {
        self.repository()["pulls"].as_array().cloned().unwrap_or_default()
    }

    /// The bodies of the comments on the issue.
    pub fn comments(&self) -> Vec<String> {
        let repository = self.repository();
        let issues = repository["issues"].as_array().cloned().unwrap_or_default();
        let issue = issues.iter().find(|issue| issue["number"] == self.issue).cloned().unwrap_or_default();
        let comments = issue["comments"].as_array().cloned().unwrap_or_default();
        comments.iter().map(|comment| comment["body"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until `holds`, or fails with the log.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let waited = tokio::time::timeout(WAIT_MAX, async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        if waited.await.is_err() {
            panic!("never happened: {what}\nstate: {:#}\nlog: {}", self.repository(), self.log());
        }
    }

    async fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.directory.path().join("data/mendwright.sqlite")).await.unwrap()
    }

    /// The one job's id.
    pub async fn job(&self) -> mendwright::domain::JobId {
        let store = self.store().await;
        let id = store.jobs(10).await.unwrap().first().expect("a job").id;
        store.close().await;
        id
    }

    /// What the store holds of the one job.
    pub async fn transcript(&self) -> Vec<mendwright::domain::RecordedEvent> {
        let store = self.store().await;
        let jobs = store.jobs(10).await.unwrap();
        let transcript = match jobs.first() {
            Some(job) => store.transcript(job.id).await.unwrap(),
            None => Vec::new(),
        };
        store.close().await;
        transcript
    }

    /// What was said to GitHub's REST API and by it so far, in order.
    pub fn exchanges(&self) -> Vec<Value> {
        let record = std::fs::read_to_string(self.directory.path().join(EXCHANGES)).unwrap();
        // The last line may be being written.
        record.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Ends the story: the service stops well, the model was never spoken to wrongly, GitHub was
    /// never asked for what we never do, all that was said to it and by it is as GitHub describes it,
    /// and nothing runs on.
    pub async fn end(mut self) {
        if self.service.is_some() {
            assert_eq!(self.stop_service().await, Some(0), "{}", self.log());
        }
        assert_eq!(self.provider.violations(), [""; 0]);
        let state = self.github.state();
        let calls = state["calls"].to_string();
        for call in state["calls"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|call| !call.starts_with("git/upload") && !call.starts_with("git/receive"))
        {
            assert!(mendwright::github::OPERATIONS.contains(&call.as_str()), "{call} is not in OPERATIONS");
        }
        for never in ["pulls/merge", "ready", "approve"] {
            assert!(!calls.contains(never), "{calls}");
        }
        let record = std::fs::read_to_string(self.directory.path().join(EXCHANGES)).unwrap();
        let wrong = crate::emulator::schemas::judge(&record, &self.github.webhooks_sent());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        if let Some(kept) = std::env::var_os("MENDWRIGHT_TEST_EXCHANGES") {
            keep(Path::new(&kept), &record);
        }
        assert_no_sandbox_left(self.directory.path());
        self.provider.shut_down().await;
        self.github.shut_down().await;
    }
}

/// Adds a record to a file that other judges read: one write, for tests run side by side.
fn keep(file: &Path, record: &str) {
    use std::io::Write;
    let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
    file.write_all(record.as_bytes()).unwrap();
}

/// No process that knows this world's directory is left.
pub fn assert_no_sandbox_left(directory: &Path) {
    let needle = directory.to_string_lossy().into_owned();
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == own || !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        assert!(!command.contains(&needle), "process {name} is left: {command}");
    }
}
