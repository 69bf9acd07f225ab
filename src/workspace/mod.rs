//! Git: a bare mirror per repository, trees that go to a sandbox, changes that come back as data, commits
//! and pushes. Only this module and the emulator's git server know git2.
//!
//! The host never checks out a repository and never runs its hooks, filters or configuration. Files leave it
//! as a checkout would have them, and come back as `git add` would store them: `conversion`.

mod access;
mod attributes;
mod bounded_walk;
mod branch;
mod changes;
mod checkout;
mod conversion;
mod fetched_submodule;
mod file_times;
mod find_files;
mod git_directory;
mod gitmodules;
mod history;
mod local;
mod local_submodules;
mod mirror;
mod patch;
mod push;
mod reduced_tree;
mod references;
mod submodules;
#[cfg(test)]
mod tests;
mod tree;

pub use bounded_walk::TreeBound;
pub use branch::PathChange;
pub use changes::{CommitInfo, PATCH_BYTES_MAX};
pub use checkout::{CheckoutGaps, PathSample};
pub use file_times::ChangedFiles;
pub use history::HistoryCommit;
pub use local::{HeadTree, LocalRepository};
pub use mirror::{Author, Mirrors, Workspace};
pub use patch::{FileDiff, Patch, PatchStat};
pub use push::{ApiChanges, ClearedCommit};
pub use submodules::{DeclaredSubmodule, SUBMODULES_MAX, SubmoduleAllowance};
pub use tree::{BASE_FILE_BYTES_MAX, Proposal};

/// A git operation failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The remote could not be reached, or refused the request. The text contains no credential.
    #[error("git could not {what} {url}: {detail}")]
    Remote {
        /// What was attempted.
        what: &'static str,
        /// The URL, without credentials.
        url: String,
        /// libgit2's message.
        detail: String,
        /// Whether a later retry may succeed.
        worth_retrying: bool,
    },
    /// The remote has another commit on our branch. It is somebody else's work and is never overwritten.
    #[error(
        "the branch {branch} of {url} already points to {found}, which is not the work of this job; \
         delete or rename that branch and label the issue again"
    )]
    BranchTaken {
        /// The branch.
        branch: String,
        /// The URL, without credentials.
        url: String,
        /// Where it points.
        found: String,
    },
    /// git stores branches as paths, and another branch leaves no room for ours.
    #[error(
        "{url} has the branch {blocking}, so git can have no branch {branch}; delete or rename {blocking} and label \
         the issue again"
    )]
    BranchBlocked {
        /// Our branch.
        branch: String,
        /// The other one.
        blocking: String,
        /// The URL, without credentials.
        url: String,
    },
    /// A change that our commits may not contain.
    #[error("the change to {path:?} is not allowed: {why}")]
    RefusedChange {
        /// The path.
        path: String,
        /// The rule.
        why: &'static str,
    },
    /// A tree is larger than any that is worked on.
    #[error("the tree {tree} has {bound}; Mendwright works on no larger tree")]
    TreeTooLarge {
        /// The tree.
        tree: String,
        /// What it has too much of.
        bound: TreeBound,
    },
    /// The work ended early, because nobody waits for its result.
    #[error("the work ended early, because nobody waits for its result")]
    Abandoned,
    /// Our own object store failed: disk full, corruption, a missing object.
    #[error("the mirror {git_dir} failed while {action}: {detail}")]
    Local {
        /// Which mirror.
        git_dir: String,
        /// What was attempted.
        action: &'static str,
        /// libgit2's message.
        detail: String,
    },
}
