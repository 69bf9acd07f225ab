//! GitHub as the App itself sees it: who it is, where its deliveries go and what became of them, and
//! where it is installed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::api_client::{ApiClient, Sender};
use super::connection::{ConnectionError, GitHubConnection};
use super::error::GitHubError;
use super::pages::{PAGE_ENTRIES, Pages};
use super::rate_limits::RateLimits;
use super::request::ApiRequest;
use super::response::{read, require_success};
use super::transport::Credential;

/// Pages of failed deliveries, and of installations of one App.
const PAGES_MAX: usize = 20;

/// The App, on its own behalf.
pub struct AppClient {
    pub(super) api: ApiClient,
}

/// The App as it is registered. octocrab's model cannot read an App that an enterprise owns, nor a
/// permission that is newer than octocrab.
#[derive(Debug, Clone, Deserialize)]
pub struct AppInfo {
    /// Its name in URLs.
    pub slug: String,
    /// Its owner; an organisation's App has its settings on other pages than a person's.
    pub owner: Option<AppOwner>,
    /// The permissions that it requests, with their levels.
    #[serde(default)]
    pub permissions: BTreeMap<String, String>,
    /// The events that it subscribes to.
    #[serde(default)]
    pub events: Vec<String>,
}

/// The owner of an App.
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
    /// "1": certificates are not verified.
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
    /// When it was attempted.
    pub delivered_at: Timestamp,
    /// Whether it repeats an earlier attempt.
    #[serde(default)]
    pub redelivery: bool,
    /// The result, as a text of GitHub.
    pub status: String,
    /// The status of our response; 0 if there was none.
    #[serde(default)]
    pub status_code: u16,
    /// The event.
    pub event: String,
    /// Its action.
    pub action: Option<String>,
}

impl WebhookDelivery {
    /// Whether we accepted it.
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
    /// The granted permissions.
    pub permissions: BTreeMap<String, String>,
    /// Whether it was suspended.
    pub suspended: bool,
}

/// octocrab's model cannot read an enterprise's installation, and has no `suspended_at`.
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
    /// Sends nothing. Must be called within a tokio runtime.
    pub fn new(connection: &GitHubConnection) -> Result<Self, ConnectionError> {
        Ok(Self { api: ApiClient::new(connection)? })
    }

    /// Shares the rate limits with other clients.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<RateLimits>) -> Self {
        self.api.limits = limits;
        self
    }

    /// The App as GitHub knows it, and GitHub's clock, which comes with a refusal too. The outer error
    /// means that GitHub cannot be reached.
    pub async fn app_info(&self) -> Result<(Option<Timestamp>, Result<AppInfo, GitHubError>), GitHubError> {
        let request = ApiRequest::get("reading the App itself", "/app");
        let response = self.api.transport.send(&request, &Credential::App).await?;
        let date = response.date();
        let accepted = require_success(&request, response, self.api.transport.now()).await;
        Ok((date, accepted.and_then(|response| read(&request, &response))))
    }

    /// Where deliveries go.
    pub async fn webhook_config(&self) -> Result<WebhookConfig, GitHubError> {
        let request = ApiRequest::get("reading the App's webhook settings", "/app/hook/config");
        self.api.get(Sender::App, &request).await
    }

    /// The newest delivery attempts, newest first; at most a hundred.
    pub async fn newest_deliveries(&self) -> Result<Vec<WebhookDelivery>, GitHubError> {
        let path = format!("/app/hook/deliveries?per_page={PAGE_ENTRIES}");
        self.api.get(Sender::App, &ApiRequest::get("reading the App's delivery log", path)).await
    }

    /// The failed delivery attempts since `since`, newest first.
    pub async fn failed_deliveries(&self, since: Timestamp) -> Result<Vec<WebhookDelivery>, GitHubError> {
        let path = format!("/app/hook/deliveries?status=failure&per_page={PAGE_ENTRIES}");
        let mut pages = Pages::new("reading the App's failed deliveries", path, PAGES_MAX);
        let mut failed = Vec::new();
        while let Some(page) = pages.next::<WebhookDelivery>(&self.api, Sender::App).await? {
            let reaches_back = page.iter().any(|attempt| attempt.delivered_at < since);
            // An older server may ignore the filter.
            let is_failed = |attempt: &WebhookDelivery| attempt.delivered_at >= since && !attempt.arrived();
            failed.extend(page.into_iter().filter(is_failed));
            if reaches_back {
                break;
            }
        }
        Ok(failed)
    }

    /// Makes GitHub send a delivery again.
    pub async fn redeliver(&self, attempt: u64) -> Result<(), GitHubError> {
        let path = format!("/app/hook/deliveries/{attempt}/attempts");
        let request = ApiRequest::post_without_body("requesting a redelivery", path);
        self.api.send(Sender::App, &request).await.map(drop)
    }

    /// Where the App is installed; at most two thousand installations.
    pub async fn installations(&self) -> Result<Vec<Installation>, GitHubError> {
        let path = format!("/app/installations?per_page={PAGE_ENTRIES}");
        let mut pages = Pages::new("reading where the App is installed", path, PAGES_MAX);
        let mut all = Vec::new();
        while let Some(page) = pages.next::<RawInstallation>(&self.api, Sender::App).await? {
            all.extend(page.into_iter().map(RawInstallation::into_domain));
        }
        Ok(all)
    }
}

impl RawInstallation {
    fn into_domain(self) -> Installation {
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
