//! A submodule of a workspace's base whose files sandboxes have.

use std::path::PathBuf;

use git2::Oid;

use crate::domain::RepoPath;

/// Where a submodule is in the tree, its commit, and the mirror that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submodule {
    pub(super) path: RepoPath,
    pub(super) commit: Oid,
    pub(super) git_dir: PathBuf,
}
