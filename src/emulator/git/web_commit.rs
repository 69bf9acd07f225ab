//! A commit that the forge itself makes on a branch, from whole files and deletions.

use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Signature, Time};

use super::error::GitError;
use super::repository::BareRepository;

/// The changes of a commit and its author.
#[derive(Debug, Clone, Default)]
pub struct WebCommit {
    /// Paths with their whole content.
    pub additions: Vec<(String, Vec<u8>)>,
    /// Paths.
    pub deletions: Vec<String>,
    /// The message.
    pub message: String,
    /// Name and address of the author; the committer is the forge.
    pub author: (String, String),
    /// Seconds since 1970.
    pub at_seconds: i64,
}

/// The committer of commits that the forge makes and signs.
pub const GITHUB_COMMITTER: (&str, &str) = ("GitHub", "noreply@github.com");

impl BareRepository {
    /// Makes the commit on top of `branch`. `None` means that a path to delete does not exist; then nothing is
    /// changed. An existing file keeps its mode; a new one is an ordinary file.
    pub fn commit_on_branch(&self, branch: &str, new: &WebCommit) -> Result<Option<String>, GitError> {
        let git = self.open()?;
        let name = format!("refs/heads/{branch}");
        let parent = git.find_reference(&name)?.peel_to_commit()?;
        let tree = parent.tree()?;
        let mut changes = TreeUpdateBuilder::new();
        for (path, bytes) in &new.additions {
            let is_executable = tree
                .get_path(Path::new(path))
                .is_ok_and(|entry| entry.filemode() == i32::from(FileMode::BlobExecutable));
            let mode = if is_executable { FileMode::BlobExecutable } else { FileMode::Blob };
            changes.upsert(path.as_str(), git.blob(bytes)?, mode);
        }
        for path in &new.deletions {
            if tree.get_path(Path::new(path)).is_err() {
                return Ok(None);
            }
            changes.remove(path.as_str());
        }
        let tree = git.find_tree(changes.create_updated(&git, &tree)?)?;
        let when = Time::new(new.at_seconds, 0);
        let author = Signature::new(&new.author.0, &new.author.1, &when)?;
        let committer = Signature::new(GITHUB_COMMITTER.0, GITHUB_COMMITTER.1, &when)?;
        let commit = git.commit(Some(&name), &author, &committer, &new.message, &tree, &[&parent])?;
        Ok(Some(commit.to_string()))
    }
}
