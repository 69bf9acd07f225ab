//! The destination of a request: the host and port that its target names. Decides nothing about whether it
//! is allowed.

use http::uri::{Authority, Scheme, Uri};
use hyper::StatusCode;

use super::{Refusal, Use};

/// The host and port of a request's target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) port: u16,
    /// As it was written, for the `Host` header.
    pub(super) authority: String,
}

/// Parses the target of a request.
pub(super) fn destination(target: &Uri, usage: Use) -> Result<Destination, Refusal> {
    let invalid = |why: String| Refusal { status: StatusCode::BAD_REQUEST, why };
    let authority = target
        .authority()
        .filter(|_| usage == Use::Tunnel || target.scheme() == Some(&Scheme::HTTP))
        .ok_or_else(|| invalid("a proxy needs an http:// address or CONNECT".to_owned()))?;
    let default_port = (usage == Use::Plain).then_some(80);
    let (host, port) = parts(authority, default_port)
        .ok_or_else(|| invalid(format!("'{authority}' is not a host and a port")))?;
    Ok(Destination { host, port, authority: authority.as_str().to_owned() })
}

fn parts(authority: &Authority, default_port: Option<u16>) -> Option<(String, u16)> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ['-', '.', '_', ':'].contains(&c);
    let is_valid = !host.is_empty() && host.chars().all(is_plain) && !authority.as_str().contains('@');
    // A port after the colon must be valid: "host:" and "host:x" are not.
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => default_port,
        Some(_) | None => authority.port_u16(),
    };
    is_valid.then_some(())?;
    Some((host.to_owned(), port?))
}
