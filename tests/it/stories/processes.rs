//! `emulate` and `serve` as processes of their own, used as a script uses them.

use std::process::Stdio;

use mendwright::demo::scenario::Scenario;
use mendwright::model::Provider;
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{BINARY, WAIT_MAX, eventually};

async fn started(arguments: &[&str]) -> (Child, String, Lines<BufReader<ChildStdout>>) {
    let mut child =
        Command::new(BINARY).args(arguments).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(WAIT_MAX, lines.next_line()).await.unwrap().unwrap().unwrap();
    (child, first, lines)
}

#[tokio::test]
async fn emulator_and_service_run_as_separate_processes() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = Scenario::by_name("fix").unwrap();
    let faults = directory.path().join("faults.json");
    let rule = json!({"method": "GET", "path": "^/rate_limit$", "fault": {"status": {"status": 503}}});
    std::fs::write(&faults, json!([rule]).to_string()).unwrap();
    let faults = faults.to_str().unwrap();
    let (_emulator, first, _output) =
        started(&["emulate", "--listen", "127.0.0.1:0", "--scenario", "fix", "--faults", faults]).await;
    let emulator: Value = serde_json::from_str(&first).unwrap();
    let text = |pointer: &str| {
        emulator.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}")).to_owned()
    };

    for status in [503, 200] {
        let address = format!("{}/rate_limit", text("/api"));
        let request = reqwest::Client::new().get(address).header("user-agent", "a-script");
        assert_eq!(request.send().await.unwrap().status(), status, "the fault is not injected once");
    }

    let conversation = Conversation::from_json(scenario.conversation).unwrap();
    let provider = EmulatedProvider::start(([127, 0, 0, 1], 0).into(), conversation).await.unwrap();
    let configuration = directory.path().join("mendwright.toml");
    std::fs::write(
        &configuration,
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n[github]\napi_url = \"{}\"\n\
             web_url = \"{}\"\napp_id = {}\n[model]\nprovider = \"openai\"\nurl = \"{}\"\n\
             name = \"scripted-1\"\n",
            text("/api"),
            text("/web"),
            emulator["app"]["app_id"],
            provider.url_for(Provider::OpenAi),
        ),
    )
    .unwrap();
    let mut serve = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(&configuration)
        .env("MENDWRIGHT_GITHUB_PRIVATE_KEY", text("/app/private_key_pem"))
        .env("MENDWRIGHT_GITHUB_WEBHOOK_SECRET", text("/app/webhook_secret"))
        .env("OPENAI_API_KEY", "sk-story")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(serve.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(WAIT_MAX, lines.next_line()).await.unwrap().unwrap().unwrap();
    let service = line.rsplit("http://").next().unwrap().to_owned();

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let admin = text("/admin");
    let webhook = json!({"url": format!("http://{service}/webhooks/github")}).to_string();
    let label = json!({"label": "agent-fix", "by": "octo-maintainer"}).to_string();
    let put = http.put(format!("{admin}webhook")).body(webhook).send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    let health = http.get(format!("http://{service}/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let post = http.post(format!("{admin}issues/1/labels")).body(label).send().await.unwrap();
    assert!(post.status().is_success(), "{}", post.text().await.unwrap());

    let state = async || -> Value {
        let text = http.get(format!("{admin}state")).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let pull = async || state().await["repositories"][0]["pulls"].get(0).cloned();
    eventually("a draft pull request", async || pull().await.is_some(), async || state().await.to_string())
        .await;
    let pull = pull().await.unwrap();
    assert_eq!(pull["draft"], true);
    assert_eq!(provider.violations(), [""; 0]);
    provider.shut_down().await;
}

/// A line of `/proc/PID/limits`: the soft and the hard limit.
fn limits(process: u32, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    line.split_whitespace().take(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn process_that_will_hold_secrets_protects_its_memory_before_it_reads_them() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("mendwright.toml");
    // Nobody writes to this file: the service waits at the first thing that it reads.
    nix::unistd::mkfifo(&configuration, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let opened =
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755));
    opened.unwrap();
    let mut command = Command::new(BINARY);
    command.args(["serve", "--config"]).arg(&configuration).kill_on_drop(true);
    // The files of an ordinary user's process in /proc belong to that user, unless its memory is protected.
    if nix::unistd::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let mut service = command.spawn().unwrap();
    let process = service.id().unwrap();
    eventually(
        "the service protects itself",
        async || {
            let files = limits(process, "Max open files");
            limits(process, "Max core file size")[..] == ["0", "0"] && files[0] == files[1]
        },
        async || format!("{:?}", limits(process, "Max core file size")),
    )
    .await;
    let owner = std::fs::metadata(format!("/proc/{process}/environ")).unwrap().uid();
    assert_eq!(owner, 0, "other processes of the same user can read its memory");
    service.kill().await.unwrap();
}
