//! Pull requests and check runs.

use serde_json::{Value, json};

use super::app::{account, integration};
use super::format::{href, node_id, timestamp, with_fields};
use super::issue::{association, issue as issue_shape};
use super::repository::repository as repository_shape;
use crate::git::{FileChange, GitError};
use crate::github::data::{CheckRun, Database, Issue, PullRequest, Repository};

/// `pull-request-simple`
pub(crate) fn pull_simple(
    db: &Database,
    repository: &Repository,
    issue: &Issue,
    pull: &PullRequest,
) -> Value {
    let api = db.api_url(repository);
    let url = format!("{api}/pulls/{}", issue.number);
    let page = format!("{}/pull/{}", db.page_url(repository), issue.number);
    let owner = account(db, &repository.owner);
    let side = |branch: &str, sha: &str| {
        json!({
            "label": format!("{}:{branch}", repository.owner),
            "ref": branch,
            "sha": sha,
            "user": owner,
            "repo": repository_shape(db, repository),
        })
    };
    let reviewers: Vec<Value> = pull.requested_reviewers.iter().map(|login| account(db, login)).collect();
    let issue_shape = issue_shape(db, repository, issue);
    let links = json!({
        "self": href(&url),
        "html": href(&page),
        "issue": href(&format!("{api}/issues/{}", issue.number)),
        "comments": href(&format!("{api}/issues/{}/comments", issue.number)),
        "review_comments": href(&format!("{url}/comments")),
        "review_comment": href(&format!("{api}/pulls/comments{{/number}}")),
        "commits": href(&format!("{url}/commits")),
        "statuses": href(&format!("{api}/statuses/{}", pull.head_sha)),
    });
    let shape = json!({
        "url": url,
        "id": pull.id,
        "node_id": node_id("PR", pull.id),
        "html_url": page,
        "diff_url": format!("{page}.diff"),
        "patch_url": format!("{page}.patch"),
        "issue_url": format!("{api}/issues/{}", issue.number),
        "commits_url": format!("{url}/commits"),
        "review_comments_url": format!("{url}/comments"),
        "review_comment_url": format!("{api}/pulls/comments{{/number}}"),
        "comments_url": format!("{api}/issues/{}/comments", issue.number),
        "statuses_url": format!("{api}/statuses/{}", pull.head_sha),
        "number": issue.number,
        "state": issue_shape["state"],
        "locked": issue.locked,
        "title": issue.title,
        "user": account(db, &issue.author),
        "body": issue.body,
        "labels": issue_shape["labels"],
        "milestone": null,
        "active_lock_reason": null,
        "created_at": timestamp(issue.created_at),
        "updated_at": timestamp(issue.updated_at),
        "closed_at": issue.closed_at.map(timestamp),
        "merged_at": pull.merged_at.map(timestamp),
        "merge_commit_sha": null,
    });
    // A second value, since the macro has a recursion limit.
    let rest = json!({
        "assignee": null,
        "assignees": [],
        "requested_reviewers": reviewers,
        "requested_teams": [],
        "head": side(&pull.head, &pull.head_sha),
        "base": side(&pull.base, &pull.base_sha),
        "_links": links,
        "author_association": association(db, &issue.author),
        "auto_merge": null,
        "draft": pull.draft,
    });
    with_fields(shape, rest)
}

/// `pull-request`: the fields of the simple shape and those that only a single pull request shows.
pub(crate) fn pull(
    db: &Database,
    repository: &Repository,
    issue: &Issue,
    pull: &PullRequest,
) -> Result<Value, GitError> {
    let comparison = repository.git.compare(&pull.base_sha, &pull.head_sha)?;
    let sum = |count: fn(&FileChange) -> usize| -> usize { comparison.files.iter().map(count).sum() };
    let merged = pull.merged_at.is_some();
    Ok(with_fields(
        pull_simple(db, repository, issue, pull),
        json!({
            "merged": merged,
            "mergeable": if merged { Value::Null } else { json!(true) },
            "rebaseable": if merged { Value::Null } else { json!(true) },
            "mergeable_state": if pull.draft { "draft" } else { "clean" },
            "merged_by": issue.closed_by.as_ref().filter(|_| merged).map(|login| account(db, login)),
            "comments": issue.comments.len(),
            "review_comments": pull.review_comments.len(),
            "maintainer_can_modify": false,
            "commits": comparison.ahead,
            "additions": sum(|file| file.additions),
            "deletions": sum(|file| file.deletions),
            "changed_files": comparison.files.len(),
        }),
    ))
}

/// `check-run`
pub(crate) fn check_run(db: &Database, repository: &Repository, run: &CheckRun) -> Value {
    let url = format!("{}/check-runs/{}", db.api_url(repository), run.id);
    let mut app = integration(db);
    if let Some(slug) = &run.other_app {
        let id = db.app.id + 1;
        app["id"] = json!(id);
        app["node_id"] = json!(node_id("A", id));
        app["slug"] = json!(slug);
        app["name"] = json!(slug);
    }
    let pulls: Vec<Value> = repository
        .pull_requests()
        .filter(|(issue, pull)| issue.open && pull.head_sha == run.head_sha)
        .map(|(issue, pull)| minimal_pull(db, repository, issue, pull))
        .collect();
    json!({
        "id": run.id,
        "node_id": node_id("CR", run.id),
        "head_sha": run.head_sha,
        "external_id": run.external_id,
        "url": url,
        "html_url": format!("{}/runs/{}", db.page_url(repository), run.id),
        "details_url": run.details_url,
        "status": run.status,
        "conclusion": run.conclusion,
        "started_at": timestamp(run.started_at),
        "completed_at": run.completed_at.map(timestamp),
        "output": {
            "title": run.title,
            "summary": run.summary,
            "text": run.text,
            "annotations_count": run.annotations.len(),
            "annotations_url": format!("{url}/annotations"),
        },
        "name": run.name,
        "check_suite": {"id": run.id},
        "app": app,
        "pull_requests": pulls,
    })
}

fn minimal_pull(db: &Database, repository: &Repository, issue: &Issue, pull: &PullRequest) -> Value {
    let api = db.api_url(repository);
    let minimal = json!({"id": repository.id, "url": api, "name": repository.name});
    json!({
        "id": pull.id,
        "number": issue.number,
        "url": format!("{api}/pulls/{}", issue.number),
        "head": {"ref": pull.head, "sha": pull.head_sha, "repo": minimal},
        "base": {"ref": pull.base, "sha": pull.base_sha, "repo": minimal},
    })
}
