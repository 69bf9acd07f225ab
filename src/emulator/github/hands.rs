//! What people do on GitHub's pages, for tests in the same process. All of it takes place in the
//! first repository.

use jiff::Timestamp;
use url::Url;

use super::admin;
use super::beginning::ensure_user;
use super::checks;
use super::deeds::{self, IssueEdit};
use super::people::Role;
use super::pull_deeds::{
    NewReview, NewReviewComment, merge_pull, references_moved, set_draft, submit_review,
};
use super::removals;
use super::webhooks;
use super::world::World;
use super::{EmulatedGitHub, EmulatorError};
use crate::git::{GitHttpError, RefUpdate, WebCommit};

impl EmulatedGitHub {
    /// Opens an issue. Returns its number.
    pub fn open_issue(&self, title: &str, body: &str, by: &str) -> Result<u64, EmulatorError> {
        self.act(by, |world, now| {
            deeds::open_issue(world, 0, title.to_owned(), Some(body.to_owned()), by, now)
        })
    }

    /// Puts a label on an issue, and waits until the webhook about it was answered or failed.
    pub async fn label_issue(&self, number: u64, label: &str, by: &str) -> Result<(), EmulatorError> {
        self.known(number)?;
        self.act(by, |world, now| deeds::add_label(world, 0, number, label, by, now))?;
        self.deliveries_settled().await;
        Ok(())
    }

    /// Takes a label off, and waits like [`Self::label_issue`].
    pub async fn unlabel_issue(&self, number: u64, label: &str, by: &str) -> Result<(), EmulatorError> {
        self.known(number)?;
        let removed = self.act(by, |world, now| deeds::remove_label(world, 0, number, label, by, now))?;
        self.deliveries_settled().await;
        match removed {
            true => Ok(()),
            false => Err(EmulatorError::Unknown(format!("label {label:?} on issue {number}"))),
        }
    }

    /// Closes an issue or a pull request, and waits like [`Self::label_issue`].
    pub async fn close_issue(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.open_or_close(number, false, by).await
    }

    /// Opens one again, and waits like [`Self::label_issue`].
    pub async fn reopen_issue(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.open_or_close(number, true, by).await
    }

    async fn open_or_close(&self, number: u64, open: bool, by: &str) -> Result<(), EmulatorError> {
        self.known(number)?;
        let edit = IssueEdit { open: Some(open), ..IssueEdit::default() };
        self.act(by, |world, now| deeds::edit_issue(world, 0, number, edit, by, now))?;
        self.deliveries_settled().await;
        Ok(())
    }

    /// Changes an issue's title and body, and waits like [`Self::label_issue`].
    pub async fn edit_issue(
        &self,
        number: u64,
        title: &str,
        body: &str,
        by: &str,
    ) -> Result<(), EmulatorError> {
        self.known(number)?;
        let (title, body) = (Some(title.to_owned()), Some(body.to_owned()));
        let edit = IssueEdit { title, body, ..IssueEdit::default() };
        self.act(by, |world, now| deeds::edit_issue(world, 0, number, edit, by, now))?;
        self.deliveries_settled().await;
        Ok(())
    }

    /// Locks an issue's conversation.
    pub fn lock_issue(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.known(number)?;
        let edit = IssueEdit { locked: Some(true), ..IssueEdit::default() };
        self.act(by, |world, now| deeds::edit_issue(world, 0, number, edit, by, now))
    }

    /// Archives the first repository: nobody can change anything in it.
    pub fn archive(&self) {
        self.shared.with_world(|world| {
            if let Some(repository) = world.repositories.first_mut() {
                repository.archived = true;
            }
        });
    }

    /// Comments on an issue or pull request, and waits like [`Self::label_issue`].
    pub async fn comment(&self, number: u64, body: &str, by: &str) -> Result<u64, EmulatorError> {
        let id = self.act(by, |world, now| deeds::add_comment(world, 0, number, body.to_owned(), by, now))?;
        self.deliveries_settled().await;
        id.ok_or_else(|| EmulatorError::Unknown(format!("issue {number}")))
    }

    /// Comments so many seconds ago. No webhook tells of it.
    pub fn add_backdated_comment(
        &self,
        number: u64,
        body: &str,
        by: &str,
        seconds: i64,
    ) -> Result<u64, EmulatorError> {
        let id = self.act(by, |world, now| {
            let then = now - jiff::SignedDuration::from_secs(seconds);
            let url = world.app.webhook_url.take();
            let id = deeds::add_comment(world, 0, number, body.to_owned(), by, then);
            world.app.webhook_url = url;
            id
        })?;
        id.ok_or_else(|| EmulatorError::Unknown(format!("issue {number}")))
    }

    /// Changes a comment's text, and waits like [`Self::label_issue`].
    pub async fn edit_comment(&self, id: u64, body: &str, by: &str) -> Result<(), EmulatorError> {
        self.act(by, |world, now| deeds::edit_comment(world, 0, id, body.to_owned(), by, now))?;
        self.deliveries_settled().await;
        Ok(())
    }

    /// Reviews a pull request, with comments of (path, line, text), and waits like
    /// [`Self::label_issue`]. `state`: `APPROVED`, `CHANGES_REQUESTED` or `COMMENTED`.
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
        let id = self.act(by, |world, now| submit_review(world, 0, number, review, by, now))?;
        self.deliveries_settled().await;
        id.ok_or_else(|| EmulatorError::Unknown(format!("pull request {number}")))
    }

    /// A person marks a draft as ready, and waits like [`Self::label_issue`].
    pub async fn mark_ready(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.known(number)?;
        self.act(by, |world, now| set_draft(world, 0, number, false, by, now))?;
        self.deliveries_settled().await;
        Ok(())
    }

    /// A person merges a pull request, and waits like [`Self::label_issue`]. Returns the commit.
    pub async fn merge(&self, number: u64, by: &str) -> Result<String, EmulatorError> {
        let merged = self.act(by, |world, now| merge_pull(world, 0, number, by, now))?;
        self.deliveries_settled().await;
        let merged =
            merged.map_err(|source| EmulatorError::Repository { name: format!("#{number}"), source })?;
        merged.ok_or_else(|| EmulatorError::Unknown(format!("pull request {number} that can be merged")))
    }

    /// Deletes an issue, and waits like [`Self::label_issue`].
    pub async fn delete_issue(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.known(number)?;
        self.act(by, |world, now| removals::delete_issue(world, 0, number, by, now))?;
        self.deliveries_settled().await;
        Ok(())
    }

    /// Moves an issue to the repository that was added second, and waits like [`Self::label_issue`].
    /// Returns its new number.
    pub async fn transfer_issue(&self, number: u64, by: &str) -> Result<u64, EmulatorError> {
        let new = self.act(by, |world, now| match world.repositories.len() {
            0 | 1 => None,
            _ => removals::transfer_issue(world, 0, number, 1, by, now),
        })?;
        self.deliveries_settled().await;
        new.ok_or_else(|| EmulatorError::Unknown(format!("issue {number}, or second repository")))
    }

    /// Makes a branch with a commit that adds a file, and waits like [`Self::label_issue`].
    pub async fn push_branch(&self, branch: &str, path: &str, by: &str) -> Result<(), EmulatorError> {
        let made = self.act(by, |world, now| removals::push_branch(world, 0, branch, path, by, now))?;
        self.deliveries_settled().await;
        branch_deed(branch, made)
    }

    /// Deletes a branch, and waits like [`Self::label_issue`].
    pub async fn delete_branch(&self, branch: &str, by: &str) -> Result<(), EmulatorError> {
        let done = self.act(by, |world, now| removals::delete_branch(world, 0, branch, by, now))?;
        self.deliveries_settled().await;
        branch_deed(branch, done)
    }

    /// Opens a pull request from a branch, and waits like [`Self::label_issue`]. Returns its number.
    pub async fn open_pull_request(
        &self,
        branch: &str,
        title: &str,
        body: &str,
        by: &str,
    ) -> Result<u64, EmulatorError> {
        let text = (title, body);
        let made = self.act(by, |world, now| removals::propose_branch(world, 0, branch, text, by, now))?;
        self.deliveries_settled().await;
        let failed = |source| EmulatorError::Repository { name: branch.to_owned(), source };
        made.map_err(failed)?.ok_or_else(|| EmulatorError::Unknown(format!("branch {branch}")))
    }

    /// A person changes a file on a branch, and waits like [`Self::label_issue`]. Returns the commit.
    pub async fn commit_file(
        &self,
        branch: &str,
        path: &str,
        text: &str,
        by: &str,
    ) -> Result<String, EmulatorError> {
        let failed = |source| EmulatorError::Repository { name: branch.to_owned(), source };
        let committed = self.act(by, |world, now| {
            let git = &world.repositories[0].git;
            let Some(before) = git.branch(branch)? else { return Ok(None) };
            let new = WebCommit {
                additions: vec![(path.to_owned(), text.as_bytes().to_vec())],
                message: format!("Change {path}"),
                author: (by.to_owned(), format!("{by}@users.noreply.github.com")),
                at_seconds: now.as_second(),
                ..WebCommit::default()
            };
            let Some(after) = git.commit_on_branch(branch, &new)? else { return Ok(None) };
            let update = RefUpdate { name: format!("refs/heads/{branch}"), before, after: after.clone() };
            references_moved(world, 0, &[update], by, now)?;
            Ok(Some(after))
        })?;
        self.deliveries_settled().await;
        committed.map_err(failed)?.ok_or_else(|| EmulatorError::Unknown(format!("branch {branch:?}")))
    }

    /// Another App says that a check failed on a branch's head, and waits like [`Self::label_issue`].
    pub async fn fail_check(&self, branch: &str, name: &str, summary: &str) -> Result<(), EmulatorError> {
        let failed = |source| EmulatorError::Repository { name: branch.to_owned(), source };
        let told = self
            .act("octo-ci[bot]", |world, now| checks::fail_check(world, 0, branch, (name, summary), now))?;
        self.deliveries_settled().await;
        let known = told.map_err(failed)?;
        if known { Ok(()) } else { Err(EmulatorError::Unknown(format!("branch {branch:?}"))) }
    }

    /// Says where webhooks go from now on.
    pub fn set_webhook_url(&self, url: Option<Url>) {
        self.shared.with_world(|world| world.app.webhook_url = url);
    }

    /// Holds back the next deliveries: they do not come, and the App's log does not know them.
    pub fn hold_deliveries(&self, count: u32) {
        self.shared.with_world(|world| world.to_hold = count);
    }

    /// Sends what was held back, late, and waits like [`Self::label_issue`].
    pub async fn release_held_deliveries(&self) {
        self.shared.with_world(webhooks::let_go);
        self.deliveries_settled().await;
    }

    /// Lets the requests go on that wait because of [`FaultKind::Hold`](super::FaultKind::Hold), and all
    /// later ones.
    pub fn release_held_requests(&self) {
        self.shared.gate.open();
    }

    /// Says how many requests an hour there are, how many of them were sent, and when the hour is over.
    pub fn set_rate_limit(&self, max: u64, used: u64, resets_in: std::time::Duration) {
        self.shared.with_world(|world| world.set_rate_limit(max, used, Some(resets_in), Timestamp::now()));
    }

    /// Changes what a person may do in every repository.
    pub fn set_role(&self, login: &str, role: Role) {
        self.shared.with_world(|world| ensure_user(world, login).role = role);
    }

    /// Sends the newest delivery with this GUID again, and waits like [`Self::label_issue`].
    pub async fn redeliver(&self, guid: &str) -> Result<(), EmulatorError> {
        let sent = self.shared.with_world(|world| admin::redeliver(world, guid, Timestamp::now()));
        self.deliveries_settled().await;
        sent.map(drop).map_err(|(_, why)| EmulatorError::Unknown(why))
    }

    fn act<T>(&self, by: &str, work: impl FnOnce(&mut World, Timestamp) -> T) -> Result<T, EmulatorError> {
        self.shared.with_world(|world| {
            if world.repositories.is_empty() {
                return Err(EmulatorError::Unknown("repository yet".to_owned()));
            }
            ensure_user(world, by);
            Ok(work(world, Timestamp::now()))
        })
    }

    fn known(&self, number: u64) -> Result<(), EmulatorError> {
        let known = self.shared.with_world(|world| {
            world.repositories.first().is_some_and(|repository| repository.issues.contains_key(&number))
        });
        match known {
            true => Ok(()),
            false => Err(EmulatorError::Unknown(format!("issue {number}"))),
        }
    }
}

/// What came of making or deleting a branch.
fn branch_deed(branch: &str, done: Result<bool, GitHttpError>) -> Result<(), EmulatorError> {
    match done {
        Ok(true) => Ok(()),
        Ok(false) => Err(EmulatorError::Unknown(format!("branch {branch} to make or delete"))),
        Err(source) => Err(EmulatorError::Repository { name: branch.to_owned(), source }),
    }
}
