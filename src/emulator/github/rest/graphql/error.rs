//! Why a GraphQL query has no data.

use crate::git::GitError;
use crate::github::rest::response::ApiError;

/// An error of a query.
pub(super) enum GraphqlError {
    /// The HTTP request itself fails.
    Api(ApiError),
    /// The response is 200 and lists this error.
    Field {
        /// GraphQL's type of error.
        kind: &'static str,
        message: String,
    },
}

impl GraphqlError {
    pub(super) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self::Field { kind, message: message.into() }
    }
}

impl From<GitError> for GraphqlError {
    fn from(error: GitError) -> Self {
        Self::Api(error.into())
    }
}
