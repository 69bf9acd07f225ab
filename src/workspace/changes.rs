//! Converts trees and patches back to changes, which repeated verification and evaluations start from.

use git2::{ApplyOptions, Delta, Diff, DiffFormat, DiffOptions, Repository};

use super::attributes::TreeAttributes;
use super::conversion::to_work_tree;
use super::mirror::{local_error, oid, sha};
use super::{Workspace, WorkspaceError};
use crate::domain::{Change, ChangedContent, FileMode, RepoPath, Sha};

/// The longest patch that is created or applied, in bytes.
pub const PATCH_BYTES_MAX: usize = 32 << 20;

/// The parts of a commit that verification compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its tree.
    pub tree: Sha,
    /// Its parents.
    pub parents: Vec<Sha>,
}

impl Workspace {
    /// A commit in the mirror; `None` if the mirror does not have it.
    pub async fn find_commit(&self, commit: &Sha) -> Result<Option<CommitInfo>, WorkspaceError> {
        let commit = oid(commit);
        self.with_repository(move |repository, git_dir| match repository.find_commit(commit) {
            Ok(found) => Ok(Some(CommitInfo {
                tree: sha(found.tree_id()),
                parents: found.parent_ids().map(sha).collect(),
            })),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(local_error(git_dir, "looking up a commit", error)),
        })
        .await
    }

    /// Whether the mirror has this tree.
    pub async fn has_tree(&self, tree: &Sha) -> Result<bool, WorkspaceError> {
        let tree = oid(tree);
        self.with_repository(move |repository, _| Ok(repository.find_tree(tree).is_ok())).await
    }

    /// The changes that turn the base's tree into `tree`, with contents as a checkout has them.
    ///
    /// # Errors
    /// One of them is not allowed in a proposal: a symbolic link, a submodule, a forbidden path.
    pub async fn changes_in(&self, tree: &Sha) -> Result<Vec<Change>, WorkspaceError> {
        let (base, tree) = (oid(self.base()), oid(tree));
        self.with_walker(move |walker| {
            walker.check(tree)?;
            let repository = walker.repository;
            let local = |error| local_error(walker.git_dir, "comparing two trees", error);
            let base = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            let tree = repository.find_tree(tree).map_err(local)?;
            let diff = repository.diff_tree_to_tree(Some(&base), Some(&tree), None).map_err(local)?;
            let mut attributes = TreeAttributes::of(repository, &base);
            diff.deltas().map(|delta| change_of(repository, &delta, &mut attributes, &local)).collect()
        })
        .await
    }

    /// The whole diff from the base to `tree`, with binary files, for `git apply`.
    ///
    /// # Errors
    /// The diff is longer than [`PATCH_BYTES_MAX`].
    pub async fn full_patch(&self, tree: &Sha) -> Result<String, WorkspaceError> {
        let (base, tree) = (oid(self.base()), oid(tree));
        self.with_walker(move |walker| {
            walker.check(tree)?;
            let repository = walker.repository;
            let local = |error| local_error(walker.git_dir, "comparing two trees", error);
            let base = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            let tree = repository.find_tree(tree).map_err(local)?;
            diff_text(repository, &base, &tree).map_err(local)
        })
        .await
    }

    /// `tree` with a unified diff applied.
    ///
    /// # Errors
    /// The patch does not apply; the message says where.
    pub async fn apply_patch(&self, tree: &Sha, patch: &str) -> Result<Sha, WorkspaceError> {
        let (tree, patch) = (oid(tree), patch.to_owned());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "applying a patch", error);
            if patch.trim().is_empty() {
                return Ok(sha(tree));
            }
            let tree = repository.find_tree(tree).map_err(local)?;
            let diff = Diff::from_buffer(patch.as_bytes()).map_err(local)?;
            let mut options = ApplyOptions::new();
            let mut index = repository.apply_to_tree(&tree, &diff, Some(&mut options)).map_err(local)?;
            Ok(sha(index.write_tree_to(repository).map_err(local)?))
        })
        .await
    }
}

/// A unified diff between two trees that `git apply` accepts.
pub(super) fn diff_text(
    repository: &Repository,
    from: &git2::Tree<'_>,
    to: &git2::Tree<'_>,
) -> Result<String, git2::Error> {
    let mut options = DiffOptions::new();
    options.context_lines(3).show_binary(true);
    let diff = repository.diff_tree_to_tree(Some(from), Some(to), Some(&mut options))?;
    let mut text = Vec::new();
    let mut too_long = false;
    let printed = diff.print(DiffFormat::Patch, |_, _, line| {
        if matches!(line.origin(), '+' | '-' | ' ') {
            text.push(line.origin() as u8);
        }
        text.extend_from_slice(line.content());
        too_long = text.len() > PATCH_BYTES_MAX;
        !too_long
    });
    if too_long {
        return Err(git2::Error::from_str("the difference is too long"));
    }
    printed?;
    String::from_utf8(text).map_err(|_| git2::Error::from_str("the difference is not UTF-8 text"))
}

fn change_of(
    repository: &Repository,
    delta: &git2::DiffDelta<'_>,
    attributes: &mut TreeAttributes<'_>,
    local: &impl Fn(git2::Error) -> WorkspaceError,
) -> Result<Change, WorkspaceError> {
    let (old, new) = (delta.old_file(), delta.new_file());
    let shown = new.path().or(old.path()).unwrap_or(std::path::Path::new("")).display().to_string();
    let refused = |why| WorkspaceError::RefusedChange { path: shown.clone(), why };
    let path: RepoPath = shown.parse().map_err(|_| refused("a proposal may not contain this path"))?;
    let is_file = |mode| matches!(mode, git2::FileMode::Blob | git2::FileMode::BlobExecutable);
    if delta.status() == Delta::Deleted {
        return match is_file(old.mode()) {
            true => Ok(Change { path, content: ChangedContent::Absent }),
            false => Err(refused("it is not a regular file")),
        };
    }
    if !is_file(new.mode()) {
        return Err(refused("it is not a regular file"));
    }
    let blob = repository.find_blob(new.id()).map_err(local)?;
    let bytes = to_work_tree(blob.content(), new.id(), &attributes.of_file(path.as_str().as_bytes()));
    let mode = match new.mode() {
        git2::FileMode::BlobExecutable => FileMode::Executable,
        _ => FileMode::Regular,
    };
    Ok(Change { path, content: ChangedContent::File { mode, bytes } })
}
