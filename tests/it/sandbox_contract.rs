//! What every sandbox must do, and what it must not allow. Each story is a test of each backend. If a backend
//! is not available, its tests fail; none is skipped.

use std::collections::HashSet;
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mendwright::domain::{ExitStatus, ProcessOutput};
use mendwright::sandbox::{CallError, CommandSpec, SandboxSpec, Toolbox};

use crate::backends::{Backend, root};

/// A specification that needs only what this machine has.
fn spec(backend: Backend, label: &str) -> SandboxSpec {
    SandboxSpec { root: root(backend.kind()), ..SandboxSpec::named(label) }
}

mod bubblewrap;
mod commands;
mod files;
mod images;
mod isolation;
mod lifetime;
mod limits;
mod map;
mod measure;
mod processes;
mod streams;
mod transport;
mod trees;

/// Much longer than any of these commands takes, much shorter than a person would wait.
const DEADLINE: Duration = Duration::from_secs(180);

/// Runs a story in a new sandbox, and checks that nothing is left.
async fn in_sandbox<F: Future<Output = Toolbox>>(
    backend: Backend,
    change: impl Fn(&mut SandboxSpec),
    story: impl Fn(Toolbox) -> F,
) {
    let sandbox = backend.sandbox();
    assert_eq!(sandbox.kind(), backend.kind());
    let mut spec = spec(backend, &unique("story"));
    change(&mut spec);
    let toolbox = story(sandbox.start(&spec).await.unwrap()).await;
    toolbox.shut_down().await;
    assert_nothing_left(&spec.label);
    if backend == Backend::Docker {
        assert_eq!(containers_of(&spec.label), "", "containers are left");
    }
}

async fn in_default_sandbox<F: Future<Output = Toolbox>>(backend: Backend, story: impl Fn(Toolbox) -> F) {
    in_sandbox(backend, |_| {}, story).await;
}

/// An argument for `sleep` that identifies the processes of one story on this machine.
fn unique_seconds() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(100);
    format!("7{}{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst))
}

fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst))
}

/// Waits until a condition holds, and panics if it does not within [`DEADLINE`].
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}

/// Checks that no cgroup with that label exists.
fn assert_nothing_left(label: &str) {
    let left = groups_of(label);
    assert!(left.is_empty(), "{left:?}");
}

fn has_groups(label: &str) -> bool {
    !groups_of(label).is_empty()
}

fn groups_of(label: &str) -> Vec<PathBuf> {
    let (mut pending, mut found) = (vec![PathBuf::from("/sys/fs/cgroup")], Vec::new());
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(&format!("-{label}")) {
                found.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
    found
}

/// The engine's containers with that label, running or not.
fn containers_of(label: &str) -> String {
    docker(&["ps", "--all", "--quiet", "--filter", &format!("label=mendwright.job={label}")])
}

/// The output of the engine's command-line client.
fn docker(arguments: &[&str]) -> String {
    let output = std::process::Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Processes on the host with `marker` in their arguments.
fn processes_with(marker: &str) -> HashSet<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(marker)
    })
    .collect()
}

async fn sh(toolbox: &Toolbox, command: &str) -> ProcessOutput {
    toolbox.run(&CommandSpec::shell(command, DEADLINE)).await.unwrap()
}

/// The output of a command that must succeed.
async fn ok(toolbox: &Toolbox, command: &str) -> String {
    let result = sh(toolbox, command).await;
    assert_eq!(result.ending, ExitStatus::Exited { code: 0 }, "{command}: {}", result.output.to_text());
    result.output.to_text()
}

/// Checks that a command exits with a failure.
async fn fails(toolbox: &Toolbox, command: &str) {
    let result = sh(toolbox, command).await;
    let failed = matches!(result.ending, ExitStatus::Exited { code } if code != 0);
    assert!(failed, "{command}: {:?} {}", result.ending, result.output.to_text());
}

/// Callers share one toolbox between several tasks.
#[expect(dead_code, reason = "compiling it is the test")]
fn calls_can_be_spawned(toolbox: Arc<Toolbox>) {
    fn check(_: impl Send + Sync) {}
    fn check_send(_: impl Send) {}
    check(Arc::clone(&toolbox));
    check_send(async move {
        let _ = toolbox.run(&CommandSpec::shell("", DEADLINE)).await;
        let _ = toolbox.collect(&[]).await;
        let _ = toolbox.unpack(tokio::io::empty()).await;
        let _ = toolbox.run_live(&CommandSpec::shell("", DEADLINE), |_, _| {}).await;
    });
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> String {
    match outcome {
        Err(CallError::RespondToModel(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn tar_of(files: impl IntoIterator<Item = (String, Vec<u8>)>, links: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if path.ends_with(".sh") { 0o755 } else { 0o644 });
        tar.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    for (path, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, path, target).unwrap();
    }
    tar.into_inner().unwrap()
}
