//! How a commit gets onto its branch: pushed as it is, or made once more by GitHub, which signs what
//! it makes.

use std::time::Duration;

use crate::domain::{RepositoryRef, Sha};
use crate::github::GitAccess;
use crate::store::Attempt;
use crate::workspace::{ApiChanges, ClearedCommit, Workspace, WorkspaceError};

use super::admission::github_error;
use super::preparation::{with_access, workspace_error};
use super::{JobError, WorkerContext};

/// The way that a commit takes.
pub(super) enum Signing {
    /// It is pushed, not signed; nobody asked for more.
    Pushed,
    /// GitHub makes it.
    ByGitHub(ApiChanges),
    /// It was to be signed, and GitHub's API cannot make it.
    Impossible,
}

/// What goes onto which branch.
pub(super) struct OnBranch<'a> {
    pub(super) at: &'a RepositoryRef,
    pub(super) cleared: &'a ClearedCommit,
    /// The tree that was verified.
    pub(super) tree: &'a Sha,
    /// The head of the branch where it is there already; `None`: it is made.
    pub(super) parent: Option<&'a Sha>,
}

impl Signing {
    pub(super) async fn of(
        parts: &WorkerContext,
        workspace: &Workspace,
        commit: &Sha,
    ) -> Result<Self, JobError> {
        if !parts.policy.signed_commits {
            return Ok(Self::Pushed);
        }
        let changes = workspace.api_changes(commit).await.map_err(workspace_error)?;
        Ok(changes.map_or(Self::Impossible, Self::ByGitHub))
    }

    /// What people should know of it.
    pub(super) fn remark(&self) -> Option<String> {
        match self {
            Self::Pushed | Self::ByGitHub(_) => None,
            Self::Impossible => Some(
                "the commit is not signed: it holds a file with a mode of its own (executable), or is too large, \
                 and GitHub's API can make no such commit"
                    .to_owned(),
            ),
        }
    }

    /// Puts the commit on its branch. Answers with its id there.
    ///
    /// # Errors
    /// What GitHub made is not the tree that was verified: it is left as it is, for a person to look at.
    pub(super) async fn put_on_branch(
        self,
        parts: &WorkerContext,
        workspace: &Workspace,
        OnBranch { at, cleared, tree, parent }: OnBranch<'_>,
    ) -> Result<Sha, JobError> {
        let changes = match self {
            Self::Pushed | Self::Impossible => {
                let push = |access: GitAccess| async move { workspace.push(&access, cleared, parent).await };
                return match with_access(parts, at, push).await? {
                    Ok(()) => Ok(cleared.commit().clone()),
                    // Somebody was faster; the next look finds what they pushed.
                    Err(error @ WorkspaceError::BranchTaken { .. }) if parent.is_some() => {
                        Err(JobError::Later {
                            why: error.to_string(),
                            after: Duration::ZERO,
                            attempt: Attempt::Counts,
                        })
                    }
                    Err(error) => Err(workspace_error(error)),
                };
            }
            Self::ByGitHub(changes) => changes,
        };
        let parent = parent.unwrap_or(workspace.base());
        let new = cleared.into_api_commit(parent, changes);
        let made = parts.github.commit_on_branch(at, &new).await.map_err(github_error)?;
        if made.tree == *tree && made.parents == [parent.clone()] {
            return Ok(made.sha);
        }
        Err(JobError::Broke(format!(
            "the branch `{}` is at {}, whose tree is {}, and not at a commit of the verified tree {} on top of {}; \
             nothing was deleted or overwritten, and no pull request was opened. Look at that branch, delete or rename \
             it, and label the issue again",
            cleared.branch(),
            made.sha.short(),
            made.tree.short(),
            tree.short(),
            parent.short(),
        )))
    }
}
