//! Pushes commits to the remote. A commit is scanned for secrets first, and only a scanned commit can be
//! pushed. Never overwrites, never forces.

use std::path::Path;

use git2::{Direction, Oid, Repository};

use super::access::push_options;
use super::mirror::{local_error, oid, remote_error};
use super::references::delete_oldest;
use super::{Workspace, WorkspaceError};
use crate::domain::{SecretFinding, Sha};
use crate::github::{GitAccess, NewCommit};
use crate::secrets::{AddedText, scan_additions, scan_text};

/// The most bytes of file contents in one request to GitHub's API.
const API_BYTES_MAX: usize = 8 << 20;

/// The most files to compare when looking for renames: git's own default.
const RENAMES_MAX: usize = 1_000;

/// Where proposals are pinned.
const PROPOSALS: &str = "refs/mendwright/proposals/";
/// The number of branches of one repository whose proposals stay pinned.
const PROPOSALS_KEPT_MAX: usize = 1_000;

/// A commit that passed the secret gate, with its branch. Only such a commit can be pushed, and only this
/// module can create one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearedCommit {
    commit: Sha,
    branch: String,
}

impl ClearedCommit {
    /// The commit.
    pub fn commit(&self) -> &Sha {
        &self.commit
    }

    /// The branch.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// The same commit on top of `base`, for GitHub's API.
    pub fn into_api_commit(&self, base: &Sha, changes: ApiChanges) -> NewCommit {
        NewCommit {
            branch: self.branch.clone(),
            base: base.clone(),
            message: changes.message,
            additions: changes.additions,
            deletions: changes.deletions,
        }
    }
}

impl Workspace {
    /// Scans a commit for secrets: the lines and file names that it adds to its first parent, its message,
    /// and the branch's name. The inner error is the secrets that were found.
    pub async fn clear(
        &self,
        branch: &str,
        commit: &Sha,
    ) -> Result<Result<ClearedCommit, Vec<SecretFinding>>, WorkspaceError> {
        let (id, name) = (oid(commit), branch.to_owned());
        let found = self
            .with_repository(move |repository, git_dir| {
                let (message, added) = added_texts(repository, id)
                    .map_err(|error| local_error(git_dir, "scanning a commit for secrets", error))?;
                let mut found = scan_additions(&added);
                found.extend(scan_text("the commit message", &message));
                found.extend(scan_text("the branch's name", &name));
                Ok(found)
            })
            .await?;
        Ok(match found.is_empty() {
            true => Ok(ClearedCommit { commit: commit.clone(), branch: branch.to_owned() }),
            false => Err(found),
        })
    }

    /// The commit's changes for GitHub's API; `None` if the API cannot create it, because it sets a file mode
    /// or is too large for one request.
    pub async fn api_changes(&self, commit: &Sha) -> Result<Option<ApiChanges>, WorkspaceError> {
        let id = oid(commit);
        self.with_repository(move |repository, git_dir| {
            api_changes(repository, id)
                .map_err(|error| local_error(git_dir, "reading a commit's files", error))
        })
        .await
    }

    /// Pins the commit in our object store with a reference that is named after its branch.
    pub async fn pin_commit(&self, cleared: &ClearedCommit) -> Result<(), WorkspaceError> {
        let (branch, commit) = (cleared.branch.clone(), oid(&cleared.commit));
        self.with_repository(move |repository, git_dir| pin(repository, git_dir, &branch, commit).map(drop))
            .await
    }

    /// Pushes the commit to its branch of the remote. Never overwrites: an existing branch must point to this
    /// commit already, or to its parent `on_top_of`.
    pub async fn push(
        &self,
        access: &GitAccess,
        cleared: &ClearedCommit,
        on_top_of: Option<&Sha>,
    ) -> Result<(), WorkspaceError> {
        let (access, branch, commit) = (access.clone(), cleared.branch.clone(), oid(&cleared.commit));
        let before = on_top_of.map(oid);
        self.with_repository(move |repository, git_dir| {
            if access.url.scheme() == "file" {
                return push_to_local(repository, &access, &branch, commit);
            }
            push_over_http(repository, git_dir, &access, &branch, (before, commit))
        })
        .await
    }
}

/// The changes of a commit, in the terms of GitHub's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiChanges {
    message: String,
    additions: Vec<(String, Vec<u8>)>,
    deletions: Vec<String>,
}

fn api_changes(repository: &Repository, commit: Oid) -> Result<Option<ApiChanges>, git2::Error> {
    let commit = repository.find_commit(commit)?;
    let before = commit.parent(0)?.tree()?;
    let diff = repository.diff_tree_to_tree(Some(&before), Some(&commit.tree()?), None)?;
    let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
    let mut changes = ApiChanges { message, additions: Vec::new(), deletions: Vec::new() };
    let mut bytes_left = API_BYTES_MAX;
    for delta in diff.deltas() {
        let path = |file: &git2::DiffFile<'_>| {
            file.path_bytes().and_then(|path| std::str::from_utf8(path).ok()).map(str::to_owned)
        };
        let Some(path) = path(&delta.new_file()).or_else(|| path(&delta.old_file())) else { return Ok(None) };
        if delta.status() == git2::Delta::Deleted {
            changes.deletions.push(path);
            continue;
        }
        let was_plain =
            delta.status() == git2::Delta::Added || delta.old_file().mode() == git2::FileMode::Blob;
        if !was_plain || delta.new_file().mode() != git2::FileMode::Blob {
            return Ok(None);
        }
        let blob = repository.find_blob(delta.new_file().id())?;
        match bytes_left.checked_sub(blob.size()) {
            Some(left) => bytes_left = left,
            None => return Ok(None),
        }
        changes.additions.push((path, blob.content().to_vec()));
    }
    Ok(Some(changes))
}

/// The commit's message, and what it adds to its first parent. Binary files are scanned as text, because
/// they are published too.
fn added_texts(repository: &Repository, commit: Oid) -> Result<(String, Vec<AddedText>), git2::Error> {
    let commit = repository.find_commit(commit)?;
    let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
    let (before, after) = (commit.parent(0).and_then(|parent| parent.tree()).ok(), commit.tree()?);
    let mut options = git2::DiffOptions::new();
    options.context_lines(0).force_text(true);
    let mut diff = repository.diff_tree_to_tree(before.as_ref(), Some(&after), Some(&mut options))?;
    let mut renames = git2::DiffFindOptions::new();
    diff.find_similar(Some(renames.renames(true).rename_limit(RENAMES_MAX)))?;
    let mut added = Vec::new();
    for index in 0..diff.deltas().len() {
        let Some(delta) = diff.get_delta(index) else { continue };
        if delta.status() == git2::Delta::Deleted {
            continue;
        }
        let path = delta.new_file().path_bytes().unwrap_or_default();
        let is_new_name = delta.old_file().path_bytes() != delta.new_file().path_bytes()
            || delta.status() == git2::Delta::Added;
        let before = repository.find_blob(delta.old_file().id());
        let mut file = AddedText {
            path: String::from_utf8_lossy(path).into_owned(),
            is_new_name,
            lines: Vec::new(),
            before: before.map(|blob| blob.content().to_vec()).unwrap_or_default(),
        };
        match git2::Patch::from_diff(&diff, index)? {
            Some(patch) => file.lines = added_lines(&patch)?,
            // Too large for git to compare: scan all of it.
            None => {
                let blob = repository.find_blob(delta.new_file().id())?;
                file.lines = (1..)
                    .zip(blob.content().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec))
                    .collect();
            }
        }
        added.push(file);
    }
    Ok((message, added))
}

fn added_lines(patch: &git2::Patch<'_>) -> Result<Vec<(u32, Vec<u8>)>, git2::Error> {
    let mut lines = Vec::new();
    for hunk in 0..patch.num_hunks() {
        for index in 0..patch.num_lines_in_hunk(hunk)? {
            let line = patch.line_in_hunk(hunk, index)?;
            if line.origin() == '+' {
                lines.push((line.new_lineno().unwrap_or(0), line.content().to_vec()));
            }
        }
    }
    Ok(lines)
}

/// Pins a proposal's commit with a reference, and returns the reference's name.
fn pin(repository: &Repository, git_dir: &Path, branch: &str, commit: Oid) -> Result<String, WorkspaceError> {
    let local = |error| local_error(git_dir, "saving a proposal", error);
    let reference = format!("{PROPOSALS}{branch}");
    let is_first = repository.find_reference(&reference).is_err();
    repository.reference(&reference, commit, true, "proposal").map_err(local)?;
    if is_first {
        let by_date = |reference: &git2::Reference<'_>| {
            reference.peel_to_commit().map(|commit| commit.time().seconds()).unwrap_or_default()
        };
        delete_oldest(repository, PROPOSALS, PROPOSALS_KEPT_MAX, by_date).map_err(local)?;
    }
    Ok(reference)
}

fn push_over_http(
    repository: &Repository,
    git_dir: &Path,
    access: &GitAccess,
    branch: &str,
    (before, commit): (Option<Oid>, Oid),
) -> Result<(), WorkspaceError> {
    let url = access.url.as_str();
    let reference = format!("refs/heads/{branch}");
    let remote_error = |error| remote_error("push to", access, &error);
    let mut remote = repository
        .remote_anonymous(url)
        .map_err(|error| local_error(git_dir, "configuring a remote", error))?;
    let found = {
        let connection = remote
            .connect_auth(Direction::Push, Some(super::access::callbacks(access)), None)
            .map_err(remote_error)?;
        let heads = connection.list().map_err(remote_error)?;
        check_room(access, branch, heads.iter().map(git2::RemoteHead::name))?;
        heads.iter().find(|head| head.name() == reference).map(git2::RemoteHead::oid)
    };
    match found {
        Some(found) if found == commit => return Ok(()),
        found if found == before => {}
        Some(found) => return Err(branch_taken(access, branch, &found.to_string())),
        None => return Err(branch_taken(access, branch, "nothing")),
    }
    // git2 pushes only from a reference.
    let pinned = pin(repository, git_dir, branch, commit)?;
    let mut refused = None;
    let pushed =
        remote.push(&[format!("{pinned}:{reference}")], Some(&mut push_options(access, &mut refused)));
    pushed.map_err(remote_error)?;
    match refused {
        None => Ok(()),
        Some(detail) => Err(WorkspaceError::Remote {
            what: "push to",
            url: url.to_owned(),
            detail: format!("the server refused {detail}"),
            worth_retrying: false,
        }),
    }
}

/// Pushes to a repository on this machine. libgit2 does not push into a repository with a work tree, so
/// the missing objects are copied (which also works for a shallow clone) and the branch is created. The
/// work tree is not changed.
fn push_to_local(
    repository: &Repository,
    access: &GitAccess,
    branch: &str,
    commit: Oid,
) -> Result<(), WorkspaceError> {
    let failed = |error| remote_error("write a branch to", access, &error);
    let path = access.url.to_file_path().unwrap_or_default();
    let target = Repository::open(&path).map_err(failed)?;
    let reference = format!("refs/heads/{branch}");
    match target.find_reference(&reference).ok().and_then(|found| found.target()) {
        Some(found) if found == commit => return Ok(()),
        Some(found) => return Err(branch_taken(access, branch, &found.to_string())),
        None => {}
    }
    let names = target
        .references_glob("refs/heads/*")
        .map_err(failed)?
        .names()
        .flatten()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    check_room(access, branch, names.iter().map(String::as_str))?;
    let received = (|| {
        let (ours, theirs) = (repository.odb()?, target.odb()?);
        let tree = repository.find_commit(commit)?.tree_id();
        copy_missing(repository, &ours, &theirs, tree)?;
        let object = ours.read(commit)?;
        theirs.write(object.kind(), object.data())?;
        target.reference(&reference, commit, false, "mendwright: proposal")?;
        Ok(())
    })();
    received.map_err(failed)
}

/// Copies a tree with its contents, except what the other repository has already.
fn copy_missing(
    repository: &Repository,
    ours: &git2::Odb<'_>,
    theirs: &git2::Odb<'_>,
    tree: Oid,
) -> Result<(), git2::Error> {
    if theirs.exists(tree) {
        return Ok(());
    }
    for entry in repository.find_tree(tree)?.iter() {
        match entry.kind() {
            Some(git2::ObjectType::Tree) => copy_missing(repository, ours, theirs, entry.id())?,
            Some(git2::ObjectType::Blob) if !theirs.exists(entry.id()) => {
                let object = ours.read(entry.id())?;
                theirs.write(object.kind(), object.data())?;
            }
            _ => {}
        }
    }
    let object = ours.read(tree)?;
    theirs.write(object.kind(), object.data())?;
    Ok(())
}

/// Fails if one of `references` leaves no room for the branch: git stores them as paths, and a path is a file or a
/// directory.
fn check_room<'r>(
    access: &GitAccess,
    branch: &str,
    references: impl Iterator<Item = &'r str>,
) -> Result<(), WorkspaceError> {
    let is_below = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    let mut heads = references.filter_map(|name| name.strip_prefix("refs/heads/"));
    match heads.find(|head| is_below(head, branch) || is_below(branch, head)) {
        None => Ok(()),
        Some(blocking) => Err(WorkspaceError::BranchBlocked {
            branch: branch.to_owned(),
            blocking: blocking.to_owned(),
            url: access.url.to_string(),
        }),
    }
}

fn branch_taken(access: &GitAccess, branch: &str, found: &str) -> WorkspaceError {
    WorkspaceError::BranchTaken {
        branch: branch.to_owned(),
        url: access.url.to_string(),
        found: found.to_owned(),
    }
}
