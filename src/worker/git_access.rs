//! Git operations with the repository's access, which is renewed once if git's server refuses it.

use tracing::info;

use super::context::WorkerContext;
use super::stop::Stop;
use crate::domain::RepositoryRef;
use crate::github::GitAccess;
use crate::workspace::{Workspace, WorkspaceError};

/// Runs `work` with access to the repository, and once more with new access if it is refused: the token
/// may have been revoked meanwhile, or the repository renamed.
pub(super) async fn with_access<T, F>(
    context: &WorkerContext,
    at: &RepositoryRef,
    work: impl Fn(GitAccess) -> F,
) -> Result<T, GitError>
where
    F: Future<Output = Result<T, WorkspaceError>>,
{
    let access = context.github.git_access(at).await?;
    match work(access).await {
        Err(WorkspaceError::Remote { worth_retrying: false, what, detail, .. }) => {
            info!(what, detail, "git access refused; renewing it");
            let access = context.github.git_access(at).await?;
            Ok(work(access).await?)
        }
        done => Ok(done?),
    }
}

/// Fetches a branch into our mirror. The workspace has its head as the base.
pub(super) async fn fetch(
    context: &WorkerContext,
    at: &RepositoryRef,
    branch: &str,
) -> Result<Workspace, GitError> {
    with_access(context, at, |access| async move { context.mirrors.fetch(at.id, &access, branch).await })
        .await
}

/// Why git could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum GitError {
    /// GitHub gave no access.
    #[error(transparent)]
    Access(#[from] crate::github::GitHubError),
    /// Git failed.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Access(error) => error.into(),
            GitError::Workspace(error) => error.into(),
        }
    }
}
