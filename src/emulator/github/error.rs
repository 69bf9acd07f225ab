//! Why the emulator could not do what its caller asked for.

use std::net::SocketAddr;

use crate::git::GitError;
use crate::repository_name::InvalidRepositoryName;

/// A failed call of [`EmulatedGitHub`](super::EmulatedGitHub).
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The address cannot be listened on.
    #[error("the emulator cannot listen on {address}; choose another address, or port 0")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The record of exchanges cannot be written.
    #[error("the record {path} cannot be opened for writing")]
    Record {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Keys or secrets could not be generated.
    #[error("the operating system provided no randomness for keys and secrets")]
    Random,
    /// A repository operation failed.
    #[error("the git operation on {name} failed")]
    Repository {
        /// The repository (`owner/name`), branch or pull request that was worked on.
        name: String,
        /// Why.
        source: GitError,
    },
    /// The HTTP client that sends webhooks cannot be created.
    #[error("the emulator's HTTP client cannot be created")]
    Client(#[from] reqwest::Error),
    /// The text is not a repository name.
    #[error(transparent)]
    Name(#[from] InvalidRepositoryName),
    /// The repository exists already.
    #[error("{path} exists already; choose another name, or an empty data directory")]
    AlreadyExists {
        /// Where it is.
        path: String,
    },
    /// The emulator has no object of that name or number.
    #[error("the emulator has no {0}")]
    NotFound(String),
}
