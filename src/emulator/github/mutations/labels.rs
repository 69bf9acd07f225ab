//! Labels of issues and pull requests.

use serde_json::json;

use super::actor::Actor;
use crate::github::data::{Label, LabelEvent};
use crate::github::shapes;

impl Actor<'_> {
    /// Adds a label, which is created if the repository has none of that name. A label that is there
    /// already changes nothing.
    pub(crate) fn add_label(&mut self, number: u64, name: &str) {
        let now = self.now;
        let name = match self.repo().label(name) {
            Some(label) => label.name.clone(),
            None => {
                let (id, color, description) = (self.db.next_id(), "ededed".to_owned(), None);
                self.repo_mut().labels.push(Label { id, name: name.to_owned(), color, description });
                name.to_owned()
            }
        };
        let Some(issue) = self.issue_mut(number) else { return };
        if issue.labels.contains(&name) {
            return;
        }
        issue.labels.push(name.clone());
        issue.updated_at = now;
        self.record_label_event(number, name, "labeled");
    }

    /// Removes a label. False means that the issue did not have it.
    pub(crate) fn remove_label(&mut self, number: u64, name: &str) -> bool {
        let now = self.now;
        let Some(issue) = self.issue_mut(number) else { return false };
        let Some(index) = issue.labels.iter().position(|label| label.eq_ignore_ascii_case(name)) else {
            return false;
        };
        let name = issue.labels.remove(index);
        issue.updated_at = now;
        self.record_label_event(number, name, "unlabeled");
        true
    }

    /// Adds the event to the issue's history and emits it.
    fn record_label_event(&mut self, number: u64, label: String, event: &'static str) {
        let (id, actor, now) = (self.db.next_id(), self.login.to_owned(), self.now);
        let Some(issue) = self.issue_mut(number) else { return };
        issue.events.push(LabelEvent { id, event, actor, label: label.clone(), created_at: now });
        if issue.pull.is_some() {
            // GitHub reports labels of pull requests too, but the contract has no schema for them.
            return;
        }
        let Some(label) = self.repo().label(&label) else { return };
        let shape = shapes::label(self.db, self.repo(), label);
        self.emit_issue_event(number, event, json!({ "label": shape }));
    }
}
