//! The port to sandboxes: a container that runs the toolbox, and a pipe. This is the only module that starts host
//! processes. A backend starts a container with the toolbox as its main process; everything after that goes through
//! [`Toolbox`], over the pipe.
//!
//! # How to add a backend
//!
//! A backend is a folder here, its row in `src/domain/sandbox.rs`, and its arm in [`connect`]. It implements
//! [`Sandbox`], and `ContainerHandle` of `src/sandbox/spec.rs`, where everything is that it is given. Whatever
//! else it needs, it imports from this module (`use crate::sandbox::{…}`). [`Sandbox::start`] must do all of this:
//!
//! 1. Refuse a label that `SandboxSpec::has_valid_label` does not accept, and run in `SandboxSpec::span`.
//! 2. Make [`SandboxSpec::root`] the root file system. [`ImageStore`] resolves and unpacks images for a backend that
//!    has no engine to do it. One that cannot use the host's `/usr` says so in its row.
//! 3. Put `TOOLBOX` at `TOOLBOX_PATH` and start it as process 1 with the command `init`, and the options
//!    `--proxy-port` `PROXY_PORT` if there are allowed hosts, `--prepared` if there is a setup snapshot, `--filters`
//!    if the toolbox must install the `seccomp` filters itself, and `--user`, `--processes`, `--data-bytes` and
//!    `--open-files` for what nothing outside enforces. `src/toolbox/init.rs` describes them.
//! 4. Make `WORKSPACE`, `HOME` and `/tmp` writable, and everything else only for a setup. Give it no network but
//!    the loopback interface: the proxy is at the other end of the pipe.
//! 5. Set `environment::variables(proxy: bool)`, and `PATH` to `environment::search_path(the image's own, if any)`;
//!    nothing of the host's.
//! 6. Apply [`SandboxSpec::limits`]. What [`SandboxSpec::required`] names and cannot be enforced here is a
//!    `SandboxError::unavailable`; whatever else cannot be is named in the sandbox's description.
//! 7. End with `Toolbox::connect(pipe, container, description, Egress::for_sandbox(spec))`, where `pipe` is the
//!    toolbox's standard input and output, and `container` a `ContainerHandle`.
//!
//! Setup snapshots can be kept in a `DirectoryCache`; `Toolbox::export_snapshot` and `Toolbox::seal` give their
//! content. Programs of the host are found by `find_program`. No error names its backend: [`connect`] adds the name.
//!
//! `tests/it/backends.rs` lists the backends for the contract tests, the attacks and the setup tests.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::SandboxKind;

mod bubblewrap;
mod directory_cache;
mod docker;
mod egress;
mod environment;
mod error;
mod first_bytes;
mod host_program;
mod image;
mod layout;
mod named;
mod options;
mod rpc;
mod seccomp;
mod spec;
mod toolbox;
mod toolbox_binary;
mod toolchains;

pub use mendwright_protocol as protocol;

pub use self::bubblewrap::Bubblewrap;
pub use self::docker::Docker;
pub use self::error::{CallError, SandboxError};
pub use self::image::{ImageStore, UnpackedImage};
pub use self::layout::WORKSPACE;
pub use self::options::SandboxOptions;
pub use self::spec::{
    CacheLimits, CommandSpec, Limits, ResolvedRoot, Root, SandboxPurpose, SandboxSpec, SetupKey,
    SetupSnapshot,
};
pub use self::toolbox::{OutputStream, Toolbox};
pub use self::toolbox_binary::toolbox_sha256;
pub use self::toolchains::detect_toolchains;

use self::named::Named;

// For the backends.
use self::directory_cache::DirectoryCache;
use self::egress::{Egress, PROXY_PORT};
use self::host_program::find_program;
use self::layout::{HOME, TOOLBOX_PATH};
use self::options::STANDALONE_OWNER;
use self::spec::ContainerHandle;
use self::toolbox_binary::{TOOLBOX, toolbox_file};

/// The backend that `options` name.
///
/// # Errors
/// This machine lacks something that the backend needs.
pub fn connect(options: &SandboxOptions) -> Result<Arc<dyn Sandbox>, SandboxError> {
    Named::connect(options.kind, || {
        Ok(match options.kind {
            SandboxKind::Bubblewrap => Box::new(Bubblewrap::new()?.with_state_dir(&options.state_dir)),
            SandboxKind::Docker => Box::new(Docker::new(options)?),
        })
    })
}

/// The backend of that kind with default options, for use without a service.
///
/// # Errors
/// As [`connect`].
pub fn connect_default(kind: SandboxKind) -> Result<Arc<dyn Sandbox>, SandboxError> {
    connect(&SandboxOptions::standalone(kind))
}

/// A backend: it starts sandboxes, and stores the result of a setup for later ones.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Which backend this is.
    fn kind(&self) -> SandboxKind;

    /// Starts a sandbox with the toolbox running and an empty `/workspace`, or one that contains
    /// [`SandboxSpec::snapshot`]. Fails closed: everything that the spec requires is applied, or the
    /// error names what is missing. Implementations run in `SandboxSpec::span`.
    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError>;

    /// What `root` is at this moment, so that two sandboxes can be started from exactly the same one:
    /// an image by its digest (pulled if it is missing), a host by its installed packages.
    async fn resolve(&self, root: &Root) -> Result<ResolvedRoot, SandboxError>;

    /// Stops a sandbox of [`SandboxPurpose::Setup`] and stores what was
    /// created in it under `key`, for [`SandboxSpec::snapshot`]: everything in `/workspace` that was
    /// not unpacked into it, the home directory and, if the backend can, the rest of the root file
    /// system.
    ///
    /// # Errors
    /// It is larger than `bytes_max`, the sandbox is lost, or the disk is full.
    async fn save_snapshot(
        &self,
        toolbox: Toolbox,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError>;

    /// The snapshot that is stored under `key`, if there is one. Counts as a use.
    async fn find_snapshot(&self, key: &SetupKey) -> Result<Option<SetupSnapshot>, SandboxError>;

    /// Removes the least recently used snapshots until `limits` hold, and returns which were removed.
    async fn evict(&self, limits: &CacheLimits) -> Result<Vec<SetupKey>, SandboxError>;

    /// Removes what earlier processes left running or on disk, and returns how many things that were.
    async fn sweep(&self) -> Result<u32, SandboxError>;
}
