//! A repository's history, for evaluations.

use git2::Sort;

use super::bounded_walk::{Abandoned, Walker};
use super::mirror::sha;
use super::{LocalRepository, WorkspaceError};
use crate::domain::Sha;

/// A commit. A merge counts as one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryCommit {
    /// The commit.
    pub commit: Sha,
    /// Its first parent.
    pub parent: Sha,
    /// Its message.
    pub message: String,
    /// The paths in which it differs from its first parent; empty if there are too many.
    pub paths: Vec<String>,
}

impl LocalRepository {
    /// The last commits along first parents from HEAD, newest first, without the root commit; at most
    /// `commits_max`. Blocks.
    pub fn commit_history(
        &self,
        commits_max: usize,
        paths_max: usize,
    ) -> Result<Vec<HistoryCommit>, WorkspaceError> {
        let failed = |error: git2::Error| WorkspaceError::Remote {
            what: "read the history of",
            url: self.git_dir.display().to_string(),
            detail: error.message().to_owned(),
            worth_retrying: false,
        };
        let repository = git2::Repository::open(&self.git_dir).map_err(failed)?;
        let mut walk = repository.revwalk().map_err(failed)?;
        walk.set_sorting(Sort::TOPOLOGICAL).map_err(failed)?;
        walk.simplify_first_parent().map_err(failed)?;
        walk.push_head().map_err(failed)?;
        let abandoned = Abandoned::default();
        let walker = Walker { repository: &repository, git_dir: &self.git_dir, abandoned: &abandoned };
        let mut history = Vec::new();
        for id in walk.take(commits_max) {
            let commit = repository.find_commit(id.map_err(failed)?).map_err(failed)?;
            // The root commit, or the edge of a shallow clone.
            let Ok(parent) = commit.parent(0) else { continue };
            let (old, new) = (parent.tree().map_err(failed)?, commit.tree().map_err(failed)?);
            [old.id(), new.id()].into_iter().try_for_each(|tree| walker.check(tree))?;
            let diff = repository.diff_tree_to_tree(Some(&old), Some(&new), None).map_err(failed)?;
            let paths = match diff.deltas().len() <= paths_max {
                true => diff
                    .deltas()
                    .filter_map(|delta| Some(delta.new_file().path()?.to_string_lossy().into_owned()))
                    .collect(),
                false => Vec::new(),
            };
            history.push(HistoryCommit {
                commit: sha(commit.id()),
                parent: sha(parent.id()),
                message: commit.message().unwrap_or_default().to_owned(),
                paths,
            });
        }
        Ok(history)
    }
}
