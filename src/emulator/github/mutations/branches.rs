//! Branches that people create, change and delete.

use super::actor::Actor;
use crate::git::{GitError, NO_COMMIT, RefUpdate, WebCommit};

impl Actor<'_> {
    /// Creates a branch on top of the default branch, with one commit that adds `path`. False means that
    /// the branch exists already.
    pub(crate) fn push_branch(&mut self, branch: &str, path: &str) -> Result<bool, GitError> {
        let repository = self.repo();
        let git = repository.git.clone();
        if git.branch(branch)?.is_some() {
            return Ok(false);
        }
        let base = git.branch(&repository.default_branch)?.unwrap_or_else(|| NO_COMMIT.to_owned());
        git.put_reference(&format!("refs/heads/{branch}"), &base)?;
        let commit = self.web_commit(path, format!("by {}\n", self.login), format!("Add {path}"));
        let after = git.commit_on_branch(branch, &commit)?.unwrap_or(base);
        self.references_moved(&[RefUpdate::of_branch(branch, NO_COMMIT.to_owned(), after)])?;
        Ok(true)
    }

    /// Replaces a file on a branch. Returns the commit; `None` means that there is no such branch.
    pub(crate) fn commit_file(
        &mut self,
        branch: &str,
        path: &str,
        text: &str,
    ) -> Result<Option<String>, GitError> {
        let commit = self.web_commit(path, text.to_owned(), format!("Change {path}"));
        self.commit_on_branch(branch, &commit)
    }

    /// Makes a commit on a branch. Returns the commit; `None` means that there is no such branch, or that
    /// a path to delete does not exist.
    pub(crate) fn commit_on_branch(
        &mut self,
        branch: &str,
        commit: &WebCommit,
    ) -> Result<Option<String>, GitError> {
        let git = self.repo().git.clone();
        let Some(before) = git.branch(branch)? else { return Ok(None) };
        let Some(after) = git.commit_on_branch(branch, commit)? else { return Ok(None) };
        self.references_moved(&[RefUpdate::of_branch(branch, before, after.clone())])?;
        Ok(Some(after))
    }

    /// Deletes a branch. False means that there is no such branch.
    pub(crate) fn delete_branch(&mut self, branch: &str) -> Result<bool, GitError> {
        let git = self.repo().git.clone();
        let Some(before) = git.branch(branch)? else { return Ok(false) };
        if git.delete_reference(&format!("refs/heads/{branch}")).is_err() {
            return Ok(false);
        }
        self.references_moved(&[RefUpdate::of_branch(branch, before, NO_COMMIT.to_owned())])?;
        Ok(true)
    }

    /// A commit of this account that writes one file.
    fn web_commit(&self, path: &str, text: String, message: String) -> WebCommit {
        WebCommit {
            additions: vec![(path.to_owned(), text.into_bytes())],
            message,
            author: (self.login.to_owned(), format!("{}@users.noreply.github.com", self.login)),
            at_seconds: self.now.as_second(),
            ..WebCommit::default()
        }
    }
}
