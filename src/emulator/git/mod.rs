//! The server side of git's smart HTTP protocol (version 0, stateless), built on libgit2.
//!
//! Works on bare repositories and bytes: it knows no HTTP, tokens or GitHub, and never starts a `git`
//! process.
//! Source: git's documentation, "gitprotocol-http" and "gitprotocol-pack".

mod advertisement;
mod commits;
mod comparison;
mod error;
mod import;
mod merge;
mod packet;
mod reachable;
mod receive_pack;
mod repository;
mod update;
mod upload_pack;
mod web_commit;

pub use advertisement::{Service, advertise};
pub use commits::{CommitFacts, Person};
pub use comparison::{Comparison, FileChange, FileStatus};
pub use error::GitError;
pub use receive_pack::{PushPolicy, Received, receive_pack};
pub use repository::{BareRepository, Content, DirectoryEntry, RefFacts, UpdateRefused};
pub use update::{NO_COMMIT, RefUpdate};
pub use upload_pack::{PackRequest, upload_pack};
pub use web_commit::{GITHUB_COMMITTER, WebCommit};
