//! Actions of people on GitHub's pages, for tests in the same process. They all act on the first
//! repository. The asynchronous ones wait until every webhook was answered or has failed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::data::{Disruption, Role};
use super::emulator::EmulatedGitHub;
use super::error::EmulatorError;
use super::mutations::{
    Actor, IssueEdit, NewReview, NewReviewComment, apply_disruption, continue_held, redeliver_newest,
};
use crate::git::GitError;

impl EmulatedGitHub {
    /// Opens an issue. Returns its number.
    pub fn open_issue(&self, title: &str, body: &str, by: &str) -> Result<u64, EmulatorError> {
        self.act(by, |actor| actor.open_issue(title.to_owned(), Some(body.to_owned())))
    }

    /// Adds a label to an issue.
    pub async fn label_issue(&self, number: u64, label: &str, by: &str) -> Result<(), EmulatorError> {
        self.act_on_issue(number, by, |actor| actor.add_label(number, label)).await
    }

    /// Removes a label from an issue.
    pub async fn unlabel_issue(&self, number: u64, label: &str, by: &str) -> Result<(), EmulatorError> {
        let removed = self.act_on_issue(number, by, |actor| actor.remove_label(number, label)).await?;
        removed.then_some(()).ok_or_else(|| not_found(format!("label {label:?} on issue {number}")))
    }

    /// Closes an issue or a pull request.
    pub async fn close_issue(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.act_on_issue(number, by, |actor| actor.edit_issue(number, IssueEdit::set_open(false))).await
    }

    /// Reopens an issue or a pull request.
    pub async fn reopen_issue(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.act_on_issue(number, by, |actor| actor.edit_issue(number, IssueEdit::set_open(true))).await
    }

    /// Changes an issue's title and body.
    pub async fn edit_issue(
        &self,
        number: u64,
        title: &str,
        body: &str,
        by: &str,
    ) -> Result<(), EmulatorError> {
        let (title, body) = (Some(title.to_owned()), Some(body.to_owned()));
        let edit = IssueEdit { title, body, ..IssueEdit::default() };
        self.act_on_issue(number, by, |actor| actor.edit_issue(number, edit)).await
    }

    /// Locks an issue's conversation.
    pub fn lock_issue(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.ensure_issue(number)?;
        self.act(by, |actor| actor.edit_issue(number, IssueEdit::lock()))
    }

    /// Deletes an issue.
    pub async fn delete_issue(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.act_on_issue(number, by, |actor| actor.delete_issue(number)).await
    }

    /// Moves an issue to the repository that was added second. Returns its new number.
    pub async fn transfer_issue(&self, number: u64, by: &str) -> Result<u64, EmulatorError> {
        if self.shared.with_db(|db| db.repositories.len()) < 2 {
            return Err(not_found("second repository"));
        }
        let new = self.act_on_issue(number, by, |actor| actor.transfer_issue(number, 1)).await?;
        new.ok_or_else(|| not_found(format!("issue {number}")))
    }

    /// Comments on an issue or pull request. Returns the comment's id.
    pub async fn comment(&self, number: u64, body: &str, by: &str) -> Result<u64, EmulatorError> {
        let id = self.act_on_issue(number, by, |actor| actor.add_comment(number, body.to_owned())).await?;
        id.ok_or_else(|| not_found(format!("issue {number}")))
    }

    /// Adds a comment that was written `seconds` ago. No webhook reports it. Returns its id.
    pub fn add_backdated_comment(
        &self,
        number: u64,
        body: &str,
        by: &str,
        seconds: i64,
    ) -> Result<u64, EmulatorError> {
        let written_at = Timestamp::now() - SignedDuration::from_secs(seconds);
        let url = self.shared.with_db(|db| db.app.webhook_url.take());
        let id = self.act_at(by, written_at, |actor| actor.add_comment(number, body.to_owned()));
        self.set_webhook_url(url);
        id?.ok_or_else(|| not_found(format!("issue {number}")))
    }

    /// Changes a comment's text.
    pub async fn edit_comment(&self, id: u64, body: &str, by: &str) -> Result<(), EmulatorError> {
        self.act_and_settle(by, |actor| actor.edit_comment(id, body.to_owned())).await
    }

    /// Reviews a pull request, with comments of (path, line, text). `state` is `APPROVED`,
    /// `CHANGES_REQUESTED` or `COMMENTED`. Returns the review's id.
    pub async fn review(
        &self,
        number: u64,
        state: &str,
        body: &str,
        comments: &[(&str, u64, &str)],
        by: &str,
    ) -> Result<u64, EmulatorError> {
        let comments = comments
            .iter()
            .map(|(path, line, text)| {
                let (path, body) = ((*path).to_owned(), (*text).to_owned());
                NewReviewComment { path, line: *line, body }
            })
            .collect();
        let review = NewReview { state: state.to_owned(), body: body.to_owned(), comments };
        let id = self.act_and_settle(by, |actor| actor.submit_review(number, review)).await?;
        id.ok_or_else(|| not_found(format!("pull request {number}")))
    }

    /// Marks a draft pull request as ready for review.
    pub async fn mark_ready(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.act_on_issue(number, by, |actor| actor.set_draft(number, false)).await
    }

    /// Merges a pull request. Returns the merge commit.
    pub async fn merge(&self, number: u64, by: &str) -> Result<String, EmulatorError> {
        let merged = self.act_and_settle(by, |actor| actor.merge_pull(number)).await?;
        let merged = merged.map_err(|source| git_failed(&format!("#{number}"), source))?;
        merged.ok_or_else(|| not_found(format!("pull request {number} that can be merged")))
    }

    /// Opens a pull request from a branch. Returns its number.
    pub async fn open_pull_request(
        &self,
        branch: &str,
        title: &str,
        body: &str,
        by: &str,
    ) -> Result<u64, EmulatorError> {
        let opened =
            self.act_and_settle(by, |actor| actor.open_pull_from_branch(branch, title, body)).await?;
        let opened = opened.map_err(|source| git_failed(branch, source))?;
        opened.ok_or_else(|| not_found(format!("branch {branch:?}")))
    }

    /// Creates a branch with a commit that adds a file.
    pub async fn push_branch(&self, branch: &str, path: &str, by: &str) -> Result<(), EmulatorError> {
        let created = self.act_and_settle(by, |actor| actor.push_branch(branch, path)).await?;
        let created = created.map_err(|source| git_failed(branch, source))?;
        created.then_some(()).ok_or_else(|| not_found(format!("free branch name {branch:?}")))
    }

    /// Deletes a branch.
    pub async fn delete_branch(&self, branch: &str, by: &str) -> Result<(), EmulatorError> {
        let deleted = self.act_and_settle(by, |actor| actor.delete_branch(branch)).await?;
        let deleted = deleted.map_err(|source| git_failed(branch, source))?;
        deleted.then_some(()).ok_or_else(|| not_found(format!("branch {branch:?} to delete")))
    }

    /// Replaces a file on a branch. Returns the commit.
    pub async fn commit_file(
        &self,
        branch: &str,
        path: &str,
        text: &str,
        by: &str,
    ) -> Result<String, EmulatorError> {
        let commit = self.act_and_settle(by, |actor| actor.commit_file(branch, path, text)).await?;
        let commit = commit.map_err(|source| git_failed(branch, source))?;
        commit.ok_or_else(|| not_found(format!("branch {branch:?}")))
    }

    /// Another App reports a failed check on a branch's head.
    pub async fn fail_check(&self, branch: &str, name: &str, summary: &str) -> Result<(), EmulatorError> {
        let reported =
            self.act_and_settle("octo-ci[bot]", |actor| actor.fail_check(branch, name, summary)).await?;
        let reported = reported.map_err(|source| git_failed(branch, source))?;
        reported.then_some(()).ok_or_else(|| not_found(format!("branch {branch:?}")))
    }

    /// Archives the first repository: nothing in it can be changed.
    pub fn archive(&self) {
        self.shared.with_db(|db| {
            if let Some(repository) = db.repositories.first_mut() {
                repository.archived = true;
            }
        });
    }

    /// Sets the role of an account in every repository.
    pub fn set_role(&self, login: &str, role: Role) {
        self.shared.with_db(|db| db.ensure_account(login).role = role);
    }

    /// Applies a disruption now.
    pub fn disrupt(&self, disruption: &Disruption) -> Result<(), EmulatorError> {
        let applied = self.shared.with_db(|db| apply_disruption(db, disruption, Timestamp::now()));
        applied.map_err(EmulatorError::NotFound)
    }

    /// Expires every installation token early.
    pub fn expire_tokens(&self) {
        self.shared.with_db(|db| db.expire_tokens(Timestamp::now()));
    }

    /// Sets the limit of requests an hour, how many of them were used, and when the hour is over.
    pub fn set_rate_limit(&self, max: u64, used: u64, resets_in: Duration) {
        self.shared.with_db(|db| db.rate_limit.set(max, used, Some(resets_in), Timestamp::now()));
    }

    /// Sets the address of webhooks.
    pub fn set_webhook_url(&self, url: Option<Url>) {
        self.shared.with_db(|db| db.app.webhook_url = url);
    }

    /// Holds the next deliveries back: they are not sent, and the App's log does not list them.
    pub fn hold_deliveries(&self, count: u32) {
        self.shared.with_db(|db| db.deliveries_to_hold = count);
    }

    /// Sends the deliveries that were held back.
    pub async fn continue_held_deliveries(&self) {
        self.shared.with_db(continue_held);
        self.deliveries_settled().await;
    }

    /// How many requests wait because of [`FaultKind::Hold`](super::FaultKind::Hold).
    pub fn held_requests(&self) -> usize {
        self.shared.gate.waiting()
    }

    /// Continues the requests that wait because of [`FaultKind::Hold`](super::FaultKind::Hold), and all later
    /// ones.
    pub fn continue_held_requests(&self) {
        self.shared.gate.open();
    }

    /// Sends the newest delivery with this GUID again.
    pub async fn redeliver(&self, guid: &str) -> Result<(), EmulatorError> {
        let sent = self.shared.with_db(|db| redeliver_newest(db, guid, Timestamp::now()));
        self.deliveries_settled().await;
        sent.map(drop).ok_or_else(|| not_found(format!("delivery {guid}")))
    }

    async fn act_on_issue<T>(
        &self,
        number: u64,
        by: &str,
        work: impl FnOnce(&mut Actor<'_>) -> T,
    ) -> Result<T, EmulatorError> {
        self.ensure_issue(number)?;
        self.act_and_settle(by, work).await
    }

    async fn act_and_settle<T>(
        &self,
        by: &str,
        work: impl FnOnce(&mut Actor<'_>) -> T,
    ) -> Result<T, EmulatorError> {
        let done = self.act(by, work)?;
        self.deliveries_settled().await;
        Ok(done)
    }

    fn act<T>(&self, by: &str, work: impl FnOnce(&mut Actor<'_>) -> T) -> Result<T, EmulatorError> {
        self.act_at(by, Timestamp::now(), work)
    }

    fn act_at<T>(
        &self,
        by: &str,
        now: Timestamp,
        work: impl FnOnce(&mut Actor<'_>) -> T,
    ) -> Result<T, EmulatorError> {
        self.shared.with_db(|db| {
            if db.repositories.is_empty() {
                return Err(not_found("repository yet"));
            }
            db.ensure_account(by);
            Ok(work(&mut Actor::new(db, 0, by, now)))
        })
    }

    fn ensure_issue(&self, number: u64) -> Result<(), EmulatorError> {
        let exists = self.shared.with_db(|db| {
            db.repositories.first().is_some_and(|repository| repository.issues.contains_key(&number))
        });
        exists.then_some(()).ok_or_else(|| not_found(format!("issue {number}")))
    }
}

fn not_found(what: impl Into<String>) -> EmulatorError {
    EmulatorError::NotFound(what.into())
}

fn git_failed(name: &str, source: GitError) -> EmulatorError {
    EmulatorError::Repository { name: name.to_owned(), source }
}
