//! Pull requests and check runs.

use serde_json::{Value, json};

use super::app::{integration, user, with};
use super::issue::{association, issue as issue_shape};
use super::{href, node_id, repository as repository_shape, stamp};
use crate::git::GitHttpError;
use crate::github::world::{CheckRun, Issue, Pull, Repository, World};

/// `pull-request-simple`
pub(in crate::github) fn pull_simple(
    world: &World,
    repository: &Repository,
    issue: &Issue,
    pull: &Pull,
) -> Value {
    let full_name = repository.full_name();
    let api = format!("{}/repos/{full_name}", world.urls.api);
    let url = format!("{api}/pulls/{}", issue.number);
    let page = format!("{}/{full_name}/pull/{}", world.urls.web, issue.number);
    let owner = user(world, &repository.owner);
    let side = |branch: &str, sha: &str| {
        json!({
            "label": format!("{}:{branch}", repository.owner),
            "ref": branch,
            "sha": sha,
            "user": owner,
            "repo": repository_shape(world, repository),
        })
    };
    let reviewers: Vec<Value> = pull.requested_reviewers.iter().map(|login| user(world, login)).collect();
    let issue_shape = issue_shape(world, repository, issue);
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
        "user": user(world, &issue.author),
        "body": issue.body,
        "labels": issue_shape["labels"],
        "milestone": null,
        "active_lock_reason": null,
        "created_at": stamp(issue.created_at),
        "updated_at": stamp(issue.updated_at),
        "closed_at": issue.closed_at.map(stamp),
        "merged_at": pull.merged_at.map(stamp),
        "merge_commit_sha": null,
    });
    // In two pieces: the macro has a recursion limit.
    let rest = json!({
        "assignee": null,
        "assignees": [],
        "requested_reviewers": reviewers,
        "requested_teams": [],
        "head": side(&pull.head, &pull.head_sha),
        "base": side(&pull.base, &pull.base_sha),
        "_links": links,
        "author_association": association(world, &issue.author),
        "auto_merge": null,
        "draft": pull.draft,
    });
    with(shape, rest)
}

/// `pull-request`: with what only one pull request is asked for.
pub(in crate::github) fn pull(
    world: &World,
    repository: &Repository,
    issue: &Issue,
    pull: &Pull,
) -> Result<Value, GitHttpError> {
    let comparison = repository.git.compare(&pull.base_sha, &pull.head_sha)?;
    let sum =
        |count: fn(&crate::git::FileChange) -> usize| -> usize { comparison.files.iter().map(count).sum() };
    let merged = pull.merged_at.is_some();
    Ok(with(
        pull_simple(world, repository, issue, pull),
        json!({
            "merged": merged,
            "mergeable": if merged { Value::Null } else { json!(true) },
            "rebaseable": if merged { Value::Null } else { json!(true) },
            "mergeable_state": if pull.draft { "draft" } else { "clean" },
            "merged_by": issue.closed_by.as_ref().filter(|_| merged).map(|login| user(world, login)),
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
pub(in crate::github) fn check_run(world: &World, repository: &Repository, run: &CheckRun) -> Value {
    let full_name = repository.full_name();
    let url = format!("{}/repos/{full_name}/check-runs/{}", world.urls.api, run.id);
    let mut app = integration(world);
    if let Some(slug) = &run.by {
        let id = world.app.id + 1;
        app["id"] = json!(id);
        app["node_id"] = json!(node_id("A", id));
        app["slug"] = json!(slug);
        app["name"] = json!(slug);
    }
    let pulls: Vec<Value> = repository
        .issues
        .values()
        .filter_map(|issue| Some((issue, issue.pull.as_ref()?)))
        .filter(|(issue, pull)| issue.open && pull.head_sha == run.head_sha)
        .map(|(issue, pull)| minimal_pull(world, repository, issue, pull))
        .collect();
    json!({
        "id": run.id,
        "node_id": node_id("CR", run.id),
        "head_sha": run.head_sha,
        "external_id": run.external_id,
        "url": url,
        "html_url": format!("{}/{full_name}/runs/{}", world.urls.web, run.id),
        "details_url": run.details_url,
        "status": run.status,
        "conclusion": run.conclusion,
        "started_at": stamp(run.started_at),
        "completed_at": run.completed_at.map(stamp),
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

fn minimal_pull(world: &World, repository: &Repository, issue: &Issue, pull: &Pull) -> Value {
    let api = format!("{}/repos/{}", world.urls.api, repository.full_name());
    let place = json!({"id": repository.id, "url": api, "name": repository.name});
    json!({
        "id": pull.id,
        "number": issue.number,
        "url": format!("{api}/pulls/{}", issue.number),
        "head": {"ref": pull.head, "sha": pull.head_sha, "repo": place},
        "base": {"ref": pull.base, "sha": pull.base_sha, "repo": place},
    })
}
