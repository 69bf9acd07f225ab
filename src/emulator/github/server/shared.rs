//! What all requests share.

use std::sync::{Mutex, PoisonError};

use super::recorder::Recorder;
use crate::gate::Gate;
use crate::github::data::Database;

/// The database behind its lock, the record of exchanges, and the gate of held requests.
pub(crate) struct Shared {
    database: Mutex<Database>,
    pub(super) recorder: Recorder,
    /// Requests with [`FaultKind::Hold`](crate::github::FaultKind::Hold) wait here.
    pub(crate) gate: Gate,
}

impl Shared {
    pub(crate) fn new(database: Database, recorder: Recorder) -> Self {
        Self { database: Mutex::new(database), recorder, gate: Gate::default() }
    }

    /// Works on the database. The lock is held only during `work`.
    pub(crate) fn with_db<T>(&self, work: impl FnOnce(&mut Database) -> T) -> T {
        work(&mut self.database.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
