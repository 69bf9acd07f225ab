//! `closedByPullRequestsReferences`: the pull requests that close an issue when they are merged.
//! Source: docs.github.com, "Linking a pull request to an issue": a keyword, the issue's number, and the
//! default branch as base.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::error::GraphqlError;
use crate::github::Role;
use crate::github::data::{Database, Issue, PullRequest, Repository};
use crate::github::rest::call::ApiCall;

pub(super) const FIELD: &str = "closedByPullRequestsReferences";

/// The open pull requests that close the issue of the variables.
pub(super) fn find(call: &mut ApiCall<'_>) -> Result<Value, GraphqlError> {
    let variables = &call.body["variables"];
    let text = |name: &str| variables[name].as_str().unwrap_or_default();
    let number = variables["number"].as_u64().unwrap_or_default();
    let full_name = format!("{}/{}", text("owner"), text("name"));
    let repository = call.db.repository_named(&full_name).map(|index| &call.db.repositories[index]);
    let repository = repository.filter(|repository| repository.issues.contains_key(&number));
    let repository = repository.ok_or_else(|| {
        let message = format!("Could not resolve to an issue {number} of '{full_name}'.");
        GraphqlError::new("NOT_FOUND", message)
    })?;
    let nodes: Vec<Value> = repository
        .pull_requests()
        .filter(|(issue, pull)| issue.open && closes(repository, issue, pull, number))
        .map(|(issue, pull)| shape(call.db, repository, issue, pull))
        .collect();
    Ok(json!({"repository": {"issue": {FIELD: {"nodes": nodes}}}}))
}

fn closes(repository: &Repository, issue: &Issue, pull: &PullRequest, number: u64) -> bool {
    static KEYWORD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)\b")
            .expect("a valid expression")
    });
    let body = issue.body.as_deref().unwrap_or_default();
    pull.base == repository.default_branch
        && KEYWORD.captures_iter(body).any(|reference| reference[1] == number.to_string())
}

fn shape(db: &Database, repository: &Repository, issue: &Issue, pull: &PullRequest) -> Value {
    // Who cannot push here works in a fork.
    let role = db.account(&issue.author).map_or(Role::None, |account| account.role);
    let can_push = issue.author == db.app.bot_login() || matches!(role.permission(), "write" | "admin");
    json!({
        "number": issue.number,
        "state": "OPEN",
        "headRefName": pull.head,
        "isCrossRepository": !can_push,
        "author": {"login": issue.author},
        "repository": {"nameWithOwner": repository.full_name()},
    })
}
