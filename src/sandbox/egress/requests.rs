//! Requests to the proxy: each is parsed by itself, and what goes on is written anew for the host
//! that was allowed, whatever its headers say.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{CONNECTION_MAX, Egress, IDLE_MAX, Refusal, Use, tunnel};

/// What is between two neighbours only (RFC 9110, section 7.6.1), and what is for a proxy.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// An answer to whoever asked.
pub(super) type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// Where a request wants to go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) port: u16,
    /// As it was written, for the `Host` header.
    pub(super) named: String,
}

impl Egress {
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Answer {
        let answered = match *request.method() == Method::CONNECT {
            true => self.open_tunnel(request, place).await,
            false => self.forward(request).await,
        };
        answered.unwrap_or_else(|refusal| refusal.into_answer())
    }

    async fn open_tunnel(
        &self,
        request: Request<Incoming>,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Result<Answer, Refusal> {
        let to = destination(request.uri(), Use::Tunnel)?;
        let upstream = self.reach(&to.host, to.port, Use::Tunnel).await?;
        let egress = self.clone();
        tokio::spawn(async move {
            let _place = place;
            let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
            let mut client = TokioIo::new(upgraded);
            let _ = timeout(CONNECTION_MAX, tunnel::run(&egress, &to, &mut client, upstream)).await;
        });
        Ok(Response::new(Full::default().map_err(|never| match never {}).boxed()))
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        let to = destination(request.uri(), Use::Plain)?;
        let upstream = self.reach(&to.host, to.port, Use::Plain).await?;
        let broken = |e: hyper::Error| Refusal::unreachable(format!("'{}' broke off: {e}", to.host));
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(upstream));
        let (mut sender, connection) = handshake.await.map_err(broken)?;
        // Ends when the answer has been read or let go of.
        let connection = tokio::spawn(timeout(CONNECTION_MAX, connection));
        let answered = timeout(IDLE_MAX, sender.send_request(rewritten(request, &to)?)).await;
        let answered = answered
            .map_err(|_| Refusal::unreachable(format!("'{}' did not answer in time", to.host)))?
            .map_err(broken)?;
        let (mut head, body) = answered.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::unreachable(format!("'{}' changed the protocol unasked", to.host)));
        }
        strip(&mut head.headers);
        let guard = Connection(connection);
        let body = body.map_frame(move |frame| {
            let _held = &guard;
            frame
        });
        Ok(Response::from_parts(head, body.boxed()))
    }
}

/// A connection's task, ended with whoever reads from it.
struct Connection<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Refusal {
    fn into_answer(self) -> Answer {
        let words = Bytes::from(format!("Mendwright's sandbox: {}\n", self.why));
        let mut answer = Response::new(Full::new(words).map_err(|never| match never {}).boxed());
        *answer.status_mut() = self.status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, plain);
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }
}

/// Where a request's target leads; whether that may be is decided elsewhere.
pub(super) fn destination(target: &Uri, usage: Use) -> Result<Destination, Refusal> {
    let wrong = |why: String| Refusal { status: StatusCode::BAD_REQUEST, why };
    let authority = target
        .authority()
        .filter(|_| usage == Use::Tunnel || target.scheme() == Some(&Scheme::HTTP))
        .ok_or_else(|| wrong("a proxy needs an http:// address or CONNECT".to_owned()))?;
    let default_port = (usage == Use::Plain).then_some(80);
    let (host, port) = parts(authority, default_port)
        .ok_or_else(|| wrong(format!("'{authority}' is not a host and a port")))?;
    Ok(Destination { host, port, named: authority.as_str().to_owned() })
}

fn parts(authority: &Authority, default_port: Option<u16>) -> Option<(String, u16)> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ['-', '.', '_', ':'].contains(&c);
    let is_sound = !host.is_empty() && host.chars().all(is_plain) && !authority.as_str().contains('@');
    // A port that is written must be one: "host:" and "host:x" are neither.
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => default_port,
        Some(_) | None => authority.port_u16(),
    };
    is_sound.then_some(())?;
    Some((host.to_owned(), port?))
}

fn rewritten(request: Request<Incoming>, to: &Destination) -> Result<Request<Incoming>, Refusal> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let wrong = |e: &dyn std::fmt::Display| Refusal {
        status: StatusCode::BAD_REQUEST,
        why: format!("the request cannot be passed on: {e}"),
    };
    head.uri = Uri::builder().path_and_query(path).build().map_err(|e| wrong(&e))?;
    head.version = hyper::Version::HTTP_11;
    strip(&mut head.headers);
    let host = HeaderValue::from_str(&to.named).map_err(|e| wrong(&e))?;
    head.headers.insert(header::HOST, host);
    head.extensions.clear();
    Ok(Request::from_parts(head, body))
}

/// Takes out what is meant for us alone, with what `Connection` names. Lengths are set anew.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}
