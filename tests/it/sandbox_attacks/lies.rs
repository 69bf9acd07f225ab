//! A toolbox that has been taken over, or was never ours: what it says over the pipe is untrusted, so
//! no lie of it may be believed, take more than is bounded, or leave a caller waiting.

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

/// A lie that is only slow is walked away from; the calls' own bounds are minutes.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a lie may make this process hold, of which most is what the multiplexer grants.
const GROWTH_KIB_MAX: u64 = 160 << 10;
/// Most of them only wait.
const AT_ONCE: usize = 8;
/// Fewer would mean that some were lost.
const LIES_MIN: usize = 35;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lie {
    name: String,
    /// What the host asks.
    asked: Asked,
    /// What the caller is told: a pattern.
    answer: String,
    /// Whether the sandbox stays good for a second call.
    #[serde(default)]
    survives: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
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
async fn no_lie_of_a_toolbox_is_believed() {
    let text = include_str!("../../../fixtures/sandbox/lies.toml");
    let lies: Lies = toml::from_str(text).unwrap_or_else(|e| panic!("lies.toml: {e}"));
    let names: HashSet<&str> = lies.lie.iter().map(|lie| lie.name.as_str()).collect();
    assert!(names.len() >= LIES_MIN && names.len() == lies.lie.len(), "{} lies", names.len());
    let mut believed = Vec::new();
    let before = resident_kib();
    let told = futures_util::stream::iter(&lies.lie).map(async |lie| (lie, tell(lie).await));
    let mut told = pin!(told.buffer_unordered(AT_ONCE));
    while let Some((lie, (first, second))) = told.next().await {
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

/// What a call comes to, and what another one after it.
async fn tell(lie: &Lie) -> (String, String) {
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
    let second = match timeout(PATIENCE, ask(&toolbox, Asked::Read)).await {
        Ok(answer) => answer,
        // An honest one that is only silent would be seen by the call's own bound.
        Err(_) => "no answer".to_owned(),
    };
    timeout(PATIENCE, toolbox.shut_down()).await.expect("a liar is ended at once");
    (first, second)
}

async fn ask(toolbox: &Toolbox, asked: Asked) -> String {
    let read = ReadFile { path: "a".to_owned(), first_line: 1, lines_max: 1 };
    let command = CommandSpec { output_bytes_max: 10_000, ..CommandSpec::shell("true", PATIENCE) };
    let path: RepoPath = "a".parse().unwrap();
    match asked {
        Asked::Hello | Asked::Read => words(toolbox.read_file(&read).await),
        Asked::Run => words(toolbox.run(&command).await),
        Asked::Collect => words(toolbox.collect(&[path]).await),
        Asked::Unpack => match toolbox.unpack(tokio::io::repeat(0)).await {
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
