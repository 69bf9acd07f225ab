//! The server's side of git's smart HTTP protocol (version 0, stateless), on libgit2 alone.
//!
//! Works on bare repositories and bytes: it knows nothing of HTTP, of tokens or of GitHub, and it
//! never starts a `git` process.
//! Source: git's documentation, "gitprotocol-http" and "gitprotocol-pack".

mod advertisement;
mod commits;
mod comparison;
mod import;
mod merge;
mod packet;
mod reachable;
mod receive_pack;
mod repository;
mod upload_pack;
mod web_commit;

pub use advertisement::{Service, advertise};
pub use commits::{CommitFacts, Person};
pub use comparison::{Comparison, FileChange, FileStatus};
pub use receive_pack::{PushPolicy, Received, RefUpdate, receive_pack};
pub use repository::{BareRepository, Content, DirectoryEntry, RefFacts, UpdateRefused};
pub use upload_pack::{PackRequest, upload_pack};
pub use web_commit::{FORGE, WebCommit};

/// Why a request about a repository could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum GitHttpError {
    /// What the client sent is not the protocol.
    #[error("the git client's request is malformed: {0}")]
    Malformed(String),
    /// The repository cannot be read or written.
    #[error(transparent)]
    Repository(#[from] git2::Error),
    /// A file of the repository, or of what is imported, cannot be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}
