//! The port to sandboxes: a container that runs the toolbox, and a pipe.
//!
//! The only module that starts host processes. A backend starts a container with the toolbox as
//! its main process; everything after that goes through [`Toolbox`], over the pipe.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

#[path = "../toolbox/protocol.rs"]
pub mod protocol;

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

mod toolbox;
pub use toolbox::Toolbox;
