//! What people and Apps do to issues and comments: the change, and the webhook that tells of it.
//! REST, the admin API and the library all act through here and through `pull_deeds`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::shapes;
use super::webhooks::{Event, fire};
use super::world::{Comment, Issue, Label, LabelEvent, World};

/// What may be changed about an issue or pull request.
#[derive(Debug, Default)]
pub(super) struct IssueEdit {
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) open: Option<bool>,
    pub(super) state_reason: Option<String>,
    pub(super) locked: Option<bool>,
}

/// A new issue, open. Returns its number.
pub(super) fn open_issue(
    world: &mut World,
    repository: usize,
    title: String,
    body: Option<String>,
    by: &str,
    now: Timestamp,
) -> u64 {
    let id = world.next_id();
    let number = world.repositories[repository].next_number();
    let issue = Issue::new(id, number, title, body, by, now);
    world.repositories[repository].issues.insert(number, issue);
    tell(world, repository, number, "opened", by, json!({}), now);
    number
}

impl Issue {
    pub(super) fn new(
        id: u64,
        number: u64,
        title: String,
        body: Option<String>,
        author: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            number,
            title,
            body,
            author: author.to_owned(),
            open: true,
            state_reason: None,
            locked: false,
            labels: Vec::new(),
            comments: Vec::new(),
            events: Vec::new(),
            reactions: Vec::new(),
            created_at: now,
            updated_at: now,
            closed_at: None,
            closed_by: None,
            pull: None,
        }
    }
}

/// Puts a label on; makes it where the repository has none of that name. Twice changes nothing.
pub(super) fn add_label(
    world: &mut World,
    repository: usize,
    number: u64,
    name: &str,
    by: &str,
    now: Timestamp,
) {
    let known =
        world.repositories[repository].labels.iter().find(|label| label.name.eq_ignore_ascii_case(name));
    let name = match known {
        Some(label) => label.name.clone(),
        None => {
            let (id, color, description) = (world.next_id(), "ededed".to_owned(), None);
            let label = Label { id, name: name.to_owned(), color, description };
            world.repositories[repository].labels.push(label);
            name.to_owned()
        }
    };
    let Some(issue) = world.repositories[repository].issues.get_mut(&number) else { return };
    if issue.labels.contains(&name) {
        return;
    }
    issue.labels.push(name.clone());
    issue.updated_at = now;
    note_label(world, repository, number, &name, "labeled", by, now);
    tell_label(world, repository, number, &name, "labeled", by, now);
}

/// Takes a label off. False: it was not on.
pub(super) fn remove_label(
    world: &mut World,
    repository: usize,
    number: u64,
    name: &str,
    by: &str,
    now: Timestamp,
) -> bool {
    let Some(issue) = world.repositories[repository].issues.get_mut(&number) else { return false };
    let Some(index) = issue.labels.iter().position(|label| label.eq_ignore_ascii_case(name)) else {
        return false;
    };
    let name = issue.labels.remove(index);
    issue.updated_at = now;
    note_label(world, repository, number, &name, "unlabeled", by, now);
    tell_label(world, repository, number, &name, "unlabeled", by, now);
    true
}

/// Keeps what happened to a label among the issue's events.
fn note_label(
    world: &mut World,
    repository: usize,
    number: u64,
    label: &str,
    event: &'static str,
    by: &str,
    now: Timestamp,
) {
    let id = world.next_id();
    let Some(issue) = world.repositories[repository].issues.get_mut(&number) else { return };
    let (actor, label) = (by.to_owned(), label.to_owned());
    issue.events.push(LabelEvent { id, event, actor, label, created_at: now });
}

/// Changes an issue or pull request, and tells of each change.
pub(super) fn edit_issue(
    world: &mut World,
    repository: usize,
    number: u64,
    edit: IssueEdit,
    by: &str,
    now: Timestamp,
) {
    let Some(issue) = world.repositories[repository].issues.get_mut(&number) else { return };
    let mut changes = json!({});
    issue.updated_at = now;
    if let Some(title) = edit.title.filter(|title| *title != issue.title) {
        changes["title"] = json!({"from": std::mem::replace(&mut issue.title, title)});
    }
    if let Some(body) = edit.body.filter(|body| Some(body) != issue.body.as_ref()) {
        changes["body"] = json!({"from": issue.body.replace(body).unwrap_or_default()});
    }
    issue.locked = edit.locked.unwrap_or(issue.locked);
    let turned = edit.open.filter(|open| *open != issue.open);
    if let Some(open) = turned {
        issue.open = open;
        let default = if open { "reopened" } else { "completed" };
        let is_issue = issue.pull.is_none();
        issue.state_reason = edit.state_reason.or(is_issue.then(|| default.to_owned()));
        issue.closed_at = (!open).then_some(now);
        issue.closed_by = (!open).then(|| by.to_owned());
    }
    // GitHub tells of edited pull requests too; nobody here listens, and the contract has no schema.
    let is_issue = issue.pull.is_none();
    if is_issue && changes != json!({}) {
        tell(world, repository, number, "edited", by, json!({ "changes": changes }), now);
    }
    if let Some(open) = turned {
        let action = if open { "reopened" } else { "closed" };
        tell(world, repository, number, action, by, json!({}), now);
    }
}

/// A new comment. Returns its id; `None`: there is no such issue.
pub(super) fn add_comment(
    world: &mut World,
    repository: usize,
    number: u64,
    body: String,
    by: &str,
    now: Timestamp,
) -> Option<u64> {
    let id = world.next_id();
    let issue = world.repositories[repository].issues.get_mut(&number)?;
    issue.updated_at = now;
    issue.comments.push(Comment {
        id,
        author: by.to_owned(),
        body,
        reactions: Vec::new(),
        created_at: now,
        updated_at: now,
    });
    tell_comment(world, repository, id, "created", by, json!({}), now);
    Some(id)
}

/// Replaces a comment's text.
pub(super) fn edit_comment(
    world: &mut World,
    repository: usize,
    id: u64,
    body: String,
    by: &str,
    now: Timestamp,
) {
    let Some((number, index)) = world.repositories[repository].comment_place(id) else { return };
    let Some(issue) = world.repositories[repository].issues.get_mut(&number) else { return };
    let from = std::mem::replace(&mut issue.comments[index].body, body);
    issue.comments[index].updated_at = now;
    tell_comment(world, repository, id, "edited", by, json!({"changes": {"body": {"from": from}}}), now);
}

/// Removes a comment.
pub(super) fn delete_comment(world: &mut World, repository: usize, id: u64, by: &str, now: Timestamp) {
    tell_comment(world, repository, id, "deleted", by, json!({}), now);
    if let Some((number, index)) = world.repositories[repository].comment_place(id)
        && let Some(issue) = world.repositories[repository].issues.get_mut(&number)
    {
        issue.comments.remove(index);
    }
}

/// Tells of an issue, or of a pull request where the number is one.
pub(super) fn tell(
    world: &mut World,
    repository: usize,
    number: u64,
    action: &'static str,
    by: &str,
    mut fields: Value,
    now: Timestamp,
) {
    let place = &world.repositories[repository];
    let Some(issue) = place.issues.get(&number) else { return };
    let name = match &issue.pull {
        None => {
            fields["issue"] = shapes::issue(world, place, issue);
            "issues"
        }
        Some(pull) => {
            let Ok(shape) = shapes::pull(world, place, issue, pull) else { return };
            fields["number"] = json!(number);
            fields["pull_request"] = shape;
            "pull_request"
        }
    };
    fire(world, Event { name, action: Some(action), repository, sender: by, fields }, now);
}

fn tell_label(
    world: &mut World,
    repository: usize,
    number: u64,
    name: &str,
    action: &'static str,
    by: &str,
    now: Timestamp,
) {
    let place = &world.repositories[repository];
    let Some(label) = place.labels.iter().find(|label| label.name == name) else { return };
    if place.issues.get(&number).is_none_or(|issue| issue.pull.is_some()) {
        // As with edited pull requests: not in the contract.
        return;
    }
    let label = shapes::label(world, place, label);
    tell(world, repository, number, action, by, json!({ "label": label }), now);
}

fn tell_comment(
    world: &mut World,
    repository: usize,
    id: u64,
    action: &'static str,
    by: &str,
    mut fields: Value,
    now: Timestamp,
) {
    let place = &world.repositories[repository];
    let Some((number, index)) = place.comment_place(id) else { return };
    let issue = &place.issues[&number];
    fields["issue"] = shapes::issue(world, place, issue);
    fields["comment"] = shapes::comment(world, place, issue, &issue.comments[index]);
    fire(world, Event { name: "issue_comment", action: Some(action), repository, sender: by, fields }, now);
}
