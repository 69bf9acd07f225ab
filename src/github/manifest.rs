//! The last step of registering an App from a manifest: the code that GitHub sent the browser back
//! with becomes the App's credentials. Needs no credentials of its own.
//!
//! Source: docs.github.com, "Registering a GitHub App from a manifest".

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::GitHubError;
use super::client::encoded;
use super::refusal::{accepted, read};
use super::transport::{Call, Transport};
use super::wire::nonsense;

/// An App that was just registered. GitHub shows its secrets this once.
#[derive(Debug, Clone)]
pub struct RegisteredApp {
    /// Its number.
    pub id: u64,
    /// Its name in addresses.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its page.
    pub html_url: String,
    /// The account that it belongs to.
    pub owner: String,
    /// For people who sign in.
    pub client_id: String,
    /// For people who sign in.
    pub client_secret: SecretString,
    /// What its deliveries are signed with.
    pub webhook_secret: SecretString,
    /// Its RSA key, PEM.
    pub private_key: SecretString,
}

#[derive(Deserialize)]
struct RawRegistered {
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

/// Converts a code, which works once and for an hour. `Unavailable` may mean that the code was
/// used and its answer lost; asking again with the same code tells: `NotFound` then.
pub async fn convert_manifest_code(api_url: &Url, code: &str) -> Result<RegisteredApp, GitHubError> {
    let what = "fetching the new App's credentials";
    let transport = Transport::new(api_url).map_err(|error| GitHubError::Unavailable {
        what: what.to_owned(),
        detail: format!("no HTTP client can be made: {error}"),
        retry_after: std::time::Duration::ZERO,
    })?;
    let path = format!("/app-manifests/{}/conversions", encoded(code));
    let call = Call { body: None, ..Call::post(what, path, serde_json::Value::Null) };
    let answer = transport.send(&call, None).await?;
    let raw: RawRegistered = read(&call, &accepted(&call, answer, transport.now())?)?;
    let webhook_secret = raw.webhook_secret.ok_or_else(|| nonsense(what, "there is no webhook secret"))?;
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
