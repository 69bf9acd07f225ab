//! Registers the GitHub App: a page with one button, for a service that has no credentials yet. Owns the
//! manifest that is sent to GitHub, the registrations under way, and where the credentials are stored.
//! Never asks for more than `app-manifest.yml` says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use jiff::Timestamp;
use url::Url;

use crate::config::StoredApp;
use crate::domain::is_loopback;

mod access_gate;
mod credential_sink;
mod manifest;
mod page;
mod problems;
mod registration;
mod routes;

pub use credential_sink::CredentialSink;
pub use manifest::{Manifest, manifest};

use access_gate::AccessGate;
use registration::RegistrationFlow;

/// The path of the page.
pub const SETUP_PATH: &str = "/setup";

/// At which GitHub an App is to be registered, and for which service.
#[derive(Debug, Clone)]
pub struct InstallConfig {
    /// GitHub's REST API.
    pub api_url: Url,
    /// GitHub's pages.
    pub web_url: Url,
    /// The address of this service from outside; `None`: not configured.
    pub public_url: Option<Url>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where credentials are stored.
    pub data_dir: PathBuf,
    /// The label that asks for work.
    pub label: String,
}

impl InstallConfig {
    /// The address at which GitHub and the browser reach this service. Without a configured address, only
    /// a GitHub on this machine can reach it.
    fn base(&self) -> Option<Url> {
        match &self.public_url {
            Some(url) => Some(url.clone()),
            None if is_loopback(&self.web_url) => Some(self.local()),
            None => None,
        }
    }

    /// The address of this service on this machine.
    fn local(&self) -> Url {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Url::parse(&format!("http://{address}/")).expect("a socket address makes a URL")
    }

    /// Whether strangers may reach the page: through the network, or through a proxy on this machine, from
    /// which every request seems to come from this machine.
    fn is_exposed(&self) -> bool {
        !self.address.ip().is_loopback() || self.public_url.as_ref().is_some_and(|url| !is_loopback(url))
    }
}

/// `base` with `path` at its end.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// Called once with the new credentials: starts the service's work. `Err` says what went wrong.
pub type OnRegistered = Box<dyn Fn(&StoredApp) -> Result<(), String> + Send + Sync>;

/// The registration of an App for a service without credentials.
pub struct AppRegistration {
    config: InstallConfig,
    gate: AccessGate,
    flow: tokio::sync::Mutex<RegistrationFlow>,
    sink: CredentialSink,
    on_registered: OnRegistered,
    clock: fn() -> Timestamp,
}

impl AppRegistration {
    /// A registration that has not contacted GitHub yet.
    pub fn new(config: InstallConfig, sink: CredentialSink, on_registered: OnRegistered) -> Arc<Self> {
        let gate = AccessGate::new(config.is_exposed());
        let flow = RegistrationFlow::new(sink.was_interrupted(&config.data_dir));
        Arc::new(Self {
            config,
            gate,
            flow: tokio::sync::Mutex::new(flow),
            sink,
            on_registered,
            clock: Timestamp::now,
        })
    }

    /// The address that the operator opens. It holds a secret token if strangers may reach the page.
    pub fn setup_url(&self) -> Url {
        let base = self.config.public_url.clone().unwrap_or_else(|| self.config.local());
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

/// Random text that nobody can guess: 244 bits.
fn random() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests;
