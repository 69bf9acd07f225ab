//! The port to sandboxes: a container that runs the toolbox, and a pipe.
//!
//! This is the only module that starts host processes. A backend starts a container with the toolbox
//! as its main process; everything after that goes through [`Toolbox`], over the pipe.
//!
//! To add a backend, add a folder that implements [`Sandbox`] and `container::ContainerHandle`, a
//! name in [`SandboxKind`], and its arm in [`connect`].

use std::sync::Arc;

use crate::domain::SandboxKind;

mod bubblewrap;
mod container;
mod docker;
mod egress;
mod environment;
mod error;
mod image;
mod layout;
mod options;
mod port;
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
pub use self::port::Sandbox;
pub use self::spec::{
    CacheLimits, CommandSpec, Limits, ResolvedRoot, Root, SandboxPurpose, SandboxSpec, SetupKey,
    SetupSnapshot,
};
pub use self::toolbox::{OutputStream, Toolbox};
pub use self::toolbox_binary::toolbox_sha256;
pub use self::toolchains::detect_toolchains;

/// The backend that `options` name.
///
/// # Errors
/// This machine lacks something that the backend needs.
pub fn connect(options: &SandboxOptions) -> Result<Arc<dyn Sandbox>, SandboxError> {
    Ok(match options.kind {
        SandboxKind::Bubblewrap => Arc::new(Bubblewrap::new()?.with_state_dir(&options.state_dir)),
        SandboxKind::Docker => Arc::new(Docker::new(options)?),
    })
}

/// The backend of that kind with default options, for use without a service.
///
/// # Errors
/// As [`connect`].
pub fn connect_default(kind: SandboxKind) -> Result<Arc<dyn Sandbox>, SandboxError> {
    connect(&SandboxOptions::standalone(kind))
}
