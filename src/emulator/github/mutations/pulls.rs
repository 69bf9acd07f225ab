//! Changes of pull requests.

use serde_json::json;

use super::actor::Actor;
use super::issues::IssueEdit;
use crate::git::{GitError, NO_COMMIT, RefUpdate};
use crate::github::data::{Issue, PullRequest};

/// A new pull request. Its branches are known to exist.
#[derive(Debug)]
pub(crate) struct NewPullRequest {
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) draft: bool,
    pub(crate) head: String,
    pub(crate) head_sha: String,
    pub(crate) base: String,
    pub(crate) base_sha: String,
}

impl Actor<'_> {
    /// Opens a pull request. Returns its number.
    pub(crate) fn open_pull(&mut self, new: NewPullRequest) -> Result<u64, GitError> {
        let (id, pull_id) = (self.db.next_id(), self.db.next_id());
        let number = self.repo().next_number();
        self.repo().git.put_reference(&format!("refs/pull/{number}/head"), &new.head_sha)?;
        let mut issue = Issue::new(id, number, new.title, new.body, self.login, self.now);
        issue.pull = Some(PullRequest {
            id: pull_id,
            draft: new.draft,
            head: new.head,
            head_sha: new.head_sha,
            base: new.base,
            base_sha: new.base_sha,
            merged_at: None,
            requested_reviewers: Vec::new(),
            reviews: Vec::new(),
            review_comments: Vec::new(),
        });
        self.repo_mut().issues.insert(number, issue);
        self.emit_issue_event(number, "opened", json!({}));
        Ok(number)
    }

    /// Opens a pull request from a branch to the default branch. Returns its number; `None` means that
    /// there is no such branch.
    pub(crate) fn open_pull_from_branch(
        &mut self,
        branch: &str,
        title: &str,
        body: &str,
    ) -> Result<Option<u64>, GitError> {
        let repository = self.repo();
        let base = repository.default_branch.clone();
        let git = &repository.git;
        let (Some(head_sha), Some(base_sha)) = (git.branch(branch)?, git.branch(&base)?) else {
            return Ok(None);
        };
        let (title, body, head) = (title.to_owned(), Some(body.to_owned()), branch.to_owned());
        self.open_pull(NewPullRequest { title, body, draft: false, head, head_sha, base, base_sha }).map(Some)
    }

    /// Marks a pull request as a draft or as ready for review.
    pub(crate) fn set_draft(&mut self, number: u64, draft: bool) {
        let Some(pull) = self.repo_mut().pull_request_mut(number) else { return };
        if std::mem::replace(&mut pull.draft, draft) == draft {
            return;
        }
        let action = if draft { "converted_to_draft" } else { "ready_for_review" };
        self.emit_issue_event(number, action, json!({}));
    }

    /// Merges an open pull request, also a draft. Returns the merge commit; `None` means that the pull
    /// request is not open or has conflicts.
    pub(crate) fn merge_pull(&mut self, number: u64) -> Result<Option<String>, GitError> {
        let now = self.now;
        let Some((issue, pull)) = self.repo().pull_request(number) else { return Ok(None) };
        if !issue.open {
            return Ok(None);
        }
        let (base, head_sha) = (pull.base.clone(), pull.head_sha.clone());
        let message = format!("Merge pull request #{number} from {}\n\n{}", pull.head, issue.title);
        let git = self.repo().git.clone();
        let before = git.branch(&base)?.unwrap_or_else(|| NO_COMMIT.to_owned());
        let Some(after) = git.merge(&base, &head_sha, &message, self.login, now.as_second())? else {
            return Ok(None);
        };
        if let Some(pull) = self.repo_mut().pull_request_mut(number) {
            pull.merged_at = Some(now);
        }
        self.edit_issue(number, IssueEdit::set_open(false));
        self.references_moved(&[RefUpdate::of_branch(&base, before, after.clone())])?;
        Ok(Some(after))
    }
}
