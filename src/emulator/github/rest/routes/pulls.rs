//! Pull requests.
//!
//! Merging exists so that a call of it shows in the counters: Mendwright must never merge.

use serde_json::{Value, json};

use crate::github::data::{Issue, PullRequest};
use crate::github::mutations::{IssueEdit, NewPullRequest};
use crate::github::rest::call::ApiCall;
use crate::github::rest::pagination::page;
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes;

pub(crate) fn list(call: &mut ApiCall<'_>) -> ApiResult {
    let open = call.listed_state("PullRequest")?;
    let label = |branch: &str| format!("{}:{branch}", call.repo().owner);
    // As on GitHub, a head without an owner does not filter.
    let head = call.query("head").filter(|head| head.contains(':'));
    let is_listed = |issue: &Issue, pull: &PullRequest| {
        open.is_none_or(|open| issue.open == open)
            && head.is_none_or(|head| head.eq_ignore_ascii_case(&label(&pull.head)))
            && call.query("base").is_none_or(|base| base == pull.base)
    };
    let pulls = call.repo().pull_requests();
    let mut found: Vec<(&Issue, &PullRequest)> =
        pulls.filter(|(issue, pull)| is_listed(issue, pull)).collect();
    let by_update = call.query("sort") == Some("updated");
    if by_update {
        found.sort_by_key(|(issue, _)| issue.updated_at);
    }
    // Newest first, unless the request asks for another order.
    if call.query("direction").unwrap_or(if by_update { "asc" } else { "desc" }) == "desc" {
        found.reverse();
    }
    let all = found
        .into_iter()
        .map(|(issue, pull)| shapes::pull_simple(call.db, call.repo(), issue, pull))
        .collect();
    Ok(page(call, all))
}

pub(crate) fn create(call: &mut ApiCall<'_>) -> ApiResult {
    const RESOURCE: &str = "PullRequest";
    let head = call.required_text(RESOURCE, "head")?;
    let base = call.required_text(RESOURCE, "base")?;
    let title = call.required_text(RESOURCE, "title")?;
    let body = call.optional_text(RESOURCE, "body")?;
    let draft = call.body["draft"].as_bool().unwrap_or(false);
    let repository = call.repo();
    let own = format!("{}:", repository.owner);
    let head = head.strip_prefix(&own).unwrap_or(&head).to_owned();
    let tip = |branch: &str, field: &str| -> Result<String, ApiError> {
        repository.git.branch(branch)?.ok_or_else(|| ApiError::invalid(RESOURCE, field, "invalid"))
    };
    let base_sha = tip(&base, "base")?;
    let head_sha = tip(&head, "head")?;
    let is_same =
        |(issue, pull): (&Issue, &PullRequest)| issue.open && pull.head == head && pull.base == base;
    if repository.pull_requests().any(is_same) {
        let message = format!("A pull request already exists for {own}{head}.");
        return Err(ApiError::custom(RESOURCE, &message));
    }
    let comparison = repository.git.compare(&base_sha, &head_sha)?;
    if comparison.merge_base.is_none() {
        let message = format!("The {head} branch has no history in common with {base}");
        return Err(ApiError::custom(RESOURCE, &message));
    }
    if comparison.ahead == 0 {
        return Err(ApiError::custom(RESOURCE, &format!("No commits between {base} and {head}")));
    }
    let new = NewPullRequest { title, body, draft, head, head_sha, base, base_sha };
    let number = call.actor().open_pull(new)?;
    show(call, number).map(ApiResponse::created)
}

pub(crate) fn get(call: &mut ApiCall<'_>) -> ApiResult {
    let number = call.number("pull_number")?;
    show(call, number).map(ApiResponse::ok)
}

pub(crate) fn update(call: &mut ApiCall<'_>) -> ApiResult {
    let number = call.pull_request()?.0.number;
    let edit = IssueEdit {
        title: call.optional_text("PullRequest", "title")?,
        body: call.optional_text("PullRequest", "body")?,
        open: call.open_state("PullRequest")?,
        ..IssueEdit::default()
    };
    let base = call.optional_text("PullRequest", "base")?;
    let base_sha = match &base {
        Some(branch) => Some(
            call.repo()
                .git
                .branch(branch)?
                .ok_or_else(|| ApiError::invalid("PullRequest", "base", "invalid"))?,
        ),
        None => None,
    };
    if let (Some(base), Some(sha)) = (base, base_sha)
        && let Some(pull) = call.repo_mut().pull_request_mut(number)
    {
        (pull.base, pull.base_sha) = (base, sha);
    }
    call.actor().edit_issue(number, edit);
    show(call, number).map(ApiResponse::ok)
}

pub(crate) fn files(call: &mut ApiCall<'_>) -> ApiResult {
    let (_, pull) = call.pull_request()?;
    let changes = call.repo().git.compare(&pull.base_sha, &pull.head_sha)?.files;
    let shape = |change| shapes::file_change(call.db, call.repo(), &pull.head_sha, change);
    let all = changes.iter().map(shape).collect();
    Ok(page(call, all))
}

pub(crate) fn commits(call: &mut ApiCall<'_>) -> ApiResult {
    let (_, pull) = call.pull_request()?;
    let commits = call.repo().git.commits_between(Some(&pull.base_sha), &pull.head_sha)?;
    let all = commits.iter().map(|commit| shapes::commit(call.db, call.repo(), commit)).collect();
    Ok(page(call, all))
}

pub(crate) fn is_merged(call: &mut ApiCall<'_>) -> ApiResult {
    match call.pull_request()?.1.merged_at {
        Some(_) => Ok(ApiResponse::no_content()),
        None => Err(ApiError::not_found()),
    }
}

/// Rejected for drafts, as on GitHub. Each call is counted.
pub(crate) fn merge(call: &mut ApiCall<'_>) -> ApiResult {
    let (issue, pull) = call.pull_request()?;
    if pull.draft {
        return Err(ApiError::new(405, "Pull Request is still a draft"));
    }
    if !issue.open {
        return Err(ApiError::new(405, "Pull Request is not mergeable"));
    }
    let number = issue.number;
    match call.actor().merge_pull(number)? {
        Some(sha) => Ok(ApiResponse::ok(json!({
            "sha": sha, "merged": true, "message": "Pull Request successfully merged"
        }))),
        None => Err(ApiError::new(405, "Pull Request is not mergeable")),
    }
}

fn show(call: &ApiCall<'_>, number: u64) -> Result<Value, ApiError> {
    let (issue, pull) = call.repo().pull_request(number).ok_or_else(ApiError::not_found)?;
    Ok(shapes::pull(call.db, call.repo(), issue, pull)?)
}
