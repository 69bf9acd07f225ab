//! How long people and the agent wait: acknowledging a webhook, starting a sandbox, one tool call.
//! Each beside its floor, in the same run, medians of many. `cargo bench` prints a table; with
//! `--profile dev` our side is not optimised, and the figures are upper bounds.

use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use mendwright::domain::{JobSettings, SandboxKind};
use mendwright::sandbox::protocol::ReadFile;
use mendwright::sandbox::{Bubblewrap, CommandSpec, Root, Sandbox, SandboxSpec, connect_default};
use mendwright::store::{SqliteStore, Store};
use mendwright::testing::run_suite;
use mendwright::webhook::{BodyReader, WebhookSecrets, WebhookState, router};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

const SECRET: &str = "bench-secret-0123456789";
const PAYLOAD: &str = include_str!("../../fixtures/webhooks-received/issues.labeled.1.json");

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, ours: Duration, floor_of: &str, floor: Duration) {
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!(
        "{what:<37} {:>9.3} ms   {floor_of:<44} {:>9.3} ms   {ratio:>6.2} ×",
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
        repository_filter: Default::default(),
        secrets: WebhookSecrets::new(SecretString::from(SECRET), None).unwrap(),
        label: "agent-fix".into(),
        bots_allowed: Vec::new(),
        store,
        bodies: BodyReader::default(),
        wake_worker: Arc::default(),
        wake_commands: Arc::default(),
        wake_acknowledger: Arc::default(),
        wake_reconciler: Arc::default(),
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
    let sandbox = connect_default(SandboxKind::Bubblewrap).unwrap();
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
    let floor = median(floors);
    row("sandbox start, toolbox answering", median(starts), "bwrap running /bin/true", floor);
    let directory = tempfile::tempdir().unwrap();
    let sandbox = Bubblewrap::new().unwrap().with_state_dir(&directory.path().join("state"));
    let spec = SandboxSpec { root: image(directory.path()), ..SandboxSpec::named("bench-image") };
    sandbox.resolve(&spec.root).await.unwrap();
    let mut starts = Vec::new();
    for _ in 0..30 {
        let started = Instant::now();
        let toolbox = sandbox.start(&spec).await.unwrap();
        starts.push(started.elapsed());
        assert!(toolbox.description().contains("changes in a separate layer"), "{}", toolbox.description());
        toolbox.shut_down().await;
    }
    row("the same in an image, with overlay", median(starts), "bwrap running /bin/true", floor);
}

/// An image with some files, as `docker save` would write it.
fn image(directory: &std::path::Path) -> Root {
    let layer = archive((0..2_000).map(|n| (format!("usr/share/files/{n}"), text(2_000))));
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&layer)));
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest] },
    });
    let saved = serde_json::json!([{ "Config": "config.json", "Layers": ["layer.tar"], "RepoTags": [] }]);
    let files = [("manifest.json", saved.to_string()), ("config.json", config.to_string())];
    let files = files.map(|(path, json)| (path.to_owned(), json.into_bytes()));
    let path = directory.join("image.tar");
    std::fs::write(&path, archive(files.into_iter().chain([("layer.tar".to_owned(), layer)]))).unwrap();
    Root::Image(format!("oci-archive:{}", path.display()))
}

/// A file of so many bytes, in lines.
fn text(bytes: usize) -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog; it is 63 bytes..\n"
        .iter()
        .copied()
        .cycle()
        .take(bytes)
        .collect()
}

fn archive(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

async fn tool_calls() {
    let sandbox = connect_default(SandboxKind::Bubblewrap).unwrap();
    let toolbox = sandbox.start(&SandboxSpec::named("bench-call")).await.unwrap();
    let tar = archive([("src/main.rs".to_owned(), text(4 << 10))]);
    toolbox.unpack(tar.as_slice()).await.unwrap();
    let request = ReadFile { path: "src/main.rs".into(), first_line: 1, lines_max: 100 };
    let mut reads = Vec::new();
    for _ in 0..1_000 {
        let started = Instant::now();
        black_box(toolbox.read_file(&request).await.unwrap());
        reads.push(started.elapsed());
    }
    let command =
        CommandSpec { argv: vec!["true".to_owned()], ..CommandSpec::shell("", Duration::from_secs(60)) };
    let mut runs = Vec::new();
    for _ in 0..500 {
        let started = Instant::now();
        assert!(toolbox.run(&command).await.unwrap().ending.is_success());
        runs.push(started.elapsed());
    }
    toolbox.shut_down().await;
    row("tool call: read 4 KiB", median(reads), "64 bytes to cat and back", median(echoes()));
    row("tool call: run true", median(runs), "fork, exec and wait for true", median(forks()));
}

fn echoes() -> Vec<Duration> {
    let mut echo = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (echo.stdin.take().unwrap(), echo.stdout.take().unwrap());
    let mut buffer = [0u8; 64];
    let times = (0..1_000).map(|_| {
        let started = Instant::now();
        to.write_all(&buffer).unwrap();
        from.read_exact(&mut buffer).unwrap();
        started.elapsed()
    });
    let times = times.collect();
    drop(to);
    echo.wait().unwrap();
    times
}

fn forks() -> Vec<Duration> {
    let fork = |_| {
        let started = Instant::now();
        assert!(Command::new("true").status().unwrap().success());
        started.elapsed()
    };
    (0..500).map(fork).collect()
}

/// 10,000 files, 100 MB: sizes as in a source tree, many small and few large.
fn tree() -> Vec<u8> {
    let bytes = |n: usize| match n % 100 {
        0 => 400_000,
        1..10 => 40_000,
        _ => 2_600,
    };
    archive((0..10_000).map(|n| (format!("dir-{}/sub-{}/file-{n}.txt", n % 97, n % 11), text(bytes(n)))))
}

/// The base tree into a sandbox, beside `tar c | tar x` from and to the file system that the sandbox
/// has it on, which is in memory.
async fn base_tree() {
    let tree = tree();
    let sandbox = connect_default(SandboxKind::Bubblewrap).unwrap();
    let mut ours = Vec::new();
    for number in 0..5 {
        let toolbox = sandbox.start(&SandboxSpec::named(format!("bench-tree-{number}"))).await.unwrap();
        let started = Instant::now();
        toolbox.unpack(tree.as_slice()).await.unwrap();
        ours.push(started.elapsed());
        toolbox.shut_down().await;
    }
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let from = place.path().join("from");
    std::fs::create_dir(&from).unwrap();
    tar::Archive::new(tree.as_slice()).unpack(&from).unwrap();
    let mut floors = Vec::new();
    for number in 0..5 {
        let to = place.path().join(format!("to-{number}"));
        std::fs::create_dir(&to).unwrap();
        let started = Instant::now();
        let mut pack = Command::new("tar")
            .arg("-C")
            .arg(&from)
            .args(["-c", "."])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let packed = pack.stdout.take().unwrap();
        assert!(Command::new("tar").arg("-C").arg(&to).arg("-x").stdin(packed).status().unwrap().success());
        assert!(pack.wait().unwrap().success());
        floors.push(started.elapsed());
        std::fs::remove_dir_all(&to).unwrap();
    }
    row("10,000 files, 100 MB, into a sandbox", median(ours), "tar c | tar x in memory", median(floors));
}

/// As `.ci/image` makes it.
const IMAGE: &str = "mendwright-test:2";

/// An engine's program beside our way through its API; the same container for both where one lives.
async fn docker() {
    let sandbox = match connect_default(SandboxKind::Docker) {
        Ok(sandbox) => sandbox,
        Err(error) => return println!("docker: left out ({error})"),
    };
    let spec =
        |label: String| SandboxSpec { root: Root::Image(IMAGE.to_owned()), ..SandboxSpec::named(label) };
    // The toolbox is put into the image once.
    let toolbox = match sandbox.start(&spec("bench-docker".to_owned())).await {
        Ok(toolbox) => toolbox,
        Err(error) => return println!("docker: left out ({error})"),
    };
    let tar = archive([("src/main.rs".to_owned(), text(4 << 10))]);
    toolbox.unpack(tar.as_slice()).await.unwrap();
    let request = ReadFile { path: "src/main.rs".into(), first_line: 1, lines_max: 100 };
    let command =
        CommandSpec { argv: vec!["true".to_owned()], ..CommandSpec::shell("", Duration::from_secs(60)) };
    let (mut reads, mut runs) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let started = Instant::now();
        black_box(toolbox.read_file(&request).await.unwrap());
        reads.push(started.elapsed());
        let started = Instant::now();
        assert!(toolbox.run(&command).await.unwrap().ending.is_success());
        runs.push(started.elapsed());
    }
    let filter = "label=mendwright.job=bench-docker";
    let container = Command::new("docker").args(["ps", "--quiet", "--filter", filter]).output().unwrap();
    let container = String::from_utf8(container.stdout).unwrap();
    let execs = timed_programs(20, &["exec", container.trim(), "true"]);
    toolbox.shut_down().await;
    row("docker tool call: read 4 KiB", median(reads), "docker exec CONTAINER true", median(execs.clone()));
    row("docker tool call: run true", median(runs), "docker exec CONTAINER true", median(execs));
    // By turns, so that neither has the machine to itself.
    let (mut starts, mut floors) = (Vec::new(), Vec::new());
    for number in 0..15 {
        let spec = spec(format!("bench-docker-{number}"));
        let started = Instant::now();
        let toolbox = sandbox.start(&spec).await.unwrap();
        starts.push(started.elapsed());
        toolbox.shut_down().await;
        floors.extend(timed_programs(1, &["run", "--rm", "--network", "none", IMAGE, "true"]));
    }
    row(
        "docker start, toolbox answering",
        median(starts),
        "docker run --rm --network none IMAGE true",
        median(floors),
    );
}

fn timed_programs(count: usize, arguments: &[&str]) -> Vec<Duration> {
    let run = |_| {
        let started = Instant::now();
        assert!(Command::new("docker").args(arguments).status().unwrap().success());
        started.elapsed()
    };
    (0..count).map(run).collect()
}

/// A run of the suite as the verdict makes it, beside the plain command in the same sandbox: reports
/// of 5,000 tests, as TAP in the output and as JUnit's XML in a file that was asked for. At most a
/// tenth and a second more.
async fn suite() {
    const TESTS: usize = 5_000;
    let tap = "i=0; echo TAP version 13; while [ $i -lt 5000 ]; do i=$((i+1)); echo \"ok $i - test $i\"; done; echo 1..5000\n";
    let xml: String = (0..TESTS)
        .map(|n| format!("<testcase classname=\"a.B\" name=\"test_{n}\" time=\"0.001\"/>"))
        .collect();
    let xml = format!("<testsuites><testsuite name=\"x\">{xml}</testsuite></testsuites>");
    let script = "#!/bin/sh\nfile=${PYTEST_ADDOPTS#*=}\n[ -z \"$PYTEST_ADDOPTS\" ] || cat report.xml > ${file%% *}\nsleep 0.2\necho '===== 5000 passed in 0.20s ====='\n";
    let files = [("tap.sh", tap), ("report.xml", &xml), ("pytest", script)];
    let tar = archive(files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())));
    let sandbox = connect_default(SandboxKind::Bubblewrap).unwrap();
    let toolbox = sandbox.start(&SandboxSpec::named("bench-suite")).await.unwrap();
    toolbox.unpack(tar.as_slice()).await.unwrap();
    let executable = CommandSpec::shell("chmod +x pytest", Duration::from_secs(60));
    assert!(toolbox.run(&executable).await.unwrap().ending.is_success());
    for (what, command) in
        [("run of 5,000 tests, TAP", "sh tap.sh"), ("run of 5,000 tests, report file", "./pytest")]
    {
        let settings = JobSettings::of_test_command(command);
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..15 {
            let started = Instant::now();
            let run = run_suite(&toolbox, &settings).await.unwrap();
            ours.push(started.elapsed());
            assert_eq!(run.report.counts.unwrap().passed, TESTS as u64);
            let started = Instant::now();
            let spec = CommandSpec::shell(command, Duration::from_secs(60));
            assert!(toolbox.run(&spec).await.unwrap().ending.is_success());
            plain.push(started.elapsed());
        }
        let bound = median(plain.clone()).mul_f64(1.1) + Duration::from_secs(1);
        assert!(median(ours.clone()) <= bound, "{what}: over its bound");
        row(what, median(ours), "the command alone, in the same sandbox", median(plain));
    }
    toolbox.shut_down().await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{:<37} {:>12}   {:<44} {:>12}   {:>8}", "medians", "ours", "floor", "floor", "ratio");
    runtime.block_on(async {
        webhook().await;
        sandbox().await;
        tool_calls().await;
        suite().await;
        base_tree().await;
        docker().await;
    });
}
