//! What is specific to containers of an engine: the images that are created, the snapshots of setups, and what
//! earlier processes left.

use std::path::Path;
use std::time::Duration;

use mendwright::domain::{EngineConfig, ExitStatus, SandboxKind};
use mendwright::sandbox::protocol::ReadFile;
use mendwright::sandbox::{
    CacheLimits, CallError, CommandSpec, Root, SandboxError, SandboxOptions, SandboxPurpose, SandboxSpec,
    SetupKey, Toolbox, connect,
};

const IMAGE: &str = "mendwright-test:2";
/// Far above what any of these commands takes, far below what a person would wait.
const DEADLINE: Duration = Duration::from_secs(60);

mod images;
mod leftovers;
mod podman;
mod setup;

fn unique(what: &str) -> String {
    format!("{what}-{}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}

fn options(owner: &str) -> SandboxOptions {
    SandboxOptions {
        state_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join(owner),
        owner: owner.to_owned(),
        ..SandboxOptions::standalone(SandboxKind::Docker)
    }
}

fn spec(image: &str) -> SandboxSpec {
    SandboxSpec { root: Root::Image(image.to_owned()), ..SandboxSpec::named(unique("story")) }
}

/// Waits until a condition holds, and panics if it does not within [`DEADLINE`].
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}

/// The output of the engine's command-line client.
fn docker(arguments: &[&str]) -> String {
    let output = std::process::Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An image from which nothing was created yet. It is removed with the images created from it.
struct FreshImage {
    name: String,
    id: String,
}

impl FreshImage {
    fn with(changes: &[&str]) -> Self {
        let name = format!("mendwright-test-fresh:{}", unique("i"));
        let container = docker(&["create", IMAGE, "true"]);
        let label = format!("LABEL fresh={name}");
        let mut arguments = vec!["commit", "--change", &label];
        arguments.extend(changes.iter().flat_map(|change| ["--change", change]));
        arguments.extend([container.as_str(), name.as_str()]);
        let id = docker(&arguments);
        docker(&["rm", &container]);
        Self { name, id }
    }

    /// The images that were created from it, named or not.
    fn derived(&self) -> Vec<String> {
        let filter = format!("label=mendwright.base={}", self.id);
        let listed = docker(&["images", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
        let mut ids: Vec<String> = listed.lines().map(str::to_owned).collect();
        ids.dedup();
        ids
    }
}

impl Drop for FreshImage {
    fn drop(&mut self) {
        for image in self.derived().iter().chain([&self.id]) {
            // The test may have removed some.
            let _ = std::process::Command::new("docker").args(["rmi", "--force", image]).output();
        }
    }
}

async fn ok(toolbox: &Toolbox, command: &str) -> String {
    let result = toolbox.run(&CommandSpec::shell(command, DEADLINE)).await.unwrap();
    assert_eq!(result.ending, ExitStatus::Exited { code: 0 }, "{command}: {}", result.output.to_text());
    result.output.to_text()
}

async fn fails(toolbox: &Toolbox, command: &str) {
    let result = toolbox.run(&CommandSpec::shell(command, DEADLINE)).await.unwrap();
    assert!(!result.ending.is_success(), "{command}: {}", result.output.to_text());
}

fn gone<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> String {
    match outcome {
        Err(CallError::Fatal(SandboxError::Gone(why))) => why,
        other => panic!("not gone: {other:?}"),
    }
}
