//! The states of a registration: which browser was sent to GitHub with which `state`, and what came
//! of it. Pure but for the clock that it is given.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;

use super::random;
use crate::config::StoredApp;

/// GitHub gives the whole flow an hour.
/// Source: docs.github.com, "Registering a GitHub App from a manifest".
const TIME_MAX: SignedDuration = SignedDuration::from_hours(1);
/// States that are waited for at once; the oldest is let go.
const WAITING_MAX: usize = 32;

pub(super) struct Flow {
    waiting: VecDeque<Waiting>,
    /// What GitHub handed out and could not be kept yet, with the state it came by.
    pub(super) unkept: Option<(Waiting, StoredApp)>,
    pub(super) done: Option<Done>,
    /// An earlier process died while it registered an App.
    pub(super) interrupted: bool,
}

/// A browser that was sent to GitHub.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    state: String,
    session: String,
    until: Timestamp,
}

/// An App that is registered and kept.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) name: String,
    pub(super) html_url: String,
    pub(super) owner: String,
}

impl Flow {
    pub(super) fn new(interrupted: bool) -> Self {
        Self { waiting: VecDeque::new(), unkept: None, done: None, interrupted }
    }

    /// A new `state` for a browser's session.
    pub(super) fn begin(&mut self, session: &str, now: Timestamp) -> String {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        let state = random();
        let waiting = Waiting { state: state.clone(), session: session.to_owned(), until: now + TIME_MAX };
        self.waiting.push_back(waiting);
        state
    }

    /// The browser that came back with a `state`, which works once, for an hour, and only in the
    /// browser that it was made for.
    pub(super) fn take(&mut self, state: &str, session: &str, now: Timestamp) -> Option<Waiting> {
        self.waiting.retain(|waiting| waiting.until > now);
        let index = self.waiting.iter().position(|waiting| waiting.is(state, session))?;
        self.waiting.remove(index)
    }

    /// The credentials that could not be kept, for the same browser and state.
    pub(super) fn take_unkept(&mut self, state: &str, session: &str) -> Option<(Waiting, StoredApp)> {
        match &self.unkept {
            Some((waiting, _)) if waiting.is(state, session) => self.unkept.take(),
            Some(_) | None => None,
        }
    }

    /// Nothing was used up: the same address may be loaded again.
    pub(super) fn put_back(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }
}

impl Waiting {
    fn is(&self, state: &str, session: &str) -> bool {
        let same = |a: &str, b: &str| bool::from(a.as_bytes().ct_eq(b.as_bytes()));
        same(&self.state, state) & same(&self.session, session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_works_once_for_an_hour_and_for_its_own_browser() {
        let now = Timestamp::UNIX_EPOCH;
        let later = |minutes| now + SignedDuration::from_mins(minutes);
        let mut flow = Flow::new(false);
        let state = flow.begin("a", now);
        assert!(flow.take("another", "a", now).is_none());
        assert!(flow.take(&state, "b", now).is_none(), "somebody else's browser");
        assert!(flow.take(&state, "a", later(59)).is_some());
        assert!(flow.take(&state, "a", later(59)).is_none(), "twice");
        let late = flow.begin("a", now);
        assert!(flow.take(&late, "a", later(60)).is_none(), "too late");
    }

    #[test]
    fn only_so_many_are_waited_for() {
        let mut flow = Flow::new(false);
        let first = flow.begin("a", Timestamp::UNIX_EPOCH);
        for _ in 0..WAITING_MAX {
            flow.begin("a", Timestamp::UNIX_EPOCH);
        }
        assert_eq!(flow.waiting.len(), WAITING_MAX);
        assert!(flow.take(&first, "a", Timestamp::UNIX_EPOCH).is_none());
    }
}
