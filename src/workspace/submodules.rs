//! Submodules whose files sandboxes have: each pinned commit, in a mirror of its own. Which ones may be fetched is
//! decided elsewhere, for each job: that an object is here does not mean that a job may see it. A mirror belongs to
//! one repository and one path, so that nothing is shared between repositories.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{Oid, Repository};
use sha2::{Digest, Sha256};

use super::access::{TransferLimit, commit_fetch_options};
use super::bounded_walk::{AbandonOnDrop, Abandoned, SUBMODULE, WalkStep, Walker};
use super::fetched_submodule::Submodule;
use super::gitmodules::{GITMODULES_BYTES_MAX, parse_gitmodules};
use super::mirror::{blocking, local_error, oid, open_or_create, remote_error, sha, share_local_objects};
use super::tree::content_in;
use super::{Mirrors, Workspace, WorkspaceError};
use crate::domain::{FetchedSubmodule, MissingSubmodule, RepoPath, RepositoryId, Sha, is_dot_git};
use crate::github::GitAccess;

/// Submodules of one base commit that are looked at, those of submodules included.
pub const SUBMODULES_MAX: usize = 100;

/// A submodule that a tree names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredSubmodule {
    /// Where it is, from the root of the outermost repository. It may be no path that can be used.
    pub path: String,
    /// Its commit.
    pub commit: Sha,
    /// Its name in `.gitmodules`; empty if that has no entry for it.
    pub name: String,
    /// Its URL in `.gitmodules`; empty if that has no entry for it.
    pub url: String,
}

/// What may still be fetched for one base commit.
#[derive(Debug, Clone, Copy)]
pub struct SubmoduleAllowance {
    /// Files and directories.
    pub entries: u64,
    /// Bytes: those of a transfer, and those of the files.
    pub bytes: u64,
    /// Time.
    pub time: Duration,
}

impl Default for SubmoduleAllowance {
    /// As much as a base commit may reasonably bring, and the time that the fetch of a base may take.
    fn default() -> Self {
        Self { entries: 300_000, bytes: 2 << 30, time: Duration::from_secs(15 * 60) }
    }
}

impl Workspace {
    /// The workspace with these submodules of its base. `missing` are named with their reasons.
    #[must_use]
    pub fn with_submodules(
        mut self,
        mirrors: &Mirrors,
        id: RepositoryId,
        fetched: &[FetchedSubmodule],
        missing: &[MissingSubmodule],
    ) -> Self {
        let submodule = |one: &FetchedSubmodule| Submodule {
            path: one.path.clone(),
            commit: oid(&one.commit),
            git_dir: mirrors.submodule_git_dir(id, &one.path),
        };
        self.submodules = fetched.iter().map(submodule).collect();
        self.missing_submodules = missing.into();
        self
    }

    /// The paths of the submodules whose files sandboxes have.
    pub fn submodule_paths(&self) -> impl Iterator<Item = &RepoPath> {
        self.submodules.iter().map(|one| &one.path)
    }

    /// What a setup's result depends on besides the tree: the submodules that are there. Empty if there are none.
    pub fn submodules_identity(&self) -> String {
        self.submodules.iter().map(|one| format!("{} {}\n", one.commit, one.path)).collect()
    }

    /// The path of the submodule that `path` is, or is below; `None` if it is in no submodule of the base.
    ///
    /// # Errors
    /// The base cannot be read.
    pub async fn submodule_of(&self, path: &RepoPath) -> Result<Option<String>, WorkspaceError> {
        let (base, path) = (oid(self.base()), path.clone());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "reading the base", error);
            let tree = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            let mut prefix = PathBuf::new();
            for part in path.parts() {
                prefix.push(part);
                match tree.get_path(&prefix) {
                    Ok(entry) if entry.filemode() == SUBMODULE => {
                        return Ok(Some(prefix.display().to_string()));
                    }
                    Ok(_) => {}
                    Err(_) => return Ok(None),
                }
            }
            Ok(None)
        })
        .await
    }

    /// The submodules of the base, or of one of its submodules; at most [`SUBMODULES_MAX`] of them.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub async fn declared_submodules(
        &self,
        within: Option<&RepoPath>,
    ) -> Result<Vec<DeclaredSubmodule>, WorkspaceError> {
        let outer = within.and_then(|path| self.submodules.iter().find(|one| one.path == *path)).cloned();
        let (git_dir, commit, prefix) = match outer {
            Some(Submodule { path, commit, git_dir }) => (git_dir, commit, format!("{path}/")),
            None if within.is_some() => return Ok(Vec::new()),
            None => (self.git_dir.clone(), oid(self.base()), String::new()),
        };
        let abandoned = Abandoned::default();
        let _guard = AbandonOnDrop(abandoned.clone());
        blocking(move || {
            let repository = open_or_create(&git_dir)?;
            let walker = Walker { repository: &repository, git_dir: &git_dir, abandoned: &abandoned };
            declared_in(&walker, commit, &prefix)
        })
        .await
    }
}

fn declared_in(
    walker: &Walker<'_>,
    commit: Oid,
    prefix: &str,
) -> Result<Vec<DeclaredSubmodule>, WorkspaceError> {
    let local = |error| local_error(walker.git_dir, "reading the submodules of a tree", error);
    let tree = walker.repository.find_commit(commit).and_then(|commit| commit.tree()).map_err(local)?;
    let file = content_in(walker.repository, &tree, ".gitmodules", GITMODULES_BYTES_MAX).map_err(local)?;
    let entries = parse_gitmodules(&String::from_utf8_lossy(&file.unwrap_or_default()));
    let mut declared = Vec::new();
    walker.walk(tree.id(), |path, entry| {
        if entry.filemode() == SUBMODULE {
            let path = String::from_utf8_lossy(path);
            let entry_of_file = entries.iter().find(|entry| entry.path == path).cloned().unwrap_or_default();
            declared.push(DeclaredSubmodule {
                path: format!("{prefix}{path}"),
                commit: sha(entry.id()),
                name: entry_of_file.name,
                url: entry_of_file.url,
            });
        }
        Ok(if declared.len() < SUBMODULES_MAX { WalkStep::Continue } else { WalkStep::End })
    })?;
    Ok(declared)
}

impl Mirrors {
    fn submodule_git_dir(&self, id: RepositoryId, path: &RepoPath) -> PathBuf {
        let name = hex::encode(Sha256::digest(path.as_str()));
        self.root.join(format!("{id}.submodules")).join(format!("{}.git", &name[..32]))
    }

    /// Brings the commit of a submodule into its mirror, unless it is there, and subtracts what it takes from
    /// `allowance`. `Err` in the result: it cannot be used; the text reads on after "because".
    ///
    /// # Errors
    /// Our own object store failed.
    pub async fn fetch_submodule(
        &self,
        id: RepositoryId,
        path: &RepoPath,
        commit: &Sha,
        access: &GitAccess,
        allowance: &mut SubmoduleAllowance,
    ) -> Result<Result<(), String>, WorkspaceError> {
        let lock = self.locks.of(id);
        let _guard = lock.lock().await;
        let git_dir = self.submodule_git_dir(id, path);
        let (access, commit, limits) = (access.clone(), oid(commit), *allowance);
        let abandoned = Abandoned::default();
        let _abandon = AbandonOnDrop(abandoned.clone());
        let fetched = blocking(move || {
            let work =
                FetchWork { git_dir: &git_dir, commit, access: &access, limits, abandoned: &abandoned };
            work.run()
        });
        Ok(fetched.await?.map(|used| {
            allowance.entries = allowance.entries.saturating_sub(used.entries);
            allowance.bytes = allowance.bytes.saturating_sub(used.bytes);
            allowance.time = allowance.time.saturating_sub(used.time);
        }))
    }
}

/// Parts of the messages about a commit that a server does not have.
const NOT_THERE: [&str; 2] = ["not our ref", "unexpected packet type"];

/// How a transfer ended. A reason reads on after "because".
enum Transferred {
    Done,
    MayBeTriedAgain(String),
    Never(String),
}

/// One fetch.
struct FetchWork<'w> {
    git_dir: &'w Path,
    commit: Oid,
    access: &'w GitAccess,
    limits: SubmoduleAllowance,
    abandoned: &'w Abandoned,
}

impl FetchWork<'_> {
    fn run(&self) -> Result<Result<SubmoduleAllowance, String>, WorkspaceError> {
        let started = std::time::Instant::now();
        let has_commit = |repository: &Repository| repository.find_commit(self.commit).is_ok();
        if !has_commit(&open_or_create(self.git_dir)?) {
            let mut transferred = self.transfer()?;
            if matches!(transferred, Transferred::MayBeTriedAgain(_)) {
                transferred = self.transfer()?;
            }
            match transferred {
                Transferred::Done => {}
                Transferred::Never(why) | Transferred::MayBeTriedAgain(why) => return Ok(Err(why)),
            }
        }
        let repository = open_or_create(self.git_dir)?;
        if !has_commit(&repository) {
            return Ok(Err(self.not_there()));
        }
        let measured = self.measure(&repository)?;
        Ok(measured.map(|used| SubmoduleAllowance { time: started.elapsed(), ..used }))
    }

    fn not_there(&self) -> String {
        let commit = self.commit.to_string();
        format!("its repository does not have the commit `{}`", &commit[..10])
    }

    /// Brings the commit.
    fn transfer(&self) -> Result<Transferred, WorkspaceError> {
        let Self { git_dir, commit, access, limits, .. } = self;
        if access.url.scheme() == "file" {
            return match share_local_objects(git_dir, access, &commit.to_string()) {
                Ok(_) => Ok(Transferred::Done),
                Err(WorkspaceError::Remote { .. }) => Ok(Transferred::Never(self.not_there())),
                Err(error) => Err(error),
            };
        }
        let repository = open_or_create(git_dir)?;
        let local = |error| local_error(git_dir, "configuring a remote", error);
        let mut remote = repository.remote_anonymous(access.url.as_str()).map_err(local)?;
        let refspec = format!("{commit}:refs/mendwright/submodules/{commit}");
        let exceeded = Cell::new(None);
        let limit = TransferLimit { bytes: limits.bytes, time: limits.time, exceeded: &exceeded };
        let mut options = commit_fetch_options(access, &limit);
        let fetched = remote.fetch(&[refspec], Some(&mut options), Some("fetch"));
        drop(options);
        let Err(error) = fetched else { return Ok(Transferred::Done) };
        if let Some(why) = exceeded.get() {
            return Ok(Transferred::Never(why.to_owned()));
        }
        // How a server answers that it does not have the commit, and what libgit2 makes of that answer.
        if NOT_THERE.iter().any(|text| error.message().contains(text)) {
            return Ok(Transferred::Never(self.not_there()));
        }
        match remote_error("fetch a submodule from", access, &error) {
            WorkspaceError::Remote { worth_retrying, detail, .. } => {
                let why = format!("git could not fetch it ({detail})");
                Ok(if worth_retrying { Transferred::MayBeTriedAgain(why) } else { Transferred::Never(why) })
            }
            other => Err(other),
        }
    }

    /// Checks the tree. `Err` in the result: it cannot be used.
    fn measure(&self, repository: &Repository) -> Result<Result<SubmoduleAllowance, String>, WorkspaceError> {
        let local = |error| local_error(self.git_dir, "reading a submodule", error);
        let walker = Walker { repository, git_dir: self.git_dir, abandoned: self.abandoned };
        let tree = repository.find_commit(self.commit).map_err(local)?.tree_id();
        let database = repository.odb().map_err(local)?;
        let (mut entries, mut bytes, mut problem) = (0_u64, 0_u64, None);
        let walked = walker.walk(tree, |_, entry| {
            entries += 1;
            let name = String::from_utf8_lossy(entry.name_bytes());
            if name == "." || name == ".." || name.contains('/') || is_dot_git(&name) {
                problem = Some("it has a name that git does not check out".to_owned());
            } else if entry.kind() == Some(git2::ObjectType::Blob) {
                // An object that is missing, as in a partial clone, makes the whole unusable.
                match database.read_header(entry.id()) {
                    Ok((size, _)) => bytes = bytes.saturating_add(size as u64),
                    Err(_) => problem = Some("its repository does not have all of its files".to_owned()),
                }
            }
            if entries > self.limits.entries || bytes > self.limits.bytes {
                problem = Some(TOO_LARGE.to_owned());
            }
            Ok(if problem.is_none() { WalkStep::Continue } else { WalkStep::End })
        });
        match (walked, problem) {
            (_, Some(why)) => Ok(Err(why)),
            (Err(WorkspaceError::TreeTooLarge { .. }), _) => Ok(Err(TOO_LARGE.to_owned())),
            (Err(WorkspaceError::Local { .. }), _) => {
                Ok(Err("its repository does not have all of its files".to_owned()))
            }
            (Err(error), _) => Err(error),
            (Ok(()), None) => Ok(Ok(SubmoduleAllowance { entries, bytes, time: Duration::ZERO })),
        }
    }
}

/// Why a submodule beyond the bounds is left out.
pub(super) const TOO_LARGE: &str = "the submodules are too large together";
