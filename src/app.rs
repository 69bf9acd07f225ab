//! The composition root: from configuration to running adapters, router and workers, and down again.
//! `main`, the demo and the tests all start the service here. Nothing else builds an adapter.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use url::Url;

use crate::config::{ServerConfig, StoredApp};
use crate::github::RateLimits;
use crate::install::{AppRegistration, CredentialSink, InstallConfig};
use crate::provenance::ManifestSigner;
use crate::secrets;
use crate::store::{self, Store};
use crate::workspace::Mirrors;

mod connections;
mod data_lock;
mod hardening;
mod http;
mod models;
mod pruning;
mod sandboxes;
mod service;

pub use hardening::harden_process;
pub use models::model_config;
pub use sandboxes::{probe_sandbox, sandbox_spec, start_sandbox};

use models::model;
use pruning::prune_regularly;
use sandboxes::{absolute, clean_up_regularly, setup_policy};
use service::Service;

/// A running service. [`App::shut_down`] ends it; jobs that are under way are put back and continue at the
/// next start.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// The page on which the operator registers the App, if the service has no credentials yet. It may hold
    /// a token: only the operator may see it.
    pub setup_url: Option<Url>,
    tasks: Arc<Tasks>,
    /// Held while the service runs, so that no other process works on its data.
    _lock: std::fs::File,
}

/// The running tasks. More are added when the App is registered while the service runs.
#[derive(Default)]
struct Tasks {
    shutdown: CancellationToken,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Tasks {
    fn add(&self, task: JoinHandle<()>) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.handles.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl App {
    /// Starts the whole service. An adapter that cannot start is an error here, before the first webhook is
    /// accepted. Without credentials for GitHub, the setup page is served, and the credentials of the App
    /// that it registers go to `sink`.
    pub async fn start(config: ServerConfig, sink: CredentialSink) -> anyhow::Result<Self> {
        config.secrets().for_each(|(kind, secret)| secrets::register(kind, secret));
        config.warnings.iter().for_each(|warning| warn!("{warning}"));
        let data_dir = &config.server.data_dir;
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("the data directory {} cannot be created", data_dir.display()))?;
        let lock = data_lock::lock(data_dir).await?;
        // If the file cannot be read, its secrets cannot leak either.
        if let Ok(Some(stored)) = StoredApp::read(data_dir) {
            stored.secrets().into_iter().for_each(|(kind, secret)| secrets::register(kind, secret));
        }
        let canary = secrets::plant(data_dir)
            .with_context(|| format!("no canary can be planted in {}", data_dir.display()))?;
        debug!(file = %canary.file.display(), "canary planted");
        let store = store::open(&config.store.location).await?;
        let resumed = store.expire_stale_leases().await?;
        if resumed > 0 {
            info!(jobs = resumed, "resuming jobs that were under way when the service ended");
        }
        let sandbox = start_sandbox(&config.sandbox, data_dir).await?;
        let cache_limits = setup_policy(&config.sandbox.setup).kept;
        let public_url = config.server.public_url.as_ref().map(Url::as_str);
        let signer = Arc::new(ManifestSigner::open(data_dir, public_url)?);
        let tasks = Arc::new(Tasks::default());
        let service = Service {
            model: model(&config, &config.model.name)?,
            planner_model: config
                .model
                .planner_name
                .as_deref()
                .map(|name| model(&config, name))
                .transpose()?,
            mirrors: Mirrors::new(absolute(data_dir)?.join("mirrors")),
            store: store.clone(),
            sandbox: sandbox.clone(),
            limits: Arc::new(rate_limits(&config, store.clone()).await?),
            signer: signer.clone(),
            tasks: tasks.clone(),
            routes: Arc::default(),
            config: config.clone(),
        };
        let listener = TcpListener::bind(config.server.listen)
            .await
            .with_context(|| format!("server.listen: cannot listen on {}", config.server.listen))?;
        let address = listener.local_addr()?;
        let routes = service.routes.clone();
        let registration = match &config.github.app {
            Some(app) => {
                service.start(app)?;
                None
            }
            None => Some(registration(service, address, sink)),
        };
        let router = http::router(store.clone(), signer.public_keys(), routes, registration.as_ref());
        tasks.add(tokio::spawn(connections::serve(listener, router, tasks.shutdown.clone())));
        tasks.add(prune_regularly(store.clone(), config.store.keep, tasks.shutdown.clone()));
        tasks.add(clean_up_regularly(sandbox, cache_limits, tasks.shutdown.clone()));
        info!(%address, workers = config.server.workers, registered = registration.is_none(), "mendwright is listening");
        let setup_url = registration.map(|registration| registration.setup_url());
        Ok(Self { address, store, setup_url, tasks, _lock: lock })
    }

    /// Stops accepting requests and starting jobs, puts back the jobs under way, and waits for all tasks.
    pub async fn shut_down(self) {
        self.tasks.shutdown.cancel();
        for task in self.tasks.take() {
            if let Err(error) = task.await {
                warn!(%error, "a task panicked");
            }
        }
    }
}

/// The pages on which the App is registered. They start the `service` with its credentials.
fn registration(service: Service, address: SocketAddr, sink: CredentialSink) -> Arc<AppRegistration> {
    let config = InstallConfig {
        api_url: service.config.github.api_url.clone(),
        web_url: service.config.github.web_url.clone(),
        public_url: service.config.server.public_url.clone(),
        address,
        data_dir: service.config.server.data_dir.clone(),
        label: service.config.github.rules.label.clone(),
    };
    if sink.was_interrupted(&config.data_dir) {
        warn!("an earlier registration of the GitHub App was interrupted; the setup page says what to do");
    }
    let on_registered =
        move |app: &StoredApp| service.start(&app.into()).map_err(|error| format!("{error:#}"));
    AppRegistration::new(config, sink, Box::new(on_registered))
}

/// GitHub's rate limits, with those that an earlier process met. New ones are saved in the store.
async fn rate_limits(config: &ServerConfig, store: Arc<dyn Store>) -> anyhow::Result<RateLimits> {
    let saved = store.rate_limits(Timestamp::now()).await?;
    for (installation, until) in &saved {
        warn!(%installation, %until, "rate limited by GitHub: nothing is sent for this installation");
    }
    let save = move |installation, until| {
        let store = store.clone();
        async move {
            if let Err(error) = store.save_rate_limit(installation, until).await {
                warn!(%error, %installation, "a rate limit could not be saved, so a restart would forget it");
            }
        }
        .boxed()
    };
    Ok(RateLimits::new(config.github.write_interval).with_saved(saved, Arc::new(save)))
}
