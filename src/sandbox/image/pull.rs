//! Requests manifests and blobs from a registry, without credentials. Stores nothing, verifies no digest.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>. Everything in a
//! response is limited, including errors, because the registry is not trusted. Plain HTTP is used only for
//! loopback addresses, and no redirect or token service leads from HTTPS to it.
//!
//! Hand-written instead of a client library because every byte must be limited and plain HTTP refused.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde::Deserialize;
use url::Url;

use super::error::{ImageError, shown};
use super::manifest::ACCEPTED;
use crate::domain::is_loopback;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Without a byte.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// Blobs are usually one redirect away.
const REDIRECTS_MAX: usize = 5;
/// Some tokens contain a list of permissions, and have some kilobytes.
const TOKEN_BYTES_MAX: u64 = 256 * 1024;
const USER_AGENT: &str = concat!("mendwright/", env!("CARGO_PKG_VERSION"));

/// A repository of a registry.
pub(super) struct Registry {
    client: Client,
    host: String,
    /// The URL of the repository, with a '/' at its end.
    base: Url,
    repository: String,
    token: Option<String>,
}

/// A blob that is being downloaded.
pub(super) struct Download {
    host: String,
    response: Response,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    pub(super) fn new(host: &str, address: &str, repository: &str) -> Result<Self, ImageError> {
        let url = |scheme: &str| {
            let url = format!("{scheme}://{address}/v2/{repository}/");
            Url::parse(&url).map_err(|error| ImageError::Reference(format!("its host is invalid: {error}")))
        };
        let plain = url("http")?;
        let is_local = is_loopback(&plain);
        let base = if is_local { plain } else { url("https")? };
        let redirects = Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_MAX {
                return attempt.error("there are too many redirects");
            }
            if !may_be_requested(attempt.url(), is_local) {
                return attempt.error("it redirects to plain HTTP");
            }
            attempt.follow()
        });
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIME_MAX)
            .read_timeout(IDLE_TIME_MAX)
            .redirect(redirects)
            // A blob is hashed in its transferred form.
            .no_gzip();
        let client = if is_local { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| unreachable(host, &error))?;
        let (host, repository) = (host.to_owned(), repository.to_owned());
        Ok(Self { client, host, base, repository, token: None })
    }

    /// The manifest or index with that tag or digest.
    pub(super) async fn manifest(&mut self, reference: &str, bytes_max: u64) -> Result<Vec<u8>, ImageError> {
        let response = self.get(&format!("manifests/{reference}"), Some(ACCEPTED)).await?;
        read_bounded(&self.host, response, "the manifest", bytes_max).await
    }

    /// The blob with that digest.
    pub(super) async fn blob(&mut self, digest: &str) -> Result<Download, ImageError> {
        let response = self.get(&format!("blobs/{digest}"), None).await?;
        Ok(Download { host: self.host.clone(), response })
    }

    async fn get(&mut self, path: &str, accepted: Option<&str>) -> Result<Response, ImageError> {
        let url = self.base.join(path).map_err(|error| ImageError::malformed("its name", error))?;
        let mut has_requested_token = false;
        loop {
            let mut request = self.client.get(url.clone());
            if let Some(accepted) = accepted {
                request = request.header(header::ACCEPT, accepted);
            }
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.map_err(|error| unreachable(&self.host, &error))?;
            match response.status() {
                StatusCode::OK => return Ok(response),
                // A token may also have expired during the download of a large layer.
                StatusCode::UNAUTHORIZED if !has_requested_token => {
                    has_requested_token = true;
                    self.token = Some(self.request_token(response.headers()).await?);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.requires_login()),
                StatusCode::NOT_FOUND => return Err(ImageError::NotFound { place: self.host.clone() }),
                status => {
                    return Err(ImageError::Status { place: self.host.clone(), status: status.as_u16() });
                }
            }
        }
    }

    /// Requests the token that registries issue to anonymous readers
    /// (<https://distribution.github.io/distribution/spec/auth/token/>).
    async fn request_token(&self, headers: &HeaderMap) -> Result<String, ImageError> {
        let challenge = headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let realm = challenge.and_then(|challenge| parameter(challenge, "realm"));
        let Some(mut url) = realm.and_then(|realm| Url::parse(realm).ok()) else {
            return Err(self.requires_login());
        };
        if !may_be_requested(&url, is_loopback(&self.base)) {
            let why = "its token service uses plain HTTP".to_owned();
            return Err(ImageError::Unreachable { host: self.host.clone(), why });
        }
        if let Some(service) = challenge.and_then(|challenge| parameter(challenge, "service")) {
            url.query_pairs_mut().append_pair("service", service);
        }
        url.query_pairs_mut().append_pair("scope", &format!("repository:{}:pull", self.repository));
        let response = self.client.get(url).send().await.map_err(|error| unreachable(&self.host, &error))?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_client_error() => return Err(self.requires_login()),
            status => {
                let place = format!("the token service of {}", self.host);
                return Err(ImageError::Status { place, status: status.as_u16() });
            }
        }
        let bytes = read_bounded(&self.host, response, "a token", TOKEN_BYTES_MAX).await?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        token.and_then(|token| token.token.or(token.access_token)).ok_or_else(|| self.requires_login())
    }

    fn requires_login(&self) -> ImageError {
        ImageError::Login { place: self.host.clone() }
    }
}

impl Download {
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ImageError> {
        self.response.chunk().await.map_err(|error| cut(&self.host, &error))
    }
}

fn may_be_requested(url: &Url, from_loopback: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => from_loopback && is_loopback(url),
        _ => false,
    }
}

async fn read_bounded(
    host: &str,
    mut response: Response,
    what: &'static str,
    bytes_max: u64,
) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cut(host, &error))? {
        if (bytes.len() + chunk.len()) as u64 > bytes_max {
            return Err(ImageError::over(what, format!("{bytes_max} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A parameter of `Bearer realm="…",service="…"` (RFC 9110, section 11.6.1).
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, mut rest) = challenge.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after.trim_start().trim_start_matches(',');
    }
}

fn unreachable(host: &str, error: &reqwest::Error) -> ImageError {
    if error.is_connect() || error.is_redirect() || error.is_builder() {
        return ImageError::Unreachable { host: host.to_owned(), why: causes(error) };
    }
    cut(host, error)
}

fn cut(host: &str, error: &reqwest::Error) -> ImageError {
    ImageError::Cut { host: host.to_owned(), why: causes(error) }
}

/// The causes of the client's error, whose own message contains only the address.
fn causes(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    if causes.is_empty() { "for an unknown reason".to_owned() } else { shown(&causes.join(": ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_parameters_are_read_with_and_without_quotes() {
        let challenge = r#"Bearer realm="https://auth.example/token",service="a, b=c",scope=x"#;
        assert_eq!(parameter(challenge, "realm"), Some("https://auth.example/token"));
        assert_eq!(parameter(challenge, "service"), Some("a, b=c"));
        assert_eq!(parameter(challenge, "scope"), Some("x"));
        assert_eq!(parameter(challenge, "error"), None);
        assert_eq!(parameter(r#"Basic realm="x""#, "realm"), None);
        assert_eq!(parameter("Bearer", "realm"), None);
        assert_eq!(parameter(r#"Bearer realm="x"#, "realm"), None);
    }

    #[test]
    fn plain_http_is_allowed_only_for_loopback() {
        let url = |text: &str| Url::parse(text).unwrap();
        assert!(may_be_requested(&url("https://h.example/"), false));
        assert!(may_be_requested(&url("http://127.0.0.1:5000/"), true));
        assert!(!may_be_requested(&url("http://127.0.0.1:5000/"), false));
        assert!(!may_be_requested(&url("http://h.example/"), true));
        assert!(!may_be_requested(&url("file:///etc/passwd"), true));
        assert_eq!(
            Registry::new("h.example", "h.example", "x").unwrap().base.as_str(),
            "https://h.example/v2/x/"
        );
        let base = Registry::new("localhost:5000", "localhost:5000", "a/b").unwrap().base;
        assert_eq!(base.as_str(), "http://localhost:5000/v2/a/b/");
    }
}
