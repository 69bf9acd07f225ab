//! What reviewers write at lines of a pull request, and answers to it.

use serde::Deserialize;
use serde_json::json;

use super::app_client::PAGE_ENTRIES;
use super::client::{OctocrabGitHub, PAGES_MAX, repo_path};
use super::refusal::read;
use super::transport::Call;
use super::wire::{RawUser, nonsense};
use super::{GHOST, GitHubError};
use crate::domain::{CommentId, Login, PullRequestNumber, RepositoryRef};

/// A comment at a line of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewComment {
    /// Its id.
    pub id: CommentId,
    /// The review that it came with.
    pub review: Option<u64>,
    /// The first comment of its thread; `None`: it is the first.
    pub in_reply_to: Option<CommentId>,
    /// Who wrote it.
    pub by: Login,
    /// Whether GitHub says that they are a bot.
    pub by_is_bot: bool,
    /// Whether this App wrote it.
    pub is_ours: bool,
    /// The file.
    pub path: String,
    /// The line of the new file, where it still is in the diff.
    pub line: Option<u64>,
    /// The lines of the diff above it, and it.
    pub hunk: String,
    /// Its Markdown.
    pub body: String,
}

impl ReviewComment {
    /// The first comment of its thread.
    pub fn thread(&self) -> CommentId {
        self.in_reply_to.unwrap_or(self.id)
    }
}

#[derive(Deserialize)]
struct RawReviewComment {
    id: u64,
    pull_request_review_id: Option<u64>,
    in_reply_to_id: Option<u64>,
    user: Option<RawUser>,
    path: String,
    line: Option<u64>,
    original_line: Option<u64>,
    #[serde(default)]
    diff_hunk: String,
    #[serde(default)]
    body: String,
}

impl OctocrabGitHub {
    pub(super) async fn comments_at_lines(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
    ) -> Result<Vec<ReviewComment>, GitHubError> {
        let own = format!("{}[bot]", self.slug().await?);
        let what = format!("reading the review comments of {}#{number}", at.name);
        let mut path = format!("{}/pulls/{number}/comments?per_page={PAGE_ENTRIES}", repo_path(at));
        let mut found = Vec::new();
        for _ in 0..PAGES_MAX {
            let call = Call::get(&what, path);
            let answer = self.ask(at, &call).await?;
            let page: Vec<RawReviewComment> = read(&call, &answer)?;
            for raw in page {
                let by_is_bot = raw.user.as_ref().is_some_and(RawUser::is_bot);
                let login = raw.user.map_or_else(|| GHOST.to_owned(), |user| user.login);
                found.push(ReviewComment {
                    id: CommentId(raw.id),
                    review: raw.pull_request_review_id,
                    in_reply_to: raw.in_reply_to_id.map(CommentId),
                    is_ours: login == own,
                    by: login.parse().map_err(|error| nonsense(&what, error))?,
                    by_is_bot,
                    path: raw.path,
                    line: raw.line.or(raw.original_line),
                    hunk: raw.diff_hunk,
                    body: raw.body,
                });
            }
            match self.transport.next_page(&call, &answer)? {
                Some(next) => path = next,
                None => return Ok(found),
            }
        }
        Err(GitHubError::Rejected { what, detail: format!("there are more than {PAGES_MAX} pages") })
    }

    pub(super) async fn answer_thread(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
        first: CommentId,
        body: &str,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/pulls/{number}/comments/{first}/replies", repo_path(at));
        let what = format!("answering a review comment of {}#{number}", at.name);
        self.ask(at, &Call::post(what, path, json!({"body": body}))).await.map(drop)
    }
}
