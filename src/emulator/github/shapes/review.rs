//! Reviews of pull requests, and their comments on lines.

use serde_json::{Value, json};

use super::app::user;
use super::issue::{association, rollup};
use super::{href, node_id, stamp};
use crate::github::world::{Issue, Repository, Review, ReviewComment, World};

/// `pull-request-review`
pub(in crate::github) fn review(
    world: &World,
    repository: &Repository,
    issue: &Issue,
    review: &Review,
) -> Value {
    let full_name = repository.full_name();
    let pull = format!("{}/repos/{full_name}/pulls/{}", world.urls.api, issue.number);
    let page =
        format!("{}/{full_name}/pull/{}#pullrequestreview-{}", world.urls.web, issue.number, review.id);
    json!({
        "id": review.id,
        "node_id": node_id("PRR", review.id),
        "user": user(world, &review.author),
        "body": review.body,
        "state": review.state,
        "html_url": page,
        "pull_request_url": pull,
        "_links": {"html": href(&page), "pull_request": href(&pull)},
        "submitted_at": stamp(review.submitted_at),
        "commit_id": review.commit,
        "author_association": association(world, &review.author),
    })
}

/// `pull-request-review-comment`
pub(in crate::github) fn review_comment(
    world: &World,
    repository: &Repository,
    issue: &Issue,
    comment: &ReviewComment,
) -> Value {
    let full_name = repository.full_name();
    let api = format!("{}/repos/{full_name}/pulls", world.urls.api);
    let url = format!("{api}/comments/{}", comment.id);
    let pull = format!("{api}/{}", issue.number);
    let page = format!("{}/{full_name}/pull/{}#discussion_r{}", world.urls.web, issue.number, comment.id);
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
        "user": user(world, &comment.author),
        "body": comment.body,
        "created_at": stamp(comment.created_at),
        "updated_at": stamp(comment.created_at),
        "html_url": page,
        "pull_request_url": pull,
        "author_association": association(world, &comment.author),
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
