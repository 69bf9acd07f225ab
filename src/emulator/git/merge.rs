//! Merges a commit into a branch, as the merge button of a pull request does.

use git2::{Oid, Signature, Time};

use super::error::GitError;
use super::repository::BareRepository;

impl BareRepository {
    /// Makes a merge commit on `branch`. `None` means that there are conflicts; then nothing is changed.
    pub fn merge(
        &self,
        branch: &str,
        head: &str,
        message: &str,
        by: &str,
        at_seconds: i64,
    ) -> Result<Option<String>, GitError> {
        let git = self.open()?;
        let name = format!("refs/heads/{branch}");
        let ours = git.find_reference(&name)?.peel_to_commit()?;
        let theirs = git.find_commit(Oid::from_str(head)?)?;
        let mut merged = git.merge_commits(&ours, &theirs, None)?;
        if merged.has_conflicts() {
            return Ok(None);
        }
        let tree = git.find_tree(merged.write_tree_to(&git)?)?;
        let email = format!("{by}@users.noreply.github.com");
        let author = Signature::new(by, &email, &Time::new(at_seconds, 0))?;
        let commit = git.commit(Some(&name), &author, &author, message, &tree, &[&ours, &theirs])?;
        Ok(Some(commit.to_string()))
    }
}
