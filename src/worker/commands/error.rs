//! What handling a request comes to.

use std::time::Duration;

use crate::github::GitHubError;
use crate::store::StoreError;
use crate::worker::approval::ApprovalError;

/// How long a request waits if the store does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(30);

/// A request that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
    /// It is completed, with this result for the store.
    Done(&'static str),
    /// It has to wait.
    Wait(Duration),
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// GitHub did not do it, or did not answer.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect of ours.
    #[error("a defect in Mendwright: {0}")]
    Defect(String),
}

impl CommandError {
    /// When to try again; `None`: the request fails for good.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::GitHub(GitHubError::Unavailable { retry_after, .. }) => Some(*retry_after),
            Self::GitHub(
                GitHubError::NotFound { .. }
                | GitHubError::Forbidden { .. }
                | GitHubError::Rejected { .. }
                | GitHubError::ContainsSecret { .. },
            ) => None,
            Self::Store(StoreError::Database { .. }) => Some(STORE_PAUSE),
            Self::Store(
                StoreError::LeaseLost { .. }
                | StoreError::IllegalTransition { .. }
                | StoreError::Unreadable { .. },
            )
            | Self::Defect(_) => None,
        }
    }
}

impl From<ApprovalError> for CommandError {
    fn from(error: ApprovalError) -> Self {
        match error {
            ApprovalError::GitHub(error) => Self::GitHub(error),
            ApprovalError::Store(error) => Self::Store(error),
        }
    }
}
