//! Sends one request to GitHub through octocrab and returns the response. Knows no endpoint.
//!
//! octocrab authenticates and builds on the shared HTTP client. Three things stay here because octocrab
//! would do them unsafely: retries (its retry layer also repeats POST requests, which would post a
//! comment twice), redirects (it would send the token to another host), and the bound on the size of a
//! response (it reads whatever arrives).

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use jiff::Timestamp;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::service::middleware::extra_headers::ExtraHeadersLayer;
use octocrab::service::middleware::reqwest_connector::ReqwestConnector;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use secrecy::SecretString;
use tracing::Instrument;
use url::Url;

use super::backoff::{jittered, retry_after_failure};
use super::connection::ConnectionError;
use super::error::GitHubError;
use super::request::{ApiRequest, ApiResponse};
use super::secret_gate::without_secrets;
use crate::domain::is_loopback;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// For the whole exchange, body included. GitHub itself gives up on a request after 10 s.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(30);
/// A page of a hundred comments of 65,536 characters fits, whatever their encoding.
const RESPONSE_BYTES_MAX: usize = 40 * 1024 * 1024;
/// A renamed repository of a renamed owner takes two.
const REDIRECTS_MAX: usize = 3;
/// Waits before the repetitions of a repeatable request, before jitter.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
const API_VERSION: &str = "2022-11-28";

/// The source of the current time. Tests set it by hand.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a request authenticates.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    /// With nothing.
    Anonymous,
    /// As the App, with a JSON Web Token that octocrab signs.
    App,
    /// With an installation token.
    Token(SecretString),
}

/// Why one exchange brought no response.
enum ExchangeError {
    /// The network or the server failed; another attempt may succeed.
    Transient(String),
    /// Another attempt would end the same way.
    Fatal(GitHubError),
}

impl From<GitHubError> for ExchangeError {
    fn from(error: GitHubError) -> Self {
        Self::Fatal(error)
    }
}

pub(super) struct Transport {
    /// The REST API, authenticating as the App; token clients are made from it.
    rest: Octocrab,
    anonymous: Octocrab,
    /// GraphQL; token clients are made from it.
    graphql: Octocrab,
    api_url: Url,
    graphql_url: Url,
    pub(super) clock: Clock,
    pub(super) retry_delays: Vec<Duration>,
}

impl Transport {
    /// `app` is how the App authenticates. Must be called within a tokio runtime: octocrab's queue is
    /// a task.
    pub(super) fn new(api_url: &Url, app: AuthState) -> Result<Self, ConnectionError> {
        let uri = |url: &Url| {
            url.as_str()
                .parse::<Uri>()
                .map_err(|error| ConnectionError::HttpClient(format!("{url}: {error}")))
        };
        let mut http = reqwest::Client::builder();
        if is_loopback(api_url) {
            // The emulator: no proxy could reach it.
            http = http.no_proxy();
        }
        let http = http
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(EXCHANGE_TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ConnectionError::HttpClient(error.to_string()))?;
        let graphql_url = graphql_url(api_url);
        Ok(Self {
            rest: octocrab(http.clone(), uri(api_url)?, app),
            anonymous: octocrab(http.clone(), uri(api_url)?, AuthState::None),
            graphql: octocrab(http, uri(&graphql_url)?, AuthState::None),
            api_url: api_url.clone(),
            graphql_url,
            clock: Arc::new(Timestamp::now),
            retry_delays: RETRY_DELAYS.to_vec(),
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Sends a request if the secret gate allows it. A response below 500 is returned as it is; any
    /// other failure is [`GitHubError::Unavailable`], after the retries that the request allows.
    pub(super) async fn send(
        &self,
        request: &ApiRequest,
        credential: &Credential,
    ) -> Result<ApiResponse, GitHubError> {
        let request = &without_secrets(request)?;
        let client = self.client(request, credential)?;
        let span = tracing::debug_span!(
            "github_request", method = %request.method, path = request.path, status = tracing::field::Empty
        );
        self.send_with_retries(request, &client).instrument(span).await
    }

    async fn send_with_retries(
        &self,
        request: &ApiRequest,
        client: &Octocrab,
    ) -> Result<ApiResponse, GitHubError> {
        let delays: &[Duration] = if request.repeatable { &self.retry_delays } else { &[] };
        let mut delays = delays.iter();
        loop {
            let failure = match self.exchange(request, client).await {
                Ok(response) if !response.status.is_server_error() => {
                    tracing::Span::current().record("status", response.status.as_u16());
                    return Ok(response);
                }
                Ok(response) => format!("status {}", response.status),
                Err(ExchangeError::Transient(failure)) => failure,
                Err(ExchangeError::Fatal(error)) => return Err(error),
            };
            let Some(delay) = delays.next() else {
                return Err(GitHubError::Unavailable {
                    what: request.what.clone(),
                    detail: failure,
                    retry_after: retry_after_failure(),
                });
            };
            tracing::debug!(failure, "GitHub request failed and is repeated");
            tokio::time::sleep(jittered(*delay)).await;
        }
    }

    /// The octocrab client that authenticates with `credential`.
    fn client(&self, request: &ApiRequest, credential: &Credential) -> Result<Octocrab, GitHubError> {
        let base = if request.path == GRAPHQL_PATH { &self.graphql } else { &self.rest };
        let client = match credential {
            Credential::Anonymous => self.anonymous.clone(),
            Credential::App => self.rest.clone(),
            Credential::Token(token) => base
                .user_access_token(token.clone())
                .map_err(|error| request.rejected(format!("no client for the token: {error}")))?,
        };
        Ok(client)
    }

    /// One exchange, redirects included.
    async fn exchange(&self, request: &ApiRequest, client: &Octocrab) -> Result<ApiResponse, ExchangeError> {
        let mut url = self.url(request)?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.exchange_once(request, &url, client).await?;
            // docs.github.com, "Best practices for using the REST API": follow 301, 302, 307 and 308
            // with the same method and body.
            if !matches!(response.status.as_u16(), 301 | 302 | 307 | 308) {
                return Ok(response);
            }
            url = self.redirect_target(request, &response)?;
        }
        Err(request.rejected(format!("more than {REDIRECTS_MAX} redirects")).into())
    }

    async fn exchange_once(
        &self,
        request: &ApiRequest,
        url: &Url,
        client: &Octocrab,
    ) -> Result<ApiResponse, ExchangeError> {
        let message = http_request(request, url)
            .map_err(|error| request.rejected(format!("the request cannot be built: {error}")))?;
        let response = client.execute(message).await.map_err(|error| match error {
            octocrab::Error::JWT { source, .. } => ExchangeError::Fatal(GitHubError::Forbidden {
                what: request.what.clone(),
                detail: format!("the App's private key cannot sign: {source}"),
            }),
            error => ExchangeError::Transient(with_causes(&error)),
        })?;
        read_response(request, url, response).await
    }

    fn url(&self, request: &ApiRequest) -> Result<Url, GitHubError> {
        let base = if request.path == GRAPHQL_PATH { &self.graphql_url } else { &self.api_url };
        let text = format!("{}{}", base.as_str().trim_end_matches('/'), request.path);
        Url::parse(&text).map_err(|error| request.rejected(format!("{text:?} is not a valid URL: {error}")))
    }

    fn redirect_target(&self, request: &ApiRequest, response: &ApiResponse) -> Result<Url, GitHubError> {
        let location = response.header(header::LOCATION);
        match location.and_then(|location| response.url.join(location).ok()) {
            Some(target) if target.origin() == self.api_url.origin() => Ok(target),
            Some(target) => {
                Err(request.rejected(format!("a redirect to another host, {target}, is not followed")))
            }
            None => Err(request.rejected("a redirect without a location")),
        }
    }

    /// The request path of a page that GitHub links to. The links are opaque: they may use another
    /// spelling of the same repository, but they must not leave the API.
    pub(super) fn path_of_page(&self, what: &str, page: &Uri) -> Result<String, GitHubError> {
        let page = page.to_string();
        let path = page.strip_prefix(self.api_url.as_str().trim_end_matches('/'));
        path.filter(|path| path.starts_with('/')).map(str::to_owned).ok_or_else(|| GitHubError::Rejected {
            what: what.to_owned(),
            detail: format!("the next page, {page:?}, is not below {}", self.api_url),
        })
    }
}

/// The request path of GraphQL.
pub(super) const GRAPHQL_PATH: &str = "/graphql";

/// GraphQL is beside the REST API: `https://HOST/api/v3` has it at `https://HOST/api/graphql`.
fn graphql_url(api_url: &Url) -> Url {
    let mut url = api_url.clone();
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v3").unwrap_or(path).to_owned();
    url.set_path(&path);
    url
}

fn octocrab(http: reqwest::Client, base: Uri, auth: AuthState) -> Octocrab {
    let headers = [
        (header::USER_AGENT, concat!("mendwright/", env!("CARGO_PKG_VERSION"))),
        (header::ACCEPT, "application/vnd.github+json"),
        (HeaderName::from_static("x-github-api-version"), API_VERSION),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let built = OctocrabBuilder::new_empty()
        .with_service(ReqwestConnector::new(http))
        .with_layer(&ExtraHeadersLayer::new(Arc::new(headers.to_vec())))
        .with_layer(&BaseUriLayer::new(base))
        .with_auth(auth)
        .build();
    match built {
        Ok(octocrab) => octocrab,
        Err(never) => match never {},
    }
}

/// The request that octocrab completes: it adds the base URL, the headers and the credential. octocrab
/// sends a credential only to URLs without a host, so no token ever leaves for another one.
fn http_request(request: &ApiRequest, url: &Url) -> Result<Request<String>, http::Error> {
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut message = Request::builder().method(request.method.clone()).uri(path);
    if let Some(tag) = &request.if_none_match {
        message = message.header(header::IF_NONE_MATCH, tag);
    }
    match &request.body {
        Some(body) => message.header(header::CONTENT_TYPE, "application/json").body(body.to_string()),
        None => message.body(String::new()),
    }
}

async fn read_response(
    request: &ApiRequest,
    url: &Url,
    response: Response<BoxBody<Bytes, octocrab::Error>>,
) -> Result<ApiResponse, ExchangeError> {
    let (parts, mut stream) = response.into_parts();
    let mut body = BytesMut::new();
    while let Some(frame) = stream.frame().await {
        let frame = frame.map_err(|error| {
            ExchangeError::Transient(format!("the response was cut off: {}", with_causes(&error)))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if body.len() + data.len() > RESPONSE_BYTES_MAX {
            return Err(request.rejected(format!("the response is over {RESPONSE_BYTES_MAX} bytes")).into());
        }
        body.extend_from_slice(&data);
    }
    Ok(ApiResponse { status: parts.status, headers: parts.headers, body: body.freeze(), url: url.clone() })
}

/// An error with its causes: octocrab's own text often says only "Service Error".
fn with_causes(error: &octocrab::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphql_is_beside_the_rest_api() {
        let url = |api: &str| graphql_url(&api.parse().unwrap()).to_string();
        assert_eq!(url("https://api.github.com"), "https://api.github.com/");
        assert_eq!(url("https://github.example/api/v3"), "https://github.example/api");
        assert_eq!(url("https://github.example/api/v3/"), "https://github.example/api");
    }
}
