//! Why a job stops before its pipeline has come to an end: the one error type of every stage, so that
//! stages are plain functions and `?` ends the job.

use std::time::Duration;

use crate::agent::AgentError;
use crate::domain::{EscalationReason, OperatorNote, is_shortage};
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

/// How long a job waits if this machine is short of something: descriptors, memory, processes.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(15);

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

    /// No retry will help, unless this machine was only short of something for a moment: then the job is tried again
    /// later, and that never counts as a failed attempt. The one place that decides it, for every stage.
    pub(super) fn ended_by(error: impl ToString) -> Self {
        let why = error.to_string();
        match is_shortage(&why) {
            true => Self::later(why, SHORTAGE_PAUSE),
            false => Self::Broken(why),
        }
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
        Self::environment_for_operator(why, None)
    }

    /// The suite cannot be run, and the operator has to do something about it.
    pub(super) fn environment_for_operator(why: String, operator: Option<OperatorNote>) -> Self {
        Self::Escalate(EscalationReason::Environment { why, operator })
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost { .. } => Self::LeaseLost(error),
            StoreError::Database { .. } => Self::later(error, STORE_PAUSE),
            StoreError::IllegalTransition { .. } | StoreError::Unreadable { .. } => Self::ended_by(error),
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
            | GitHubError::ContainsSecret { .. } => Self::ended_by(error),
        }
    }
}

impl From<WorkspaceError> for Stop {
    fn from(error: WorkspaceError) -> Self {
        match error {
            WorkspaceError::Remote { worth_retrying: true, .. } => Self::later(error, GIT_PAUSE),
            WorkspaceError::Remote { .. }
            | WorkspaceError::BranchTaken { .. }
            | WorkspaceError::BranchBlocked { .. }
            | WorkspaceError::RefusedChange { .. }
            | WorkspaceError::Local { .. } => Self::ended_by(error),
            WorkspaceError::TreeTooLarge { .. } => Self::environment(error.to_string()),
            WorkspaceError::Abandoned => Self::later(error, GIT_PAUSE),
        }
    }
}

impl From<SandboxError> for Stop {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Gone(why) if is_shortage(&why) => {
                Self::later(SandboxError::Gone(why), SHORTAGE_PAUSE)
            }
            SandboxError::Gone(_) => {
                Self::Later { why: error.to_string(), after: SANDBOX_PAUSE, attempt: Attempt::Counts }
            }
            SandboxError::Unavailable { .. } | SandboxError::SnapshotFailed(_) => Self::ended_by(error),
            // A sandbox that breaks the protocol is not given a second chance, whatever it writes.
            SandboxError::Protocol(_) | SandboxError::DiskFull(_) => Self::Broken(error.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SandboxKind;

    const SHORTAGE: &str = "could not open '/data/mirrors/7.git/config': Too many open files";

    fn is_tried_again(stop: Stop) -> bool {
        match stop {
            Stop::Later { attempt, .. } => attempt == Attempt::DoesNotCount,
            _ => false,
        }
    }

    #[test]
    fn shortage_of_this_machine_never_ends_a_job_whatever_met_it() {
        let (git_dir, action, location) = (String::new(), "opening it", String::new());
        let git = WorkspaceError::Local { git_dir: git_dir.clone(), action, detail: SHORTAGE.into() };
        let remote = WorkspaceError::Remote {
            what: "fetch from",
            url: String::new(),
            detail: SHORTAGE.into(),
            worth_retrying: false,
        };
        let sandbox = SandboxError::Unavailable {
            kind: Some(SandboxKind::Bubblewrap),
            missing: "bwrap: Creating new namespace failed: Resource temporarily unavailable".into(),
            remedy: String::new(),
        };
        let store = StoreError::Unreadable { location, what: "job", detail: "Out of memory".into() };
        let github =
            GitHubError::Rejected { what: String::new(), detail: "No buffer space available".into() };
        let gone = SandboxError::Gone("pipe: Cannot allocate memory".into());
        let stops: [Stop; 6] =
            [git.into(), remote.into(), sandbox.into(), store.into(), github.into(), gone.into()];
        for stop in stops {
            assert!(is_tried_again(stop));
        }
    }

    #[test]
    fn lasting_error_ends_the_job_and_a_sandbox_cannot_claim_a_shortage() {
        let detail = "object not found".to_owned();
        let git = WorkspaceError::Local { git_dir: String::new(), action: "reading", detail };
        assert!(matches!(Stop::from(git), Stop::Broken(_)));
        assert!(matches!(Stop::from(SandboxError::Protocol(SHORTAGE.into())), Stop::Broken(_)));
    }
}
