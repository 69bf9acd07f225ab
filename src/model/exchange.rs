//! One HTTP exchange with a provider: a JSON request out, a stream of server-sent events in.
//!
//! Owns the HTTP client, the key and the bounds on time and size. Knows no provider: what an event
//! means is the caller's business. An exchange succeeds only when the caller saw the stream's end
//! marker.

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
use super::failure::{Asked, of_status, quote};
use super::retry::{Failure, parse_retry_after};

/// Bytes of an error body that are read; enough for any provider's JSON.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bounds on one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeLimits {
    /// Until the connection stands.
    pub connect_time_max: Duration,
    /// Silence: before the answer's head, and between two chunks of it. Reasoning models can be
    /// silent for minutes.
    pub idle_time_max: Duration,
    /// Size of an answer's stream.
    pub response_bytes_max: usize,
}

impl Default for ExchangeLimits {
    /// Five minutes of silence are what the longest-thinking models need; 32 MiB are some hundred
    /// times the largest answer that a model can give.
    fn default() -> Self {
        Self {
            connect_time_max: Duration::from_secs(20),
            idle_time_max: Duration::from_secs(300),
            response_bytes_max: 32 << 20,
        }
    }
}

/// What a provider answers with.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// An event of the stream that was asked for.
    Event(&'a eventsource_stream::Event),
    /// The whole answer at once, from a server that does not stream.
    Whole(&'a str),
}

/// What the reader of a stream says after an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The end marker has not come yet.
    More,
    /// The end marker came; nothing after it counts.
    Complete,
}

/// Everything that stays the same between calls.
pub(super) struct Exchange {
    pub client: reqwest::Client,
    /// Where requests go.
    pub endpoint: Url,
    /// Headers of every request; those with the key are marked sensitive.
    pub headers: http::HeaderMap,
    /// The key, only to take it out of what a provider may echo.
    pub key: SecretString,
    pub asked: Asked,
    pub limits: ExchangeLimits,
}

impl Exchange {
    /// Posts `body` and hands every part of the answer to `read` until it says that it is complete.
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
                whole.extend_from_slice(&chunk.map_err(|broken| self.broken_off(broken))?);
            }
            return match read(Part::Whole(&String::from_utf8_lossy(&whole)))? {
                Progress::Complete => Ok(()),
                Progress::More => Err(self.not_an_answer(format!(
                    "it answered with JSON that is no message: {}",
                    quote(&self.redact(&String::from_utf8_lossy(&whole)))
                ))),
            };
        }
        let mut events = Box::pin(without_mark(chunks)).eventsource();
        loop {
            match events.next().await {
                Some(Ok(event)) => match read(Part::Event(&event))? {
                    Progress::More => {}
                    Progress::Complete => return Ok(()),
                },
                Some(Err(EventStreamError::Transport(broken))) => return Err(self.broken_off(broken)),
                Some(Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_))) => {
                    return Err(Failure::broken("the stream is not made of server-sent events"));
                }
                None => return Err(Failure::broken("the stream ended before its end marker")),
            }
        }
    }

    /// The answer's bytes as they come. A comment that only keeps the connection alive is no
    /// silence.
    fn chunks(&self, response: reqwest::Response) -> impl Stream<Item = Result<Bytes, StreamBroken>> + '_ {
        stream::try_unfold((response, 0_usize), async |(mut response, seen)| {
            let chunk = tokio::time::timeout(self.limits.idle_time_max, response.chunk()).await;
            let chunk = chunk.map_err(|_| StreamBroken::Silence)?;
            let Some(chunk) = chunk.map_err(|error| StreamBroken::Transport(words_of(&error)))? else {
                return Ok(None);
            };
            let seen = seen.saturating_add(chunk.len());
            if seen > self.limits.response_bytes_max {
                return Err(StreamBroken::TooLong);
            }
            Ok(Some((chunk, (response, seen))))
        })
    }

    fn broken_off(&self, broken: StreamBroken) -> Failure {
        match broken {
            StreamBroken::Silence => Failure::broken(self.silence("in the middle of its answer")),
            StreamBroken::Transport(words) => Failure::broken(format!("the stream broke off: {words}")),
            StreamBroken::TooLong => {
                let detail = format!("it sent more than {} bytes", self.limits.response_bytes_max);
                Failure::Interrupted { detail, usage: None, is_passing: false }
            }
        }
    }

    /// Sends the request and checks the answer's head. Answers with the response and whether it is
    /// a stream.
    async fn send(&self, body: Bytes) -> Result<(reqwest::Response, bool), Failure> {
        let request = self.client.post(self.endpoint.clone()).headers(self.headers.clone()).body(body);
        let response = match tokio::time::timeout(self.limits.idle_time_max, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => {
                let words = words_of(&error.without_url());
                return Err(Failure::passing(format!("no connection: {words}{}", tls_advice(&words))));
            }
            // The request was on its way, and perhaps arrived.
            Ok(Err(error)) => {
                let words = words_of(&error.without_url());
                return Err(Failure::broken(format!("the connection was lost: {words}")));
            }
            Err(_) => return Err(Failure::broken(self.silence("before its answer began"))),
        };
        let status = response.status().as_u16();
        if status != 200 {
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| parse_retry_after(value.to_str().ok()?, Timestamp::now()));
            let body = self.error_body(response).await;
            return Err(of_status(&self.asked, status, retry_after, &body));
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
            return Err(self.not_an_answer(format!(
                "it answered with content type {:?} where text/event-stream was asked for: {}",
                quote(&content_type),
                quote(&body)
            )));
        }
        Ok((response, is_streamed))
    }

    /// The beginning of a body, as text, without the key. What cannot be read is left out.
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
        // A body that stalls still leaves a status, which says more than the silence.
        let _ = tokio::time::timeout(self.limits.idle_time_max, reading).await;
        body.truncate(ERROR_BODY_BYTES_MAX);
        self.redact(&String::from_utf8_lossy(&body))
    }

    fn not_an_answer(&self, what: String) -> Failure {
        Failure::Final(ModelError::Refused {
            url: self.asked.url.clone(),
            status: 200,
            detail: format!("{what} — check that the configured address is the provider's API"),
        })
    }

    fn silence(&self, when: &str) -> String {
        format!("the provider was silent for {:?} {when}", self.limits.idle_time_max)
    }

    fn without_key(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Passing { detail, retry_after } => {
                Failure::Passing { detail: self.redact(&detail), retry_after }
            }
            Failure::Interrupted { detail, usage, is_passing } => {
                Failure::Interrupted { detail: self.redact(&detail), usage, is_passing }
            }
            Failure::Final(ModelError::Refused { url, status, detail }) => {
                Failure::Final(ModelError::Refused { url, status, detail: self.redact(&detail) })
            }
            Failure::Final(ModelError::ContextOverflow { model, detail }) => {
                Failure::Final(ModelError::ContextOverflow { model, detail: self.redact(&detail) })
            }
            Failure::Final(ModelError::Unavailable { url, attempts, detail }) => {
                Failure::Final(ModelError::Unavailable { url, attempts, detail: self.redact(&detail) })
            }
            Failure::Final(ModelError::Interrupted { url, detail, usage, retry_after }) => {
                let detail = self.redact(&detail);
                Failure::Final(ModelError::Interrupted { url, detail, usage, retry_after })
            }
        }
    }

    /// Providers quote keys in their complaints; ours goes no further.
    fn redact(&self, text: &str) -> String {
        let key = self.key.expose_secret();
        if key.is_empty() { text.to_owned() } else { text.replace(key, "[key]") }
    }
}

#[derive(Debug)]
enum StreamBroken {
    Silence,
    Transport(String),
    TooLong,
}

/// The byte order mark, which an event stream may begin with.
/// Source: html.spec.whatwg.org, "Parsing an event stream".
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The chunks without a byte order mark at their beginning, at which the reader of events panics.
fn without_mark<E>(
    chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> impl Stream<Item = Result<Bytes, E>> {
    // Until the first bytes are known to be none, they are held back.
    stream::try_unfold((chunks, Some(Vec::new())), async |(mut chunks, mut held)| {
        while let Some(chunk) = chunks.next().await {
            let Some(mut begun) = held.take() else { return Ok(Some((chunk?, (chunks, None)))) };
            begun.extend_from_slice(&chunk?);
            if begun.len() < MARK.len() && MARK.starts_with(&begun) {
                held = Some(begun);
                continue;
            }
            let rest = begun.strip_prefix(MARK).map(<[u8]>::to_vec).unwrap_or(begun);
            return Ok(Some((rest.into(), (chunks, None))));
        }
        Ok(held.filter(|begun| !begun.is_empty()).map(|begun| (begun.into(), (chunks, None))))
    })
}

/// What to do about a connection that failed for its encryption.
fn tls_advice(words: &str) -> &'static str {
    if words.contains("InvalidContentType") {
        " — it speaks no TLS there; should the address begin with http://?"
    } else if words.contains("certificate") {
        " — its TLS certificate is not trusted here; put its authority into this machine's certificate store"
    } else {
        ""
    }
}

/// An error with its causes: reqwest's own words name only the outermost.
fn words_of(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    quote(&words)
}
