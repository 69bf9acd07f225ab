//! A branch that other people push to as well: where it diverged from its base, and what was added to it. How two
//! trees differ, by path.

use git2::{Delta, Repository};

use super::mirror::{local_error, oid, sha};
use super::{Workspace, WorkspaceError};
use crate::domain::Sha;

/// The most paths that are returned.
const PATHS_MAX: usize = 200;

/// What became of a path of another tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathChange {
    /// Only the new tree has it.
    Added,
    /// Both have it, with other content or another mode.
    Modified,
    /// Only the old tree has it, or it is something else now.
    Removed,
}

impl Workspace {
    /// The newest common ancestor of two commits; `None` if they have none.
    pub async fn merge_base(&self, one: &Sha, other: &Sha) -> Result<Option<Sha>, WorkspaceError> {
        let (one, other) = (oid(one), oid(other));
        self.with_repository(move |repository, git_dir| match repository.merge_base(one, other) {
            Ok(found) => Ok(Some(sha(found))),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(local_error(git_dir, "looking for a common commit", error)),
        })
        .await
    }

    /// Whether `commit` is `head` or one of its ancestors.
    pub async fn is_ancestor(&self, commit: &Sha, head: &Sha) -> Result<bool, WorkspaceError> {
        Ok(self.merge_base(commit, head).await?.as_ref() == Some(commit))
    }

    /// The tree of a commit.
    pub async fn tree_of(&self, commit: &Sha) -> Result<Sha, WorkspaceError> {
        let commit = oid(commit);
        self.with_repository(move |repository, git_dir| {
            let found = repository.find_commit(commit);
            found
                .map(|commit| sha(commit.tree_id()))
                .map_err(|error| local_error(git_dir, "reading a commit", error))
        })
        .await
    }

    /// The three-way merge of `ours` and `theirs`, which both changed `before`; `None` if they conflict.
    pub async fn merge_trees(
        &self,
        before: &Sha,
        ours: &Sha,
        theirs: &Sha,
    ) -> Result<Option<Sha>, WorkspaceError> {
        let (before, ours, theirs) = (oid(before), oid(ours), oid(theirs));
        self.with_walker(move |walker| {
            let (repository, git_dir) = (walker.repository, walker.git_dir);
            [before, ours, theirs].into_iter().try_for_each(|tree| walker.check(tree))?;
            let merge_trees = (|| {
                let tree = |id| repository.find_tree(id);
                let mut index = repository.merge_trees(&tree(before)?, &tree(ours)?, &tree(theirs)?, None)?;
                if index.has_conflicts() {
                    return Ok(None);
                }
                index.write_tree_to(repository).map(|id| Some(sha(id)))
            })();
            merge_trees.map_err(|error| local_error(git_dir, "merging two trees", error))
        })
        .await
    }

    /// The paths in which two trees differ, sorted; at most two hundred.
    pub async fn changed_paths(&self, one: &Sha, other: &Sha) -> Result<Vec<String>, WorkspaceError> {
        let (one, other) = (oid(one), oid(other));
        self.with_walker(move |walker| {
            [one, other].into_iter().try_for_each(|tree| walker.check(tree))?;
            paths_between(walker.repository, one, other)
                .map_err(|error| local_error(walker.git_dir, "comparing two trees", error))
        })
        .await
    }

    /// The paths in which `tree` differs from `from`, sorted; `None` if there are more than `count_max`, or if one
    /// is not UTF-8.
    ///
    /// # Errors
    /// A tree cannot be read, or is larger than the bounds.
    pub async fn path_changes(
        &self,
        from: &Sha,
        tree: &Sha,
        count_max: usize,
    ) -> Result<Option<Vec<(String, PathChange)>>, WorkspaceError> {
        let (from, tree) = (oid(from), oid(tree));
        self.with_walker(move |walker| {
            [from, tree].into_iter().try_for_each(|tree| walker.check(tree))?;
            let local = |error| local_error(walker.git_dir, "comparing two trees", error);
            let find = |id| walker.repository.find_tree(id).map_err(local);
            let (from, tree) = (find(from)?, find(tree)?);
            let diff = walker.repository.diff_tree_to_tree(Some(&from), Some(&tree), None).map_err(local)?;
            if diff.deltas().len() > count_max {
                return Ok(None);
            }
            let change = |delta: git2::DiffDelta<'_>| {
                let (file, change) = match delta.status() {
                    Delta::Added => (delta.new_file(), PathChange::Added),
                    Delta::Modified => (delta.new_file(), PathChange::Modified),
                    _ => (delta.old_file(), PathChange::Removed),
                };
                Some((std::str::from_utf8(file.path_bytes()?).ok()?.to_owned(), change))
            };
            let mut changes: Option<Vec<_>> = diff.deltas().map(change).collect();
            if let Some(changes) = &mut changes {
                changes.sort_by(|(one, _), (other, _)| one.cmp(other));
            }
            Ok(changes)
        })
        .await
    }
}

fn paths_between(
    repository: &Repository,
    one: git2::Oid,
    other: git2::Oid,
) -> Result<Vec<String>, git2::Error> {
    let (one, other) = (repository.find_tree(one)?, repository.find_tree(other)?);
    let diff = repository.diff_tree_to_tree(Some(&one), Some(&other), None)?;
    let path = |delta: git2::DiffDelta<'_>| {
        let file = if delta.status() == Delta::Deleted { delta.old_file() } else { delta.new_file() };
        file.path_bytes().map(|path| String::from_utf8_lossy(path).into_owned())
    };
    let mut paths: Vec<String> = diff.deltas().filter_map(path).take(PATHS_MAX).collect();
    paths.sort();
    Ok(paths)
}
