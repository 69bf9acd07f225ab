//! Changes of issues and of the issue part of pull requests.

use serde_json::{Value, json};

use super::actor::Actor;
use crate::github::data::Issue;
use crate::github::shapes;

/// The fields of an issue or pull request that an edit may change.
#[derive(Debug, Default)]
pub(crate) struct IssueEdit {
    pub(crate) title: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) open: Option<bool>,
    pub(crate) state_reason: Option<String>,
    pub(crate) locked: Option<bool>,
}

impl IssueEdit {
    /// Opens or closes.
    pub(crate) fn set_open(open: bool) -> Self {
        Self { open: Some(open), ..Self::default() }
    }

    /// Locks the conversation.
    pub(crate) fn lock() -> Self {
        Self { locked: Some(true), ..Self::default() }
    }
}

impl Actor<'_> {
    /// Opens an issue. Returns its number.
    pub(crate) fn open_issue(&mut self, title: String, body: Option<String>) -> u64 {
        let id = self.db.next_id();
        let number = self.repo().next_number();
        let issue = Issue::new(id, number, title, body, self.login, self.now);
        self.repo_mut().issues.insert(number, issue);
        self.emit_issue_event(number, "opened", json!({}));
        number
    }

    /// Edits an issue or pull request, and emits an event for each change.
    pub(crate) fn edit_issue(&mut self, number: u64, edit: IssueEdit) {
        let (login, now) = (self.login, self.now);
        let Some(issue) = self.issue_mut(number) else { return };
        let mut changes = json!({});
        issue.updated_at = now;
        if let Some(title) = edit.title.filter(|title| *title != issue.title) {
            changes["title"] = json!({"from": std::mem::replace(&mut issue.title, title)});
        }
        if let Some(body) = edit.body.filter(|body| Some(body) != issue.body.as_ref()) {
            changes["body"] = json!({"from": issue.body.replace(body).unwrap_or_default()});
        }
        issue.locked = edit.locked.unwrap_or(issue.locked);
        let is_issue = issue.pull.is_none();
        let new_state = edit.open.filter(|open| *open != issue.open);
        if let Some(open) = new_state {
            issue.open = open;
            let default = if open { "reopened" } else { "completed" };
            issue.state_reason = edit.state_reason.or(is_issue.then(|| default.to_owned()));
            issue.closed_at = (!open).then_some(now);
            issue.closed_by = (!open).then(|| login.to_owned());
        }
        // GitHub reports edits of pull requests too. Mendwright ignores them, and the contract has no
        // schema for them.
        if is_issue && changes != json!({}) {
            self.emit_issue_event(number, "edited", json!({ "changes": changes }));
        }
        if let Some(open) = new_state {
            let action = if open { "reopened" } else { "closed" };
            self.emit_issue_event(number, action, json!({}));
        }
    }

    /// Deletes an issue: its number answers 410 from then on.
    pub(crate) fn delete_issue(&mut self, number: u64) {
        // The event shows the issue, so it comes before the deletion.
        self.emit_issue_event(number, "deleted", json!({}));
        let repository = self.repo_mut();
        if repository.issues.remove(&number).is_some() {
            repository.removed_issues.insert(number, None);
        }
    }

    /// Moves an issue to another repository: its old number redirects there. Returns the new number;
    /// `None` means that there is no such issue.
    pub(crate) fn transfer_issue(&mut self, number: u64, to: usize) -> Option<u64> {
        let Issue { title, body, author, .. } = self.repo().issues.get(&number)?.clone();
        let new = Actor::new(self.db, to, &author, self.now).open_issue(title, body);
        let target = &self.db.repositories[to];
        let changes = json!({
            "new_issue": shapes::issue(self.db, target, &target.issues[&new]),
            "new_repository": shapes::repository(self.db, target),
        });
        let address = format!("{}/repositories/{}/issues/{new}", self.db.urls.api, target.id);
        self.emit_issue_event(number, "transferred", json!({ "changes": changes }));
        let repository = self.repo_mut();
        repository.issues.remove(&number);
        repository.removed_issues.insert(number, Some(address));
        Some(new)
    }

    /// Emits an event about an issue or pull request.
    pub(super) fn emit_issue_event(&mut self, number: u64, action: &'static str, mut fields: Value) {
        let repository = self.repo();
        let Some(issue) = repository.issues.get(&number) else { return };
        let name = match &issue.pull {
            None => {
                fields["issue"] = shapes::issue(self.db, repository, issue);
                "issues"
            }
            Some(pull) => {
                let Ok(shape) = shapes::pull(self.db, repository, issue, pull) else { return };
                fields["number"] = json!(number);
                fields["pull_request"] = shape;
                "pull_request"
            }
        };
        self.emit(name, Some(action), fields);
    }
}
