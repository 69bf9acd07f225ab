//! Sends one request to GitHub and brings its answer back. Retries what may be repeated, follows
//! redirects within the API's own address, bounds sizes and times. Knows no endpoint.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use octocrab::service::middleware::reqwest_connector::ReqwestConnector;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::GitHubError;
use super::cleared::cleared;
use crate::config::is_loopback;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// For the whole exchange, body included. GitHub itself gives up on a request after 10 s.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(30);
/// A page of a hundred comments of 65,536 characters fits, whatever their encoding.
const ANSWER_BYTES_MAX: usize = 40 * 1024 * 1024;
/// A renamed repository of a renamed owner takes two.
const REDIRECTS_MAX: usize = 3;
/// When to come back after trouble that GitHub says nothing about, before jitter.
const TROUBLE_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Pauses before the repetitions of a request that may be repeated, before jitter.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
const API_VERSION: &str = "2022-11-28";

/// Where the time comes from. Tests turn it by hand.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A request, without its credentials.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// What it is for, in words for errors: "reading issue octo/repo#7".
    pub(super) what: String,
    pub(super) method: Method,
    /// Path and query below the API's address, beginning with '/', encoded.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// Whether doing it twice comes to the same as doing it once.
    pub(super) repeatable: bool,
    /// The tag of an answer that we have already.
    pub(super) if_none_match: Option<String>,
    /// Whether its texts must arrive as they are: contents of files. Texts that people read must not.
    pub(super) verbatim: bool,
    /// Whether it goes before all writes that wait for their turn.
    pub(super) at_once: bool,
}

impl Call {
    pub(super) fn get(what: impl Into<String>, path: impl Into<String>) -> Self {
        let (what, path) = (what.into(), path.into());
        Self {
            what,
            method: Method::GET,
            path,
            body: None,
            repeatable: true,
            if_none_match: None,
            verbatim: false,
            at_once: false,
        }
    }
    pub(super) fn patch(what: impl Into<String>, path: impl Into<String>, body: Value) -> Self {
        let (what, path) = (what.into(), path.into());
        Self {
            what,
            method: Method::PATCH,
            path,
            body: Some(body),
            repeatable: true,
            if_none_match: None,
            verbatim: false,
            at_once: false,
        }
    }
    /// Never sent twice: what it creates may exist although no answer came.
    pub(super) fn post(what: impl Into<String>, path: impl Into<String>, body: Value) -> Self {
        let (what, path) = (what.into(), path.into());
        Self {
            what,
            method: Method::POST,
            path,
            body: Some(body),
            repeatable: false,
            if_none_match: None,
            verbatim: false,
            at_once: false,
        }
    }
    /// For contents that were looked through before.
    pub(super) fn verbatim(self) -> Self {
        Self { verbatim: true, ..self }
    }
    /// For what nobody is notified of, and somebody waits for.
    pub(super) fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }
    pub(super) fn delete(what: impl Into<String>, path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(what, path) }
    }
    /// For the few creations of which GitHub itself keeps one, or which nobody sees.
    pub(super) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }
}

/// What GitHub answered, whatever the status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Where it came from, after redirects.
    pub(super) address: Url,
}

pub(super) struct Transport {
    octocrab: Octocrab,
    /// Without a slash at its end.
    api: String,
    origin: url::Origin,
    pub(super) now: Clock,
    pub(super) retry_pauses: Vec<Duration>,
}

impl Transport {
    /// Must be called within a tokio runtime: octocrab's queue is a task.
    pub(super) fn new(api_url: &Url) -> Result<Self, reqwest::Error> {
        let mut client = reqwest::Client::builder();
        if is_loopback(api_url) {
            // The emulator: no proxy could reach it.
            client = client.no_proxy();
        }
        let client = client
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(EXCHANGE_TIME_MAX)
            // Followed below, so that no token ever leaves for another host.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let built = OctocrabBuilder::new_empty()
            .with_service(ReqwestConnector::new(client))
            .with_auth(AuthState::None)
            .build();
        let octocrab = match built {
            Ok(octocrab) => octocrab,
            Err(never) => match never {},
        };
        Ok(Self {
            octocrab,
            api: api_url.as_str().trim_end_matches('/').to_owned(),
            origin: api_url.origin(),
            now: Arc::new(Timestamp::now),
            retry_pauses: RETRY_PAUSES.to_vec(),
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Sends a call, if the gate lets it pass. An answer below 500 is handed back as it is; trouble is
    /// [`GitHubError::Unavailable`], after the repetitions that the call allows.
    pub(super) async fn send(
        &self,
        call: &Call,
        credential: Option<&SecretString>,
    ) -> Result<Answer, GitHubError> {
        let call = &cleared(call)?;
        let pauses: &[Duration] = if call.repeatable { &self.retry_pauses } else { &[] };
        let mut pauses = pauses.iter();
        loop {
            let trouble = match self.exchange(call, credential).await? {
                Ok(answer) if !answer.status.is_server_error() => return Ok(answer),
                Ok(answer) => format!("status {}", answer.status),
                Err(trouble) => trouble,
            };
            let Some(pause) = pauses.next() else {
                return Err(GitHubError::Unavailable {
                    what: call.what.clone(),
                    detail: trouble,
                    retry_after: after_trouble(),
                });
            };
            tracing::debug!(what = call.what, trouble, "asking GitHub again");
            tokio::time::sleep(jittered(*pause)).await;
        }
    }

    /// One exchange, redirects included. The inner error is trouble on the way, in words.
    async fn exchange(
        &self,
        call: &Call,
        credential: Option<&SecretString>,
    ) -> Result<Result<Answer, String>, GitHubError> {
        let mut address = self.address(call)?;
        for _ in 0..=REDIRECTS_MAX {
            let answer = match self.once(call, &address, credential).await? {
                Ok(answer) => answer,
                Err(trouble) => return Ok(Err(trouble)),
            };
            // docs.github.com, "Best practices for using the REST API": 301, 302, 307 and 308 are
            // to be followed with the same method and body.
            if !matches!(answer.status.as_u16(), 301 | 302 | 307 | 308) {
                return Ok(Ok(answer));
            }
            address = self.redirected(call, &address, &answer)?;
        }
        Err(rejected(call, format!("more than {REDIRECTS_MAX} redirects")))
    }

    async fn once(
        &self,
        call: &Call,
        address: &Url,
        credential: Option<&SecretString>,
    ) -> Result<Result<Answer, String>, GitHubError> {
        let request = request(call, address, credential)
            .map_err(|error| rejected(call, format!("the request cannot be made: {error}")))?;
        let response = match self.octocrab.execute(request).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(with_causes(&error))),
        };
        let (parts, mut stream) = response.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = stream.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Ok(Err(format!("the answer broke off: {}", with_causes(&error)))),
            };
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > ANSWER_BYTES_MAX {
                return Err(rejected(call, format!("the answer is over {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&data);
        }
        Ok(Ok(Answer { status: parts.status, headers: parts.headers, body, address: address.clone() }))
    }

    fn address(&self, call: &Call) -> Result<Url, GitHubError> {
        // Beside the REST API: `https://HOST/api/v3` has it at `https://HOST/api/graphql`.
        let api = match call.path.as_str() {
            "/graphql" => self.api.trim_end_matches("/v3"),
            _ => &self.api,
        };
        let text = format!("{api}{}", call.path);
        Url::parse(&text).map_err(|error| rejected(call, format!("{text:?} is no address: {error}")))
    }

    fn redirected(&self, call: &Call, from: &Url, answer: &Answer) -> Result<Url, GitHubError> {
        let location = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| from.join(location).ok());
        match to {
            Some(to) if to.origin() == self.origin => Ok(to),
            Some(to) => Err(rejected(call, format!("a redirect to another address, {to}, is not followed"))),
            None => Err(rejected(call, "a redirect without an address".to_owned())),
        }
    }

    /// The path and query of the next page, where there is one. GitHub's links are opaque: they
    /// may point to another spelling of the same repository, but not away from the API.
    pub(super) fn next_page(&self, call: &Call, answer: &Answer) -> Result<Option<String>, GitHubError> {
        let links =
            answer.headers.get(header::LINK).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_next = |link: &&str| {
            link.split(';').skip(1).any(|attribute| attribute.trim().eq_ignore_ascii_case("rel=\"next\""))
        };
        let Some(next) = links.split(',').find(is_next) else { return Ok(None) };
        let address = next.trim().trim_start_matches('<').split('>').next().unwrap_or_default();
        match address.strip_prefix(&self.api).filter(|path| path.starts_with('/')) {
            Some(path) => Ok(Some(path.to_owned())),
            None => Err(rejected(call, format!("the next page, {address:?}, is not below {}", self.api))),
        }
    }
}

fn request(
    call: &Call,
    address: &Url,
    credential: Option<&SecretString>,
) -> Result<Request<String>, http::Error> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(address.as_str())
        .header(header::USER_AGENT, concat!("mendwright/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/vnd.github+json")
        .header("x-github-api-version", API_VERSION);
    if let Some(credential) = credential {
        let mut value = HeaderValue::try_from(format!("Bearer {}", credential.expose_secret()))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    if let Some(tag) = &call.if_none_match {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    match &call.body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(body.to_string()),
        None => request.body(String::new()),
    }
}

fn rejected(call: &Call, detail: String) -> GitHubError {
    GitHubError::Rejected { what: call.what.clone(), detail }
}

/// An error with its causes; octocrab's own words often say nothing but "Service Error".
fn with_causes(error: &octocrab::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

/// When to come back after trouble that GitHub says nothing about.
pub(super) fn after_trouble() -> Duration {
    jittered(TROUBLE_RETRY_AFTER)
}

/// Half to one and a half of a pause, so that workers that failed together do not come back so.
fn jittered(pause: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_bytes()[0];
    pause.mul_f64(0.5 + f64::from(random) / 255.0)
}
