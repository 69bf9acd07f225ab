//! HTTP responses of every part of the emulator, and how they become bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde_json::Value;

use super::connection::ConnectionAborter;
use crate::github::rest::ApiResponse;

/// How long a truncated response waits before it aborts the connection: its first half must have left.
const ABORT_DELAY: Duration = Duration::from_millis(50);

/// A complete response.
#[derive(Debug)]
pub(super) struct HttpReply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl HttpReply {
    pub(super) fn text(status: u16, text: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        Self { status, headers, body: text.as_bytes().to_vec() }
    }

    pub(super) fn json(response: ApiResponse) -> Self {
        let mut headers = response.headers;
        let body = match response.body {
            Value::Null => Vec::new(),
            body => {
                headers.push(("content-type".to_owned(), "application/json; charset=utf-8".to_owned()));
                body.to_string().into_bytes()
            }
        };
        Self { status: response.status, headers, body }
    }

    /// 500, for a handler that panicked.
    pub(super) fn panicked(error: &tokio::task::JoinError) -> Self {
        Self::text(500, &format!("the emulator failed: {error}\n"))
    }

    /// The reply with the first half of its body, as if that were complete.
    pub(super) fn halved(mut self) -> Self {
        self.body.truncate(self.body.len() / 2);
        self
    }

    pub(super) fn into_response(self) -> Response {
        let Self { status, headers, body } = self;
        assemble(status, &headers, Body::from(body))
    }

    /// A response that announces the whole body, sends half of it and aborts the connection.
    pub(super) fn into_truncated_response(self, aborter: ConnectionAborter) -> Response {
        let Self { status, mut headers, mut body } = self;
        headers.push(("content-length".to_owned(), body.len().to_string()));
        body.truncate(body.len() / 2);
        let chunks = futures_util::stream::unfold(Some(body), move |state| {
            let aborter = aborter.clone();
            async move {
                match state {
                    Some(body) => Some((Ok(Bytes::from(body)), None)),
                    None => {
                        tokio::time::sleep(ABORT_DELAY).await;
                        aborter.abort();
                        Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted)), None))
                    }
                }
            }
        });
        assemble(status, &headers, Body::from_stream(chunks))
    }
}

fn assemble(status: u16, headers: &[(String, String)], body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        match (http::HeaderName::try_from(name), http::HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                response.headers_mut().append(name, value);
            }
            _ => tracing::warn!(%name, "invalid header left out of a response"),
        }
    }
    response
}

/// The headers with lower-case names. If a name occurs more than once, its last value is kept.
pub(super) fn header_map(parts: &Parts) -> BTreeMap<String, String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// The decoded name-value pairs of the query.
pub(super) fn query_pairs(parts: &Parts) -> BTreeMap<String, String> {
    let query = parts.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
