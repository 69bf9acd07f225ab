//! Mirrors: one bare repository for each GitHub repository, fetched incrementally.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use git2::{ErrorClass, ErrorCode, Oid, Repository, Signature, Time};
use jiff::Timestamp;

use super::WorkspaceError;
use super::access::fetch_options;
use crate::domain::{RepositoryId, Sha};
use crate::github::GitAccess;

/// All mirrors of this host, in one directory.
#[derive(Debug, Clone)]
pub struct Mirrors {
    root: PathBuf,
    /// Fetches of one repository wait for each other; those of two do not.
    locks: Arc<Mutex<HashMap<RepositoryId, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Mirrors {
    /// Mirrors below `root`, which is created when needed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), locks: Arc::default() }
    }

    /// Brings `branch` up to date in the repository's mirror (made when there is none) and opens
    /// the work at its head.
    pub async fn fetch(
        &self,
        id: RepositoryId,
        access: &GitAccess,
        branch: &str,
    ) -> Result<Workspace, WorkspaceError> {
        let lock = self.locks.lock().expect("no panic while held").entry(id).or_default().clone();
        let _held = lock.lock().await;
        let git_dir = self.root.join(format!("{id}.git"));
        let (access, branch) = (access.clone(), branch.to_owned());
        blocking(move || {
            let base = match access.url.scheme() {
                "file" => borrow_local(&git_dir, &access, &branch)?,
                _ => fetch_branch(&git_dir, &access, &branch)?,
            };
            Ok(Workspace { git_dir, base, base_branch: branch })
        })
        .await
    }

    /// Opens work that was begun earlier, at the base recorded then. Fails when the mirror has
    /// lost the commit.
    pub async fn reopen(
        &self,
        id: RepositoryId,
        base: Sha,
        base_branch: &str,
    ) -> Result<Workspace, WorkspaceError> {
        let git_dir = self.root.join(format!("{id}.git"));
        let base_branch = base_branch.to_owned();
        blocking(move || {
            let repository = open_or_create(&git_dir)?;
            let local = |error| local_error(&git_dir, "looked for the base commit", error);
            repository.find_commit(oid(&base)).map_err(local)?;
            Ok(Workspace { git_dir: git_dir.clone(), base, base_branch })
        })
        .await
    }
}

/// A base commit in a mirror, and what can be done with it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub(super) git_dir: PathBuf,
    base: Sha,
    base_branch: String,
}

/// Who a commit is by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// `slug[bot]`
    pub name: String,
    /// GitHub's no-reply address of the account.
    pub email: String,
}

impl Workspace {
    /// The commit that the work starts from.
    pub fn base(&self) -> &Sha {
        &self.base
    }

    /// The branch that the base is the head of.
    pub fn base_branch(&self) -> &str {
        &self.base_branch
    }

    /// Where the objects are.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Runs `work` with the repository on a thread where blocking is allowed.
    pub(super) async fn with_repository<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository, &Path) -> Result<T, WorkspaceError> + Send + 'static,
    ) -> Result<T, WorkspaceError> {
        let git_dir = self.git_dir.clone();
        blocking(move || work(&open_or_create(&git_dir)?, &git_dir)).await
    }

    /// Makes the commit of `tree` on top of `parent`. The same arguments make the same commit, so
    /// that a restarted worker arrives at the same id.
    pub async fn commit(
        &self,
        tree: &Sha,
        parent: &Sha,
        author: &Author,
        message: &str,
        at: Timestamp,
    ) -> Result<Sha, WorkspaceError> {
        let (parent, tree, message) = (oid(parent), oid(tree), message.to_owned());
        let author = author.clone();
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "made a commit", error);
            let parent = repository.find_commit(parent).map_err(local)?;
            let tree = repository.find_tree(tree).map_err(local)?;
            let when = Time::new(at.as_second(), 0);
            let by = Signature::new(&author.name, &author.email, &when).map_err(local)?;
            let id = repository.commit(None, &by, &by, &message, &tree, &[&parent]).map_err(local)?;
            Ok(sha(id))
        })
        .await
    }
}

fn fetch_branch(git_dir: &Path, access: &GitAccess, branch: &str) -> Result<Sha, WorkspaceError> {
    let repository = open_or_create(git_dir)?;
    let local = |action| move |error| local_error(git_dir, action, error);
    let kept = format!("refs/mendwright/bases/{branch}");
    let mut remote = repository.remote_anonymous(access.url.as_str()).map_err(local("named a remote"))?;
    let refspec = format!("+refs/heads/{branch}:{kept}");
    remote
        .fetch(&[refspec], Some(&mut fetch_options(access)), Some("fetch"))
        .map_err(|error| remote_error("fetch from", access, &error))?;
    // What we kept of a branch that is gone is no base.
    let reference = format!("refs/heads/{branch}");
    let listed = remote.list().map_err(|error| remote_error("fetch from", access, &error))?;
    if !listed.iter().any(|head| head.name() == reference)
        && let Ok(mut stale) = repository.find_reference(&kept)
    {
        stale.delete().map_err(local("forgot a branch that is gone"))?;
    }
    match repository.refname_to_id(&kept) {
        Ok(id) => Ok(sha(id)),
        Err(error) if error.code() == ErrorCode::NotFound => Err(WorkspaceError::Remote {
            what: "fetch from",
            url: access.url.to_string(),
            detail: format!("it has no branch {branch:?}"),
            worth_retrying: false,
        }),
        Err(error) => Err(local("read the fetched branch")(error)),
    }
}

/// The base in a repository on this machine: nothing is copied, our object store reads the other's
/// (git's `objects/info/alternates`) and writes only its own. `revision` is a branch, or anything
/// else that git can resolve.
fn borrow_local(git_dir: &Path, access: &GitAccess, revision: &str) -> Result<Sha, WorkspaceError> {
    let failed = |error| remote_error("read", access, &error);
    let source = Repository::open(access.url.to_file_path().unwrap_or_default()).map_err(failed)?;
    let commit = source
        .revparse_single(&format!("refs/heads/{revision}"))
        .or_else(|_| source.revparse_single(revision))
        .and_then(|object| object.peel_to_commit())
        .map_err(failed)?;
    let local = |error| local_error(git_dir, "borrowed the objects of a local repository", error);
    let objects = source.commondir().join("objects");
    let ours = open_or_create(git_dir)?;
    let info = ours.path().join("objects").join("info");
    let alternates = info.join("alternates");
    let wanted = format!("{}\n", objects.display());
    // Written once, and as a whole: whoever opens the mirror meanwhile reads it.
    if std::fs::read_to_string(&alternates).ok().as_ref() != Some(&wanted) {
        let written = std::fs::create_dir_all(&info)
            .and_then(|()| tempfile::NamedTempFile::new_in(&info))
            .and_then(|mut file| std::io::Write::write_all(&mut file, wanted.as_bytes()).map(|()| file))
            .and_then(|file| file.persist(&alternates).map_err(|error| error.error));
        written.map_err(|error| local(git2::Error::from_str(&error.to_string())))?;
    }
    Ok(sha(commit.id()))
}

fn open_or_create(git_dir: &Path) -> Result<Repository, WorkspaceError> {
    let opened = match Repository::open_bare(git_dir) {
        Err(error) if error.code() == ErrorCode::NotFound => {
            make_whole(git_dir, |place| Repository::init_bare(place).map(drop))
                .and_then(|()| Repository::open_bare(git_dir))
        }
        other => other,
    };
    opened.map_err(|error| local_error(git_dir, "opened it", error))
}

/// Has `make` make a repository that is at `git_dir` as a whole or not at all: what a process leaves
/// that is killed in the middle (half of it, and lock files) is never taken for one.
pub(super) fn make_whole(
    git_dir: &Path,
    make: impl FnOnce(&Path) -> Result<(), git2::Error>,
) -> Result<(), git2::Error> {
    let failed = |error: std::io::Error| git2::Error::from_str(&error.to_string());
    let parent = git_dir.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let place = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(parent).map_err(failed)?;
    make(place.path())?;
    match std::fs::rename(place.path(), git_dir) {
        Ok(()) => {
            // Nothing is left there to be removed.
            let _ = place.keep();
            Ok(())
        }
        // Somebody else was first.
        Err(_) if git_dir.exists() => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

pub(super) fn local_error(git_dir: &Path, action: &'static str, error: git2::Error) -> WorkspaceError {
    WorkspaceError::Local {
        git_dir: git_dir.display().to_string(),
        action,
        detail: error.message().to_owned(),
    }
}

pub(super) fn remote_error(what: &'static str, access: &GitAccess, error: &git2::Error) -> WorkspaceError {
    // libgit2 tells the status in words only: "unexpected http status code: 403".
    let status =
        error.message().rsplit("status code: ").next().and_then(|code| code.trim().parse::<u16>().ok());
    let refused = matches!(error.code(), ErrorCode::Auth | ErrorCode::NotFound)
        || status.is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 429));
    let network =
        matches!(error.class(), ErrorClass::Net | ErrorClass::Http | ErrorClass::Ssl | ErrorClass::Os);
    WorkspaceError::Remote {
        what,
        url: access.url.to_string(),
        detail: error.message().to_owned(),
        worth_retrying: network && !refused,
    }
}

pub(super) fn oid(sha: &Sha) -> Oid {
    Oid::from_str(sha.as_str()).expect("a Sha holds only hexadecimal digits")
}

pub(super) fn sha(id: Oid) -> Sha {
    id.to_string().parse().expect("git prints object ids as hexadecimal digits")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<T, WorkspaceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(WorkspaceError::Local {
            git_dir: "(any)".into(),
            action: "ran",
            detail: format!("the process is shutting down: {error}"),
        }),
    }
}
