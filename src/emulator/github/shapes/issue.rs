//! Issues, comments, labels and reactions.

use serde_json::{Value, json};

use super::app::{account, integration};
use super::format::{node_id, timestamp};
use crate::github::data::{Comment, Database, Issue, Label, LabelEvent, REACTIONS, Reaction, Repository};

/// `issue`, for pull requests as well.
pub(crate) fn issue(db: &Database, repository: &Repository, issue: &Issue) -> Value {
    let api = db.api_url(repository);
    let url = format!("{api}/issues/{}", issue.number);
    let page = page_url(db, repository, issue);
    let labels: Vec<Value> = issue
        .labels
        .iter()
        .filter_map(|name| repository.label(name))
        .map(|found| label(db, repository, found))
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
        "user": account(db, &issue.author),
        "labels": labels,
        "state": issue.state(),
        "state_reason": issue.state_reason,
        "locked": issue.locked,
        "active_lock_reason": null,
        "assignee": null,
        "assignees": [],
        "milestone": null,
        "comments": issue.comments.len(),
        "created_at": timestamp(issue.created_at),
        "updated_at": timestamp(issue.updated_at),
        "closed_at": issue.closed_at.map(timestamp),
        "closed_by": issue.closed_by.as_ref().map(|login| account(db, login)),
        "author_association": association(db, &issue.author),
        "reactions": rollup(&url, &issue.reactions),
        "performed_via_github_app": via_app(db, &issue.author),
    });
    if let Some(pull) = &issue.pull {
        shape["draft"] = json!(pull.draft);
        shape["pull_request"] = json!({
            "url": format!("{api}/pulls/{}", issue.number),
            "html_url": page,
            "diff_url": format!("{page}.diff"),
            "patch_url": format!("{page}.patch"),
            "merged_at": pull.merged_at.map(timestamp),
        });
    }
    shape
}

/// `issue-comment`
pub(crate) fn comment(db: &Database, repository: &Repository, issue: &Issue, comment: &Comment) -> Value {
    let api = db.api_url(repository);
    let url = format!("{api}/issues/comments/{}", comment.id);
    let page = format!("{}#issuecomment-{}", page_url(db, repository, issue), comment.id);
    json!({
        "url": url,
        "html_url": page,
        "issue_url": format!("{api}/issues/{}", issue.number),
        "id": comment.id,
        "node_id": node_id("IC", comment.id),
        "user": account(db, &comment.author),
        "created_at": timestamp(comment.created_at),
        "updated_at": timestamp(comment.updated_at),
        "body": comment.body,
        "author_association": association(db, &comment.author),
        "reactions": rollup(&url, &comment.reactions),
        "performed_via_github_app": via_app(db, &comment.author),
    })
}

/// The address of an issue's page.
fn page_url(db: &Database, repository: &Repository, issue: &Issue) -> String {
    let kind = if issue.pull.is_some() { "pull" } else { "issues" };
    format!("{}/{kind}/{}", db.page_url(repository), issue.number)
}

/// `labeled-issue-event` and `unlabeled-issue-event`.
pub(crate) fn label_event(db: &Database, repository: &Repository, event: &LabelEvent) -> Value {
    let color = repository.label(&event.label);
    json!({
        "id": event.id,
        "node_id": node_id("LE", event.id),
        "url": format!("{}/issues/events/{}", db.api_url(repository), event.id),
        "actor": account(db, &event.actor),
        "event": event.event,
        "commit_id": null,
        "commit_url": null,
        "created_at": timestamp(event.created_at),
        "label": {"name": event.label, "color": color.map_or("ededed", |label| label.color.as_str())},
        "performed_via_github_app": null,
    })
}

/// `label`
pub(crate) fn label(db: &Database, repository: &Repository, label: &Label) -> Value {
    let encoded: String = url::form_urlencoded::byte_serialize(label.name.as_bytes()).collect();
    json!({
        "id": label.id,
        "node_id": node_id("LA", label.id),
        "url": format!("{}/labels/{}", db.api_url(repository), encoded.replace('+', "%20")),
        "name": label.name,
        "color": label.color,
        "default": false,
        "description": label.description,
    })
}

/// `reaction`
pub(crate) fn reaction(db: &Database, reaction: &Reaction) -> Value {
    json!({
        "id": reaction.id,
        "node_id": node_id("REA", reaction.id),
        "user": account(db, &reaction.author),
        "content": reaction.content,
        "created_at": timestamp(reaction.created_at),
    })
}

/// `reaction-rollup`
pub(crate) fn rollup(url: &str, reactions: &[Reaction]) -> Value {
    let mut shape = json!({"url": format!("{url}/reactions"), "total_count": reactions.len()});
    for content in REACTIONS {
        shape[content] = json!(reactions.iter().filter(|reaction| reaction.content == content).count());
    }
    shape
}

/// The author's relation to the repository.
pub(crate) fn association(db: &Database, login: &str) -> &'static str {
    if login == db.app.bot_login() {
        return "CONTRIBUTOR";
    }
    let shown = db.account(login).filter(|account| !account.membership_is_hidden);
    shown.map_or("NONE", |account| account.role.association())
}

fn via_app(db: &Database, login: &str) -> Value {
    match login == db.app.bot_login() {
        true => integration(db),
        false => Value::Null,
    }
}
