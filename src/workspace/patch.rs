//! The diff between the base and a tree, for people.

use git2::{DiffFindOptions, DiffFormat, DiffOptions};

use super::mirror::{local_error, oid};
use super::{Workspace, WorkspaceError};
use crate::domain::{RepoPath, Sha};

/// The longest patch text, in bytes.
const PATCH_BYTES_MAX: usize = 400 * 1024;

/// The most files to compare when looking for renames: git's own default.
const RENAMES_MAX: usize = 1_000;

/// A unified diff and its size.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Patch {
    /// The text in git's format, truncated after a whole line if it is too long.
    pub text: String,
    /// Whether the text was truncated.
    pub truncated: bool,
    /// The size of the whole diff.
    pub stat: PatchStat,
}

/// The size of a diff.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PatchStat {
    /// Changed files.
    pub files: usize,
    /// Added lines.
    pub insertions: usize,
    /// Removed lines.
    pub deletions: usize,
}

impl Workspace {
    /// The diff from the base to `tree`.
    pub async fn patch(&self, tree: &Sha) -> Result<Patch, WorkspaceError> {
        self.patch_under(tree, None).await
    }

    /// The diff of one file or directory only.
    pub async fn patch_under(&self, tree: &Sha, path: Option<&RepoPath>) -> Result<Patch, WorkspaceError> {
        let (base, tree, path) = (oid(self.base()), oid(tree), path.cloned());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "comparing two trees", error);
            let base = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            let tree = repository.find_tree(tree).map_err(local)?;
            let mut options = DiffOptions::new();
            options.context_lines(3);
            if let Some(path) = &path {
                options.disable_pathspec_match(true).pathspec(path.as_str());
            }
            let mut diff =
                repository.diff_tree_to_tree(Some(&base), Some(&tree), Some(&mut options)).map_err(local)?;
            let mut renames = DiffFindOptions::new();
            diff.find_similar(Some(renames.renames(true).rename_limit(RENAMES_MAX))).map_err(local)?;
            let stats = diff.stats().map_err(local)?;
            let stat = PatchStat {
                files: stats.files_changed(),
                insertions: stats.insertions(),
                deletions: stats.deletions(),
            };
            let (mut text, mut truncated) = (String::new(), false);
            let printed = diff.print(DiffFormat::Patch, |_, _, line| {
                if matches!(line.origin(), '+' | '-' | ' ') {
                    text.push(line.origin());
                }
                text.push_str(&String::from_utf8_lossy(line.content()));
                truncated = text.len() > PATCH_BYTES_MAX;
                !truncated
            });
            match printed {
                Err(error) if !truncated => Err(local(error)),
                Ok(()) | Err(_) => Ok(Patch { text, truncated, stat }),
            }
        })
        .await
    }
}
