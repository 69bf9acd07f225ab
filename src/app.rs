//! The composition root: from configuration to running adapters, router and workers, and down
//! again. `main`, the demo and the tests all come through here; nobody else builds an adapter.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_service::Service;
use tracing::{info, warn};
use url::Url;

use crate::config::{AppConfig, ServerConfig, StoredApp};
use crate::github::{AppClient, GitHub, GitHubConnection, OctocrabGitHub, RateLimits};
use crate::install::{CredentialSink, Place, SetUp};
use crate::model::Model;
use crate::sandbox::Sandbox;
use crate::secrets;
use crate::setup::SetupLocks;
use crate::store::{SqliteStore, Store};
use crate::webhook::{self, WebhookSecrets, WebhookState};
use crate::worker::{Acknowledger, CommandProcessor, JobPolicy, Reconciler, Worker, WorkerContext};
use crate::workspace::Mirrors;

mod models;
mod sandboxes;

pub use models::model_config;
pub use sandboxes::{sandbox, sandbox_spec, try_sandbox};

use models::{context_of_summarizer, context_of_worker, model};
use sandboxes::{absolute, setup_policy, tidy};

/// For the last traces of a predecessor that was killed to go.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A running service. [`App::shut_down`] ends it; jobs under way then are put back and go on at the
/// next start.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its store, for those who watch.
    pub store: Arc<dyn Store>,
    /// What the operator is to open in a browser, where the service has no credentials yet. May
    /// hold a token: for the operator's eyes.
    pub invitation: Option<Url>,
    running: Arc<Running>,
    /// Held as long as we run: no other process works on our data.
    _lock: std::fs::File,
}

/// What runs; it grows when the App is registered while the service runs.
#[derive(Default)]
struct Running {
    shutdown: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Running {
    fn add(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

impl App {
    /// Starts everything that `config` asks for. Nothing is half started: an adapter that cannot
    /// be had is an error here, before the first webhook is accepted. Without credentials for
    /// GitHub the set-up page is served, and what it registers goes to `keep`.
    pub async fn start(config: ServerConfig, keep: CredentialSink) -> anyhow::Result<Self> {
        config.secrets().for_each(|(kind, secret)| secrets::register(kind, secret));
        config.warnings.iter().for_each(|warning| warn!("{warning}"));
        let data_dir = &config.data_dir;
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("the data directory {} cannot be made", data_dir.display()))?;
        let lock = lock(data_dir).await?;
        // What cannot be read is no secret that could leave.
        if let Ok(Some(stored)) = StoredApp::read(data_dir) {
            stored.secrets().into_iter().for_each(|(kind, secret)| secrets::register(kind, secret));
        }
        let canary = secrets::plant(data_dir)
            .with_context(|| format!("no canary can be planted in {}", data_dir.display()))?;
        tracing::debug!(file = %canary.file.display(), "a canary is planted");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.store_path).await?);
        let taken_over = store.expire_stale_leases().await?;
        if taken_over > 0 {
            info!(jobs = taken_over, "going on with jobs that were under way when the service ended");
        }
        let sandbox = sandbox(&config.sandbox, data_dir).await?;
        let setup = setup_policy(&config.sandbox.setup);
        let running = Arc::new(Running::default());
        let live = Live {
            model: model(&config, &config.model.name)?,
            brief_model: config.model.brief_name.as_deref().map(|name| model(&config, name)).transpose()?,
            mirrors: Mirrors::new(absolute(data_dir)?.join("mirrors")),
            store: store.clone(),
            sandbox: sandbox.clone(),
            limits: Arc::new(limits(&config, store.clone()).await?),
            running: running.clone(),
            routes: Arc::default(),
            config: config.clone(),
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("server.listen: cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let routes = live.routes.clone();
        let set_up_pages = match &config.github.app {
            Some(app) => {
                live.go(app)?;
                None
            }
            None => Some(registration(live, address, keep)),
        };
        let router = router(store.clone(), routes, set_up_pages.as_ref());
        running.add(serve(listener, router, running.shutdown.clone()));
        running.add(tidy(sandbox, setup.kept, running.shutdown.clone()));
        info!(%address, workers = config.workers, registered = set_up_pages.is_none(), "mendwright is listening");
        let invitation = set_up_pages.map(|pages| pages.invitation());
        Ok(Self { address, store, invitation, running, _lock: lock })
    }

    /// Stops taking requests and jobs, puts back what is under way, and waits for all of it.
    pub async fn shut_down(self) {
        self.running.shutdown.cancel();
        let tasks = std::mem::take(&mut *self.running.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                warn!(%error, "a task did not end well");
            }
        }
    }
}

/// What becomes of the service once it has the App's credentials.
struct Live {
    config: ServerConfig,
    store: Arc<dyn Store>,
    model: Arc<dyn Model>,
    brief_model: Option<Arc<dyn Model>>,
    sandbox: Arc<dyn Sandbox>,
    mirrors: Mirrors,
    limits: Arc<RateLimits>,
    running: Arc<Running>,
    /// What the front door hands requests on to.
    routes: Arc<OnceLock<Router>>,
}

impl Live {
    /// Takes deliveries and works on jobs from now on.
    fn go(&self, app: &AppConfig) -> anyhow::Result<()> {
        let config = &self.config;
        let connection = GitHubConnection {
            api_url: config.github.api_url.clone(),
            web_url: config.github.web_url.clone(),
            app_id: app.id,
            private_key_pem: app.private_key.clone(),
        };
        let reconciling = AppClient::new(&connection)?.with_limits(self.limits.clone());
        let github: Arc<dyn GitHub> =
            Arc::new(OctocrabGitHub::new(connection)?.with_limits(self.limits.clone()));
        let parts = WorkerContext {
            store: self.store.clone(),
            github,
            model: self.model.clone(),
            brief_model: self.brief_model.clone(),
            sandbox: self.sandbox.clone(),
            mirrors: self.mirrors.clone(),
            policy: JobPolicy {
                label: config.github.label.clone(),
                bots_allowed: config.github.bots_allowed.clone(),
                repository_filter: config.github.repository_filter.clone(),
                budget: config.budget.clone(),
                caps: config.caps,
                sandbox: sandbox_spec(&config.sandbox),
                setup: setup_policy(&config.sandbox.setup),
                output_tokens_max: config.model.output_tokens_max,
                context_tokens: context_of_worker(&config.model),
                summarizer_context_tokens: context_of_summarizer(&config.model),
                settings_override: None,
                hold: config.github.requires_approval,
                rounds_max: config.github.review_rounds_max,
                signed_commits: config.github.signed_commits,
            },
            wake: Arc::new(Notify::new()),
            setup_locks: SetupLocks::default(),
            clock: Timestamp::now,
        };
        let secrets = WebhookSecrets::new(app.webhook_secret.clone(), app.webhook_secret_previous.clone())?;
        let (asked, arrived) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let webhook = WebhookState {
            secrets,
            label: config.github.label.clone(),
            repository_filter: config.github.repository_filter.clone(),
            deliveries: Arc::new(self.store.clone()),
            wake: parts.wake.clone(),
            asked: asked.clone(),
            arrived: arrived.clone(),
        };
        if self.routes.set(webhook::router(webhook)).is_err() {
            anyhow::bail!("the service has credentials already");
        }
        let reconciler = Reconciler::new(
            reconciling,
            self.store.clone(),
            (config.github.label.clone(), config.github.repository_filter.clone()),
            parts.wake.clone(),
            config.github.reconcile_every,
            Timestamp::now,
        );
        let shutdown = self.running.shutdown.clone();
        self.running.add(tokio::spawn(async move { reconciler.run(&shutdown).await }));
        let clerk = CommandProcessor::new(parts.clone(), asked);
        let shutdown = self.running.shutdown.clone();
        self.running.add(tokio::spawn(async move { clerk.run(&shutdown).await }));
        let greeter = Acknowledger::new(parts.clone(), arrived);
        let shutdown = self.running.shutdown.clone();
        self.running.add(tokio::spawn(async move { greeter.run(&shutdown).await }));
        for number in 0..config.workers {
            let worker = Worker::new(parts.clone(), format!("{}-{number}", std::process::id()));
            let shutdown = self.running.shutdown.clone();
            self.running.add(tokio::spawn(async move { worker.run(&shutdown).await }));
        }
        Ok(())
    }
}

/// The pages on which the App is registered, for a service that goes `live` by them.
fn registration(live: Live, address: SocketAddr, keep: CredentialSink) -> Arc<SetUp> {
    let place = Place {
        api_url: live.config.github.api_url.clone(),
        web_url: live.config.github.web_url.clone(),
        public_url: live.config.public_url.clone(),
        address,
        data_dir: live.config.data_dir.clone(),
        label: live.config.github.label.to_string(),
    };
    if keep.was_interrupted(&place.data_dir) {
        warn!("an earlier registration of the GitHub App was cut off; the set-up page says what to do");
    }
    let go_live = move |app: &StoredApp| live.go(&app.into()).map_err(|error| format!("{error:#}"));
    SetUp::new(place, keep, Box::new(go_live))
}

/// GitHub's limits, with the pauses of the last process; new ones are put down in the store.
async fn limits(config: &ServerConfig, store: Arc<dyn Store>) -> anyhow::Result<RateLimits> {
    let known = store.rate_limits(Timestamp::now()).await?;
    for (installation, until) in &known {
        warn!(%installation, %until, "GitHub's rate limit: nothing is sent for this installation");
    }
    let keep = move |installation, until| {
        let store = store.clone();
        async move {
            if let Err(error) = store.save_rate_limit(installation, until).await {
                warn!(%error, %installation, "a restart would forget the rate limit that was met");
            }
        }
        .boxed()
    };
    Ok(RateLimits::new(config.github.between_writes).with_saved(known, Arc::new(keep)))
}

/// Takes the data directory for this process. The kernel gives it back when we end, however we do:
/// a moment later at most, for a process that we were just starting holds what we held until it has
/// become another program.
async fn lock(data_dir: &Path) -> anyhow::Result<std::fs::File> {
    let path = data_dir.join("lock");
    let file = std::fs::File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    let until = tokio::time::Instant::now() + LOCK_PATIENCE;
    while let Err(error) = file.try_lock() {
        if tokio::time::Instant::now() > until {
            return Err(error).with_context(|| {
                format!(
                    "server.data_dir: {} is in use by another mendwright; stop that one, or name another \
                     directory",
                    data_dir.display()
                )
            });
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(file)
}

fn router(store: Arc<dyn Store>, live: Arc<OnceLock<Router>>, setup: Option<&Arc<SetUp>>) -> Router {
    let health = Router::new().route("/healthz", get(health)).with_state(store);
    let pages = setup.map(|setup| setup.router()).unwrap_or_default();
    let door = Router::new().fallback(hand_on).with_state(live);
    health.merge(pages).fallback_service(door).layer(CatchPanicLayer::new())
}

/// To what the service serves once it has credentials.
async fn hand_on(State(live): State<Arc<OnceLock<Router>>>, request: Request) -> Response {
    let Some(router) = live.get() else {
        let why = "the GitHub App is not registered yet; the service's log says how";
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": why }))).into_response();
    };
    // A router is always ready.
    let Ok(response) = router.clone().call(request).await;
    response
}

/// Healthy means: what is accepted can be kept.
async fn health(State(store): State<Arc<dyn Store>>) -> (StatusCode, Json<Value>) {
    match store.jobs(1).await {
        Ok(_) => (StatusCode::OK, Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))),
        Err(error) => {
            warn!(%error, "unhealthy");
            let body = json!({"status": "the store does not answer; the log says why"});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}

fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> JoinHandle<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move {
        let stopped = async move { shutdown.cancelled().await };
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the server stopped");
        }
    })
}
