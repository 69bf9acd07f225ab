//! Mirrors: one bare repository per GitHub repository, fetched incrementally.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{ErrorClass, ErrorCode, Oid, Repository, Signature, Time};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::WorkspaceError;
use super::access::fetch_options;
use super::bounded_walk::{AbandonOnDrop, Abandoned, Walker};
use super::fetched_submodule::Submodule;
use crate::domain::{MissingSubmodule, RepositoryId, Sha};
use crate::github::GitAccess;

/// Where the URL of a repository is kept in the configuration of its mirror.
pub(super) const ORIGIN_KEY: &str = "mendwright.origin";
/// Tags that are looked at.
pub(super) const TAGS_MAX: usize = 20_000;

/// All mirrors of this host, in one directory.
#[derive(Debug, Clone)]
pub struct Mirrors {
    pub(super) root: PathBuf,
    pub(super) locks: Arc<FetchLocks>,
}

/// One lock per repository that is being fetched: fetches of one repository wait for each other.
#[derive(Debug, Default)]
pub(super) struct FetchLocks(Mutex<HashMap<RepositoryId, Arc<tokio::sync::Mutex<()>>>>);

impl FetchLocks {
    /// The repository's lock. Drops the locks that nobody uses any more, so that the map does not grow with
    /// every repository ever fetched.
    pub(super) fn of(&self, repository: RepositoryId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock();
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        locks.entry(repository).or_default().clone()
    }
}

impl Mirrors {
    /// Mirrors below `root`, which is created if it is missing.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), locks: Arc::default() }
    }

    /// Fetches `branch` into the repository's mirror, which is created if it is missing, and opens a
    /// workspace at its head.
    pub async fn fetch(
        &self,
        id: RepositoryId,
        access: &GitAccess,
        branch: &str,
    ) -> Result<Workspace, WorkspaceError> {
        let lock = self.locks.of(id);
        let _guard = lock.lock().await;
        let git_dir = self.root.join(format!("{id}.git"));
        let (access, branch) = (access.clone(), branch.to_owned());
        blocking(move || {
            let base = match access.url.scheme() {
                "file" => share_local_objects(&git_dir, &access, &branch)?,
                _ => fetch_branch(&git_dir, &access, &branch)?,
            };
            Ok(Workspace::at(git_dir, base, branch))
        })
        .await?
        .checked()
        .await
    }

    #[cfg(test)]
    pub(super) fn locks_kept(&self) -> usize {
        self.locks.0.lock().len()
    }

    /// Opens a workspace at a base commit that was recorded earlier. Fails if the mirror no longer has the
    /// commit.
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
            let local = |error| local_error(&git_dir, "looking up the base commit", error);
            repository.find_commit(oid(&base)).map_err(local)?;
            Ok(Workspace::at(git_dir.clone(), base, base_branch))
        })
        .await?
        .checked()
        .await
    }
}

/// A base commit in a mirror, and the operations on it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub(super) git_dir: PathBuf,
    base: Sha,
    base_branch: String,
    pub(super) submodules: Arc<[Submodule]>,
    pub(super) missing_submodules: Arc<[MissingSubmodule]>,
}

/// The author of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// `slug[bot]`
    pub name: String,
    /// The account's no-reply address at GitHub.
    pub email: String,
}

impl Workspace {
    fn at(git_dir: PathBuf, base: Sha, base_branch: String) -> Self {
        Self { git_dir, base, base_branch, submodules: Arc::default(), missing_submodules: Arc::default() }
    }

    /// The commit that a job starts from.
    pub fn base(&self) -> &Sha {
        &self.base
    }

    /// The branch whose head the base is.
    pub fn base_branch(&self) -> &str {
        &self.base_branch
    }

    /// The mirror's directory.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Runs `work` with the repository on a thread that may block.
    pub(super) async fn with_repository<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository, &Path) -> Result<T, WorkspaceError> + Send + 'static,
    ) -> Result<T, WorkspaceError> {
        let git_dir = self.git_dir.clone();
        blocking(move || work(&open_or_create(&git_dir)?, &git_dir)).await
    }

    /// The same for work that walks trees: it ends soon after nobody waits for it any more.
    pub(super) async fn with_walker<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Walker<'_>) -> Result<T, WorkspaceError> + Send + 'static,
    ) -> Result<T, WorkspaceError> {
        let abandoned = Abandoned::default();
        let _guard = AbandonOnDrop(abandoned.clone());
        self.with_repository(move |repository, git_dir| {
            work(&Walker { repository, git_dir, abandoned: &abandoned })
        })
        .await
    }

    /// Fails if the base's tree is larger than any that is worked on.
    async fn checked(self) -> Result<Self, WorkspaceError> {
        let base = oid(&self.base);
        self.with_walker(move |walker| {
            let commit = walker.repository.find_commit(base);
            let commit = commit.map_err(|error| local_error(walker.git_dir, "reading the base", error))?;
            walker.check(commit.tree_id())
        })
        .await?;
        Ok(self)
    }

    /// Creates the commit of `tree` on top of `parent`. The same arguments create the same commit, so that
    /// a restarted worker gets the same id.
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
            let local = |error| local_error(git_dir, "creating a commit", error);
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

/// Keeps the URL, which has no credentials, for the `.git` directories of sandboxes.
fn remember_origin(repository: &Repository, url: &str) -> Result<(), git2::Error> {
    let mut configuration = repository.config()?;
    match configuration.get_string(ORIGIN_KEY) {
        Ok(known) if known == url => Ok(()),
        _ => configuration.set_str(ORIGIN_KEY, url),
    }
}

fn fetch_branch(git_dir: &Path, access: &GitAccess, branch: &str) -> Result<Sha, WorkspaceError> {
    let repository = open_or_create(git_dir)?;
    let local = |action| move |error| local_error(git_dir, action, error);
    let pinned = format!("refs/mendwright/bases/{branch}");
    remember_origin(&repository, access.url.as_str()).map_err(local("configuring a mirror"))?;
    let mut remote =
        repository.remote_anonymous(access.url.as_str()).map_err(local("configuring a remote"))?;
    let refspec = format!("+refs/heads/{branch}:{pinned}");
    remote
        .fetch(&[refspec], Some(&mut fetch_options(access)), Some("fetch"))
        .map_err(|error| remote_error("fetch from", access, &error))?;
    // The reference of a branch that is gone must not be taken for a base.
    let reference = format!("refs/heads/{branch}");
    let listed = remote.list().map_err(|error| remote_error("fetch from", access, &error))?;
    if !listed.iter().any(|head| head.name() == reference)
        && let Ok(mut stale) = repository.find_reference(&pinned)
    {
        stale.delete().map_err(local("deleting the reference of a deleted branch"))?;
    }
    match repository.refname_to_id(&pinned) {
        Ok(id) => Ok(sha(id)),
        Err(error) if error.code() == ErrorCode::NotFound => Err(WorkspaceError::Remote {
            what: "fetch from",
            url: access.url.to_string(),
            detail: format!("it has no branch {branch:?}"),
            worth_retrying: false,
        }),
        Err(error) => Err(local("reading the fetched branch")(error)),
    }
}

/// Finds the base in a repository on this machine. Nothing is copied: our object store reads the other
/// one (git's `objects/info/alternates`) and writes only its own. `revision` is a branch, or anything else
/// that git can resolve.
pub(super) fn share_local_objects(
    git_dir: &Path,
    access: &GitAccess,
    revision: &str,
) -> Result<Sha, WorkspaceError> {
    let failed = |error| remote_error("read", access, &error);
    let source = Repository::open(access.url.to_file_path().unwrap_or_default()).map_err(failed)?;
    let commit = source
        .revparse_single(&format!("refs/heads/{revision}"))
        .or_else(|_| source.revparse_single(revision))
        .and_then(|object| object.peel_to_commit())
        .map_err(failed)?;
    let local = |error| local_error(git_dir, "sharing the objects of a local repository", error);
    let objects = source.commondir().join("objects");
    let ours = open_or_create(git_dir)?;
    let info = ours.path().join("objects").join("info");
    let alternates = info.join("alternates");
    let expected = format!("{}\n", objects.display());
    // Written once and atomically: another job may open the mirror meanwhile.
    if std::fs::read_to_string(&alternates).ok().as_ref() != Some(&expected) {
        let written = std::fs::create_dir_all(&info)
            .and_then(|()| tempfile::NamedTempFile::new_in(&info))
            .and_then(|mut file| std::io::Write::write_all(&mut file, expected.as_bytes()).map(|()| file))
            .and_then(|file| file.persist(&alternates).map_err(|error| error.error));
        written.map_err(|error| local(git2::Error::from_str(&error.to_string())))?;
    }
    // Opened again: the objects of the tags are known only since then.
    copy_tags(&source, &open_or_create(git_dir)?).map_err(local)?;
    Ok(sha(commit.id()))
}

pub(super) fn open_or_create(git_dir: &Path) -> Result<Repository, WorkspaceError> {
    let opened = match Repository::open_bare(git_dir) {
        Err(error) if error.code() == ErrorCode::NotFound => {
            create_atomically(git_dir, |directory| Repository::init_bare(directory).map(drop))
                .and_then(|()| Repository::open_bare(git_dir))
        }
        other => other,
    };
    opened.map_err(|error| local_error(git_dir, "opening it", error))
}

/// Runs `create` in a temporary directory and then moves it to `git_dir`. A process that is killed in the
/// middle leaves no half-created repository there.
pub(super) fn create_atomically(
    git_dir: &Path,
    create: impl FnOnce(&Path) -> Result<(), git2::Error>,
) -> Result<(), git2::Error> {
    let failed = |error: std::io::Error| git2::Error::from_str(&error.to_string());
    let parent = git_dir.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let directory = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(parent).map_err(failed)?;
    create(directory.path())?;
    match std::fs::rename(directory.path(), git_dir) {
        Ok(()) => {
            // The directory has moved; there is nothing left to remove.
            let _ = directory.keep();
            Ok(())
        }
        // Another process created it first.
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
    // libgit2 reports the status only in its message: "unexpected http status code: 403".
    let status =
        error.message().rsplit("status code: ").next().and_then(|code| code.trim().parse::<u16>().ok());
    let is_refused = matches!(error.code(), ErrorCode::Auth | ErrorCode::NotFound)
        || status.is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 429));
    let is_network = access.url.scheme() != "file"
        && matches!(error.class(), ErrorClass::Net | ErrorClass::Http | ErrorClass::Ssl | ErrorClass::Os);
    WorkspaceError::Remote {
        what,
        url: access.url.to_string(),
        detail: error.message().to_owned(),
        worth_retrying: is_network && !is_refused,
    }
}

pub(super) fn oid(sha: &Sha) -> Oid {
    Oid::from_str(sha.as_str()).expect("a Sha holds only hexadecimal digits")
}

pub(super) fn sha(id: Oid) -> Sha {
    id.to_string().parse().expect("git prints object ids as hexadecimal digits")
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<T, WorkspaceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(WorkspaceError::Local {
            git_dir: "(any)".into(),
            action: "running",
            detail: format!("the process is shutting down: {error}"),
        }),
    }
}

/// Copies the names of tags of a repository on this machine, whose objects the mirror reads.
fn copy_tags(from: &Repository, to: &Repository) -> Result<(), git2::Error> {
    for reference in from.references_glob("refs/tags/*")?.take(TAGS_MAX) {
        let Ok(reference) = reference else { continue };
        let (Ok(name), Some(target)) = (reference.name(), reference.target()) else { continue };
        // One that points to nothing is no reason to do without the others.
        if let Err(error) = to.reference(name, target, true, "a tag of the local repository") {
            tracing::debug!(name, error = error.message(), "tag not copied");
        }
    }
    Ok(())
}
