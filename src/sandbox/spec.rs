//! What a backend is given: the specifications of a sandbox and of a command in it, pure values that each backend
//! applies or answers with an error. And what it returns besides the pipe: a handle with which to stop its container
//! and to learn how it ended.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{AllowedHost, Guarantee};

/// The longest label.
const LABEL_BYTES_MAX: usize = 60;

/// The specification of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// For logs and for the names of cgroups and containers: at most 60 lower-case letters, digits and
    /// '-'.
    pub label: String,
    /// What it is for.
    pub purpose: SandboxPurpose,
    /// The resources that everything inside may use.
    pub limits: Limits,
    /// Its root file system.
    pub root: Root,
    /// The hosts that it may connect to; empty: no network and no proxy.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Bytes that may pass the proxy, in both directions together.
    pub egress_bytes_max: u64,
    /// The setup snapshot that it starts with.
    pub snapshot: Option<SetupSnapshot>,
    /// What the kernel or the engine must enforce; if this machine cannot, there is no sandbox. The
    /// other guarantees are applied if possible, and the description says which are.
    pub required: Vec<Guarantee>,
}

impl SandboxSpec {
    /// The defaults: for work, on the host's own `/usr` (if the backend can), without network.
    pub fn named(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            purpose: SandboxPurpose::Work,
            limits: Limits::default(),
            root: Root::Host { toolchains: Vec::new() },
            allowed_hosts: Vec::new(),
            egress_bytes_max: 4 << 30,
            snapshot: None,
            required: Vec::new(),
        }
    }

    /// Whether the label can be part of file, cgroup and container names.
    pub(super) fn has_valid_label(&self) -> bool {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !self.label.is_empty() && self.label.len() <= LABEL_BYTES_MAX && self.label.chars().all(is_plain)
    }

    /// The span of everything that this sandbox does.
    pub(super) fn span(&self) -> tracing::Span {
        tracing::info_span!("sandbox", label = self.label, purpose = self.purpose.name())
    }
}

/// What a sandbox is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxPurpose {
    /// The repository's setup commands: package managers may do their work.
    Setup,
    /// The agent's work, and the verdict.
    Work,
}

impl SandboxPurpose {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Work => "work",
        }
    }
}

/// The resources that everything inside a sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all processes together, in bytes, swap included.
    pub memory_bytes_max: u64,
    /// Processes and threads.
    pub pids_max: u32,
    /// Processors, in thousandths of one; `None`: all of them.
    pub cpu_millis_max: Option<u32>,
    /// Bytes that may be written, if the backend can limit them.
    pub disk_bytes_max: u64,
    /// Open files of one process.
    pub open_files_max: u64,
}

impl Default for Limits {
    /// 4 GiB of memory, 1,024 processes, all processors, 8 GiB of disk, 65,536 open files.
    fn default() -> Self {
        Self {
            memory_bytes_max: 4 << 30,
            pids_max: 1024,
            cpu_millis_max: None,
            disk_bytes_max: 8 << 30,
            open_files_max: 65_536,
        }
    }
}

/// A root file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Root {
    /// This machine's `/usr`, read-only, and nothing else.
    Host {
        /// Host directories mounted read-only at the same path: toolchains that the operator names.
        toolchains: Vec<PathBuf>,
    },
    /// An OCI image, by reference: `NAME:TAG`, `NAME@sha256:…`, or an engine's own image id.
    Image(String),
}

/// The exact content of a root file system at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRoot {
    /// The digest of its content: `sha256:…`.
    pub digest: String,
    /// A description, for transcripts and people.
    pub description: String,
    /// The root that leads to exactly this content.
    pub root: Root,
}

/// The key of a setup snapshot: a digest (64 lower-case hexadecimal digits) of everything that the
/// setup depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetupKey(String);

impl SetupKey {
    /// From a digest in hexadecimal; `None` if it is not one.
    pub fn from_hex(digest: impl Into<String>) -> Option<Self> {
        let digest = digest.into();
        let is_hex = digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        (digest.len() == 64 && is_hex).then_some(Self(digest))
    }

    /// The digest.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SetupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A started container. When the last reference is dropped, everything inside is killed.
#[async_trait]
pub(super) trait ContainerHandle: Any + Send + Sync {
    /// Kills everything inside. Does not wait.
    fn kill(&self);

    /// Resolves when nothing of it is left.
    async fn ended(&self);

    /// The exit code of its first process, if it exited by itself.
    fn exit_code(&self) -> Option<i64>;

    /// Why it ended, as far as that is known.
    fn exit_reason(&self) -> String;

    /// How often the kernel has killed a process inside because memory ran out; 0 if the backend
    /// cannot know.
    fn memory_kills(&self) -> u64 {
        0
    }

    /// How often the kernel has refused a new process or thread because there were too many; 0 if the
    /// backend cannot know.
    fn pid_refusals(&self) -> u64 {
        0
    }

    /// Whether [`ContainerHandle::pid_refusals`] counts. If not, the toolbox may.
    fn counts_pid_refusals(&self) -> bool {
        false
    }
}

/// The result of a setup, stored by the backend that ran it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupSnapshot {
    /// The key that it is stored under.
    pub key: SetupKey,
    /// Where the backend finds it: a directory or an image's id.
    pub location: String,
    /// Its size.
    pub bytes: u64,
    /// When it was stored, in whole seconds.
    pub created: Timestamp,
}

/// The limits of the cache of setup snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Most snapshots.
    pub count_max: usize,
    /// Bytes of all snapshots together.
    pub bytes_max: u64,
    /// The longest time without use.
    pub age_max: Duration,
}

impl Default for CacheLimits {
    /// 20 snapshots, 20 GiB, 14 days.
    fn default() -> Self {
        Self { count_max: 20, bytes_max: 20 << 30, age_max: Duration::from_secs(14 * 24 * 3600) }
    }
}

/// A command to run inside, as its own process group, in `/workspace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// Program and arguments. Shell commands are `["/bin/sh", "-c", …]`.
    pub argv: Vec<String>,
    /// Variables in addition to the sandbox's own.
    pub env: Vec<(String, String)>,
    /// The time after which it is killed.
    pub deadline: Duration,
    /// How many bytes of its output are returned.
    pub output_bytes_max: usize,
}

impl CommandSpec {
    /// A shell command of which half a mebibyte of output is returned.
    pub fn shell(command: &str, deadline: Duration) -> Self {
        Self {
            argv: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
            env: Vec::new(),
            deadline,
            output_bytes_max: 512 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_that_is_not_a_plain_name_is_invalid() {
        assert!(SandboxSpec::named("job-12").has_valid_label());
        for label in ["", "../x", "a/b", "A", "ä", &"a".repeat(61)] {
            assert!(!SandboxSpec::named(label).has_valid_label(), "{label} was accepted");
        }
    }
}
