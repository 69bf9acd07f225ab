//! Who may open the set-up page: whoever registers the App first rules this service.
//!
//! On a machine of one's own, requests from it are let in. Where strangers may reach the page, it
//! takes the token that was printed at start; it opens one browser's session and then no other.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use url::Url;

use super::random;
use crate::config::is_loopback;

const COOKIE: &str = "mendwright_setup";
/// Browsers that have the page open at once; the oldest is let go.
const SESSIONS_MAX: usize = 32;
/// Headers by which a proxy shows.
const FORWARDED: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

pub(super) struct Gate {
    exposed: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Not used yet.
    token: Option<String>,
    sessions: VecDeque<String>,
}

/// What the gate says to a request.
pub(super) enum Admission {
    /// A session that is known.
    Known(String),
    /// A new one: its cookie must be set.
    New(String),
    /// The way is barred; why, in words.
    Refused(&'static str),
}

impl Gate {
    pub(super) fn new(exposed: bool) -> Self {
        let state = State { token: exposed.then(random), ..State::default() };
        Self { exposed, state: Mutex::new(state) }
    }

    /// The token, while it has not been used.
    pub(super) fn token(&self) -> Option<String> {
        self.lock().token.clone()
    }

    /// Lets a request in, or not. `token` is what stands in its query.
    pub(super) fn admit(&self, peer: SocketAddr, headers: &HeaderMap, token: Option<&str>) -> Admission {
        let mut state = self.lock();
        if let Some(cookie) = cookie(headers)
            && let Some(known) = state.sessions.iter().find(|session| same(session, cookie))
        {
            return Admission::Known(known.clone());
        }
        if self.exposed {
            let Some(token) = token else {
                return Admission::Refused(
                    "It opens with the link that the service printed when it started: look for “/setup?token=” \
                     in its log.",
                );
            };
            if !state.token.as_ref().is_some_and(|known| same(known, token)) {
                return Admission::Refused(
                    "This link was used already, or is from an earlier start. Restart the service to get a new \
                     one from its log.",
                );
            }
            state.token = None;
        } else if !is_from_here(peer, headers) {
            return Admission::Refused(
                "It opens only in a browser on the machine itself, at its loopback address. To open it from \
                 elsewhere, set server.public_url and restart the service: it then prints a link.",
            );
        }
        let session = random();
        if state.sessions.len() == SESSIONS_MAX {
            state.sessions.pop_front();
        }
        state.sessions.push_back(session.clone());
        Admission::New(session)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The header that keeps a session. `Lax`: GitHub sends the browser back to us.
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

/// From this machine, by its own name (a page elsewhere can point its name to 127.0.0.1), and not
/// through a proxy.
fn is_from_here(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let by_own_name = Url::parse(&format!("http://{host}/")).is_ok_and(|url| is_loopback(&url));
    let proxied = FORWARDED.iter().any(|name| headers.contains_key(*name));
    peer.ip().to_canonical().is_loopback() && by_own_name && !proxied
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ([u8; 4], u16) = ([127, 0, 0, 1], 5);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }
    fn admitted(gate: &Gate, peer: impl Into<SocketAddr>, pairs: &[(&'static str, &str)]) -> bool {
        !matches!(gate.admit(peer.into(), &headers(pairs), None), Admission::Refused(_))
    }

    #[test]
    fn on_ones_own_machine_only_the_machine_itself_is_let_in() {
        let gate = Gate::new(false);
        assert!(gate.token().is_none());
        assert!(admitted(&gate, HERE, &[("host", "127.0.0.1:8080")]));
        assert!(admitted(&gate, HERE, &[("host", "localhost:8080")]));
        assert!(admitted(&gate, ([0, 0, 0, 0, 0, 0, 0, 1], 5), &[("host", "[::1]:8080")]));
        assert!(!admitted(&gate, ([10, 0, 0, 9], 5), &[("host", "127.0.0.1:8080")]), "another machine");
        assert!(!admitted(&gate, HERE, &[("host", "rebound.example:8080")]), "a name pointed at us");
        assert!(!admitted(&gate, HERE, &[]));
        for proxy in FORWARDED {
            assert!(!admitted(&gate, HERE, &[("host", "localhost"), (proxy, "203.0.113.9")]), "{proxy}");
        }
    }

    #[test]
    fn an_exposed_page_takes_the_token_once_and_then_only_its_session() {
        let gate = Gate::new(true);
        let token = gate.token().unwrap();
        let local = headers(&[("host", "localhost")]);
        let admit = |token: Option<&str>, headers: &HeaderMap| gate.admit(HERE.into(), headers, token);
        assert!(matches!(admit(None, &local), Admission::Refused(_)), "a proxy makes all peers local");
        assert!(matches!(admit(Some("guessed"), &local), Admission::Refused(_)));
        let Admission::New(session) = admit(Some(&token), &local) else { panic!("the token is right") };
        assert!(matches!(admit(Some(&token), &local), Admission::Refused(_)), "it works once");
        let cookie = headers(&[("cookie", &format!("other=1; {COOKIE}={session}"))]);
        assert!(matches!(admit(None, &cookie), Admission::Known(known) if known == session));
        let forged = headers(&[("cookie", &format!("{COOKIE}={}", random()))]);
        assert!(matches!(admit(None, &forged), Admission::Refused(_)));
    }
}
