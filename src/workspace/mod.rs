//! Git: a bare mirror for each repository, trees out to a sandbox, changes back in as data, a
//! commit, a push. The only module (beside the emulated GitHub's server side) that knows git2.
//!
//! The host never checks a repository out and runs none of its hooks, filters or configuration.

mod access;
mod branch;
mod changes;
mod local;
mod mirror;
mod named;
mod past;
mod patch;
mod push;
#[cfg(test)]
mod tests;
mod tree;

pub use changes::{CommitInfo, PATCH_BYTES_MAX};
pub use local::{HeadTree, LocalRepository};
pub use mirror::{Author, Mirrors, Workspace};
pub use past::HistoryCommit;
pub use patch::{FileDiff, Patch, PatchStat};
pub use push::{ApiChanges, ClearedCommit};
pub use tree::{BASE_FILE_BYTES_MAX, Proposal};

/// Why git could not do it.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The remote could not be reached, or refused us; the words carry no credential.
    #[error("git could not {what} {url}: {detail}")]
    Remote {
        /// What was tried.
        what: &'static str,
        /// Address without credentials.
        url: String,
        /// libgit2's words.
        detail: String,
        /// Whether trying again later may help.
        worth_retrying: bool,
    },
    /// The remote has another commit on our branch: somebody else's work, which is never
    /// overwritten.
    #[error(
        "the branch {branch} of {url} already points to {found}, which is not the work of this job; \
         delete or rename that branch and label the issue again"
    )]
    BranchTaken {
        /// The branch.
        branch: String,
        /// Address without credentials.
        url: String,
        /// Where it points.
        found: String,
    },
    /// A change that no commit of ours may carry.
    #[error("the change to {path:?} is refused: {why}")]
    RefusedChange {
        /// The path.
        path: String,
        /// The rule.
        why: &'static str,
    },
    /// Our own object store failed: full disk, damage, a missing object.
    #[error("the mirror {git_dir} failed while it {action}: {detail}")]
    Local {
        /// Which mirror.
        git_dir: String,
        /// What was attempted.
        action: &'static str,
        /// libgit2's words.
        detail: String,
    },
}
