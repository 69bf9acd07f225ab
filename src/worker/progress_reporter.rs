//! Keeps the progress comment and the state label up to date beside the work, which does not
//! wait for them: what an installation writes is spaced. Always tells the newest; what was overtaken
//! meanwhile is left out.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::{WorkerContext, publication};
use crate::store::Journal;

/// Takes orders to tell, and carries them out one after the other.
#[derive(Default)]
pub(super) struct Teller {
    due: AtomicBool,
    closed: AtomicBool,
    changed: Notify,
}

impl Teller {
    /// The issue is to say where the job stands.
    pub(super) fn tell(&self) {
        self.due.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Nothing more begins to be told: what comes next tells all of it.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Tells until it is closed. What is being told then is told to its end: a comment that is cut off
    /// while it is made may be there all the same, and be made twice.
    pub(super) async fn run(&self, parts: &WorkerContext, journal: &Journal) {
        while !self.closed.load(Ordering::Acquire) {
            if self.due.swap(false, Ordering::AcqRel) {
                publication::progress(parts, journal).await;
            } else {
                self.changed.notified().await;
            }
        }
    }
}
