//! Updates the progress comment and the state label while the work goes on, which does not wait
//! for them: writes of an installation are spaced. Only the newest state is reported; a state that is
//! overtaken before its turn is skipped.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::context::WorkerContext;
use super::publication;
use crate::store::Journal;

/// Takes requests to report, and carries them out one after the other.
#[derive(Default)]
pub(super) struct ProgressReporter {
    is_due: AtomicBool,
    is_closed: AtomicBool,
    changed: Notify,
}

impl ProgressReporter {
    /// Asks for a report of where the job stands.
    pub(super) fn report(&self) {
        self.is_due.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Begins no further report: the job's end reports everything.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Reports until it is closed. A report that has begun is completed: a comment whose creation is cut
    /// off may exist nevertheless, and would be created twice.
    pub(super) async fn run(&self, context: &WorkerContext, journal: &Journal) {
        while !self.is_closed.load(Ordering::Acquire) {
            if self.is_due.swap(false, Ordering::AcqRel) {
                publication::report_progress(context, journal).await;
            } else {
                self.changed.notified().await;
            }
        }
    }
}
