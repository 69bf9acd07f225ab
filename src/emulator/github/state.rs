//! Everything that happened, as JSON, for tests and scripts. Never a token's text or a secret.

use serde_json::{Map, Value, json};

use super::shapes::stamp;
use super::world::{Issue, Pull, Repository, World};

/// The whole state.
pub(super) fn describe(world: &World) -> Value {
    let deliveries: Vec<Value> = world
        .deliveries
        .iter()
        .map(|delivery| {
            let outcome = delivery.outcome.as_ref();
            json!({
                "id": delivery.id,
                "guid": delivery.guid,
                "event": delivery.event,
                "action": delivery.action,
                "redelivery": delivery.redelivery,
                "url": delivery.url,
                "status_code": outcome.map(|outcome| outcome.status_code),
                "status": outcome.map(|outcome| outcome.status.clone()),
                "response": outcome.map(|outcome| outcome.response_body.clone()),
            })
        })
        .collect();
    let tokens: Vec<Value> = world
        .tokens
        .values()
        .map(|token| {
            json!({
                "permissions": token.permissions,
                "repositories": token.repositories,
                "expires_at": stamp(token.expires_at),
                "revoked": token.revoked,
            })
        })
        .collect();
    let users: Map<String, Value> =
        world.users.values().map(|user| (user.login.clone(), json!(user.role))).collect();
    json!({
        "repositories": world.repositories.iter().map(repository).collect::<Vec<Value>>(),
        "deliveries": deliveries,
        "calls": world.calls,
        "tokens": tokens,
        "users": users,
        "webhook_url": world.app.webhook_url,
        "rate_limit": {"max": world.rate_limit.max, "used": world.rate_limit.used},
    })
}

fn repository(repository: &Repository) -> Value {
    let branches: Map<String, Value> = repository
        .git
        .references("refs/heads/")
        .unwrap_or_default()
        .into_iter()
        .map(|facts| (facts.name.trim_start_matches("refs/heads/").to_owned(), json!(facts.sha)))
        .collect();
    let pulls = repository.issues.values().filter_map(|issue| Some((issue, issue.pull.as_ref()?)));
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
        "pulls": pulls.map(|(issue, pull)| pull_request(issue, pull)).collect::<Vec<Value>>(),
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
        "state": if issue.open { "open" } else { "closed" },
        "locked": issue.locked,
        "labels": issue.labels,
        "comments": comments,
        "reactions": reactions,
    })
}

fn pull_request(of: &Issue, pull: &Pull) -> Value {
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
    let mut shape = issue(of);
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
