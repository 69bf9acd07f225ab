//! The whole database as JSON, for tests and scripts. Never a token's text or a secret.

use serde_json::{Map, Value, json};

use super::data::{Database, Issue, PullRequest, Repository};
use super::shapes::timestamp;

/// The snapshot.
pub(crate) fn snapshot(db: &Database) -> Value {
    let deliveries: Vec<Value> = db
        .deliveries
        .iter()
        .map(|delivery| {
            let result = delivery.result.as_ref();
            json!({
                "id": delivery.id,
                "guid": delivery.guid,
                "event": delivery.event,
                "action": delivery.action,
                "redelivery": delivery.redelivery,
                "url": delivery.url,
                "status_code": result.map(|result| result.status_code),
                "status": result.map(|result| result.status.clone()),
                "response": result.map(|result| result.response_body.clone()),
            })
        })
        .collect();
    let tokens: Vec<Value> = db
        .tokens
        .values()
        .map(|token| {
            json!({
                "permissions": token.permissions,
                "repositories": token.repositories,
                "expires_at": timestamp(token.expires_at),
                "revoked": token.revoked,
            })
        })
        .collect();
    let users: Map<String, Value> =
        db.accounts.values().map(|account| (account.login.clone(), json!(account.role))).collect();
    json!({
        "repositories": db.repositories.iter().map(repository).collect::<Vec<Value>>(),
        "deliveries": deliveries,
        "calls": db.calls,
        "tokens": tokens,
        "users": users,
        "webhook_url": db.app.webhook_url,
        "rate_limit": {"max": db.rate_limit.max, "used": db.rate_limit.used},
    })
}

fn repository(repository: &Repository) -> Value {
    let branches: Map<String, Value> = repository
        .git
        .references("refs/heads/")
        .unwrap_or_default()
        .into_iter()
        .map(|reference| (reference.name.trim_start_matches("refs/heads/").to_owned(), json!(reference.sha)))
        .collect();
    let check_runs: Vec<Value> = repository
        .check_runs
        .iter()
        .map(|run| {
            json!({
                "id": run.id, "name": run.name, "head_sha": run.head_sha, "status": run.status,
                "conclusion": run.conclusion, "title": run.title, "summary": run.summary, "annotations": run.annotations,
            })
        })
        .collect();
    json!({
        "id": repository.id,
        "full_name": repository.full_name(),
        "default_branch": repository.default_branch,
        "archived": repository.archived,
        "git_dir": repository.git.path(),
        "branches": branches,
        "labels": repository.labels.iter().map(|label| label.name.as_str()).collect::<Vec<_>>(),
        "issues": repository.issues.values().filter(|issue| issue.pull.is_none()).map(issue).collect::<Vec<Value>>(),
        "pulls": repository.pull_requests().map(|(issue, pull)| pull_request(issue, pull)).collect::<Vec<Value>>(),
        "check_runs": check_runs,
    })
}

fn issue(issue: &Issue) -> Value {
    let comments: Vec<Value> = issue
        .comments
        .iter()
        .map(|comment| {
            let reactions: Vec<&str> = comment.reactions.iter().map(|r| r.content.as_str()).collect();
            json!({"id": comment.id, "author": comment.author, "body": comment.body, "reactions": reactions})
        })
        .collect();
    let reactions: Vec<Value> = issue
        .reactions
        .iter()
        .map(|reaction| json!({"author": reaction.author, "content": reaction.content}))
        .collect();
    json!({
        "number": issue.number,
        "title": issue.title,
        "body": issue.body,
        "author": issue.author,
        "state": issue.state(),
        "locked": issue.locked,
        "labels": issue.labels,
        "comments": comments,
        "reactions": reactions,
    })
}

fn pull_request(issue_part: &Issue, pull: &PullRequest) -> Value {
    let reviews: Vec<Value> = pull
        .reviews
        .iter()
        .map(|review| {
            json!({"id": review.id, "author": review.author, "state": review.state, "body": review.body})
        })
        .collect();
    let comments: Vec<Value> = pull
        .review_comments
        .iter()
        .map(|comment| {
            json!({
                "id": comment.id, "review": comment.review, "author": comment.author,
                "path": comment.path, "line": comment.line, "body": comment.body,
            })
        })
        .collect();
    let mut shape = issue(issue_part);
    shape["draft"] = json!(pull.draft);
    shape["head"] = json!(pull.head);
    shape["head_sha"] = json!(pull.head_sha);
    shape["base"] = json!(pull.base);
    shape["merged"] = json!(pull.merged_at.is_some());
    shape["requested_reviewers"] = json!(pull.requested_reviewers);
    shape["reviews"] = json!(reviews);
    shape["review_comments"] = json!(comments);
    shape
}
