//! Comments on issues and pull requests.

use serde_json::{Value, json};

use super::actor::Actor;
use crate::github::data::Comment;
use crate::github::shapes;

impl Actor<'_> {
    /// Adds a comment. Returns its id; `None` means that there is no such issue.
    pub(crate) fn add_comment(&mut self, number: u64, body: String) -> Option<u64> {
        let (id, now, author) = (self.db.next_id(), self.now, self.login.to_owned());
        let issue = self.issue_mut(number)?;
        issue.updated_at = now;
        let comment = Comment { id, author, body, reactions: Vec::new(), created_at: now, updated_at: now };
        issue.comments.push(comment);
        self.emit_comment_event(id, "created", json!({}));
        Some(id)
    }

    /// Replaces a comment's text.
    pub(crate) fn edit_comment(&mut self, id: u64, body: String) {
        let now = self.now;
        let Some((number, index)) = self.repo().comment_position(id) else { return };
        let Some(issue) = self.issue_mut(number) else { return };
        let from = std::mem::replace(&mut issue.comments[index].body, body);
        issue.comments[index].updated_at = now;
        self.emit_comment_event(id, "edited", json!({"changes": {"body": {"from": from}}}));
    }

    /// Deletes a comment.
    pub(crate) fn delete_comment(&mut self, id: u64) {
        // The event shows the comment, so it comes before the deletion.
        self.emit_comment_event(id, "deleted", json!({}));
        if let Some((number, index)) = self.repo().comment_position(id)
            && let Some(issue) = self.issue_mut(number)
        {
            issue.comments.remove(index);
        }
    }

    fn emit_comment_event(&mut self, id: u64, action: &'static str, mut fields: Value) {
        let repository = self.repo();
        let Some((number, index)) = repository.comment_position(id) else { return };
        let issue = &repository.issues[&number];
        fields["issue"] = shapes::issue(self.db, repository, issue);
        fields["comment"] = shapes::comment(self.db, repository, issue, &issue.comments[index]);
        self.emit("issue_comment", Some(action), fields);
    }
}
