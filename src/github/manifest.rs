//! The last step of registering an App from a manifest: exchanges the code that GitHub gave to the
//! browser for the App's credentials. It needs no credentials of its own.
//!
//! Source: docs.github.com, "Registering a GitHub App from a manifest".

use octocrab::AuthState;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::error::GitHubError;
use super::paths::encode_segment;
use super::request::ApiRequest;
use super::response::{read, require_success};
use super::transport::{Credential, Transport};

/// An App that was just registered. GitHub shows its secrets only this once.
#[derive(Debug, Clone)]
pub struct RegisteredApp {
    /// Its id.
    pub id: u64,
    /// Its name in URLs.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its page.
    pub html_url: String,
    /// The account that owns it.
    pub owner: String,
    /// For people who sign in.
    pub client_id: String,
    /// For people who sign in.
    pub client_secret: SecretString,
    /// The secret that signs its deliveries.
    pub webhook_secret: SecretString,
    /// Its RSA key, PEM.
    pub private_key: SecretString,
}

/// octocrab's model holds the secrets as plain text and cannot read an App that an enterprise owns.
#[derive(Deserialize)]
struct RawRegisteredApp {
    id: u64,
    slug: Option<String>,
    name: String,
    html_url: String,
    owner: Option<RawOwner>,
    client_id: String,
    client_secret: SecretString,
    webhook_secret: Option<SecretString>,
    pem: SecretString,
}

/// A user or organisation has a login; an enterprise has a slug.
#[derive(Deserialize)]
struct RawOwner {
    login: Option<String>,
    slug: Option<String>,
}

/// Exchanges a code, which works once and for an hour. After `Unavailable` the code may have been used
/// and its response lost; a second request with the same code shows it: `NotFound`.
pub async fn convert_manifest_code(api_url: &Url, code: &str) -> Result<RegisteredApp, GitHubError> {
    let path = format!("/app-manifests/{}/conversions", encode_segment(code));
    let request = ApiRequest::post_without_body("fetching the new App's credentials", path);
    let transport = Transport::new(api_url, AuthState::None).map_err(|error| GitHubError::Unavailable {
        what: request.what.clone(),
        detail: error.to_string(),
        retry_after: std::time::Duration::ZERO,
    })?;
    let response = transport.send(&request, &Credential::Anonymous).await?;
    let response = require_success(&request, response, transport.now()).await?;
    let raw: RawRegisteredApp = read(&request, &response)?;
    let webhook_secret =
        raw.webhook_secret.ok_or_else(|| request.invalid_response("there is no webhook secret"))?;
    let slug_of_page = || raw.html_url.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(RegisteredApp {
        id: raw.id,
        slug: raw.slug.unwrap_or_else(slug_of_page),
        name: raw.name,
        html_url: raw.html_url,
        owner: raw.owner.and_then(|owner| owner.login.or(owner.slug)).unwrap_or_default(),
        client_id: raw.client_id,
        client_secret: raw.client_secret,
        webhook_secret,
        private_key: raw.pem,
    })
}
