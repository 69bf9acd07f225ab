//! The only connection of a sandbox to the outside: an HTTP proxy over the pipe's streams. It allows the
//! given host names and nothing else, resolves them itself, and never connects to an address of this machine
//! or its networks, whatever a name resolves to. An internal host is allowed only in the address range that
//! the operator has configured.
//!
//! Each plain request is parsed and written again, so that exactly what was checked is sent. A tunnel must
//! begin with a TLS ClientHello for the requested host. Its content is not inspected: a host that serves
//! other hosts by their `Host` header serves them here, too.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::Instrument;

use self::decisions::Decisions;
use self::quota::{Meter, Metered};
use super::spec::SandboxSpec;
use crate::domain::{AllowedHost, EgressReport, is_forbidden_address};

mod address;
mod decisions;
mod destination;
mod quota;
mod requests;
#[cfg(test)]
mod tests;
mod tunnel;

/// The port of the proxy on the sandbox's loopback interface.
pub(super) const PROXY_PORT: u16 = 3128;
/// Connections at the same time.
const CONNECTIONS_MAX: usize = 64;
/// Connections of one sandbox in total: those from it and, since one of them may carry many requests, those
/// to the outside.
const CONNECTIONS_TOTAL_MAX: u64 = 100_000;
/// The length of a requested name in a log line.
const LOGGED_CHARS_MAX: usize = 300;
/// The head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// For the head of a request, for the connection to the host, and for a TLS ClientHello.
const SETUP_MAX: Duration = Duration::from_secs(30);
/// Without a byte in either direction.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// The longest duration of a connection: a setup downloads files and ends.
const CONNECTION_MAX: Duration = Duration::from_secs(30 * 60);

/// The proxy of one sandbox. Clones share its state.
#[derive(Clone)]
pub(super) struct Egress(Arc<Inner>);

struct Inner {
    label: String,
    allowed: Vec<AllowedHost>,
    policy: EgressPolicy,
    bytes_max: u64,
    bytes_left: AtomicU64,
    served: AtomicU64,
    connected: AtomicU64,
    slots: Arc<Semaphore>,
    decisions: Decisions,
}

/// The ports for each use, and the addresses that may be connected to.
#[derive(Clone, Copy)]
struct EgressPolicy {
    plain_port: u16,
    tls_port: u16,
    /// Whether a host that is not internal may have this address.
    is_public: fn(IpAddr) -> bool,
    /// Whether an address is in a network of this machine. Only internal hosts may have such an address.
    is_local_network: fn(IpAddr) -> io::Result<bool>,
    /// Whether an address is this machine's own. No host may have it, although a configured range may
    /// contain it.
    is_own: fn(IpAddr) -> io::Result<bool>,
    idle_max: Duration,
}

const WEB: EgressPolicy = EgressPolicy {
    plain_port: 80,
    tls_port: 443,
    is_public: address::is_public,
    is_local_network: address::is_of_this_machines_networks,
    is_own: address::is_this_machines,
    idle_max: IDLE_MAX,
};

/// Why a request is refused: the status, and a text for the client and the log.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    status: hyper::StatusCode,
    why: String,
}

impl Refusal {
    fn forbidden(why: impl Into<String>) -> Self {
        Self { status: hyper::StatusCode::FORBIDDEN, why: why.into() }
    }

    fn unreachable(why: impl Into<String>) -> Self {
        Self { status: hyper::StatusCode::BAD_GATEWAY, why: why.into() }
    }
}

/// Most addresses of a host that are named.
const ADDRESSES_NAMED_MAX: usize = 8;

/// What an operator writes to allow a host at these addresses.
fn entries_of(name: &str, addresses: &[SocketAddr]) -> String {
    let mut entries: Vec<String> = Vec::new();
    for address in addresses {
        let entry = AllowedHost::parse(&format!("{name}={}", address.ip().to_canonical()));
        let entry = entry.map(|entry| entry.to_string()).ok().filter(|entry| !entries.contains(entry));
        entries.extend(entry.filter(|_| entries.len() < ADDRESSES_NAMED_MAX));
    }
    match entries.is_empty() {
        true => format!("{name}=RANGE"),
        false => entries.join(", "),
    }
}

/// How a connection is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Plain,
    Tunnel,
}

impl Egress {
    /// The proxy for the allowed hosts of a sandbox; `None` if there are none.
    pub(super) fn for_sandbox(spec: &SandboxSpec) -> Option<Self> {
        Self::with_policy(spec, WEB)
    }

    fn with_policy(spec: &SandboxSpec, policy: EgressPolicy) -> Option<Self> {
        (!spec.allowed_hosts.is_empty()).then(|| {
            Self(Arc::new(Inner {
                label: spec.label.clone(),
                allowed: spec.allowed_hosts.clone(),
                policy,
                bytes_max: spec.egress_bytes_max,
                bytes_left: AtomicU64::new(spec.egress_bytes_max),
                served: AtomicU64::new(0),
                connected: AtomicU64::new(0),
                slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
                decisions: Decisions::default(),
            }))
        })
    }

    /// The decisions since the last call.
    pub(super) fn take_report(&self) -> EgressReport {
        self.0.decisions.take()
    }

    /// Serves one connection, on a new task.
    pub(super) fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Ok(slot) = Arc::clone(&self.0.slots).try_acquire_owned() else {
            self.refuse("", 0, &format!("over {CONNECTIONS_MAX} connections at one time"));
            return;
        };
        if self.0.served.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_TOTAL_MAX {
            self.refuse("", 0, &format!("over {CONNECTIONS_TOTAL_MAX} connections"));
            return;
        }
        let egress = self.clone();
        let slot = Arc::new(slot);
        let serving = async move {
            // After this time the connection is closed, even in the middle of a request.
            let _ = timeout(CONNECTION_MAX, egress.serve_connection(stream, slot)).await;
        };
        tokio::spawn(serving.in_current_span());
    }

    async fn serve_connection(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        slot: Arc<OwnedSemaphorePermit>,
    ) {
        let respond = service_fn(|request| {
            let (egress, slot) = (self.clone(), Arc::clone(&slot));
            async move { Ok::<_, std::convert::Infallible>(egress.respond(request, slot).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(SETUP_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), respond)
            .with_upgrades();
        // Anything that is not HTTP gets an HTTP error, or no response.
        if let Err(error) = connection.await {
            tracing::debug!(sandbox = self.0.label, %error, "egress connection broke off");
        }
    }

    /// Connects to an allowed host, at an address that this machine has resolved and checked.
    async fn connect(&self, host: &str, port: u16, usage: Use) -> Result<Metered<TcpStream>, Refusal> {
        let outcome = match timeout(SETUP_MAX, self.check_and_connect(host, port, usage)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::unreachable(format!("'{host}' did not answer in time"))),
        };
        match outcome {
            Ok(stream) => {
                // All spellings of a name are reported as one.
                let host = &normalized(host);
                if self.0.decisions.allow(host, port) {
                    tracing::info!(sandbox = self.0.label, host, port, "egress allowed");
                }
                Ok(Metered::new(stream, Meter::new(self.clone(), host, port)))
            }
            Err(refusal) => {
                self.refuse(host, port, &refusal.why);
                Err(refusal)
            }
        }
    }

    async fn check_and_connect(&self, host: &str, port: u16, usage: Use) -> Result<TcpStream, Refusal> {
        let allowed = self.check(host, port, usage)?;
        if self.0.connected.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_TOTAL_MAX {
            return Err(Refusal::forbidden(format!("over {CONNECTIONS_TOTAL_MAX} connections")));
        }
        let unreachable = |e: io::Error| Refusal::unreachable(format!("'{host}' cannot be reached: {e}"));
        let name = allowed.first().map_or(host, |entry| entry.name());
        let found: Vec<SocketAddr> = lookup_host((name, port)).await.map_err(unreachable)?.collect();
        let (mut addresses, mut refusal) = (Vec::new(), None);
        for entry in allowed {
            match self.check_addresses(entry, found.iter().copied()) {
                Ok(more) => addresses.extend(more),
                Err(why) => refusal = refusal.or(Some(why)),
            }
        }
        if let Some(why) = refusal.filter(|_| addresses.is_empty()) {
            return Err(Refusal::forbidden(why));
        }
        // The name is not resolved again, so the connection goes to a checked address.
        TcpStream::connect(addresses.as_slice()).await.map_err(unreachable)
    }

    /// The addresses in `found` that the host may have. If there is none, the error says why.
    fn check_addresses(
        &self,
        host: &AllowedHost,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, String> {
        let name = host.name();
        let unknown = |e: io::Error| format!("this machine's own addresses cannot be told ({e})");
        let without = |addresses: Vec<SocketAddr>, is_excluded: fn(IpAddr) -> io::Result<bool>| {
            let mut left = Vec::new();
            for address in addresses {
                if !is_excluded(address.ip()).map_err(unknown)? {
                    left.push(address);
                }
            }
            Ok::<_, String>(left)
        };
        if let Some(range) = host.address_range() {
            let is_in_range = |address: &SocketAddr| {
                let address = address.ip().to_canonical();
                range.contains(&address) && !is_forbidden_address(address)
            };
            let in_range: Vec<_> = found.filter(is_in_range).collect();
            if in_range.is_empty() {
                return Err(format!("'{name}' has no address in {range}, where it is said to be"));
            }
            let left = without(in_range, self.0.policy.is_own)?;
            return match left.is_empty() {
                true => Err(format!("'{name}' is this machine itself, which a sandbox never reaches")),
                false => Ok(left),
            };
        }
        let found: Vec<_> = found.collect();
        let is_public = |address: &&SocketAddr| (self.0.policy.is_public)(address.ip());
        let public: Vec<_> = found.iter().filter(is_public).copied().collect();
        if public.is_empty() {
            return Err(format!(
                "'{name}' has no public address; an internal host is named with where it is, as {}",
                entries_of(name, &found)
            ));
        }
        let left = without(public.clone(), self.0.policy.is_local_network)?;
        if left.is_empty() {
            return Err(format!(
                "'{name}' leads into a network of this machine itself; an internal host is named with where it is, \
                 as {}",
                entries_of(name, &public)
            ));
        }
        Ok(left)
    }

    /// The entries of the host: an internal one may have several.
    fn check(&self, host: &str, port: u16, usage: Use) -> Result<Vec<&AllowedHost>, Refusal> {
        let allowed: Vec<_> = self.0.allowed.iter().filter(|allowed| allowed.has_name(host)).collect();
        if allowed.is_empty() {
            return Err(Refusal::forbidden(format!("the host '{host}' is not among the allowed ones")));
        }
        let (expected, rule) = match usage {
            Use::Plain => (self.0.policy.plain_port, "a plain request may only go to"),
            Use::Tunnel => (self.0.policy.tls_port, "a tunnel may only lead to"),
        };
        if port != expected {
            return Err(Refusal::forbidden(format!("port {port} is not allowed: {rule} port {expected}")));
        }
        if self.0.bytes_left.load(Ordering::Relaxed) == 0 {
            return Err(Refusal::forbidden(self.quota_exceeded()));
        }
        Ok(allowed)
    }

    /// Subtracts bytes from the quota. Returns false if fewer are left.
    fn spend(&self, bytes: u64) -> bool {
        let left = &self.0.bytes_left;
        let spent =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok();
        if !spent {
            left.store(0, Ordering::Relaxed);
        }
        spent
    }

    fn quota_exceeded(&self) -> String {
        format!("the {} MiB that may pass are used up", self.0.bytes_max >> 20)
    }

    fn refuse(&self, host: &str, port: u16, why: &str) {
        // Once for each kind, and only a limited number of kinds: the sandbox chooses the requests.
        if self.0.decisions.refuse(host, port, why) {
            let host: String = host.chars().take(LOGGED_CHARS_MAX).collect();
            let why: String = why.chars().take(LOGGED_CHARS_MAX).collect();
            tracing::warn!(sandbox = self.0.label, host, port, why, "egress refused");
        }
    }
}

fn normalized(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}
