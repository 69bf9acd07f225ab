//! GraphQL's `closedByPullRequestsReferences`: the pull requests that close an issue when they are merged.
//! Source: docs.github.com, "Linking a pull request to an issue": a keyword, the issue's number, and the
//! default branch as base.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::world::{Issue, Pull, Repository};

const NAME: &str = "closedByPullRequestsReferences";

/// Whether a query asks for it.
pub(super) fn is_asked_for(query: &str) -> bool {
    query.contains(NAME)
}

pub(super) fn answer(call: &mut Call<'_>) -> Answer {
    *call.world.calls.entry(format!("graphql/{NAME}")).or_default() += 1;
    let variables = &call.body["variables"];
    let text = |name: &str| variables[name].as_str().unwrap_or_default();
    let number = variables["number"].as_u64().unwrap_or_default();
    let full_name = format!("{}/{}", text("owner"), text("name"));
    let found = call.world.repository_named(&full_name).map(|index| &call.world.repositories[index]);
    let Some(repository) = found.filter(|repository| repository.issues.contains_key(&number)) else {
        let message = format!("Could not resolve to an issue {number} of '{full_name}'.");
        return Answer::ok(json!({"data": null, "errors": [{"type": "NOT_FOUND", "message": message}]}));
    };
    let pulls = repository.issues.values().filter_map(|issue| Some((issue, issue.pull.as_ref()?)));
    let nodes: Vec<Value> = pulls
        .filter(|(issue, pull)| issue.open && closes(repository, issue, pull, number))
        .map(|(issue, pull)| shape(repository, issue, pull))
        .collect();
    Answer::ok(json!({"data": {"repository": {"issue": {NAME: {"nodes": nodes}}}}}))
}

fn closes(repository: &Repository, issue: &Issue, pull: &Pull, number: u64) -> bool {
    static KEYWORD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)\b")
            .expect("a valid expression")
    });
    let body = issue.body.as_deref().unwrap_or_default();
    pull.base == repository.default_branch
        && KEYWORD.captures_iter(body).any(|found| found[1] == number.to_string())
}

fn shape(repository: &Repository, issue: &Issue, pull: &Pull) -> Value {
    json!({
        "number": issue.number,
        "state": "OPEN",
        "headRefName": pull.head,
        "isCrossRepository": false,
        "author": {"login": issue.author},
        "repository": {"nameWithOwner": repository.full_name()},
    })
}
