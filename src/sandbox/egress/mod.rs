//! The only way out of a sandbox: an HTTP proxy that speaks over the pipe's streams. Lets through
//! the host names it was given and nothing else, resolves them itself, and never connects to an
//! address of this machine or its networks, whatever a name resolves to; an internal host only where
//! the operator has said that it is.
//!
//! Plain requests are parsed and written anew, each for itself, so that what was vetted is what is
//! sent. A tunnel must begin with a TLS greeting to the very host it was asked for. What is said
//! inside it is not seen: a host that serves others by its `Host` header serves them here, too.

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

use self::decisions::Decisions;
use self::metered::{Meter, Metered};
use super::SandboxSpec;
use crate::config::{AllowedHost, is_forbidden_address};
use crate::domain::EgressReport;

mod address;
mod decisions;
mod metered;
mod requests;
#[cfg(test)]
mod tests;
mod tunnel;

/// Where the toolbox lends the proxy, on the sandbox's loopback interface.
pub(super) const PROXY_PORT: u16 = 3128;
/// Connections at one time.
const CONNECTIONS_MAX: usize = 64;
/// Connections of one sandbox, all in all; from it and, since one of these may ask for many things,
/// to the outside.
const CONNECTIONS_TOTAL_MAX: u64 = 100_000;
/// Of a name that was asked for, in a line of our log.
const LOGGED_CHARS_MAX: usize = 300;
/// The head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// For the head to come, for the other side to be reached, and for a TLS greeting.
const SETUP_MAX: Duration = Duration::from_secs(30);
/// Without a byte either way.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// The longest a connection may last: a set-up phase downloads, it does not stay.
const CONNECTION_MAX: Duration = Duration::from_secs(30 * 60);

/// What one sandbox may reach. Clones are the same one.
#[derive(Clone)]
pub(super) struct Egress(Arc<Inner>);

struct Inner {
    label: String,
    allowed: Vec<AllowedHost>,
    ways: Ways,
    bytes_max: u64,
    bytes_left: AtomicU64,
    served: AtomicU64,
    reached: AtomicU64,
    places: Arc<Semaphore>,
    decisions: Decisions,
}

/// Which ports mean what, and which addresses may be connected to.
#[derive(Clone, Copy)]
struct Ways {
    plain_port: u16,
    tls_port: u16,
    /// For hosts that are not said to be internal.
    may_reach: fn(IpAddr) -> bool,
    /// No host is there, internal ones only where it is said.
    is_near: fn(IpAddr) -> io::Result<bool>,
    /// No host is there at all: a range may hold this machine, too.
    is_own: fn(IpAddr) -> io::Result<bool>,
    idle_max: Duration,
}

const WEB: Ways = Ways {
    plain_port: 80,
    tls_port: 443,
    may_reach: address::is_public,
    is_near: address::is_of_this_machines_networks,
    is_own: address::is_this_machines,
    idle_max: IDLE_MAX,
};

/// Why something is not let through: a status line, and words for whoever asked and for the log.
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

/// How a connection is going to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Plain,
    Tunnel,
}

impl Egress {
    /// For the hosts that a sandbox may reach; none for none.
    pub(super) fn of(spec: &SandboxSpec) -> Option<Self> {
        Self::with(spec, WEB)
    }

    fn with(spec: &SandboxSpec, ways: Ways) -> Option<Self> {
        (!spec.allowed_hosts.is_empty()).then(|| {
            Self(Arc::new(Inner {
                label: spec.label.clone(),
                allowed: spec.allowed_hosts.clone(),
                ways,
                bytes_max: spec.egress_bytes_max,
                bytes_left: AtomicU64::new(spec.egress_bytes_max),
                served: AtomicU64::new(0),
                reached: AtomicU64::new(0),
                places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
                decisions: Decisions::default(),
            }))
        })
    }

    /// What was decided since this was last asked.
    pub(super) fn take_report(&self) -> EgressReport {
        self.0.decisions.take()
    }

    /// Serves one connection, on a task of its own.
    pub(super) fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            self.refuse("", 0, &format!("over {CONNECTIONS_MAX} connections at one time"));
            return;
        };
        if self.0.served.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_TOTAL_MAX {
            self.refuse("", 0, &format!("over {CONNECTIONS_TOTAL_MAX} connections"));
            return;
        }
        let egress = self.clone();
        let place = Arc::new(place);
        tokio::spawn(async move {
            // Past that time both sides are closed in the middle of whatever they say.
            let _ = timeout(CONNECTION_MAX, egress.talk(stream, place)).await;
        });
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        place: Arc<OwnedSemaphorePermit>,
    ) {
        let answer = service_fn(|request| {
            let (egress, place) = (self.clone(), Arc::clone(&place));
            async move { Ok::<_, std::convert::Infallible>(egress.answer(request, place).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(SETUP_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        // What is no HTTP is answered so, or not at all.
        if let Err(error) = connection.await {
            tracing::debug!(sandbox = self.0.label, %error, "egress: a connection broke off");
        }
    }

    /// Connects to an allowed host, by an address that this machine has found for it and vetted.
    async fn reach(&self, host: &str, port: u16, usage: Use) -> Result<Metered<TcpStream>, Refusal> {
        let reached = match timeout(SETUP_MAX, self.vet_and_connect(host, port, usage)).await {
            Ok(reached) => reached,
            Err(_) => Err(Refusal::unreachable(format!("'{host}' did not answer in time"))),
        };
        match reached {
            Ok(stream) => {
                // What is allowed is told by one name, however it is spelt.
                let host = &normal(host);
                if self.0.decisions.allow(host, port) {
                    tracing::info!(sandbox = self.0.label, host, port, "egress: allowed");
                }
                Ok(Metered::new(stream, Meter::new(self.clone(), host, port)))
            }
            Err(refusal) => {
                self.refuse(host, port, &refusal.why);
                Err(refusal)
            }
        }
    }

    async fn vet_and_connect(&self, host: &str, port: u16, usage: Use) -> Result<TcpStream, Refusal> {
        let allowed = self.vet(host, port, usage)?;
        if self.0.reached.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_TOTAL_MAX {
            return Err(Refusal::forbidden(format!("over {CONNECTIONS_TOTAL_MAX} connections")));
        }
        let unreachable = |e: io::Error| Refusal::unreachable(format!("'{host}' cannot be reached: {e}"));
        let found = lookup_host((allowed.name(), port)).await.map_err(unreachable)?;
        let vetted = self.vet_addresses(allowed, found).map_err(Refusal::forbidden)?;
        // Its name is not looked up again: what was vetted is what is connected to.
        TcpStream::connect(vetted.as_slice()).await.map_err(unreachable)
    }

    /// The addresses among `found` at which the host may be. An error where there is none: why.
    fn vet_addresses(
        &self,
        host: &AllowedHost,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, String> {
        let name = host.name();
        let untold = |e: io::Error| format!("this machine's own addresses cannot be told ({e})");
        let without = |places: Vec<SocketAddr>, is_out: fn(IpAddr) -> io::Result<bool>| {
            let mut left = Vec::new();
            for address in places {
                if !is_out(address.ip()).map_err(untold)? {
                    left.push(address);
                }
            }
            Ok::<_, String>(left)
        };
        if let Some(range) = host.address_range() {
            let is_there = |address: &SocketAddr| {
                let address = address.ip().to_canonical();
                range.contains(&address) && !is_forbidden_address(address)
            };
            let there: Vec<_> = found.filter(is_there).collect();
            if there.is_empty() {
                return Err(format!("'{name}' has no address in {range}, where it is said to be"));
            }
            let vetted = without(there, self.0.ways.is_own)?;
            return match vetted.is_empty() {
                true => Err(format!("'{name}' is this machine itself, which a sandbox never reaches")),
                false => Ok(vetted),
            };
        }
        let public: Vec<_> = found.filter(|address| (self.0.ways.may_reach)(address.ip())).collect();
        if public.is_empty() {
            return Err(format!(
                "'{name}' has no public address; an internal host is named with where it is, as {name}=RANGE"
            ));
        }
        let vetted = without(public, self.0.ways.is_near)?;
        if vetted.is_empty() {
            return Err(format!(
                "'{name}' leads into a network of this machine itself; an internal host is named with where it is, \
                 as {name}=RANGE"
            ));
        }
        Ok(vetted)
    }

    fn vet(&self, host: &str, port: u16, usage: Use) -> Result<&AllowedHost, Refusal> {
        let Some(allowed) = self.0.allowed.iter().find(|allowed| allowed.has_name(host)) else {
            return Err(Refusal::forbidden(format!("the host '{host}' is not among the allowed ones")));
        };
        let (wanted, what) = match usage {
            Use::Plain => (self.0.ways.plain_port, "a plain request may only go to"),
            Use::Tunnel => (self.0.ways.tls_port, "a tunnel may only lead to"),
        };
        if port != wanted {
            return Err(Refusal::forbidden(format!("port {port} is not allowed: {what} port {wanted}")));
        }
        if self.0.bytes_left.load(Ordering::Relaxed) == 0 {
            return Err(Refusal::forbidden(self.used_up()));
        }
        Ok(allowed)
    }

    /// Takes bytes from what may pass; false when there are not as many left.
    fn spend(&self, bytes: u64) -> bool {
        let left = &self.0.bytes_left;
        let spent =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok();
        if !spent {
            left.store(0, Ordering::Relaxed);
        }
        spent
    }

    fn used_up(&self) -> String {
        format!("the {} MiB that may pass are used up", self.0.bytes_max >> 20)
    }

    fn refuse(&self, host: &str, port: u16, why: &str) {
        // Once for each kind, and of those only so many: what is asked for is the sandbox's choice.
        if self.0.decisions.refuse(host, port, why) {
            let host: String = host.chars().take(LOGGED_CHARS_MAX).collect();
            let why: String = why.chars().take(LOGGED_CHARS_MAX).collect();
            tracing::warn!(sandbox = self.0.label, host, port, why, "egress: refused");
        }
    }
}

fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}
