//! GitHub as the App itself sees it, not as one installation: who it is, where its deliveries go and
//! what became of them, where it is installed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::app_jwt::AppKey;
use super::label_client::ReadingTokens;
use super::limits::RateLimits;
use super::refusal::{accepted, read};
use super::transport::{Answer, Call, Transport};
use super::wire::nonsense;
use super::{ConnectionError, GitHubConnection, GitHubError};

/// What GitHub gives in one page at most.
pub(super) const PAGE_ENTRIES: usize = 100;
/// Installations of one App that are looked at: 20 pages.
const INSTALLATION_PAGES_MAX: usize = 20;

/// The App, asking for itself.
pub struct AppClient {
    pub(super) transport: Transport,
    app: AppKey,
    pub(super) reading: ReadingTokens,
    pub(super) limits: Arc<RateLimits>,
}

/// The App as it is registered.
#[derive(Debug, Clone, Deserialize)]
pub struct AppInfo {
    /// Its name in addresses.
    pub slug: String,
    /// Whose it is; an organisation's App is kept on other pages than a person's.
    pub owner: Option<AppOwner>,
    /// What it asks for: permission and level.
    #[serde(default)]
    pub permissions: BTreeMap<String, String>,
    /// The events that it subscribes to.
    #[serde(default)]
    pub events: Vec<String>,
}

/// Whose an App is.
#[derive(Debug, Clone, Deserialize)]
pub struct AppOwner {
    /// The account; an enterprise has none.
    pub login: Option<String>,
    /// `User` or `Organization`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// The App's webhook.
#[derive(Debug, Clone, Deserialize)]
pub struct WebhookConfig {
    /// Where deliveries go.
    pub url: Option<String>,
    /// `json` or `form`.
    pub content_type: Option<String>,
    /// "1": certificates are not checked.
    #[serde(default, deserialize_with = "text_or_number")]
    pub insecure_ssl: String,
}

/// One attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WebhookDelivery {
    /// The attempt.
    pub id: u64,
    /// The delivery: the same for every attempt.
    pub guid: String,
    /// When.
    pub delivered_at: Timestamp,
    /// Whether it was one more attempt.
    #[serde(default)]
    pub redelivery: bool,
    /// What came of it, in words.
    pub status: String,
    /// What we answered; 0 where we did not.
    #[serde(default)]
    pub status_code: u16,
    /// The event.
    pub event: String,
    /// Its action.
    pub action: Option<String>,
}

impl WebhookDelivery {
    /// Whether we took it.
    pub fn arrived(&self) -> bool {
        (200..400).contains(&self.status_code)
    }
}

/// An account that the App is installed on.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Its number.
    pub id: u64,
    /// The account.
    pub account: String,
    /// Its page, where people accept permissions.
    pub html_url: String,
    /// What was granted.
    pub permissions: BTreeMap<String, String>,
    /// Whether it was suspended.
    pub suspended: bool,
}

#[derive(Deserialize)]
struct RawInstallation {
    id: u64,
    account: Option<RawAccount>,
    html_url: String,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
    suspended_at: Option<String>,
}

/// A user or organisation has a login; an enterprise has a slug.
#[derive(Deserialize)]
struct RawAccount {
    login: Option<String>,
    slug: Option<String>,
}

impl AppClient {
    /// Nothing is sent yet. Must be called within a tokio runtime.
    pub fn new(connection: &GitHubConnection) -> Result<Self, ConnectionError> {
        let app = AppKey::new(connection.app_id, &connection.private_key_pem)
            .map_err(|error| ConnectionError::PrivateKey(error.to_string()))?;
        let transport = Transport::new(&connection.api_url)
            .map_err(|error| ConnectionError::HttpClient(error.to_string()))?;
        Ok(Self { transport, app, reading: ReadingTokens::default(), limits: Arc::default() })
    }

    /// The same, with limits that others share.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<RateLimits>) -> Self {
        self.limits = limits;
        self
    }

    /// Who GitHub says that we are, and GitHub's clock, which comes with a refusal too. An error
    /// outside: GitHub cannot be reached.
    pub async fn about(&self) -> Result<(Option<Timestamp>, Result<AppInfo, GitHubError>), GitHubError> {
        let call = Call::get("reading the App itself", "/app");
        let answer = self.send(&call).await?;
        let date = answer.headers.get(http::header::DATE).and_then(|value| value.to_str().ok());
        let date = date.and_then(|text| rfc2822::parse(text).ok()).map(|zoned| zoned.timestamp());
        let facts = accepted(&call, answer, self.transport.now()).and_then(|answer| read(&call, &answer));
        Ok((date, facts))
    }

    /// Where deliveries go.
    pub async fn webhook_config(&self) -> Result<WebhookConfig, GitHubError> {
        self.get("reading the App's webhook settings", "/app/hook/config").await
    }

    /// The newest attempts to deliver, newest first; at most a hundred.
    pub async fn newest_deliveries(&self) -> Result<Vec<WebhookDelivery>, GitHubError> {
        let path = format!("/app/hook/deliveries?per_page={PAGE_ENTRIES}");
        self.get("reading the App's delivery log", &path).await
    }

    /// Where the App is installed; at most two thousand places.
    pub async fn installations(&self) -> Result<Vec<Installation>, GitHubError> {
        let mut path = format!("/app/installations?per_page={PAGE_ENTRIES}");
        let mut all = Vec::new();
        for _ in 0..INSTALLATION_PAGES_MAX {
            let call = Call::get("reading where the App is installed", path);
            let answer = accepted(&call, self.send(&call).await?, self.transport.now())?;
            let page: Vec<RawInstallation> = read(&call, &answer)?;
            all.extend(page.into_iter().map(RawInstallation::meaning));
            match self.transport.next_page(&call, &answer)? {
                Some(next) => path = next,
                None => break,
            }
        }
        Ok(all)
    }

    async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T, GitHubError> {
        let call = Call::get(what, path);
        read(&call, &accepted(&call, self.send(&call).await?, self.transport.now())?)
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Answer, GitHubError> {
        self.transport.send(call, Some(&self.jwt(call)?)).await
    }

    fn jwt(&self, call: &Call) -> Result<SecretString, GitHubError> {
        self.app.jwt(self.transport.now()).map_err(|error| nonsense(&call.what, error))
    }
}

impl RawInstallation {
    fn meaning(self) -> Installation {
        let account = self.account.and_then(|account| account.login.or(account.slug));
        Installation {
            id: self.id,
            account: account.unwrap_or_else(|| format!("installation {}", self.id)),
            html_url: self.html_url,
            permissions: self.permissions,
            suspended: self.suspended_at.is_some(),
        }
    }
}

/// GitHub documents both.
fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}
