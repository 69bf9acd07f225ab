//! A job's own view of the store: append to this transcript, under this claim.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Claim, Effect, Store, StoreError};
use crate::domain::{Job, Recorded, TranscriptEvent};

/// Appends to one job's transcript. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
    claim: Claim,
    clock: fn() -> Timestamp,
}

impl Journal {
    /// The journal of the claimed job.
    pub fn new(store: Arc<dyn Store>, claim: Claim, clock: fn() -> Timestamp) -> Self {
        Self { store, claim, clock }
    }

    /// The job as it was when claimed.
    pub fn job(&self) -> &Job {
        &self.claim.job
    }

    /// The claim.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Appends events, all or none; when this returns they are on disk.
    pub async fn append(&self, events: &[TranscriptEvent]) -> Result<(), StoreError> {
        self.store.append(&self.claim, events, self.now()).await
    }

    /// Everything recorded so far.
    pub async fn transcript(&self) -> Result<Vec<Recorded>, StoreError> {
        self.store.transcript(self.claim.job.id).await
    }

    /// See [`Store::begin_effect`].
    pub async fn begin_effect(&self, kind: &str) -> Result<Effect, StoreError> {
        self.store.begin_effect(&self.claim, kind, self.now()).await
    }

    /// See [`Store::finish_effect`].
    pub async fn finish_effect(&self, kind: &str, reference: &str) -> Result<(), StoreError> {
        self.store.finish_effect(&self.claim, kind, reference, self.now()).await
    }
}
