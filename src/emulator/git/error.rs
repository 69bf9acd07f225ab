//! Why a git operation failed.

/// A failed operation on a repository.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The client's request does not follow the protocol.
    #[error("the git client's request is malformed: {0}")]
    Malformed(String),
    /// The repository cannot be read or written.
    #[error(transparent)]
    Repository(#[from] git2::Error),
    /// A file of the repository, or of an import, cannot be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}
