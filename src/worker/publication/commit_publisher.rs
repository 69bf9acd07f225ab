//! How a commit reaches its branch: pushed as it is, or created again by GitHub, which signs what it
//! creates.

use std::time::Duration;

use crate::domain::{RepositoryRef, Sha};
use crate::github::GitAccess;
use crate::store::Attempt;
use crate::worker::context::WorkerContext;
use crate::worker::git_access::{GitError, with_access};
use crate::worker::stop::Stop;
use crate::workspace::{ApiChanges, ClearedCommit, Workspace, WorkspaceError};

/// How a commit reaches its branch.
pub(super) enum CommitMethod {
    /// It is pushed, without a signature.
    Push,
    /// GitHub creates and signs it.
    GitHubApi(ApiChanges),
    /// It was to be signed, but GitHub's API cannot create it: it is pushed.
    PushUnsigned,
}

/// A commit and its branch.
pub(super) struct BranchCommit<'a> {
    pub(super) at: &'a RepositoryRef,
    pub(super) cleared: &'a ClearedCommit,
    /// The tree that was verified.
    pub(super) tree: &'a Sha,
    /// The branch's head; `None` if the branch does not exist yet.
    pub(super) parent: Option<&'a Sha>,
}

impl CommitMethod {
    /// The method for a commit.
    pub(super) async fn choose(
        context: &WorkerContext,
        workspace: &Workspace,
        commit: &Sha,
    ) -> Result<Self, Stop> {
        if !context.policy.rules.signed_commits {
            return Ok(Self::Push);
        }
        Ok(workspace.api_changes(commit).await?.map_or(Self::PushUnsigned, Self::GitHubApi))
    }

    /// What the pull request says of it.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Push | Self::GitHubApi(_) => None,
            Self::PushUnsigned => Some(
                "the commit is not signed: GitHub's API cannot create it, because it is too large or contains a file \
                 with a special mode (executable)"
                    .to_owned(),
            ),
        }
    }

    /// Puts the commit on its branch. Gives its id there. If GitHub creates another tree than the one that
    /// was verified, the job ends and the branch is left as it is, for a person to examine.
    pub(super) async fn publish(
        &self,
        context: &WorkerContext,
        workspace: &Workspace,
        commit: BranchCommit<'_>,
    ) -> Result<Sha, Stop> {
        match self {
            Self::Push | Self::PushUnsigned => push(context, workspace, commit).await,
            Self::GitHubApi(changes) => create(context, workspace, commit, changes.clone()).await,
        }
    }
}

async fn push(
    context: &WorkerContext,
    workspace: &Workspace,
    BranchCommit { at, cleared, parent, .. }: BranchCommit<'_>,
) -> Result<Sha, Stop> {
    let push = |access: GitAccess| async move { workspace.push(&access, cleared, parent).await };
    match with_access(context, at, push).await {
        Ok(()) => Ok(cleared.commit().clone()),
        // Somebody pushed first; the next attempt finds their commits.
        Err(GitError::Workspace(error @ WorkspaceError::BranchTaken { .. })) if parent.is_some() => {
            Err(Stop::Later { why: error.to_string(), after: Duration::ZERO, attempt: Attempt::Counts })
        }
        Err(error) => Err(error.into()),
    }
}

async fn create(
    context: &WorkerContext,
    workspace: &Workspace,
    BranchCommit { at, cleared, tree, parent }: BranchCommit<'_>,
    changes: ApiChanges,
) -> Result<Sha, Stop> {
    let parent = parent.unwrap_or(workspace.base());
    let new = cleared.into_api_commit(parent, changes);
    let created = context.github.commit_on_branch(at, &new).await?;
    if created.tree == *tree && created.parents == [parent.clone()] {
        return Ok(created.sha);
    }
    Err(Stop::Broken(format!(
        "the branch `{}` is at {}, whose tree is {}; expected was a commit of the verified tree {} on top of {}. \
         Nothing was deleted or overwritten, and no pull request was opened. Examine that branch, delete or rename \
         it, and add the label to the issue again",
        cleared.branch(),
        created.sha.short(),
        created.tree.short(),
        tree.short(),
        parent.short(),
    )))
}
