//! A job's view of the store: its transcript, under its claim.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Claim, EffectState, Store, StoreError, UnsettledCall};
use crate::domain::{
    DailyCapReached, DailyCaps, Job, RecordedEvent, StoredEvent, TranscriptEvent, WorstCase,
};

/// Appends to one job's transcript. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
    claim: Claim,
    clock: fn() -> Timestamp,
}

impl Journal {
    /// The journal of a claimed job.
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

    /// The current time.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Appends events, all or none; when this returns they are on disk.
    pub async fn append(&self, events: &[TranscriptEvent]) -> Result<(), StoreError> {
        self.store.append(&self.claim, events, self.now()).await
    }

    /// Everything that was recorded so far.
    pub async fn transcript(&self) -> Result<Vec<RecordedEvent>, StoreError> {
        self.store.transcript(self.claim.job.id).await
    }

    /// The transcript as it was written.
    pub async fn transcript_text(&self) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.transcript_text(self.claim.job.id).await
    }

    /// See [`Store::save_manifest`].
    pub async fn save_manifest(&self, round: u32, manifest: &str) -> Result<String, StoreError> {
        self.store.save_manifest(&self.claim, round, manifest, self.now()).await
    }

    /// See [`Store::begin_effect`].
    pub async fn begin_effect(&self, kind: &str) -> Result<EffectState, StoreError> {
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
        caps: &DailyCaps,
    ) -> Result<Result<(), DailyCapReached>, StoreError> {
        self.store.reserve_call(&self.claim, model, worst, caps, self.now()).await
    }

    /// See [`Store::cancel_call`].
    pub async fn cancel_call(&self) -> Result<(), StoreError> {
        self.store.cancel_call(&self.claim).await
    }

    /// See [`Store::unsettled_call`].
    pub async fn unsettled_call(&self) -> Result<Option<UnsettledCall>, StoreError> {
        self.store.unsettled_call(self.claim.job.id).await
    }

    /// See [`Store::fits_daily_caps`].
    pub async fn fits_daily_caps(
        &self,
        worst: WorstCase,
        caps: &DailyCaps,
    ) -> Result<Result<(), DailyCapReached>, StoreError> {
        self.store.fits_daily_caps(&self.claim.job, worst, caps, self.now()).await
    }
}
