//! Registers the GitHub App: a page with one button, for a service that has no credentials yet.
//! Owns the manifest that is sent to GitHub, the flow's states, and where the credentials are kept.
//! Never asks for more than `app-manifest.yml` says, and starts nothing itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use jiff::Timestamp;
use url::Url;

use crate::config::{StoredApp, is_loopback};

mod flow;
mod gate;
mod keep;
mod manifest;
mod page;
mod routes;

pub use keep::CredentialSink;
pub use manifest::{Manifest, manifest};

use flow::Flow;
use gate::Gate;

/// Where the page is.
pub const SETUP_PATH: &str = "/setup";

/// Where an App is to be registered, and for which service.
#[derive(Debug, Clone)]
pub struct Place {
    /// The GitHub's REST API.
    pub api_url: Url,
    /// The GitHub's pages.
    pub web_url: Url,
    /// How this service is reached from outside; `None`: not configured.
    pub public_url: Option<Url>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where credentials are stored.
    pub data_dir: PathBuf,
    /// The label that asks for work.
    pub label: String,
}

impl Place {
    /// How GitHub, and the browser, reach this service. Without a configured address only a GitHub
    /// on this very machine could.
    fn base(&self) -> Option<Url> {
        match &self.public_url {
            Some(url) => Some(url.clone()),
            None if is_loopback(&self.web_url) => Some(self.local()),
            None => None,
        }
    }

    /// This service as somebody on this machine reaches it.
    fn local(&self) -> Url {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Url::parse(&format!("http://{address}/")).expect("a socket address makes a URL")
    }

    /// Whether strangers may reach the page: through the network, or through a proxy on this machine,
    /// from which every request seems to come from here.
    fn is_exposed(&self) -> bool {
        !self.address.ip().is_loopback() || self.public_url.as_ref().is_some_and(|url| !is_loopback(url))
    }
}

/// `base` with `path` put at its end.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// Called once, with the new credentials: makes the service what it was started for. Answers with
/// what went wrong, in words.
pub type GoLive = Box<dyn Fn(&StoredApp) -> Result<(), String> + Send + Sync>;

/// The set-up of a service that has no credentials.
pub struct SetUp {
    place: Place,
    gate: Gate,
    flow: tokio::sync::Mutex<Flow>,
    keep: CredentialSink,
    go_live: GoLive,
    clock: fn() -> Timestamp,
}

impl SetUp {
    /// Nothing is asked of GitHub yet.
    pub fn new(place: Place, keep: CredentialSink, go_live: GoLive) -> Arc<Self> {
        let gate = Gate::new(place.is_exposed());
        let flow = Flow::new(keep.was_interrupted(&place.data_dir));
        Arc::new(Self {
            place,
            gate,
            flow: tokio::sync::Mutex::new(flow),
            keep,
            go_live,
            clock: Timestamp::now,
        })
    }

    /// What the operator is to open. Holds a secret where strangers may reach the page.
    pub fn invitation(&self) -> Url {
        let base = self.place.public_url.clone().unwrap_or_else(|| self.place.local());
        let mut url = below(&base, SETUP_PATH);
        if let Some(token) = self.gate.token() {
            url.query_pairs_mut().append_pair("token", &token);
        }
        url
    }

    /// The pages.
    pub fn router(self: &Arc<Self>) -> Router {
        routes::router(self.clone())
    }
}

/// Random text that nobody guesses: 244 bits.
fn random() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests;
