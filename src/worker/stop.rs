//! Why a job stops before its pipeline has come to an end: the one error type of every stage, so that
//! stages are plain functions and `?` ends the job.

use std::time::Duration;

use crate::agent::AgentError;
use crate::domain::EscalationReason;
use crate::github::GitHubError;
use crate::sandbox::SandboxError;
use crate::store::{Attempt, StoreError};
use crate::testing::SuiteError;
use crate::workspace::WorkspaceError;

/// How long a job waits if the store does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(30);
/// How long a job waits if git's server does not answer.
const GIT_PAUSE: Duration = Duration::from_secs(15);
/// How long a job waits if its sandbox is gone: the machine may be short of something for a moment.
const SANDBOX_PAUSE: Duration = Duration::from_secs(5);

/// Why a job stops.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// A person has to decide. The job ends with a comment that says why.
    #[error("a person has to decide: {}", .0.name())]
    Escalate(EscalationReason),
    /// It may not be worked on. The job ends as cancelled, and the issue says why.
    #[error("refused: {0}")]
    Refuse(String),
    /// It may not be worked on, and nothing is published about it. The job ends as cancelled; the log and
    /// the store say why.
    #[error("ignored: {0}")]
    Ignore(String),
    /// It is worth another try later. The job goes back to the queue.
    #[error("{why}; the job is put back for {} s", after.as_secs())]
    Later {
        /// What was in the way.
        why: String,
        /// When to try again.
        after: Duration,
        /// Whether it counts as a failed attempt.
        attempt: Attempt,
    },
    /// Another worker has the job now.
    #[error(transparent)]
    LeaseLost(StoreError),
    /// No retry will help. The job ends as failed.
    #[error("{0}")]
    Broken(String),
}

impl Stop {
    /// The job is to be tried again after a pause. Nothing of it is broken.
    fn later(why: impl ToString, after: Duration) -> Self {
        Self::Later { why: why.to_string(), after, attempt: Attempt::DoesNotCount }
    }

    /// The job begins again from what is recorded, without a pause.
    pub(super) fn start_over(why: impl ToString) -> Self {
        Self::later(why, Duration::ZERO)
    }

    /// The change is verified no more, or cannot become part of its branch.
    pub(super) fn not_verified(why: String) -> Self {
        Self::Escalate(EscalationReason::NotVerified { why })
    }

    /// The suite cannot be run.
    pub(super) fn environment(why: String) -> Self {
        Self::Escalate(EscalationReason::Environment { why })
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost { .. } => Self::LeaseLost(error),
            StoreError::Database { .. } => Self::later(error, STORE_PAUSE),
            StoreError::IllegalTransition { .. } | StoreError::Unreadable { .. } => {
                Self::Broken(error.to_string())
            }
        }
    }
}

impl From<GitHubError> for Stop {
    fn from(error: GitHubError) -> Self {
        match error {
            GitHubError::Unavailable { retry_after, .. } => Self::later(error, retry_after),
            GitHubError::NotFound { .. }
            | GitHubError::Forbidden { .. }
            | GitHubError::Rejected { .. }
            | GitHubError::ContainsSecret { .. } => Self::Broken(error.to_string()),
        }
    }
}

impl From<WorkspaceError> for Stop {
    fn from(error: WorkspaceError) -> Self {
        match error {
            WorkspaceError::Remote { worth_retrying: true, .. } => Self::later(error, GIT_PAUSE),
            WorkspaceError::Remote { .. }
            | WorkspaceError::BranchTaken { .. }
            | WorkspaceError::RefusedChange { .. }
            | WorkspaceError::Local { .. } => Self::Broken(error.to_string()),
        }
    }
}

impl From<SandboxError> for Stop {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Gone(_) => {
                Self::Later { why: error.to_string(), after: SANDBOX_PAUSE, attempt: Attempt::Counts }
            }
            // A sandbox that breaks the protocol is not given a second chance.
            SandboxError::Unavailable { .. }
            | SandboxError::Protocol(_)
            | SandboxError::SnapshotFailed(_)
            | SandboxError::DiskFull(_) => Self::Broken(error.to_string()),
        }
    }
}

impl From<SuiteError> for Stop {
    fn from(error: SuiteError) -> Self {
        match error {
            SuiteError::Sandbox(error) => error.into(),
            SuiteError::Workspace(error) => error.into(),
        }
    }
}

impl From<AgentError> for Stop {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Sandbox(error) => error.into(),
            AgentError::Store(error) => error.into(),
            AgentError::Workspace(error) => error.into(),
        }
    }
}
