//! The state of a job that is being worked on, and its record: they change together, in one place.

use crate::domain::{JobState, JobTransition, TranscriptEvent};
use crate::store::Journal;

use super::stop::Stop;

/// The job's state.
pub(super) struct Stage<'a> {
    journal: &'a Journal,
    state: JobState,
}

impl<'a> Stage<'a> {
    /// The stage of a job that stands at `state`.
    pub(super) fn at(state: JobState, journal: &'a Journal) -> Self {
        Self { journal, state }
    }

    /// Takes a transition.
    pub(super) async fn take(&mut self, transition: JobTransition) -> Result<(), Stop> {
        self.take_with(transition, Vec::new()).await
    }

    /// Takes a transition, recorded together with `events`, which come before it.
    pub(super) async fn take_with(
        &mut self,
        transition: JobTransition,
        mut events: Vec<TranscriptEvent>,
    ) -> Result<(), Stop> {
        let journal = self.journal;
        self.take_recorded_by(transition, async |change| {
            events.push(change);
            Ok(journal.append(&events).await?)
        })
        .await
    }

    /// Takes a transition that `record` writes down, together with what it has to record itself.
    pub(super) async fn take_recorded_by(
        &mut self,
        transition: JobTransition,
        record: impl AsyncFnOnce(TranscriptEvent) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let state = self.state.after(transition).map_err(|error| Stop::Broken(error.to_string()))?;
        record(TranscriptEvent::StateChanged { state }).await?;
        self.state = state;
        Ok(())
    }
}
