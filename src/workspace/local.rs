//! Repositories on this machine, for `mendwright fix` and evaluations.

use std::path::{Path, PathBuf};

use git2::build::RepoBuilder;
use git2::{Repository, Tree};
use secrecy::SecretString;
use url::Url;

use super::WorkspaceError;
use super::access::fetch_options;
use super::mirror::{create_atomically, oid, sha};
use super::tree::{content_in, names_in, repository_files_in, time_of};
use crate::config::RepositoryFiles;
use crate::detect::RootListing;
use crate::domain::Sha;
use crate::github::GitAccess;

/// A repository on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRepository {
    /// Its git directory.
    pub git_dir: PathBuf,
    /// HEAD: a branch's name, or a commit's id if it is detached.
    pub head: String,
    /// The git directory whose clones of submodules count: its own, or that of the repository whose objects it
    /// shares.
    pub(super) submodules_of: PathBuf,
}

impl LocalRepository {
    /// Opens the repository that contains `path`.
    pub fn open(path: &Path) -> Result<Self, WorkspaceError> {
        let failed = |error: git2::Error| WorkspaceError::Remote {
            what: "open",
            url: path.display().to_string(),
            detail: error.message().to_owned(),
            worth_retrying: false,
        };
        let repository = Repository::discover(path).map_err(failed)?;
        let head = repository.head().map_err(failed)?;
        let head = match (head.is_branch(), head.shorthand()) {
            (true, Ok(name)) => name.to_owned(),
            (_, _) => head.peel_to_commit().map_err(failed)?.id().to_string(),
        };
        let git_dir = repository.path().to_owned();
        Ok(Self { submodules_of: git_dir.clone(), git_dir, head })
    }

    /// Clones `url` bare into `into`, without credentials. Blocks.
    pub fn clone_bare(url: &Url, into: &Path) -> Result<Self, WorkspaceError> {
        let access =
            GitAccess { url: url.clone(), username: String::new(), token: SecretString::from(String::new()) };
        RepoBuilder::new()
            .bare(true)
            .fetch_options(fetch_options(&access))
            .clone(url.as_str(), into)
            .map_err(|error| WorkspaceError::Remote {
                what: "clone",
                url: url.to_string(),
                detail: error.message().to_owned(),
                worth_retrying: false,
            })?;
        Self::open(into)
    }

    /// A bare repository at `into` whose branch `branch` points to `commit` of `source`. It reads the
    /// objects of `source` (git's `objects/info/alternates`) and never writes them: a push to it changes only
    /// itself. An existing repository at `into` is opened again. Blocks.
    pub fn clone_sharing_objects(
        source: &Path,
        into: &Path,
        branch: &str,
        commit: &Sha,
    ) -> Result<Self, WorkspaceError> {
        let failed = |error: git2::Error| WorkspaceError::Remote {
            what: "share the objects of",
            url: source.display().to_string(),
            detail: error.message().to_owned(),
            worth_retrying: false,
        };
        let objects = Repository::open(source).map_err(failed)?.commondir().join("objects");
        if !into.exists() {
            create_atomically(into, |directory| {
                let info = Repository::init_bare(directory)?.path().join("objects").join("info");
                std::fs::create_dir_all(&info)
                    .and_then(|()| {
                        std::fs::write(info.join("alternates"), format!("{}\n", objects.display()))
                    })
                    .map_err(|error| git2::Error::from_str(&error.to_string()))?;
                // Opened again, because git reads the alternates only once.
                let repository = Repository::open_bare(directory)?;
                let commit = repository.find_commit(oid(commit))?.id();
                let reference = format!("refs/heads/{branch}");
                repository.reference(&reference, commit, true, "shared")?;
                repository.set_head(&reference)
            })
            .map_err(failed)?;
        }
        let repository = Repository::open_bare(into).map_err(failed)?;
        let (git_dir, head) = (repository.path().to_owned(), branch.to_owned());
        Ok(Self { git_dir, head, submodules_of: source.to_owned() })
    }

    /// The commit that a branch points to; `None` if there is no such branch.
    pub fn branch(&self, name: &str) -> Result<Option<Sha>, WorkspaceError> {
        let failed = |error: git2::Error| WorkspaceError::Remote {
            what: "read a branch of",
            url: self.git_dir.display().to_string(),
            detail: error.message().to_owned(),
            worth_retrying: false,
        };
        let repository = Repository::open(&self.git_dir).map_err(failed)?;
        match repository.refname_to_id(&format!("refs/heads/{name}")) {
            Ok(id) => Ok(Some(sha(id))),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether the repository has this commit. Blocks.
    pub fn has_commit(&self, commit: &Sha) -> Result<bool, WorkspaceError> {
        let repository = Repository::open(&self.git_dir).map_err(|error| self.unreadable(&error))?;
        Ok(repository.find_commit(oid(commit)).is_ok())
    }

    /// HEAD's commit, and the result of `read` for its tree. Blocks.
    pub fn read_head<T>(
        &self,
        read: impl FnOnce(&HeadTree<'_>) -> Result<T, WorkspaceError>,
    ) -> Result<(Sha, T), WorkspaceError> {
        let failed = |error: git2::Error| self.unreadable(&error);
        let repository = Repository::open(&self.git_dir).map_err(failed)?;
        let commit = repository.head().and_then(|head| head.peel_to_commit()).map_err(failed)?;
        let tree = commit.tree().map_err(failed)?;
        let committed_at = time_of(&commit);
        let head = HeadTree { local: self, repository: &repository, tree: &tree, committed_at };
        Ok((sha(commit.id()), read(&head)?))
    }

    fn unreadable(&self, error: &git2::Error) -> WorkspaceError {
        WorkspaceError::Remote {
            what: "read HEAD of",
            url: self.git_dir.display().to_string(),
            detail: error.message().to_owned(),
            worth_retrying: false,
        }
    }

    /// The URL through which the pipeline fetches and pushes.
    pub fn access(&self) -> Result<GitAccess, WorkspaceError> {
        let url = Url::from_file_path(&self.git_dir).map_err(|()| WorkspaceError::Remote {
            what: "open",
            url: self.git_dir.display().to_string(),
            detail: "its path is not absolute".to_owned(),
            worth_retrying: false,
        })?;
        Ok(GitAccess { url, username: String::new(), token: SecretString::from(String::new()) })
    }
}

/// The tree of a local repository's HEAD.
pub struct HeadTree<'r> {
    local: &'r LocalRepository,
    repository: &'r Repository,
    tree: &'r Tree<'r>,
    committed_at: Option<jiff::Timestamp>,
}

impl HeadTree<'_> {
    /// The files that toolchain detection reads.
    pub fn listing(&self) -> Result<RootListing, WorkspaceError> {
        let listing = RootListing::read(
            |directory| names_in(self.repository, self.tree, directory),
            |path, bytes_max| content_in(self.repository, self.tree, path, bytes_max),
        );
        let listing = listing.map_err(|error| self.local.unreadable(&error))?;
        Ok(RootListing { committed_at: self.committed_at, ..listing })
    }

    /// The configuration.
    pub fn repository_files(&self) -> Result<RepositoryFiles, WorkspaceError> {
        repository_files_in(self.repository, self.tree).map_err(|error| self.local.unreadable(&error))
    }

    /// The regular file at `path`; `None` if there is none or it is longer than `bytes_max`.
    pub fn file(&self, path: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, WorkspaceError> {
        content_in(self.repository, self.tree, path, bytes_max).map_err(|error| self.local.unreadable(&error))
    }
}
