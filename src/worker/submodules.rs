//! Gives a workspace the submodules of its base that the job may have: those on the repository's own server, or in a
//! local clone. Which ones that were is recorded, and the same for every later sandbox of the job: the base of a
//! round that is resumed has the same files.

use std::collections::VecDeque;

use url::Url;

use super::context::WorkerContext;
use super::stop::Stop;
use crate::domain::{
    FetchedSubmodule, Job, MissingSubmodule, RecordedEvent, RepoPath, RepositoryId, Transcript,
    TranscriptEvent,
};
use crate::github::{GitHubError, SubmoduleAccess, SubmoduleRequest};
use crate::store::Journal;
use crate::workspace::{
    DeclaredSubmodule, LocalRepository, Mirrors, SUBMODULES_MAX, SubmoduleAllowance, Workspace,
    WorkspaceError,
};

/// Submodules in one another.
const NESTING_MAX: usize = 5;

/// The workspace with its submodules: as recorded, or fetched now and recorded with what the sandboxes lack.
pub(super) async fn with_submodules(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
    workspace: Workspace,
) -> Result<Workspace, Stop> {
    let job = journal.job();
    let id = job.trigger.repository.id;
    if let Some((fetched, missing)) = Transcript::new(transcript).submodules_of(workspace.base()) {
        return Ok(workspace.with_submodules(&context.mirrors, id, fetched, missing));
    }
    let mut events = Vec::new();
    let mut workspace = workspace;
    if !workspace.declared_submodules(None).await?.is_empty() {
        let url = context.github.git_access(&job.trigger.repository).await?.url;
        let source = SubmoduleSource::Server { context, job };
        let found = fetch_submodules(&context.mirrors, id, &workspace, url, source);
        let (fetched, missing) = found.await?;
        workspace = workspace.with_submodules(&context.mirrors, id, &fetched, &missing);
        let base = workspace.base().clone();
        events.push(TranscriptEvent::SubmodulesFetched { base, fetched, missing });
    }
    let missing = workspace.checkout_gaps().await?.describe();
    if missing != Transcript::new(transcript).missing_in_checkout() {
        events.push(TranscriptEvent::CheckoutIncomplete { missing });
    }
    journal.append(&events).await?;
    Ok(workspace)
}

/// Who says where a submodule is.
#[derive(Clone, Copy)]
enum SubmoduleSource<'a> {
    /// GitHub, for a job.
    Server { context: &'a WorkerContext, job: &'a Job },
    /// A repository on this machine.
    Clone(&'a LocalRepository),
}

impl SubmoduleSource<'_> {
    async fn access(self, request: SubmoduleRequest<'_>) -> Result<SubmoduleAccess, GitHubError> {
        match self {
            Self::Server { context, job } => {
                let trigger = &job.trigger;
                context.github.submodule_access(&trigger.repository, request, &trigger.labeller).await
            }
            Self::Clone(local) => Ok(local.submodule_access(request)),
        }
    }
}

/// The workspace with the submodules that a repository on this machine has.
///
/// # Errors
/// The repository cannot be read.
pub async fn with_local_submodules(
    mirrors: &Mirrors,
    id: RepositoryId,
    workspace: Workspace,
    local: &LocalRepository,
) -> Result<Workspace, SubmoduleError> {
    let url = local.access()?.url;
    let found = fetch_submodules(mirrors, id, &workspace, url, SubmoduleSource::Clone(local));
    let (fetched, missing) = found.await?;
    Ok(workspace.with_submodules(mirrors, id, &fetched, &missing))
}

/// Why submodules cannot be fetched now.
#[derive(Debug, thiserror::Error)]
pub enum SubmoduleError {
    /// The server did not answer.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// Git failed.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl From<SubmoduleError> for Stop {
    fn from(error: SubmoduleError) -> Self {
        match error {
            SubmoduleError::GitHub(error) => error.into(),
            SubmoduleError::Workspace(error) => error.into(),
        }
    }
}

/// A repository whose submodules are looked at: where it is, and the URL from which it was fetched.
struct Parent {
    path: Option<RepoPath>,
    url: Url,
    depth: usize,
}

/// Fetches the submodules of a base and their submodules, breadth first, within bounds.
async fn fetch_submodules(
    mirrors: &Mirrors,
    id: RepositoryId,
    workspace: &Workspace,
    url: Url,
    source: SubmoduleSource<'_>,
) -> Result<(Vec<FetchedSubmodule>, Vec<MissingSubmodule>), SubmoduleError> {
    let (mut fetched, mut missing): (Vec<FetchedSubmodule>, Vec<MissingSubmodule>) = Default::default();
    let mut allowance = SubmoduleAllowance::default();
    let mut parents = VecDeque::from([Parent { path: None, url, depth: 0 }]);
    while let Some(parent) = parents.pop_front() {
        let known = workspace.clone().with_submodules(mirrors, id, &fetched, &[]);
        for declared in known.declared_submodules(parent.path.as_ref()).await? {
            if fetched.len() + missing.len() >= SUBMODULES_MAX {
                return Ok((fetched, missing));
            }
            let why = match usable_path(&declared, parent.depth) {
                Err(why) => why,
                Ok(path) => {
                    let DeclaredSubmodule { name, url, commit, .. } = &declared;
                    let request = SubmoduleRequest { parent: &parent.url, name, url, commit };
                    match source.access(request).await? {
                        SubmoduleAccess::Refused(why) => why,
                        SubmoduleAccess::Granted { access, source } => {
                            let done = mirrors.fetch_submodule(id, &path, commit, &access, &mut allowance);
                            match done.await? {
                                Err(why) => why,
                                Ok(()) => {
                                    let depth = parent.depth + 1;
                                    parents.push_back(Parent {
                                        path: Some(path.clone()),
                                        url: access.url,
                                        depth,
                                    });
                                    fetched.push(FetchedSubmodule { path, commit: commit.clone(), source });
                                    continue;
                                }
                            }
                        }
                    }
                }
            };
            missing.push(MissingSubmodule { path: declared.path, why });
        }
    }
    Ok((fetched, missing))
}

/// The path of a submodule that may be fetched.
fn usable_path(declared: &DeclaredSubmodule, depth: usize) -> Result<RepoPath, String> {
    if depth >= NESTING_MAX {
        return Err(format!("submodules are fetched {NESTING_MAX} deep at most"));
    }
    if declared.url.is_empty() || declared.name.is_empty() {
        return Err("`.gitmodules` has no URL for it".to_owned());
    }
    declared.path.parse().map_err(|_| "its path is one that git does not check out".to_owned())
}
