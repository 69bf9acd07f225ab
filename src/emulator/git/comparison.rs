//! The common history and the differences of two commits, as plain data.

use git2::{Delta, Diff, DiffFindOptions, Oid, Patch, Repository};

use super::error::GitError;
use super::repository::BareRepository;

/// The largest patch that is shown: GitHub leaves larger ones out.
const PATCH_BYTES_MAX: usize = 1 << 20;
/// How many files of a difference are listed: GitHub's limit.
const FILES_LISTED_MAX: usize = 3_000;

/// How one commit relates to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The newest common ancestor; `None` means that the histories are unrelated.
    pub merge_base: Option<String>,
    /// Commits of the head that the base lacks.
    pub ahead: usize,
    /// Commits of the base that the head lacks.
    pub behind: usize,
    /// What changed from the merge base to the head.
    pub files: Vec<FileChange>,
}

/// One file of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its path after the change; if it was removed, the path before.
    pub path: String,
    /// Its former path, if it was renamed.
    pub previous_path: Option<String>,
    /// The blob's id.
    pub sha: String,
    /// What happened to it.
    pub status: FileStatus,
    /// Lines added.
    pub additions: usize,
    /// Lines removed.
    pub deletions: usize,
    /// The hunks, if the file is text and the patch is not too large.
    pub patch: Option<String>,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStatus {
    /// New.
    Added,
    /// Deleted.
    Removed,
    /// Changed content or mode.
    Modified,
    /// Moved to another path.
    Renamed,
}

impl FileStatus {
    /// GitHub's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Modified => "modified",
            Self::Renamed => "renamed",
        }
    }
}

impl BareRepository {
    /// Compares two commits, as `base...head` does.
    pub fn compare(&self, base: &str, head: &str) -> Result<Comparison, GitError> {
        let git = self.open()?;
        let (base, head) = (Oid::from_str(base)?, Oid::from_str(head)?);
        let merge_base = git.merge_base(base, head).ok();
        let (ahead, behind) = git.graph_ahead_behind(head, base)?;
        let files = file_changes(&git, Some(merge_base.unwrap_or(base)), head)?;
        Ok(Comparison { merge_base: merge_base.map(|oid| oid.to_string()), ahead, behind, files })
    }

    /// The changes of a commit relative to its first parent.
    pub fn changes_of(&self, sha: &str) -> Result<Vec<FileChange>, GitError> {
        let git = self.open()?;
        let commit = git.find_commit(Oid::from_str(sha)?)?;
        Ok(file_changes(&git, commit.parent_id(0).ok(), commit.id())?)
    }
}

fn file_changes(git: &Repository, from: Option<Oid>, to: Oid) -> Result<Vec<FileChange>, git2::Error> {
    let before = match from {
        Some(oid) => Some(git.find_commit(oid)?.tree()?),
        None => None,
    };
    let after = git.find_commit(to)?.tree()?;
    let mut diff = git.diff_tree_to_tree(before.as_ref(), Some(&after), None)?;
    diff.find_similar(Some(DiffFindOptions::new().renames(true)))?;
    (0..diff.deltas().len().min(FILES_LISTED_MAX)).map(|index| file_change(&diff, index)).collect()
}

fn file_change(diff: &Diff<'_>, index: usize) -> Result<FileChange, git2::Error> {
    let delta = diff.get_delta(index).ok_or_else(|| git2::Error::from_str("delta out of range"))?;
    let path = |file: git2::DiffFile<'_>| {
        file.path_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    };
    let status = match delta.status() {
        Delta::Added | Delta::Copied => FileStatus::Added,
        Delta::Deleted => FileStatus::Removed,
        Delta::Renamed => FileStatus::Renamed,
        _ => FileStatus::Modified,
    };
    let shown = match status {
        FileStatus::Removed => delta.old_file(),
        FileStatus::Added | FileStatus::Modified | FileStatus::Renamed => delta.new_file(),
    };
    let (mut additions, mut deletions, mut text) = (0, 0, None);
    if let Some(mut patch) = Patch::from_diff(diff, index)? {
        (_, additions, deletions) = patch.line_stats()?;
        let whole = patch.to_buf()?;
        if whole.len() <= PATCH_BYTES_MAX {
            let whole = String::from_utf8_lossy(&whole).into_owned();
            // GitHub shows the hunks without the header lines.
            text = whole.find("\n@@ ").map(|at| whole[at + 1..].trim_end_matches('\n').to_owned());
        }
    }
    let previous_path = (status == FileStatus::Renamed).then(|| path(delta.old_file()));
    let sha = shown.id().to_string();
    Ok(FileChange { path: path(shown), previous_path, sha, status, additions, deletions, patch: text })
}
