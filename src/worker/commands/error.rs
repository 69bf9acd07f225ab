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

/// What becomes of a request that was handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It is completed with this result.
    Complete(&'static str),
    /// It is due again after this time.
    Defer(Duration),
    /// It failed for good, and its author is told why.
    Fail(String),
}

/// Decides what becomes of a request. One that is `expired` has waited long enough: it fails instead of
/// waiting again.
pub(super) fn next(result: &Result<Handled, CommandError>, expired: bool) -> Next {
    match result {
        Ok(Handled::Done(result)) => Next::Complete(result),
        Ok(Handled::Wait(pause)) if !expired => Next::Defer(*pause),
        Ok(Handled::Wait(_)) => Next::Fail("the job was busy for 24 hours".to_owned()),
        Err(error) => match error.retry_after() {
            Some(pause) if !expired => Next::Defer(pause),
            Some(_) | None => Next::Fail(error.to_string()),
        },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JobId;

    fn forbidden() -> CommandError {
        GitHubError::Forbidden { what: "reading issue #7".into(), detail: "403".into() }.into()
    }

    fn unavailable() -> CommandError {
        let retry_after = Duration::from_secs(9);
        GitHubError::Unavailable { what: "reading issue #7".into(), detail: "502".into(), retry_after }.into()
    }

    #[test]
    fn request_that_fails_for_good_is_answered_whatever_failed() {
        let lost = StoreError::LeaseLost { job: JobId::new(), epoch: 1 };
        for error in [forbidden(), lost.into(), CommandError::Defect("index out of bounds".into())] {
            let why = error.to_string();
            assert_eq!(next(&Err(error), false), Next::Fail(why));
        }
    }

    #[test]
    fn request_that_can_be_tried_again_waits_and_is_answered_when_it_has_waited_long_enough() {
        let pause = Duration::from_secs(9);
        assert_eq!(next(&Err(unavailable()), false), Next::Defer(pause));
        assert!(matches!(next(&Err(unavailable()), true), Next::Fail(_)));
        assert_eq!(next(&Ok(Handled::Wait(pause)), false), Next::Defer(pause));
        assert!(matches!(next(&Ok(Handled::Wait(pause)), true), Next::Fail(_)));
        assert_eq!(next(&Ok(Handled::Done("stopped")), true), Next::Complete("stopped"));
    }
}
