//! Finds files of a tree by their paths, in every directory.

use git2::{ObjectType, TreeWalkMode, TreeWalkResult};

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
        self.with_repository(move |repository, git_dir| {
            let local = |error: git2::Error| WorkspaceError::Local {
                git_dir: git_dir.display().to_string(),
                action: "searching a tree for files",
                detail: error.message().to_owned(),
            };
            let mut found = Vec::new();
            let walked =
                repository.find_tree(tree).map_err(local)?.walk(TreeWalkMode::PreOrder, |parent, entry| {
                    let path = format!("{parent}{}", String::from_utf8_lossy(entry.name_bytes()));
                    if entry.kind() == Some(ObjectType::Blob) && matches(&path) {
                        found.push((path, sha(entry.id())));
                    }
                    match found.len() > count_max {
                        true => TreeWalkResult::Abort,
                        false => TreeWalkResult::Ok,
                    }
                });
            if found.len() > count_max {
                return Ok(None);
            }
            walked.map_err(local)?;
            found.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(Some(found))
        })
        .await
    }
}
