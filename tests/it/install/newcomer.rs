//! The chapter of the guide on installation, taken literally: its commands run exactly as they are written
//! there, against `mendwright emulate`, with nothing but a clone and a browser.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::flow::Browser;
use crate::support::{BINARY, WAIT_MAX, eventually};

/// A command that keeps running, and its output.
struct RunningCommand {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl RunningCommand {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }
    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(WAIT_MAX, self.lines.next_line()).await.expect("a line");
        line.unwrap().expect("the command runs")
    }
    async fn stop(mut self) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended =
            tokio::time::timeout(WAIT_MAX, self.child.wait()).await.expect("the command stops").unwrap();
        assert_eq!(ended.code(), Some(0));
    }
}

/// The text between `begin` and `end`, in the guide's chapter on installation, after `heading`.
fn chapter(heading: &str, begin: &str, end: &str) -> String {
    let chapter = include_str!("../../../src/guide/operate/install.md");
    let section = chapter.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}")).1;
    let after = section.split_once(begin).unwrap_or_else(|| panic!("no {begin:?}")).1;
    after.split_once(end).unwrap().0.to_owned()
}

/// Changes or reads the state of the emulated GitHub.
async fn emulator(admin: &str, path: &str, body: Option<Value>) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{admin}{path}");
    let request = match body {
        Some(body) => client.post(url).body(body.to_string()),
        None => client.get(url),
    };
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn newcomer_who_follows_the_installation_chapter_gets_a_draft_pull_request() {
    let directory = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut github = RunningCommand::start(
        Command::new(BINARY)
            .args(["emulate", "--listen", "127.0.0.1:0", "--scenario", "fix", "--conversation"])
            .arg(fixtures.join("conversations/fix.json")),
    );
    let world: Value = serde_json::from_str(&github.line().await).unwrap();
    let admin = world["admin"].as_str().unwrap();

    // Only what differs between this machine and a newcomer's is replaced: the addresses of GitHub, of the model
    // and of the service, and that the program is already built.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (command, program) = ("cargo install --locked --path .\n", Path::new(BINARY).parent().unwrap());
    let commands = chapter("## 1. ", "```sh\n", "```") + &chapter("## 2. ", "```sh\n", "```");
    let readme = include_str!("../../../README.md").replace("\n   ", "\n");
    assert!(readme.contains(&chapter("## 1. ", "```sh\n", "```")), "the README configures something else");
    let commands = commands.strip_prefix(command).expect("it is installed first").replace('…', "sk-newcomer");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let environment = [
        ("PATH", path),
        ("MENDWRIGHT_SERVER_LISTEN", format!("127.0.0.1:{port}")),
        ("MENDWRIGHT_SERVER_PUBLIC_URL", format!("http://127.0.0.1:{port}")),
        ("MENDWRIGHT_GITHUB_API_URL", world["api"].as_str().unwrap().to_owned()),
        ("MENDWRIGHT_GITHUB_WEB_URL", world["web"].as_str().unwrap().to_owned()),
        ("MENDWRIGHT_MODEL_URL", world["model"]["anthropic"].as_str().unwrap().to_owned()),
        ("MENDWRIGHT_MODEL_NAME", world["model"]["name"].as_str().unwrap().to_owned()),
    ];
    let shell = |script: &str| {
        let mut shell = Command::new("bash");
        shell.args(["-euc", script]).current_dir(directory.path()).envs(environment.clone());
        shell
    };
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    // `exec`, so that a signal reaches the program and not the shell.
    let serve = "mendwright serve --config mendwright.toml\n";
    let commands = commands.replace(serve, &format!("exec {serve}"));
    assert!(commands.contains("exec "), "{commands}");
    let mut service = RunningCommand::start(shell(&commands).stderr(log));
    assert!(service.line().await.starts_with("mendwright is listening"));
    let line = service.line().await;
    let page = line.split_once("open this page to register one: ").expect("the page").1;

    let mut browser = Browser::new();
    let callback = browser.register(page).await;
    browser.get(&callback).await;
    let done = browser.get(&format!("{page}/done")).await;
    let install = done.attribute("id=\"install\" href=\"");
    assert_eq!(browser.post(&install, &[]).await.status, 200);
    let key = chapter("## 2. ", "Its key and secrets are written to `", "`");
    assert!(directory.path().join("mendwright-data").join(key).exists());

    let label = chapter("## 3. ", "Label an issue `", "`");
    let request = json!({"label": label, "by": "octo-maintainer"});
    emulator(admin, "issues/1/labels", Some(request)).await;
    let log = || std::fs::read_to_string(directory.path().join("log")).unwrap();
    let is_proposed = async || {
        let state = emulator(admin, "state", None).await;
        state["repositories"][0]["pulls"][0]["draft"] == true
    };
    eventually("a draft pull request", is_proposed, async || log()).await;

    let doctor = chapter("## Check it", "```sh\n", "```");
    assert_eq!(doctor, "mendwright doctor --config mendwright.toml\n");
    let export = "export ANTHROPIC_API_KEY=sk-newcomer\n";
    assert!(commands.contains(export));
    let output = shell(&format!("{export}{doctor}")).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("everything works; warnings: 1"), "{text}");
    assert!(text.contains("no price is known for scripted-1"), "{text}");
    service.stop().await;
    github.stop().await;
}
