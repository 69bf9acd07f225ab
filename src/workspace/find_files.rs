//! Finds files of a tree by their paths, in every directory.

use std::ops::ControlFlow;

use super::mirror::{local_error, oid, sha};
use super::tree_walk::walk;
use super::{Workspace, WorkspaceError};
use crate::domain::Sha;

/// Why a walk ends before all entries were seen.
type WalkEnd = ControlFlow<(), WorkspaceError>;

impl Workspace {
    /// The path and the content's id of every file in `tree` that `matches`, in path order; `None` if there
    /// are more than `count_max`.
    pub async fn find_files_by_name(
        &self,
        tree: &Sha,
        count_max: usize,
        matches: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Option<Vec<(String, Sha)>>, WorkspaceError> {
        let tree = oid(tree);
        self.with_repository(move |repository, git_dir| {
            let failed = |error| WalkEnd::Continue(local_error(git_dir, "searching a tree for files", error));
            let mut found = Vec::new();
            let walked = walk(repository, tree, failed, |entry| {
                let path = entry.text();
                if entry.is_blob() && matches(&path) {
                    found.push((path.into_owned(), sha(entry.id)));
                }
                if found.len() > count_max { Err(WalkEnd::Break(())) } else { Ok(()) }
            });
            match walked {
                Ok(()) => {
                    found.sort_by(|(one, _), (other, _)| one.cmp(other));
                    Ok(Some(found))
                }
                Err(WalkEnd::Break(())) => Ok(None),
                Err(WalkEnd::Continue(error)) => Err(error),
            }
        })
        .await
    }
}
