//! Errors of GitHub, by what the caller can do about them.

use std::time::Duration;

use crate::domain::SecretFinding;

/// An error of GitHub, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// Worth another attempt after `retry_after`: rate limit, 5xx, connection failure. Whoever tries again says so; the
    /// message does not, since it is shown when nobody does.
    #[error("GitHub is unavailable ({what}: {detail})")]
    Unavailable {
        /// What was attempted.
        what: String,
        /// What came back.
        detail: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The resource does not exist, or the App may not see it.
    #[error("not found on GitHub ({what}): {detail}")]
    NotFound {
        /// What was attempted.
        what: String,
        /// What came back.
        detail: String,
    },
    /// The App may not do this: suspended, uninstalled, permission missing, key refused.
    #[error("forbidden by GitHub ({what}): {detail}")]
    Forbidden {
        /// What was attempted.
        what: String,
        /// What came back, and what to do.
        detail: String,
    },
    /// GitHub says that the request is wrong (422 and other 4xx), or its response cannot be used.
    #[error("rejected by GitHub ({what}): {detail}")]
    Rejected {
        /// What was attempted.
        what: String,
        /// What came back.
        detail: String,
    },
    /// The request was not sent because it contains a secret.
    #[error("not sent to GitHub ({what}), because it contains a secret: {}", found.iter().map(SecretFinding::to_string).collect::<Vec<_>>().join("; "))]
    ContainsSecret {
        /// What was attempted.
        what: String,
        /// Which secrets, and where they are.
        found: Vec<SecretFinding>,
    },
}

impl GitHubError {
    /// The same error with a longer wait, if it is worth another attempt.
    pub(super) fn with_retry_after(self, wait: Option<Duration>) -> Self {
        match (self, wait) {
            (Self::Unavailable { what, detail, .. }, Some(retry_after)) => {
                Self::Unavailable { what, detail, retry_after }
            }
            (error, _) => error,
        }
    }
}
