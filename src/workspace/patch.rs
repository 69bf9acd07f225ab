//! What differs between two trees, for people. Paths and line counts come from git's deltas, never from the
//! printed text: that is cut when it is long, and git quotes some names in it.

use std::borrow::Cow;

use git2::{Delta, DiffDelta, DiffFindOptions, DiffFormat, DiffOptions};

use super::mirror::{local_error, oid};
use super::{Workspace, WorkspaceError};
use crate::domain::{RepoPath, Sha};

/// The longest patch text, in bytes.
const PATCH_BYTES_MAX: usize = 400 * 1024;

/// Files compared with each other to find renames: git's own default.
const RENAMES_MAX: usize = 1_000;

/// A unified diff, and what it does to each file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// The text, in git's format. If it is too long, it is cut after a whole line.
    pub text: String,
    /// Whether the text is cut.
    pub truncated: bool,
    /// Whether bytes that are not UTF-8 are replaced in the text.
    pub is_lossy: bool,
    /// What the whole diff does to each file, in git's order.
    pub files: Vec<FileDiff>,
    /// The totals of the whole diff.
    pub stat: PatchStat,
}

/// What a diff does to one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDiff {
    /// The path after the change; of a deleted file, the path before it.
    pub path: String,
    /// The path before the change, if the file was renamed.
    pub old_path: Option<String>,
    /// Lines added.
    pub added: u64,
    /// Lines removed.
    pub removed: u64,
    /// Whether git finds no text in the file.
    pub is_binary: bool,
}

/// The totals of a diff.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
        self.with_walker(move |walker| {
            walker.check(tree)?;
            let repository = walker.repository;
            let local = |error| local_error(walker.git_dir, "comparing two trees", error);
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
            let files = file_diffs(&diff).map_err(local)?;
            let (mut text, mut truncated, mut is_lossy) = (String::new(), false, false);
            let printed = diff.print(DiffFormat::Patch, |_, _, line| {
                if matches!(line.origin(), '+' | '-' | ' ') {
                    text.push(line.origin());
                }
                let content = String::from_utf8_lossy(line.content());
                is_lossy |= matches!(content, Cow::Owned(_));
                text.push_str(&content);
                truncated = text.len() > PATCH_BYTES_MAX;
                !truncated
            });
            match printed {
                Err(error) if !truncated => Err(local(error)),
                Ok(()) | Err(_) => Ok(Patch { text, truncated, is_lossy, files, stat }),
            }
        })
        .await
    }
}

fn file_diffs(diff: &git2::Diff<'_>) -> Result<Vec<FileDiff>, git2::Error> {
    let mut files = Vec::with_capacity(diff.deltas().len());
    for index in 0..diff.deltas().len() {
        let patch = git2::Patch::from_diff(diff, index)?;
        // Reading the content sets the flag for binary files, so ask for the delta only now.
        let Some(delta) = diff.get_delta(index) else { continue };
        let flags = patch.as_ref().map_or_else(|| delta.flags(), |patch| patch.delta().flags());
        let is_binary = flags.is_binary();
        let (added, removed) = match &patch {
            Some(patch) if !is_binary => {
                let (_, added, removed) = patch.line_stats()?;
                (added as u64, removed as u64)
            }
            Some(_) | None => (0, 0),
        };
        let (path, old_path) = paths(&delta);
        files.push(FileDiff { path, old_path, added, removed, is_binary });
    }
    Ok(files)
}

/// The path of a file, and its old one if it was renamed. Bytes that are not UTF-8 are replaced.
fn paths(delta: &DiffDelta<'_>) -> (String, Option<String>) {
    let path = |file: git2::DiffFile<'_>| {
        file.path_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    };
    let (old, new) = (path(delta.old_file()), path(delta.new_file()));
    match delta.status() {
        Delta::Deleted => (old, None),
        Delta::Renamed => (new, Some(old)),
        _ => (new, None),
    }
}
