//! Comments that reviewers write at lines of a pull request, and replies to them.

use octocrab::models::pulls::Comment;
use serde_json::json;

use super::api_client::{ApiClient, Sender};
use super::error::GitHubError;
use super::pages::{PAGE_ENTRIES, all_entries};
use super::paths::repository_path;
use super::request::{ApiRequest, invalid_response};
use super::types::{GHOST, ReviewComment};
use crate::domain::{CommentId, PullRequestNumber, RepositoryRef};

/// All comments, oldest first. `slug` is the App's own.
pub(super) async fn list(
    client: &ApiClient,
    repository: &RepositoryRef,
    number: PullRequestNumber,
    slug: &str,
) -> Result<Vec<ReviewComment>, GitHubError> {
    let own_login = format!("{slug}[bot]");
    let what = format!("reading the review comments of {}#{number}", repository.name);
    let path = format!("{}/pulls/{number}/comments?per_page={PAGE_ENTRIES}", repository_path(repository));
    let comments: Vec<Comment> = all_entries(client, Sender::Repository(repository), &what, path).await?;
    comments.into_iter().map(|raw| into_domain(raw, &own_login, &what)).collect()
}

/// Replies in the thread that begins with `first`.
pub(super) async fn reply(
    client: &ApiClient,
    repository: &RepositoryRef,
    number: PullRequestNumber,
    first: CommentId,
    body: &str,
) -> Result<(), GitHubError> {
    let path = format!("{}/pulls/{number}/comments/{first}/replies", repository_path(repository));
    let what = format!("replying to a review comment of {}#{number}", repository.name);
    let request = ApiRequest::post(what, path, json!({"body": body}));
    client.send(Sender::Repository(repository), &request).await.map(drop)
}

fn into_domain(raw: Comment, own_login: &str, what: &str) -> Result<ReviewComment, GitHubError> {
    let author_is_bot = raw.user.as_ref().is_some_and(|user| user.r#type == "Bot");
    let login = raw.user.map_or_else(|| GHOST.to_owned(), |user| user.login);
    Ok(ReviewComment {
        id: CommentId(raw.id.0),
        review: raw.pull_request_review_id.map(|review| review.0),
        in_reply_to: raw.in_reply_to_id.map(|first| CommentId(first.0)),
        is_ours: login == own_login,
        by: login.parse().map_err(|error| invalid_response(what, error))?,
        by_is_bot: author_is_bot,
        path: raw.path,
        line: raw.line.or(raw.original_line),
        hunk: raw.diff_hunk,
        body: raw.body,
    })
}
