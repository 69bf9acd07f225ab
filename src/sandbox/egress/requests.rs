//! Requests to the proxy: each is parsed by itself, and the request that is sent is written again for the
//! allowed host, whatever its headers contain.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::Instrument;

use super::destination::{Destination, destination};
use super::{CONNECTION_MAX, Egress, IDLE_MAX, Refusal, Use, tunnel};

/// Headers that are valid for only one connection (RFC 9110, section 7.6.1), and those for a proxy.
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

/// The response to the sandbox.
pub(super) type ProxyResponse = Response<BoxBody<Bytes, hyper::Error>>;

impl Egress {
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        slot: Arc<OwnedSemaphorePermit>,
    ) -> ProxyResponse {
        let outcome = match *request.method() == Method::CONNECT {
            true => self.open_tunnel(request, slot).await,
            false => self.forward(request).await,
        };
        outcome.unwrap_or_else(|refusal| refusal.into_response())
    }

    async fn open_tunnel(
        &self,
        request: Request<Incoming>,
        slot: Arc<OwnedSemaphorePermit>,
    ) -> Result<ProxyResponse, Refusal> {
        let to = destination(request.uri(), Use::Tunnel)?;
        let upstream = self.connect(&to.host, to.port, Use::Tunnel).await?;
        let egress = self.clone();
        let tunnelling = async move {
            let _slot = slot;
            let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
            let mut client = TokioIo::new(upgraded);
            let _ = timeout(CONNECTION_MAX, tunnel::run(&egress, &to, &mut client, upstream)).await;
        };
        tokio::spawn(tunnelling.in_current_span());
        Ok(Response::new(Full::default().map_err(|never| match never {}).boxed()))
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<ProxyResponse, Refusal> {
        let to = destination(request.uri(), Use::Plain)?;
        let upstream = self.connect(&to.host, to.port, Use::Plain).await?;
        let broken = |e: hyper::Error| Refusal::unreachable(format!("'{}' broke off: {e}", to.host));
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(upstream));
        let (mut sender, connection) = handshake.await.map_err(broken)?;
        // It ends when the response has been read or dropped.
        let connection = tokio::spawn(timeout(CONNECTION_MAX, connection));
        let response = timeout(IDLE_MAX, sender.send_request(rewritten(request, &to)?)).await;
        let response = response
            .map_err(|_| Refusal::unreachable(format!("'{}' did not answer in time", to.host)))?
            .map_err(broken)?;
        let (mut head, body) = response.into_parts();
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

/// The task of a connection, which is aborted when the reader is dropped.
struct Connection<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Refusal {
    fn into_response(self) -> ProxyResponse {
        let text = Bytes::from(format!("Mendwright's sandbox: {}\n", self.why));
        let mut response = Response::new(Full::new(text).map_err(|never| match never {}).boxed());
        *response.status_mut() = self.status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn rewritten(request: Request<Incoming>, to: &Destination) -> Result<Request<Incoming>, Refusal> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let invalid = |e: &dyn std::fmt::Display| Refusal {
        status: StatusCode::BAD_REQUEST,
        why: format!("the request cannot be passed on: {e}"),
    };
    head.uri = Uri::builder().path_and_query(path).build().map_err(|e| invalid(&e))?;
    head.version = hyper::Version::HTTP_11;
    strip(&mut head.headers);
    let host = HeaderValue::from_str(&to.authority).map_err(|e| invalid(&e))?;
    head.headers.insert(header::HOST, host);
    head.extensions.clear();
    Ok(Request::from_parts(head, body))
}

/// Removes headers that are meant only for the proxy, and those that `Connection` names. Lengths are set
/// again.
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
