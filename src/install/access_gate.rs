//! Who may open the setup page: the first person who registers an App controls this service.
//!
//! If only this machine can reach the page, requests from it are admitted. If strangers can reach it, the
//! token that was printed at the start is required; it opens one browser's session, and no second one.

use std::collections::VecDeque;
use std::net::SocketAddr;

use http::{HeaderMap, header};
use parking_lot::{Mutex, MutexGuard};
use subtle::ConstantTimeEq;
use url::Url;

use super::random;
use crate::domain::is_loopback;

const COOKIE: &str = "mendwright_setup";
/// Browser sessions at the same time. The oldest is dropped.
const SESSIONS_MAX: usize = 32;
/// Headers that a proxy adds.
const FORWARDED: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

pub(super) struct AccessGate {
    exposed: bool,
    state: Mutex<GateState>,
}

#[derive(Default)]
struct GateState {
    /// `None` once it was used.
    token: Option<String>,
    sessions: VecDeque<String>,
}

/// Whether a request is admitted.
pub(super) enum PageAccess {
    /// A known session.
    Known(String),
    /// A new session: its cookie must be set.
    New(String),
    /// Refused, with what to do instead.
    Refused(&'static str),
}

impl AccessGate {
    pub(super) fn new(exposed: bool) -> Self {
        let state = GateState { token: exposed.then(random), ..GateState::default() };
        Self { exposed, state: Mutex::new(state) }
    }

    /// The token, while it has not been used.
    pub(super) fn token(&self) -> Option<String> {
        self.lock().token.clone()
    }

    /// Decides about a request. `token` is from its query.
    pub(super) fn admit(&self, peer: SocketAddr, headers: &HeaderMap, token: Option<&str>) -> PageAccess {
        let mut state = self.lock();
        if let Some(cookie) = cookie(headers)
            && let Some(known) = state.sessions.iter().find(|session| same(session, cookie))
        {
            return PageAccess::Known(known.clone());
        }
        if self.exposed {
            let Some(token) = token else {
                return PageAccess::Refused(
                    "Open it with the link that the service printed when it started: look for “/setup?token=” in \
                     its log.",
                );
            };
            if !state.token.as_ref().is_some_and(|known| same(known, token)) {
                return PageAccess::Refused(
                    "This link was used already, or is from an earlier start. Restart the service to get a new \
                     link from its log.",
                );
            }
            state.token = None;
        } else if !is_from_here(peer, headers) {
            return PageAccess::Refused(
                "Open it in a browser on the machine itself, at its loopback address. To open it from \
                 elsewhere, set server.public_url and restart the service, which then prints a link.",
            );
        }
        let session = random();
        if state.sessions.len() == SESSIONS_MAX {
            state.sessions.pop_front();
        }
        state.sessions.push_back(session.clone());
        PageAccess::New(session)
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        // Every change is complete before anything can panic, so a poisoned state is usable.
        self.state.lock()
    }
}

/// The value of `Set-Cookie` for a session. `Lax`, because GitHub sends the browser back to us.
pub(super) fn set_cookie(session: &str, base: Option<&Url>) -> String {
    let secure = base.is_some_and(|base| base.scheme() == "https");
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax{secure}")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Whether a request comes from this machine, addresses it by its own name (a foreign page can point its
/// name to 127.0.0.1), and did not pass a proxy.
fn is_from_here(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_own_name = Url::parse(&format!("http://{host}/")).is_ok_and(|url| is_loopback(&url));
    let is_proxied = FORWARDED.iter().any(|name| headers.contains_key(*name));
    peer.ip().to_canonical().is_loopback() && is_own_name && !is_proxied
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ([u8; 4], u16) = ([127, 0, 0, 1], 5);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }
    fn is_admitted(gate: &AccessGate, peer: impl Into<SocketAddr>, pairs: &[(&'static str, &str)]) -> bool {
        !matches!(gate.admit(peer.into(), &headers(pairs), None), PageAccess::Refused(_))
    }

    #[test]
    fn page_that_is_not_exposed_admits_only_requests_of_this_machine() {
        let gate = AccessGate::new(false);
        assert!(gate.token().is_none());
        assert!(is_admitted(&gate, HERE, &[("host", "127.0.0.1:8080")]));
        assert!(is_admitted(&gate, HERE, &[("host", "localhost:8080")]));
        assert!(is_admitted(&gate, ([0, 0, 0, 0, 0, 0, 0, 1], 5), &[("host", "[::1]:8080")]));
        assert!(!is_admitted(&gate, ([10, 0, 0, 9], 5), &[("host", "127.0.0.1:8080")]), "another machine");
        assert!(
            !is_admitted(&gate, HERE, &[("host", "rebound.example:8080")]),
            "a foreign name that points here"
        );
        assert!(!is_admitted(&gate, HERE, &[]));
        for proxy in FORWARDED {
            assert!(!is_admitted(&gate, HERE, &[("host", "localhost"), (proxy, "203.0.113.9")]), "{proxy}");
        }
    }

    #[test]
    fn exposed_page_admits_the_token_once_and_then_only_its_session() {
        let gate = AccessGate::new(true);
        let token = gate.token().unwrap();
        let local = headers(&[("host", "localhost")]);
        let admit = |token: Option<&str>, headers: &HeaderMap| gate.admit(HERE.into(), headers, token);
        assert!(matches!(admit(None, &local), PageAccess::Refused(_)), "a proxy makes all peers local");
        assert!(matches!(admit(Some("guessed"), &local), PageAccess::Refused(_)));
        let PageAccess::New(session) = admit(Some(&token), &local) else { panic!("the token is right") };
        assert!(matches!(admit(Some(&token), &local), PageAccess::Refused(_)), "it works once");
        let cookie = headers(&[("cookie", &format!("other=1; {COOKIE}={session}"))]);
        assert!(matches!(admit(None, &cookie), PageAccess::Known(known) if known == session));
        let forged = headers(&[("cookie", &format!("{COOKIE}={}", random()))]);
        assert!(matches!(admit(None, &forged), PageAccess::Refused(_)));
    }
}
