//! The errors of the sandbox port: why a sandbox could not be started or was lost, and what a call
//! into a running one can fail with.

use crate::domain::SandboxKind;

/// Why a sandbox could not be started, or is gone.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Something that the backend needs is missing on this machine.
    #[error("the {}sandbox cannot be used: {missing}; {remedy}", name_before(.kind))]
    Unavailable {
        /// The backend, once `connect` has named it.
        kind: Option<SandboxKind>,
        /// What is missing.
        missing: String,
        /// What to do.
        remedy: String,
    },
    /// The content for the sandbox does not fit on its disk. A retry would fail in the same way.
    #[error(
        "the sandbox's disk is full: {0}; increase `sandbox.disk_mb` (and `sandbox.memory_mb`, if the disk is in \
         memory)"
    )]
    DiskFull(String),
    /// The sandbox, or the pipe to it, ended.
    #[error("the sandbox is gone: {0}")]
    Gone(String),
    /// The sandbox sent something that is not the protocol. It is not trusted any further.
    #[error("the sandbox broke the protocol: {0}")]
    Protocol(String),
    /// A setup snapshot cannot be saved or removed. New sandboxes can still be started.
    #[error("the setup snapshot could not be saved: {0}")]
    SnapshotFailed(String),
}

/// The name of a backend, if it is known, as it precedes a noun.
fn name_before(kind: &Option<SandboxKind>) -> String {
    kind.map_or(String::new(), |kind| format!("{kind} "))
}

impl SandboxError {
    /// The error of a backend for something that is missing, with what to do about it.
    pub(super) fn unavailable(missing: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unavailable { kind: None, missing: missing.into(), remedy: remedy.into() }
    }

    /// The same error, which names its backend.
    pub(super) fn of(self, backend: SandboxKind) -> Self {
        match self {
            Self::Unavailable { kind: None, missing, remedy } => {
                Self::Unavailable { kind: Some(backend), missing, remedy }
            }
            other => other,
        }
    }
}

/// What a call into the sandbox can fail with.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request could not be carried out; the text is for the model.
    #[error("{0}")]
    RespondToModel(String),
    /// The sandbox is lost; this ends the run.
    #[error(transparent)]
    Fatal(#[from] SandboxError),
}
