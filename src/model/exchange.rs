//! One HTTP exchange with a provider: a JSON request out, a stream of server-sent events in.
//!
//! Owns the HTTP client, the key, and the bounds on time and size. Knows no provider: the caller reads the
//! events. An exchange succeeds only if the caller has seen the stream's end marker.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource};
use futures_util::{Stream, StreamExt, stream};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::ModelError;
use super::failure::{Target, failure_of_status, quote};
use super::retry::{Failure, parse_retry_after};

/// The most bytes of an error body that are read; enough for any provider's JSON.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bounds on one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeLimits {
    /// For establishing the connection.
    pub connect_time_max: Duration,
    /// Without any data: before the response's head, and between two chunks. Reasoning models can send
    /// nothing for minutes.
    pub idle_time_max: Duration,
    /// The size of a response's stream.
    pub response_bytes_max: usize,
}

impl Default for ExchangeLimits {
    /// The slowest reasoning models need five minutes without data; 32 MiB is about a hundred times the
    /// largest response of a model.
    fn default() -> Self {
        Self {
            connect_time_max: Duration::from_secs(20),
            idle_time_max: Duration::from_secs(300),
            response_bytes_max: 32 << 20,
        }
    }
}

/// A part of a provider's response.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// An event of the requested stream.
    Event(&'a eventsource_stream::Event),
    /// The whole response, from a server that does not stream.
    Whole(&'a str),
}

/// The reader's state after an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The end marker has not come yet.
    More,
    /// The end marker has come; everything after it is ignored.
    Complete,
}

/// What all calls to a model share.
pub(super) struct Exchange {
    pub client: reqwest::Client,
    /// The URL of the requests.
    pub endpoint: Url,
    /// Headers of every request; those with the key are marked sensitive.
    pub headers: http::HeaderMap,
    /// The key, only to redact it from errors that quote it.
    pub key: SecretString,
    pub target: Target,
    pub limits: ExchangeLimits,
}

impl Exchange {
    /// Posts `body` and passes every part of the response to `read` until it returns `Complete`.
    pub(super) async fn run(
        &self,
        body: Bytes,
        mut read: impl FnMut(Part<'_>) -> Result<Progress, Failure> + Send,
    ) -> Result<(), Failure> {
        let mut read = |part: Part<'_>| read(part).map_err(|failure| self.without_key(failure));
        let (response, is_streamed) = self.send(body).await?;
        let mut chunks = Box::pin(self.chunks(response));
        if !is_streamed {
            let mut whole = Vec::new();
            while let Some(chunk) = chunks.next().await {
                whole.extend_from_slice(&chunk.map_err(|broken| self.stream_failure(broken))?);
            }
            return match read(Part::Whole(&String::from_utf8_lossy(&whole)))? {
                Progress::Complete => Ok(()),
                Progress::More => Err(self.invalid_response(format!(
                    "it answered with JSON that is not a message: {}",
                    quote(&self.redact(&String::from_utf8_lossy(&whole)))
                ))),
            };
        }
        let mut events = Box::pin(without_byte_order_mark(chunks)).eventsource();
        loop {
            match events.next().await {
                Some(Ok(event)) => match read(Part::Event(&event))? {
                    Progress::More => {}
                    Progress::Complete => return Ok(()),
                },
                Some(Err(EventStreamError::Transport(broken))) => return Err(self.stream_failure(broken)),
                Some(Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_))) => {
                    return Err(Failure::interrupted("the stream does not consist of server-sent events"));
                }
                None => return Err(Failure::interrupted("the stream ended before its end marker")),
            }
        }
    }

    /// The response's bytes as they arrive. A comment that keeps the connection alive counts as data.
    fn chunks(&self, response: reqwest::Response) -> impl Stream<Item = Result<Bytes, StreamError>> + '_ {
        stream::try_unfold((response, 0_usize), async |(mut response, seen)| {
            let chunk = tokio::time::timeout(self.limits.idle_time_max, response.chunk()).await;
            let chunk = chunk.map_err(|_| StreamError::Idle)?;
            let Some(chunk) = chunk.map_err(|error| StreamError::Transport(with_causes(&error)))? else {
                return Ok(None);
            };
            let seen = seen.saturating_add(chunk.len());
            if seen > self.limits.response_bytes_max {
                return Err(StreamError::TooLong);
            }
            Ok(Some((chunk, (response, seen))))
        })
    }

    fn stream_failure(&self, broken: StreamError) -> Failure {
        match broken {
            StreamError::Idle => Failure::interrupted(self.idle_timeout("in the middle of its response")),
            StreamError::Transport(words) => Failure::interrupted(format!("the stream was cut off: {words}")),
            StreamError::TooLong => {
                let detail = format!("it sent more than {} bytes", self.limits.response_bytes_max);
                Failure::Interrupted { detail, usage: None, is_transient: false }
            }
        }
    }

    /// Sends the request and checks the response's head. Returns the response and whether it is a stream.
    async fn send(&self, body: Bytes) -> Result<(reqwest::Response, bool), Failure> {
        let request = self.client.post(self.endpoint.clone()).headers(self.headers.clone()).body(body);
        let response = match tokio::time::timeout(self.limits.idle_time_max, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => {
                let words = with_causes(&error.without_url());
                return Err(Failure::transient(format!("no connection: {words}{}", tls_advice(&words))));
            }
            // The request was sent, and may have arrived.
            Ok(Err(error)) => {
                let words = with_causes(&error.without_url());
                return Err(Failure::interrupted(format!("the connection was lost: {words}")));
            }
            Err(_) => return Err(Failure::interrupted(self.idle_timeout("before its response began"))),
        };
        let status = response.status().as_u16();
        if status != 200 {
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| parse_retry_after(value.to_str().ok()?, Timestamp::now()));
            let body = self.error_body(response).await;
            return Err(failure_of_status(&self.target, status, retry_after, &body));
        }
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default();
        let kind = content_type.to_ascii_lowercase();
        let is_streamed = kind.starts_with("text/event-stream");
        if !is_streamed && !kind.starts_with("application/json") {
            let body = self.error_body(response).await;
            return Err(self.invalid_response(format!(
                "it answered with content type {:?} instead of text/event-stream: {}",
                quote(&content_type),
                quote(&body)
            )));
        }
        Ok((response, is_streamed))
    }

    /// The beginning of a body, as text, without the key and without parts that cannot be read.
    async fn error_body(&self, mut response: reqwest::Response) -> String {
        let mut body = Vec::new();
        let reading = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() >= ERROR_BODY_BYTES_MAX {
                    break;
                }
            }
        };
        // If the body stalls, the status is still reported.
        let _ = tokio::time::timeout(self.limits.idle_time_max, reading).await;
        body.truncate(ERROR_BODY_BYTES_MAX);
        self.redact(&String::from_utf8_lossy(&body))
    }

    fn invalid_response(&self, what: String) -> Failure {
        Failure::Permanent(ModelError::Refused {
            url: self.target.url.clone(),
            status: 200,
            detail: format!("{what} — check that the configured address is the provider's API"),
        })
    }

    fn idle_timeout(&self, when: &str) -> String {
        format!("the provider sent nothing for {:?} {when}", self.limits.idle_time_max)
    }

    fn without_key(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Transient { detail, retry_after } => {
                Failure::Transient { detail: self.redact(&detail), retry_after }
            }
            Failure::Interrupted { detail, usage, is_transient } => {
                Failure::Interrupted { detail: self.redact(&detail), usage, is_transient }
            }
            Failure::Permanent(ModelError::Refused { url, status, detail }) => {
                Failure::Permanent(ModelError::Refused { url, status, detail: self.redact(&detail) })
            }
            Failure::Permanent(ModelError::ContextOverflow { model, detail }) => {
                Failure::Permanent(ModelError::ContextOverflow { model, detail: self.redact(&detail) })
            }
            Failure::Permanent(ModelError::Unavailable { url, attempts, detail }) => {
                Failure::Permanent(ModelError::Unavailable { url, attempts, detail: self.redact(&detail) })
            }
            Failure::Permanent(ModelError::Interrupted { url, detail, usage, retry_after }) => {
                let detail = self.redact(&detail);
                Failure::Permanent(ModelError::Interrupted { url, detail, usage, retry_after })
            }
        }
    }

    /// Providers quote keys in their errors; ours must not spread.
    fn redact(&self, text: &str) -> String {
        let key = self.key.expose_secret();
        if key.is_empty() { text.to_owned() } else { text.replace(key, "[key]") }
    }
}

#[derive(Debug)]
enum StreamError {
    Idle,
    Transport(String),
    TooLong,
}

/// The byte order mark, which an event stream may begin with.
/// Source: html.spec.whatwg.org, "Parsing an event stream".
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The chunks without a byte order mark at the beginning: the event reader would panic at it.
fn without_byte_order_mark<E>(
    chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> impl Stream<Item = Result<Bytes, E>> {
    // The first bytes are buffered until it is known that they are not a byte order mark.
    stream::try_unfold((chunks, Some(Vec::new())), async |(mut chunks, mut buffered)| {
        while let Some(chunk) = chunks.next().await {
            let Some(mut start) = buffered.take() else { return Ok(Some((chunk?, (chunks, None)))) };
            start.extend_from_slice(&chunk?);
            if start.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&start) {
                buffered = Some(start);
                continue;
            }
            let rest = start.strip_prefix(BYTE_ORDER_MARK).map(<[u8]>::to_vec).unwrap_or(start);
            return Ok(Some((rest.into(), (chunks, None))));
        }
        Ok(buffered.filter(|start| !start.is_empty()).map(|start| (start.into(), (chunks, None))))
    })
}

/// What to do about a TLS failure.
fn tls_advice(words: &str) -> &'static str {
    if words.contains("InvalidContentType") {
        " — there is no TLS at this address; should it begin with http://?"
    } else if words.contains("certificate") {
        " — its TLS certificate is not trusted here; add its authority to this machine's certificate store"
    } else {
        ""
    }
}

/// An error with its causes: reqwest's own message names only the outermost one.
fn with_causes(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    quote(&words)
}
