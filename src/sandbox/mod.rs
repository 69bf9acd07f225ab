//! The port to sandboxes: a container that runs the toolbox, and a pipe.
//!
//! The only module that starts host processes. A backend starts a container with the toolbox as
//! its main process; everything after that goes through [`Toolbox`], over the pipe.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

#[path = "../toolbox/protocol.rs"]
pub mod protocol;

// The rest of what both sides compile.
#[path = "../toolbox/frames.rs"]
mod frames;
#[path = "../toolbox/mux.rs"]
mod mux;

/// Where a job's tree is in every sandbox.
pub const WORKSPACE: &str = "/workspace";

/// Something that can start sandboxes.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// The backend's name in configuration: `bubblewrap`, `docker`.
    fn kind(&self) -> &'static str;

    /// Starts a sandbox with an empty `/workspace` and the toolbox running. Fails closed: what the
    /// spec demands is applied, or this is an error that names what is missing.
    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError>;
}

/// What a sandbox must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// For logs, cgroup and container names: lower-case letters, digits and '-', at most 60.
    pub label: String,
    /// Memory of everything inside, in bytes.
    pub memory_bytes_max: u64,
    /// Processes and threads inside.
    pub pids_max: u32,
    /// Bytes that may be written inside, where the backend can bound them.
    pub disk_bytes_max: u64,
    /// Host directories mounted read-only at the same path: toolchains the operator names.
    pub toolchains: Vec<PathBuf>,
    /// Host names that may be reached; empty: no network and no proxy.
    pub allowed_hosts: Vec<String>,
}

impl SandboxSpec {
    /// The defaults: 4 GiB, 1,024 processes, 8 GiB of disk, no network.
    pub fn named(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            memory_bytes_max: 4 << 30,
            pids_max: 1024,
            disk_bytes_max: 8 << 30,
            toolchains: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}

/// A command to run inside, as a process group of its own, in `/workspace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// Program and arguments. Shell commands are `["/bin/sh", "-c", …]`.
    pub argv: Vec<String>,
    /// Variables beside the sandbox's own.
    pub env: Vec<(String, String)>,
    /// When it is killed.
    pub deadline: Duration,
    /// How much of its output is kept.
    pub output_bytes_max: usize,
}

impl CommandSpec {
    /// A shell command with half a mebibyte of output kept.
    pub fn shell(command: &str, deadline: Duration) -> Self {
        Self {
            argv: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
            env: Vec::new(),
            deadline,
            output_bytes_max: 512 * 1024,
        }
    }
}

/// Why a sandbox could not be had, or is gone.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Something that the backend needs is missing on this machine.
    #[error("the {kind} sandbox cannot be used: {missing}; {remedy}")]
    Unavailable {
        /// Backend.
        kind: &'static str,
        /// What is missing.
        missing: String,
        /// What to do.
        remedy: String,
    },
    /// The sandbox, or the pipe to it, ended.
    #[error("the sandbox is gone: {0}")]
    Gone(String),
    /// The sandbox spoke, and it was not the protocol: it is not to be trusted any further.
    #[error("the sandbox broke the protocol: {0}")]
    Protocol(String),
}

/// What a call into the sandbox can come to, beside its answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request could not be carried out; the words are for the model.
    #[error("{0}")]
    Told(String),
    /// The sandbox is lost; ends the run.
    #[error(transparent)]
    Lost(#[from] SandboxError),
}

/// The backend with that name in the configuration or on the command line.
///
/// # Errors
/// There is none of that name, or this machine lacks what it needs.
pub fn sandbox_by_name(kind: &str) -> Result<Arc<dyn Sandbox>, SandboxError> {
    let unavailable = |kind, missing: &str| {
        let remedy = "choose 'bubblewrap', the only kind there is so far".to_owned();
        Err(SandboxError::Unavailable { kind, missing: missing.to_owned(), remedy })
    };
    match kind {
        "bubblewrap" => Ok(Arc::new(Bubblewrap::new()?)),
        "docker" => unavailable("docker", "it is planned, and not there yet"),
        unknown => unavailable("wanted", &format!("there is no kind of that name ('{unknown}')")),
    }
}

/// The language toolchains of this machine that are not the system's own, for
/// [`SandboxSpec::toolchains`]: so far Rust's, wherever `rustc` says that it lives.
pub fn detect_toolchains() -> Vec<PathBuf> {
    let mut rustc = Command::new("rustc");
    // At the root no project's file can have a say in which toolchain is meant.
    rustc.args(["--print", "sysroot"]).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    let asked = rustc.output();
    let sysroot = asked.ok().filter(|output| output.status.success()).and_then(|output| {
        let path = String::from_utf8(output.stdout).ok()?;
        // A sandbox shows real paths only.
        std::fs::canonicalize(path.trim_end()).ok()
    });
    // What a distribution installs is on the sandbox's own path already.
    let is_system = |path: &PathBuf| ["/usr", "/usr/local"].iter().any(|system| path == Path::new(system));
    sysroot.into_iter().filter(|path| !is_system(path)).collect()
}

mod bubblewrap;
mod container;
mod egress;
mod link;
mod toolbox;
pub use bubblewrap::Bubblewrap;
pub use toolbox::{OutputStream, Toolbox};
