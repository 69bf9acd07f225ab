//! Who changes what: the receiver of all mutations.

use jiff::Timestamp;
use serde_json::Value;

use super::webhooks::{WebhookEvent, emit};
use crate::github::data::{Database, Issue, Repository};

/// An account that changes one repository, at one time.
pub(crate) struct Actor<'a> {
    pub(super) db: &'a mut Database,
    /// The index of the repository.
    pub(super) repository: usize,
    pub(super) login: &'a str,
    pub(super) now: Timestamp,
}

impl<'a> Actor<'a> {
    /// `login` acts on the repository with this index.
    pub(crate) fn new(db: &'a mut Database, repository: usize, login: &'a str, now: Timestamp) -> Self {
        Self { db, repository, login, now }
    }

    pub(super) fn repo(&self) -> &Repository {
        &self.db.repositories[self.repository]
    }

    pub(super) fn repo_mut(&mut self) -> &mut Repository {
        &mut self.db.repositories[self.repository]
    }

    pub(super) fn issue_mut(&mut self, number: u64) -> Option<&mut Issue> {
        self.repo_mut().issues.get_mut(&number)
    }

    /// Queues the webhook of an event in this repository.
    pub(super) fn emit(&mut self, name: &'static str, action: Option<&'static str>, fields: Value) {
        let event = WebhookEvent { name, action, repository: self.repository, sender: self.login, fields };
        emit(self.db, event, self.now);
    }
}
