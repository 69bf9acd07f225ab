//! A compromised or fake toolbox: nothing that it sends over the pipe is trusted, so no lie may be believed,
//! use unlimited resources, or block a caller.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use mendwright::domain::RepoPath;
use mendwright::sandbox::protocol::ReadFile;
use mendwright::sandbox::{Bubblewrap, CallError, CommandSpec, Sandbox, SandboxError, SandboxSpec, Toolbox};
use serde::Deserialize;
use tokio::time::timeout;

use super::data::is_like;
use super::host::prober;

/// After this time the test gives up on a slow lie. The calls' own limits are minutes.
const PATIENCE: Duration = Duration::from_secs(3);
/// How much memory a lie may make this process use. The multiplexer grants most of it.
const GROWTH_KIB_MAX: u64 = 160 << 10;
/// Lies at the same time. Most of them only wait.
const CONCURRENT: usize = 8;
/// The least number of lies, so that none is lost unnoticed.
const LIES_MIN: usize = 35;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lie {
    name: String,
    /// The call of the host.
    asked: Call,
    /// A pattern for the result of the call.
    answer: String,
    /// Whether the sandbox survives for a second call.
    #[serde(default)]
    survives: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Hello,
    Read,
    Run,
    Collect,
    Unpack,
}

#[derive(Debug, Deserialize)]
struct Lies {
    lie: Vec<Lie>,
}

#[tokio::test]
async fn lying_toolbox_does_no_harm() {
    let text = include_str!("../../../fixtures/sandbox/lies.toml");
    let lies: Lies = toml::from_str(text).unwrap_or_else(|e| panic!("lies.toml: {e}"));
    let names: HashSet<&str> = lies.lie.iter().map(|lie| lie.name.as_str()).collect();
    assert!(names.len() >= LIES_MIN && names.len() == lies.lie.len(), "{} lies", names.len());
    let mut believed = Vec::new();
    let before = resident_kib();
    let outcomes = futures_util::stream::iter(&lies.lie).map(async |lie| (lie, run_lie(lie).await));
    let mut outcomes = pin!(outcomes.buffer_unordered(CONCURRENT));
    while let Some((lie, (first, second))) = outcomes.next().await {
        let grown = resident_kib().saturating_sub(before);
        if !is_like(&lie.answer, &first) {
            believed.push(format!("{}: the caller got: {first}\n  wanted: {}", lie.name, lie.answer));
        }
        if second.starts_with("lost") == lie.survives {
            believed.push(format!("{}: a second call got: {second}", lie.name));
        }
        if grown > GROWTH_KIB_MAX {
            believed.push(format!("the host grew by {grown} KiB until {}", lie.name));
        }
    }
    assert!(believed.is_empty(), "{} lies did harm:\n{}", believed.len(), believed.join("\n"));
}

/// The results of a call, and of a second one after it.
async fn run_lie(lie: &Lie) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.path().join("lie"), &lie.name).unwrap();
    let liar = directory.path().join("fake-toolbox");
    symlink(prober(), &liar).unwrap();
    let sandbox = Bubblewrap::with_program(liar).unwrap();
    let spec = SandboxSpec::named(format!("liar-{}-{}", std::process::id(), lie.name));
    let toolbox = match timeout(PATIENCE, sandbox.start(&spec)).await {
        Ok(Ok(toolbox)) => toolbox,
        Ok(Err(error)) => return (lost(&error), "lost".to_owned()),
        Err(_) => return ("no answer".to_owned(), "lost".to_owned()),
    };
    let first = timeout(PATIENCE, ask(&toolbox, lie.asked)).await.unwrap_or_else(|_| "no answer".to_owned());
    let second = match timeout(PATIENCE, ask(&toolbox, Call::Read)).await {
        Ok(answer) => answer,
        // The call's own limit would detect a silent toolbox.
        Err(_) => "no answer".to_owned(),
    };
    timeout(PATIENCE, toolbox.shut_down()).await.expect("a lying toolbox is killed immediately");
    (first, second)
}

async fn ask(toolbox: &Toolbox, call: Call) -> String {
    let read = ReadFile { path: "a".to_owned(), first_line: 1, lines_max: 1 };
    let command = CommandSpec { output_bytes_max: 10_000, ..CommandSpec::shell("true", PATIENCE) };
    let path: RepoPath = "a".parse().unwrap();
    match call {
        Call::Hello | Call::Read => words(toolbox.read_file(&read).await),
        Call::Run => words(toolbox.run(&command).await),
        Call::Collect => words(toolbox.collect(&[path]).await),
        Call::Unpack => match toolbox.unpack(tokio::io::repeat(0)).await {
            Ok(()) => "got nothing".to_owned(),
            Err(error) => lost(&error),
        },
    }
}

fn words<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> String {
    match outcome {
        Ok(got) => format!("got {got:?}"),
        Err(CallError::RespondToModel(why)) => format!("told {why}"),
        Err(CallError::Fatal(error)) => lost(&error),
    }
}

fn lost(error: &SandboxError) -> String {
    match error {
        SandboxError::Gone(why) => format!("lost, gone: {why}"),
        SandboxError::Protocol(why) => format!("lost, protocol: {why}"),
        SandboxError::Unavailable { .. } | SandboxError::SnapshotFailed(_) | SandboxError::DiskFull(_) => {
            format!("unavailable: {error}")
        }
    }
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}
