//! The registrations under way: which browser was sent to GitHub with which `state`, and the result. Pure,
//! except for the clock that it is given.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;

use super::random;
use crate::config::StoredApp;

/// GitHub gives the whole flow an hour.
/// Source: docs.github.com, "Registering a GitHub App from a manifest".
const TIME_MAX: SignedDuration = SignedDuration::from_hours(1);
/// Registrations under way at the same time. The oldest is dropped.
const PENDING_MAX: usize = 32;

pub(super) struct RegistrationFlow {
    pending: VecDeque<PendingRegistration>,
    /// Credentials that GitHub handed out and that could not be stored yet, with their registration.
    pub(super) unstored: Option<(PendingRegistration, StoredApp)>,
    pub(super) registered: Option<RegisteredAppSummary>,
    /// An earlier process died while it registered an App.
    pub(super) interrupted: bool,
}

/// A browser that was sent to GitHub.
#[derive(Debug, Clone)]
pub(super) struct PendingRegistration {
    state: String,
    session: String,
    until: Timestamp,
}

/// An App that is registered, with its credentials stored.
#[derive(Debug, Clone)]
pub(super) struct RegisteredAppSummary {
    pub(super) name: String,
    pub(super) html_url: String,
    pub(super) owner: String,
}

impl RegistrationFlow {
    pub(super) fn new(interrupted: bool) -> Self {
        Self { pending: VecDeque::new(), unstored: None, registered: None, interrupted }
    }

    /// A new `state` for a browser's session.
    pub(super) fn begin(&mut self, session: &str, now: Timestamp) -> String {
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        let state = random();
        let until = now + TIME_MAX;
        self.pending.push_back(PendingRegistration {
            state: state.clone(),
            session: session.to_owned(),
            until,
        });
        state
    }

    /// The registration of a browser that came back with a `state`. A state works once, for an hour, and only
    /// in the browser that it was made for.
    pub(super) fn take(&mut self, state: &str, session: &str, now: Timestamp) -> Option<PendingRegistration> {
        self.pending.retain(|pending| pending.until > now);
        let index = self.pending.iter().position(|pending| pending.matches(state, session))?;
        self.pending.remove(index)
    }

    /// The credentials that could not be stored, for the same browser and state.
    pub(super) fn take_unstored(
        &mut self,
        state: &str,
        session: &str,
    ) -> Option<(PendingRegistration, StoredApp)> {
        match &self.unstored {
            Some((pending, _)) if pending.matches(state, session) => self.unstored.take(),
            Some(_) | None => None,
        }
    }

    /// Puts a registration back, so that the browser may load the same address again.
    pub(super) fn put_back(&mut self, pending: PendingRegistration) {
        self.pending.push_back(pending);
    }
}

impl PendingRegistration {
    fn matches(&self, state: &str, session: &str) -> bool {
        let same = |a: &str, b: &str| bool::from(a.as_bytes().ct_eq(b.as_bytes()));
        same(&self.state, state) & same(&self.session, session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_works_once_for_an_hour_and_only_in_its_own_browser() {
        let now = Timestamp::UNIX_EPOCH;
        let later = |minutes| now + SignedDuration::from_mins(minutes);
        let mut flow = RegistrationFlow::new(false);
        let state = flow.begin("a", now);
        assert!(flow.take("another", "a", now).is_none());
        assert!(flow.take(&state, "b", now).is_none(), "another browser");
        assert!(flow.take(&state, "a", later(59)).is_some());
        assert!(flow.take(&state, "a", later(59)).is_none(), "twice");
        let late = flow.begin("a", now);
        assert!(flow.take(&late, "a", later(60)).is_none(), "too late");
    }

    #[test]
    fn too_many_registrations_drop_the_oldest() {
        let mut flow = RegistrationFlow::new(false);
        let first = flow.begin("a", Timestamp::UNIX_EPOCH);
        for _ in 0..PENDING_MAX {
            flow.begin("a", Timestamp::UNIX_EPOCH);
        }
        assert_eq!(flow.pending.len(), PENDING_MAX);
        assert!(flow.take(&first, "a", Timestamp::UNIX_EPOCH).is_none());
    }
}
