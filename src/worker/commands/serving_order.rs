//! Which installation is served next: so many at a time, and whoever was served longest ago first, so that
//! a full queue of one delays no other. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::InstallationId;

/// Installations that are served at a time: each may wait for a slow GitHub.
const SERVED_MAX: usize = 64;

/// The installations that are being served, and those that were.
#[derive(Debug, Default)]
pub(super) struct ServingOrder {
    active: BTreeSet<InstallationId>,
    /// The turn in which each installation was last served.
    last_turns: BTreeMap<InstallationId, u64>,
    turn: u64,
}

impl ServingOrder {
    /// Of the installations that are due, those that are served from now on.
    pub(super) fn begin(&mut self, due: Vec<InstallationId>) -> Vec<InstallationId> {
        let is_known = |id: &InstallationId| due.contains(id) || self.active.contains(id);
        self.last_turns.retain(|id, _| is_known(id));
        let mut next: Vec<_> = due.into_iter().filter(|id| !self.active.contains(id)).collect();
        next.sort_by_key(|id| self.last_turns.get(id).copied());
        next.truncate(SERVED_MAX.saturating_sub(self.active.len()));
        for id in &next {
            self.turn += 1;
            self.last_turns.insert(*id, self.turn);
            self.active.insert(*id);
        }
        next
    }

    /// An installation's batch was served.
    pub(super) fn end(&mut self, installation: InstallationId) {
        self.active.remove(&installation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::RangeInclusive<u64>) -> Vec<InstallationId> {
        range.map(InstallationId).collect()
    }

    #[test]
    fn installation_that_hangs_delays_no_other() {
        let mut order = ServingOrder::default();
        assert_eq!(order.begin(ids(1..=1)), ids(1..=1));
        assert_eq!(order.begin(ids(1..=2)), ids(2..=2));
        assert_eq!(order.begin(ids(1..=2)), []);
        order.end(InstallationId(2));
        assert_eq!(order.begin(ids(1..=2)), ids(2..=2));
    }

    #[test]
    fn installation_that_was_served_longest_ago_is_next() {
        let max = SERVED_MAX as u64;
        let mut order = ServingOrder::default();
        assert_eq!(order.begin(ids(1..=max + 1)), ids(1..=max));
        order.end(InstallationId(1));
        // The first one is due again, and its requests are the oldest.
        assert_eq!(order.begin(ids(1..=max + 1)), ids(max + 1..=max + 1));
    }

    #[test]
    fn installations_without_requests_are_forgotten() {
        let mut order = ServingOrder::default();
        for id in 1..=1_000 {
            order.begin(ids(id..=id));
            order.end(InstallationId(id));
        }
        assert!(order.last_turns.len() <= 1 && order.active.is_empty());
    }
}
