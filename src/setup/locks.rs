//! Lets one job at a time run a setup, so that the others find its result in the cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::sandbox::SetupKey;

/// Locks by which jobs of this process wait for a setup that another one runs.
#[derive(Debug, Clone, Default)]
pub struct SetupLocks(Arc<Mutex<HashMap<SetupKey, Weak<tokio::sync::Mutex<()>>>>>);

impl SetupLocks {
    pub(super) fn of(&self, key: &SetupKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}
