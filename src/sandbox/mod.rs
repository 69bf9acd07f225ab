//! The port to sandboxes: a container that runs the toolbox, and a pipe.
//!
//! The only module that starts host processes. A backend starts a container with the toolbox as
//! its main process; everything after that goes through [`Toolbox`], over the pipe.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

pub use mendwright_protocol as protocol;
use mendwright_protocol::{frames, mux};

/// Where a job's tree is in every sandbox.
pub const WORKSPACE: &str = "/workspace";
/// The home directory in every sandbox.
const HOME: &str = "/home/agent";
/// Where the toolbox is in every sandbox.
const TOOLBOX_PATH: &str = "/.mendwright/toolbox";
/// The toolbox, as build.rs made it.
static TOOLBOX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mendwright-toolbox"));

/// SHA-256 of the toolbox, in hexadecimal.
pub fn toolbox_sha256() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| hex::encode(Sha256::digest(TOOLBOX)));
    &DIGEST
}

/// Something that can start sandboxes, and keep what a set-up made for later ones.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// The backend's name in configuration: `bubblewrap`, `docker`.
    fn kind(&self) -> &'static str;

    /// Starts a sandbox with the toolbox running and an empty `/workspace`, or one that holds what
    /// [`SandboxSpec::snapshot`] brings. Fails closed: what the spec demands is applied, or this is
    /// an error that names what is missing.
    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError>;

    /// What `root` is at this moment, so that two sandboxes can be had of the very same one: an
    /// image by its digest (pulled where it is not there yet), a host by what it has installed.
    async fn resolve(&self, root: &Root) -> Result<ResolvedRoot, SandboxError>;

    /// Ends a sandbox of [`SandboxPurpose::SetUp`] and keeps what was made in it (everything in `/workspace`
    /// that was not unpacked into it, the home directory and, where the backend can, the rest of the
    /// root file system) under `key`, for [`SandboxSpec::snapshot`].
    ///
    /// # Errors
    /// It is larger than `bytes_max`, the sandbox is lost, or the disk is full.
    async fn keep(
        &self,
        toolbox: Toolbox,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError>;

    /// What is kept under `key`, if there is anything. Counts as a use.
    async fn kept(&self, key: &SetupKey) -> Result<Option<SetupSnapshot>, SandboxError>;

    /// Removes what has been kept longest without use, until the bounds hold, and says what went.
    async fn evict(&self, bounds: &CacheLimits) -> Result<Vec<SetupKey>, SandboxError>;

    /// Removes what predecessors of this process left running or lying about. Says how many.
    async fn sweep(&self) -> Result<u32, SandboxError>;
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
    /// What was to be put into the sandbox does not fit, and would not the next time.
    #[error(
        "the sandbox's disk is full: {0}; give it more room (`sandbox.disk_mb`, and `sandbox.memory_mb`, where it \
         lies in memory)"
    )]
    DiskFull(String),
    /// The sandbox, or the pipe to it, ended.
    #[error("the sandbox is gone: {0}")]
    Gone(String),
    /// The sandbox spoke, and it was not the protocol: it is not to be trusted any further.
    #[error("the sandbox broke the protocol: {0}")]
    Protocol(String),
    /// What a set-up made cannot be kept, and what was kept cannot be removed: sandboxes can still
    /// be had.
    #[error("what the set-up made could not be kept: {0}")]
    SnapshotFailed(String),
}

impl SandboxError {
    /// The sandbox is gone, with these last words.
    fn gone(last_words: String) -> Self {
        match last_words.split_once(protocol::NO_ROOM) {
            Some((_, why)) => Self::DiskFull(why.to_owned()),
            None => Self::Gone(last_words),
        }
    }
}

/// What a call into the sandbox can come to, beside its answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request could not be carried out; the words are for the model.
    #[error("{0}")]
    RespondToModel(String),
    /// The sandbox is lost; ends the run.
    #[error(transparent)]
    Fatal(#[from] SandboxError),
}

/// How a backend is reached, and where it may keep what outlives a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxOptions {
    /// `bubblewrap` or `docker`.
    pub kind: String,
    /// Where images and kept set-ups lie; must be on a disk, and ours alone.
    pub state_dir: PathBuf,
    /// Whose leftovers are ours to remove: the same for every process on one data directory.
    pub owner: String,
    /// For `docker`.
    pub docker: DockerOptions,
}

/// How Docker or Podman is reached, and what it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerOptions {
    /// `unix:///path` of the API's socket; `None`: the usual places, Docker's first.
    pub socket: Option<String>,
    /// A runtime by the name that the engine knows it by (`runsc`, `kata`); `None`: the engine's.
    pub runtime: Option<String>,
    /// The engine's user namespace mode; `None`: the engine's.
    pub userns: Option<String>,
}

impl SandboxOptions {
    /// The defaults for a backend, for use by hand: state among what this user's programs keep for the
    /// next time, or below the temporary directory for a user without such a place.
    pub fn by_hand(kind: impl Into<String>) -> Self {
        let temporary = || std::env::temp_dir().join(format!("mendwright-{}", nix::unistd::geteuid()));
        Self {
            kind: kind.into(),
            state_dir: crate::config::cache_dir().map_or_else(temporary, |caches| caches.join("mendwright")),
            owner: "by-hand".to_owned(),
            docker: DockerOptions::default(),
        }
    }
}

/// The backend that `options` name.
///
/// # Errors
/// There is none of that name, or this machine lacks what it needs.
pub fn connect(options: &SandboxOptions) -> Result<Arc<dyn Sandbox>, SandboxError> {
    let unavailable = |kind, missing: String| {
        let remedy = "choose 'bubblewrap' or 'docker'".to_owned();
        Err(SandboxError::Unavailable { kind, missing, remedy })
    };
    match options.kind.as_str() {
        "bubblewrap" => Ok(Arc::new(Bubblewrap::new()?.keeping_in(&options.state_dir))),
        "docker" => Ok(Arc::new(Docker::new(options)?)),
        unknown => unavailable("wanted", format!("there is no kind of that name ('{unknown}')")),
    }
}

/// The backend with that name, as for use by hand.
///
/// # Errors
/// As [`connect`].
pub fn connect_default(kind: &str) -> Result<Arc<dyn Sandbox>, SandboxError> {
    connect(&SandboxOptions::by_hand(kind))
}

/// The language toolchains of this machine that are not the system's own, for
/// [`Root::Host`]: so far Rust's, wherever `rustc` says that it lives.
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
mod docker;
mod egress;
mod environment;
mod image;
mod link;
mod seccomp;
mod spec;
mod toolbox;
pub use bubblewrap::Bubblewrap;
pub use docker::Docker;
pub use image::{ImageStore, UnpackedImage, names_a_host_path};
pub use spec::{
    CacheLimits, CommandSpec, Guarantee, Limits, ResolvedRoot, Root, SandboxPurpose, SandboxSpec, SetupKey,
    SetupSnapshot,
};
pub use toolbox::{OutputStream, Toolbox};
