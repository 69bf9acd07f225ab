//! Issues and what hangs on them.

use serde_json::{Value, json};

use super::app::{integration, user};
use super::{node_id, stamp};
use crate::github::world::{Comment, Issue, Label, LabelEvent, Reaction, Repository, World};

/// `issue`, for pull requests as well.
pub(in crate::github) fn issue(world: &World, repository: &Repository, issue: &Issue) -> Value {
    let full_name = repository.full_name();
    let api = format!("{}/repos/{full_name}", world.urls.api);
    let url = format!("{api}/issues/{}", issue.number);
    let kind = if issue.pull.is_some() { "pull" } else { "issues" };
    let page = format!("{}/{full_name}/{kind}/{}", world.urls.web, issue.number);
    let labels: Vec<Value> = issue
        .labels
        .iter()
        .filter_map(|name| repository.labels.iter().find(|label| label.name == *name))
        .map(|found| label(world, repository, found))
        .collect();
    let mut shape = json!({
        "url": url,
        "repository_url": api,
        "labels_url": format!("{url}/labels{{/name}}"),
        "comments_url": format!("{url}/comments"),
        "events_url": format!("{url}/events"),
        "timeline_url": format!("{url}/timeline"),
        "html_url": page,
        "id": issue.id,
        "node_id": node_id("I", issue.id),
        "number": issue.number,
        "title": issue.title,
        "body": issue.body,
        "user": user(world, &issue.author),
        "labels": labels,
        "state": if issue.open { "open" } else { "closed" },
        "state_reason": issue.state_reason,
        "locked": issue.locked,
        "active_lock_reason": null,
        "assignee": null,
        "assignees": [],
        "milestone": null,
        "comments": issue.comments.len(),
        "created_at": stamp(issue.created_at),
        "updated_at": stamp(issue.updated_at),
        "closed_at": issue.closed_at.map(stamp),
        "closed_by": issue.closed_by.as_ref().map(|login| user(world, login)),
        "author_association": association(world, &issue.author),
        "reactions": rollup(&url, &issue.reactions),
        "performed_via_github_app": via_app(world, &issue.author),
    });
    if let Some(pull) = &issue.pull {
        shape["draft"] = json!(pull.draft);
        shape["pull_request"] = json!({
            "url": format!("{api}/pulls/{}", issue.number),
            "html_url": page,
            "diff_url": format!("{page}.diff"),
            "patch_url": format!("{page}.patch"),
            "merged_at": pull.merged_at.map(stamp),
        });
    }
    shape
}

/// `issue-comment`
pub(in crate::github) fn comment(
    world: &World,
    repository: &Repository,
    issue: &Issue,
    comment: &Comment,
) -> Value {
    let full_name = repository.full_name();
    let api = format!("{}/repos/{full_name}", world.urls.api);
    let url = format!("{api}/issues/comments/{}", comment.id);
    let kind = if issue.pull.is_some() { "pull" } else { "issues" };
    let page = format!("{}/{full_name}/{kind}/{}#issuecomment-{}", world.urls.web, issue.number, comment.id);
    json!({
        "url": url,
        "html_url": page,
        "issue_url": format!("{api}/issues/{}", issue.number),
        "id": comment.id,
        "node_id": node_id("IC", comment.id),
        "user": user(world, &comment.author),
        "created_at": stamp(comment.created_at),
        "updated_at": stamp(comment.updated_at),
        "body": comment.body,
        "author_association": association(world, &comment.author),
        "reactions": rollup(&url, &comment.reactions),
        "performed_via_github_app": via_app(world, &comment.author),
    })
}

/// `labeled-issue-event` and its opposite.
pub(in crate::github) fn label_event(world: &World, repository: &Repository, event: &LabelEvent) -> Value {
    let color = repository.labels.iter().find(|label| label.name == event.label);
    json!({
        "id": event.id,
        "node_id": node_id("LE", event.id),
        "url": format!("{}/repos/{}/issues/events/{}", world.urls.api, repository.full_name(), event.id),
        "actor": user(world, &event.actor),
        "event": event.event,
        "commit_id": null,
        "commit_url": null,
        "created_at": stamp(event.created_at),
        "label": {"name": event.label, "color": color.map_or("ededed", |label| label.color.as_str())},
        "performed_via_github_app": null,
    })
}

/// `label`
pub(in crate::github) fn label(world: &World, repository: &Repository, label: &Label) -> Value {
    let encoded: String = url::form_urlencoded::byte_serialize(label.name.as_bytes()).collect();
    json!({
        "id": label.id,
        "node_id": node_id("LA", label.id),
        "url": format!(
            "{}/repos/{}/labels/{}", world.urls.api, repository.full_name(), encoded.replace('+', "%20")
        ),
        "name": label.name,
        "color": label.color,
        "default": false,
        "description": label.description,
    })
}

/// `reaction`
pub(in crate::github) fn reaction(world: &World, reaction: &Reaction) -> Value {
    json!({
        "id": reaction.id,
        "node_id": node_id("REA", reaction.id),
        "user": user(world, &reaction.author),
        "content": reaction.content,
        "created_at": stamp(reaction.created_at),
    })
}

/// `reaction-rollup`
pub(super) fn rollup(url: &str, reactions: &[Reaction]) -> Value {
    let mut shape = json!({"url": format!("{url}/reactions"), "total_count": reactions.len()});
    for content in crate::github::reactions::CONTENTS {
        shape[content] = json!(reactions.iter().filter(|reaction| reaction.content == content).count());
    }
    shape
}

/// How a person stands to the repository.
pub(super) fn association(world: &World, login: &str) -> &'static str {
    if login == world.app.bot_login() {
        return "CONTRIBUTOR";
    }
    world.users.get(&login.to_lowercase()).map_or("NONE", |user| user.role.association())
}

fn via_app(world: &World, login: &str) -> Value {
    match login == world.app.bot_login() {
        true => integration(world),
        false => Value::Null,
    }
}
