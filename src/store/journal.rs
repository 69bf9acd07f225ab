//! A job's own view of the store: append to this transcript, under this claim.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Claim, Effect, OpenCall, Store, StoreError};
use crate::domain::{DayCapReached, DayCaps, Job, Recorded, RecordedText, TranscriptEvent, WorstCase};

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

    /// The transcript as it was written.
    pub async fn transcript_text(&self) -> Result<Vec<RecordedText>, StoreError> {
        self.store.transcript_text(self.claim.job.id).await
    }

    /// See [`Store::keep_manifest`].
    pub async fn keep_manifest(&self, round: u32, manifest: &str) -> Result<String, StoreError> {
        self.store.keep_manifest(&self.claim, round, manifest, self.now()).await
    }

    /// See [`Store::begin_effect`].
    pub async fn begin_effect(&self, kind: &str) -> Result<Effect, StoreError> {
        self.store.begin_effect(&self.claim, kind, self.now()).await
    }

    /// See [`Store::finish_effect`].
    pub async fn finish_effect(&self, kind: &str, reference: &str) -> Result<(), StoreError> {
        self.store.finish_effect(&self.claim, kind, reference, self.now()).await
    }

    /// See [`Store::reserve_call`].
    pub async fn reserve_call(
        &self,
        model: &str,
        worst: WorstCase,
        caps: &DayCaps,
    ) -> Result<Result<(), DayCapReached>, StoreError> {
        self.store.reserve_call(&self.claim, model, worst, caps, self.now()).await
    }

    /// See [`Store::cancel_call`].
    pub async fn cancel_call(&self) -> Result<(), StoreError> {
        self.store.cancel_call(&self.claim).await
    }

    /// See [`Store::open_call`].
    pub async fn open_call(&self) -> Result<Option<OpenCall>, StoreError> {
        self.store.open_call(self.claim.job.id).await
    }

    /// See [`Store::has_room`].
    pub async fn has_room(
        &self,
        worst: WorstCase,
        caps: &DayCaps,
    ) -> Result<Result<(), DayCapReached>, StoreError> {
        self.store.has_room(&self.claim.job, worst, caps, self.now()).await
    }
}
