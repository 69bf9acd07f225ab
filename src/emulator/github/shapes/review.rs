//! Reviews of pull requests, and their comments on lines.

use serde_json::{Value, json};

use super::app::account;
use super::format::{href, node_id, timestamp};
use super::issue::{association, rollup};
use crate::github::data::{Database, Issue, Repository, Review, ReviewComment};

/// `pull-request-review`
pub(crate) fn review(db: &Database, repository: &Repository, issue: &Issue, review: &Review) -> Value {
    let pull = format!("{}/pulls/{}", db.api_url(repository), issue.number);
    let page = format!("{}/pull/{}#pullrequestreview-{}", db.page_url(repository), issue.number, review.id);
    json!({
        "id": review.id,
        "node_id": node_id("PRR", review.id),
        "user": account(db, &review.author),
        "body": review.body,
        "state": review.state,
        "html_url": page,
        "pull_request_url": pull,
        "_links": {"html": href(&page), "pull_request": href(&pull)},
        "submitted_at": timestamp(review.submitted_at),
        "commit_id": review.commit,
        "author_association": association(db, &review.author),
    })
}

/// `pull-request-review-comment`
pub(crate) fn review_comment(
    db: &Database,
    repository: &Repository,
    issue: &Issue,
    comment: &ReviewComment,
) -> Value {
    let api = format!("{}/pulls", db.api_url(repository));
    let url = format!("{api}/comments/{}", comment.id);
    let pull = format!("{api}/{}", issue.number);
    let page = format!("{}/pull/{}#discussion_r{}", db.page_url(repository), issue.number, comment.id);
    json!({
        "url": url,
        "pull_request_review_id": comment.review,
        "id": comment.id,
        "node_id": node_id("PRRC", comment.id),
        "diff_hunk": format!("@@ -{0},1 +{0},1 @@", comment.line),
        "path": comment.path,
        "position": 1,
        "original_position": 1,
        "commit_id": comment.commit,
        "original_commit_id": comment.commit,
        "user": account(db, &comment.author),
        "body": comment.body,
        "created_at": timestamp(comment.created_at),
        "updated_at": timestamp(comment.created_at),
        "html_url": page,
        "pull_request_url": pull,
        "author_association": association(db, &comment.author),
        "_links": {"self": href(&url), "html": href(&page), "pull_request": href(&pull)},
        "start_line": null,
        "original_start_line": null,
        "start_side": null,
        "line": comment.line,
        "original_line": comment.line,
        "side": "RIGHT",
        "subject_type": "line",
        "reactions": rollup(&url, &[]),
    })
}
