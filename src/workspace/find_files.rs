//! Finds files of a tree by their paths, in every directory.

use git2::ObjectType;

use super::bounded_walk::WalkStep;
use super::mirror::{oid, sha};
use super::{Workspace, WorkspaceError};
use crate::domain::Sha;

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
        self.with_walker(move |walker| {
            let mut found = Vec::new();
            walker.walk(tree, |path, entry| {
                if entry.kind() == Some(ObjectType::Blob) {
                    let path = String::from_utf8_lossy(path);
                    if matches(&path) {
                        found.push((path.into_owned(), sha(entry.id())));
                    }
                }
                Ok(if found.len() > count_max { WalkStep::End } else { WalkStep::Continue })
            })?;
            if found.len() > count_max {
                return Ok(None);
            }
            found.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(Some(found))
        })
        .await
    }
}
