//! The world of a story: an emulated GitHub, a scripted model, and the service as a real process that
//! can be killed and started again.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hmac::{Hmac, KeyInit, Mac};
use mendwright::model::Provider;
use mendwright_emulator::github::{EmulatedGitHub, EmulatorOptions, FaultKind, FaultRule, RepositorySource};
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::conversation::{Script, fix};
use super::wait::WAIT_MAX;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_mendwright");

/// The model provider's key of every story.
pub const MODEL_KEY: &str = "sk-story-0123456789abcdef";

/// What was said to GitHub and by it, in a world's directory.
const EXCHANGES: &str = "exchanges.jsonl";

/// The issue of every story, about `fixtures/stories/slugs`.
pub const ISSUE_TITLE: &str = "Slugs of titles with several separators have several dashes";
pub const ISSUE_BODY: &str = "`slug 'Rust & C -- a   comparison'` gives `rust---c----a---comparison`, but it should be \
     `rust-c-a-comparison`. A title in parentheses gets a dash at the front, too.\n\nThe links in the newsletter look \
     silly.";

/// Runs the suite of `fixtures/stories/slugs`: a shell script, because a compiler would take most of
/// the time of a story that is not about it.
pub const TEST_COMMAND: &str = "sh run-tests.sh";

/// The repository's configuration file.
const CONFIGURATION: &str = ".github/agent-fix.yml";

pub struct World {
    pub directory: tempfile::TempDir,
    pub github: EmulatedGitHub,
    pub provider: EmulatedProvider,
    pub issue: u64,
    service: Option<Child>,
    output: Option<Lines<BufReader<ChildStdout>>>,
    /// Where the service listens.
    address: String,
}

/// A world before it is made.
#[must_use]
pub struct WorldBuilder<'a> {
    script: Script,
    is_bare: bool,
    issue_body: &'a str,
    files: Vec<(&'a str, &'a str)>,
}

impl<'a> WorldBuilder<'a> {
    /// What the model says.
    pub fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// What the issue says.
    pub fn issue_body(mut self, text: &'a str) -> Self {
        self.issue_body = text;
        self
    }

    /// More files in the repository. One that begins with `#!` is executable.
    pub fn files(mut self, files: &[(&'a str, &'a str)]) -> Self {
        self.files.extend(files);
        self
    }

    /// One more file.
    pub fn file(self, path: &'a str, text: &'a str) -> Self {
        self.files(&[(path, text)])
    }

    /// The repository has no other files.
    pub fn bare(mut self) -> Self {
        self.is_bare = true;
        self
    }

    /// Starts GitHub, with the repository and an open issue, and the model.
    pub async fn start(self) -> World {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        if !self.is_bare {
            write_slugs(&source);
        }
        for (path, text) in &self.files {
            write(&source.join(path), text);
        }
        if !self.is_bare {
            name_the_test_command(&source.join(CONFIGURATION));
        }
        let mut options = EmulatorOptions::new(directory.path().join("github"));
        options.record = Some(directory.path().join(EXCHANGES));
        let github = EmulatedGitHub::start(options).await.unwrap();
        github.add_repository("octo-org/example", RepositorySource::Path(&source)).unwrap();
        let issue = github.open_issue(ISSUE_TITLE, self.issue_body, "octo-reader").unwrap();
        let conversation = Conversation::from_json(&self.script.text()).unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let provider = EmulatedProvider::start(any_port, conversation).await.unwrap();
        World { directory, github, provider, issue, service: None, output: None, address: String::new() }
    }
}

/// Writes the repository of the stories.
pub fn write_slugs(directory: &Path) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stories/slugs");
    for path in ["README.md", "run-tests.sh", "src/slug.sh", "tests/slug.sh"] {
        write(&directory.join(path), &std::fs::read_to_string(fixture.join(path)).unwrap());
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    if text.starts_with("#!") {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

/// The story's own configuration says more, and may have a test command of its own.
fn name_the_test_command(path: &Path) {
    let own = std::fs::read_to_string(path).unwrap_or_default();
    if !own.lines().any(|line| line.starts_with("test:")) {
        write(path, &format!("{own}test: {TEST_COMMAND}\n"));
    }
}

impl World {
    /// The repository of the stories, an open issue about it, and a model that fixes it.
    pub async fn new() -> Self {
        Self::builder().start().await
    }

    /// The same with another model.
    pub async fn scripted(script: Script) -> Self {
        Self::builder().script(script).start().await
    }

    pub fn builder<'a>() -> WorldBuilder<'a> {
        WorldBuilder { script: fix(), is_bare: false, issue_body: ISSUE_BODY, files: Vec::new() }
    }

    /// Something goes wrong with the next request of this method to this path.
    pub fn fail_once(&self, method: &str, path: &str, kind: FaultKind) {
        self.fail(method, path, 1, kind);
    }

    /// Something goes wrong with so many requests of this method to this path.
    pub fn fail(&self, method: &str, path: &str, times: u32, kind: FaultKind) {
        let rule = FaultRule { method: Some(method.into()), path: path.into(), times, kind };
        self.github.inject_fault(rule).unwrap();
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
        secret("model-key", MODEL_KEY);
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
        self.start_service_with_environment(&[("MENDWRIGHT_GITHUB_RECONCILE_SECONDS", seconds)]).await;
    }

    /// The same, for these repositories only, with so many seconds between rounds of reconciliation.
    pub async fn start_service_for_repositories(&mut self, repositories: &str, seconds: &str) {
        self.start_service_with_environment(&[
            ("MENDWRIGHT_GITHUB_REPOSITORIES", repositories),
            ("MENDWRIGHT_GITHUB_RECONCILE_SECONDS", seconds),
        ])
        .await;
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

    /// Starts a service that has no App yet. Returns the address of the page that it invites to.
    pub async fn start_service_without_app(
        &mut self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> String {
        let configuration = self.write_configuration("", false);
        self.spawn(&configuration, arguments, environment).await;
        let line = self.next_line().await;
        line.split_once("register one: ").unwrap_or_else(|| panic!("{line}")).1.to_owned()
    }

    /// Starts the service as it was configured last. Returns its address.
    pub async fn restart_service(&mut self) -> String {
        let configuration = self.directory.path().join("mendwright.toml");
        self.spawn(&configuration, &[], &[]).await
    }

    /// Runs `serve` and returns the address that it prints.
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
        self.output = Some(BufReader::new(child.stdout.take().unwrap()).lines());
        self.service = Some(child);
        let line = self.next_line().await;
        self.address = line.split_once("listening on ").unwrap_or_else(|| panic!("{line}")).1.to_owned();
        self.address.clone()
    }

    /// Delivers a webhook that the emulated GitHub does not send, for instance of another installation, with a
    /// valid signature. The id must be new.
    pub async fn deliver(&self, event: &str, id: &str, payload: &Value) {
        let body = payload.to_string();
        let secret = self.github.credentials().webhook_secret.clone();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client
            .post(format!("{}/webhooks/github", self.address))
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .header("x-hub-signature-256", signature)
            .body(body)
            .send();
        assert_eq!(response.await.unwrap().status(), 202);
    }

    /// The next line that the service prints on standard output.
    pub async fn next_line(&mut self) -> String {
        let lines = self.output.as_mut().expect("a started service");
        let line =
            tokio::time::timeout(WAIT_MAX, lines.next_line()).await.expect("the service prints a line");
        line.unwrap().unwrap_or_else(|| panic!("the service ended: {}", self.log()))
    }

    /// The error with which a service with these lines in its configuration does not start.
    pub async fn failed_start_error(&self, extra: &str) -> String {
        let configuration = self.write_configuration(extra, true);
        let output = Command::new(BINARY).args(["serve", "--config"]).arg(&configuration).output();
        let output = tokio::time::timeout(WAIT_MAX, output).await.expect("it ends").unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
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
        let status = tokio::time::timeout(WAIT_MAX, child.wait()).await.expect("the service stops").unwrap();
        status.code()
    }

    pub(super) fn is_serving(&self) -> bool {
        self.service.is_some()
    }

    pub async fn label(&self, by: &str) {
        self.github.label_issue(self.issue, "agent-fix", by).await.unwrap();
    }

    /// A comment on the issue.
    pub async fn say(&self, body: &str, by: &str) {
        self.github.comment(self.issue, body, by).await.unwrap();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("service.log")).unwrap_or_default()
    }

    pub(super) fn store_path(&self) -> PathBuf {
        self.directory.path().join("data/mendwright.sqlite")
    }

    /// The repository as the emulated GitHub has it.
    pub fn repository(&self) -> Value {
        self.github.state()["repositories"][0].clone()
    }

    /// The git repository of the emulated GitHub.
    pub fn git(&self) -> git2::Repository {
        git2::Repository::open(self.repository()["git_dir"].as_str().unwrap()).unwrap()
    }

    pub fn pulls(&self) -> Vec<Value> {
        self.repository()["pulls"].as_array().cloned().unwrap_or_default()
    }

    /// The one pull request.
    pub fn pull(&self) -> Value {
        let pulls = self.pulls();
        assert_eq!(pulls.len(), 1, "{pulls:#?}\n{}", self.log());
        pulls[0].clone()
    }

    /// The bodies of the comments on the issue.
    pub fn comments(&self) -> Vec<String> {
        let repository = self.repository();
        let issues = repository["issues"].as_array().cloned().unwrap_or_default();
        let issue = issues.iter().find(|issue| issue["number"] == self.issue).cloned().unwrap_or_default();
        let comments = issue["comments"].as_array().cloned().unwrap_or_default();
        comments.iter().map(|comment| comment["body"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// How often an operation of GitHub's API was called.
    pub fn calls(&self, operation: &str) -> u64 {
        self.github.state()["calls"][operation].as_u64().unwrap_or(0)
    }

    pub(super) fn exchange_record(&self) -> String {
        std::fs::read_to_string(self.directory.path().join(EXCHANGES)).unwrap()
    }

    /// What was said to GitHub's REST API and by it so far, in order.
    pub fn exchanges(&self) -> Vec<Value> {
        // The last line may be incomplete while it is written.
        self.exchange_record().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
