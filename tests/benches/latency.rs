//! How long people and the agent wait: acknowledging a webhook, starting a sandbox, one tool call.
//! Each beside its floor, in the same run, medians of many. `cargo bench` prints a table.

use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use mendwright::sandbox::protocol::ReadFile;
use mendwright::sandbox::{SandboxSpec, sandbox_by_name};
use mendwright::store::{SqliteStore, Store};
use mendwright::webhook::{WebhookSecrets, WebhookState, router};
use secrecy::SecretString;
use sha2::Sha256;

const SECRET: &str = "bench-secret-0123456789";
const PAYLOAD: &str = include_str!("../../fixtures/webhooks-received/issues.labeled.1.json");

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, ours: Duration, floor_of: &str, floor: Duration) {
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!(
        "{what:<34} {:>9.3} ms   {floor_of:<44} {:>9.3} ms   {ratio:>6.1} ×",
        ours.as_secs_f64() * 1e3,
        floor.as_secs_f64() * 1e3
    );
}

async fn served(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}/webhooks/github")
}

/// Sends signed deliveries one after the other; the time of each.
async fn deliveries(url: &str, count: usize) -> Vec<Duration> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(PAYLOAD.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let mut times = Vec::new();
    for _ in 0..count {
        let request = client
            .post(url)
            .header("x-github-event", "issues")
            .header("x-github-delivery", uuid::Uuid::new_v4().to_string())
            .header("x-hub-signature-256", &signature)
            .header("content-type", "application/json")
            .body(PAYLOAD);
        let started = Instant::now();
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        black_box(answer.bytes().await.unwrap());
        times.push(started.elapsed());
    }
    times
}

async fn webhook() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&directory.path().join("b.sqlite")).await.unwrap());
    let state = WebhookState {
        secrets: WebhookSecrets::new(SecretString::from(SECRET), None).unwrap(),
        label: "agent-fix".into(),
        deliveries: Arc::new(store),
        wake: Arc::default(),
    };
    let ours = served(router(state)).await;
    let accepted = StatusCode::ACCEPTED;
    let floor =
        served(axum::Router::new().route("/webhooks/github", post(move || async move { accepted }))).await;
    deliveries(&floor, 20).await;
    let floor = median(deliveries(&floor, 300).await);
    let ours = median(deliveries(&ours, 300).await);
    row("webhook, recorded on disk", ours, "an HTTP answer that records nothing", floor);
}

async fn sandbox() {
    let sandbox = sandbox_by_name("bubblewrap").unwrap();
    let mut starts = Vec::new();
    for number in 0..30 {
        let started = Instant::now();
        let toolbox = sandbox.start(&SandboxSpec::named(format!("bench-{number}"))).await.unwrap();
        starts.push(started.elapsed());
        toolbox.shut_down().await;
    }
    let mut floors = Vec::new();
    for _ in 0..30 {
        let started = Instant::now();
        let status = Command::new("bwrap")
            .args([
                "--ro-bind",
                "/",
                "/",
                "--unshare-pid",
                "--unshare-net",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "/bin/true",
            ])
            .status()
            .unwrap();
        assert!(status.success());
        floors.push(started.elapsed());
    }
    row("sandbox start, toolbox answering", median(starts), "bwrap running /bin/true", median(floors));
}

async fn tool_call() {
    let sandbox = sandbox_by_name("bubblewrap").unwrap();
    let toolbox = sandbox.start(&SandboxSpec::named("bench-call")).await.unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    let text = "fn main() {}\n".repeat(100);
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "src/main.rs", text.as_bytes()).unwrap();
    toolbox.unpack(&archive.into_inner().unwrap()[..]).await.unwrap();
    let request = ReadFile { path: "src/main.rs".into(), first_line: 1, lines_max: 100 };
    let mut calls = Vec::new();
    for _ in 0..1_000 {
        let started = Instant::now();
        black_box(toolbox.read_file(&request).await.unwrap());
        calls.push(started.elapsed());
    }
    toolbox.shut_down().await;

    let mut echo = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (echo.stdin.take().unwrap(), echo.stdout.take().unwrap());
    let mut echoes = Vec::new();
    let mut buffer = [0u8; 64];
    for _ in 0..1_000 {
        let started = Instant::now();
        to.write_all(&buffer).unwrap();
        from.read_exact(&mut buffer).unwrap();
        echoes.push(started.elapsed());
    }
    drop(to);
    echo.wait().unwrap();
    row("tool call (read_file, 100 lines)", median(calls), "64 bytes to cat and back", median(echoes));
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{:<34} {:>12}   {:<44} {:>12}   {:>8}", "medians", "ours", "floor", "floor", "ratio");
    runtime.block_on(async {
        webhook().await;
        sandbox().await;
        tool_call().await;
    });
}
