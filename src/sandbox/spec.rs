//! What is asked of a sandbox, and of a command in it. Pure values; each backend applies them or
//! refuses.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::AllowedHost;

/// What a sandbox must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// For logs, cgroup and container names: lower-case letters, digits and '-', at most 60.
    pub label: String,
    /// What it is for.
    pub phase: SandboxPurpose,
    /// What the inside may use up.
    pub limits: Limits,
    /// Its root file system.
    pub root: Root,
    /// Hosts that may be reached; empty: no network and no proxy.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Bytes that may pass the proxy, both ways together.
    pub egress_bytes_max: u64,
    /// What a set-up made that it starts with.
    pub snapshot: Option<SetupSnapshot>,
    /// What must be applied by the kernel or the engine; where this machine cannot, there is no
    /// sandbox. What is not named here is applied where it can be, and the description says so.
    pub required: Vec<Guarantee>,
}

impl SandboxSpec {
    /// The defaults: for work, on the host's own `/usr` (where the backend can), no network.
    pub fn named(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            phase: SandboxPurpose::Work,
            limits: Limits::default(),
            root: Root::Host { toolchains: Vec::new() },
            allowed_hosts: Vec::new(),
            egress_bytes_max: 4 << 30,
            snapshot: None,
            required: Vec::new(),
        }
    }
}

/// What a sandbox is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxPurpose {
    /// The repository's set-up commands: package managers may do their work.
    SetUp,
    /// The agent's work, and the verdict.
    Work,
}

/// What the inside of a sandbox may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of everything inside, in bytes, swap included.
    pub memory_bytes_max: u64,
    /// Processes and threads.
    pub pids_max: u32,
    /// Processor time per time, in thousandths of one processor; `None`: all there is.
    pub cpu_millis_max: Option<u32>,
    /// Bytes that may be written, where the backend can bound them.
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
    /// This machine's `/usr`, read-only, and nothing else of it.
    Host {
        /// Host directories mounted read-only at the same path: toolchains the operator names.
        toolchains: Vec<PathBuf>,
    },
    /// An OCI image, by reference: `NAME:TAG`, `NAME@sha256:…`, or an engine's own image id.
    Image(String),
}

/// What a root file system is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRoot {
    /// The same for the same content: `sha256:…`.
    pub digest: String,
    /// In words, for transcripts and people.
    pub description: String,
    /// The root to ask for, to get exactly this one.
    pub root: Root,
}

/// Something that contains the inside, applied by the kernel or the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// The memory of all processes together is bounded, and running out of it is told.
    Memory,
    /// The number of processes is bounded.
    Processes,
    /// Processor time is bounded.
    Processor,
    /// The bytes written are bounded.
    Disk,
    /// What runs inside has no user of the host's in common with this process.
    OtherUser,
}

impl Guarantee {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Processes, Self::Processor, Self::Disk, Self::OtherUser];

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|guarantee| guarantee.name() == name)
    }

    /// Its name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Processor => "processor",
            Self::Disk => "disk",
            Self::OtherUser => "other_user",
        }
    }
}

/// Names what a set-up made: a digest (64 lower-case hexadecimal digits) over all that it depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetupKey(String);

impl SetupKey {
    /// From a digest in hexadecimal; `None` where it is none.
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

/// What a set-up made, kept by the backend that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupSnapshot {
    /// What it was kept under.
    pub key: SetupKey,
    /// Where the backend finds it: a directory, an image's id.
    pub place: String,
    /// Its size.
    pub bytes: u64,
}

/// How much may be kept of what set-ups made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Most set-ups.
    pub count_max: usize,
    /// All of them together.
    pub bytes_max: u64,
    /// Longest time without use.
    pub age_max: Duration,
}

impl Default for CacheLimits {
    /// 20 set-ups, 20 GiB, 14 days.
    fn default() -> Self {
        Self { count_max: 20, bytes_max: 20 << 30, age_max: Duration::from_secs(14 * 24 * 3600) }
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
