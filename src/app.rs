//! The composition root: from configuration to running adapters, router and workers, and down
//! again. `main`, the demo and the tests all come through here; nobody else builds an adapter.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_service::Service;
use tracing::{info, warn};
use url::Url;

use crate::config::{
    self, AppConfig, ModelProvider, SandboxConfig, SandboxGuarantee, SandboxKind, ServerConfig, SetUpConfig,
    StoredApp, Toolchains,
};
use crate::github::{AppClient, Connection, GitHub, OctocrabGitHub};
use crate::install::{Keep, Place, SetUp};
use crate::model::{Model, ModelConfig, Provider, context_tokens};
use crate::sandbox::{
    DockerOptions, Guarantee, KeptBounds, Limits, Root, Sandbox, SandboxOptions, SandboxSpec, connect,
    detect_toolchains,
};
use crate::secrets;
use crate::store::{SqliteStore, Store};
use crate::verdict::{SetUpLocks, SetUpPolicy};
use crate::webhook::{self, WebhookSecrets, WebhookState};
use crate::worker::{Parts, Reconciler, Rules, Worker};
use crate::workspace::Mirrors;

/// How often is looked for what sandboxes left behind.
const TIDY_EVERY: Duration = Duration::from_secs(600);
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
    pub async fn start(config: ServerConfig, keep: Keep) -> anyhow::Result<Self> {
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
        let taken_over = store.end_leases_of_the_dead().await?;
        if taken_over > 0 {
            info!(jobs = taken_over, "going on with jobs that were under way when the service ended");
        }
        let sandbox = sandbox(&config.sandbox, data_dir).await?;
        let set_up = set_up_policy(&config.sandbox.set_up);
        let running = Arc::new(Running::default());
        let live = Live {
            model: model(&config, &config.model.name)?,
            brief_model: config.model.brief_name.as_deref().map(|name| model(&config, name)).transpose()?,
            mirrors: Mirrors::new(absolute(data_dir)?.join("mirrors")),
            store: store.clone(),
            sandbox: sandbox.clone(),
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
        running.add(tidy(sandbox, set_up.kept, running.shutdown.clone()));
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
    running: Arc<Running>,
    /// What the front door hands requests on to.
    routes: Arc<OnceLock<Router>>,
}

impl Live {
    /// Takes deliveries and works on jobs from now on.
    fn go(&self, app: &AppConfig) -> anyhow::Result<()> {
        let config = &self.config;
        let connection = Connection {
            api_url: config.github.api_url.clone(),
            web_url: config.github.web_url.clone(),
            app_id: app.id,
            private_key_pem: app.private_key.clone(),
        };
        let reconciling = AppClient::new(&connection)?;
        let github: Arc<dyn GitHub> = Arc::new(OctocrabGitHub::new(connection)?);
        let parts = Parts {
            store: self.store.clone(),
            github,
            model: self.model.clone(),
            brief_model: self.brief_model.clone(),
            sandbox: self.sandbox.clone(),
            mirrors: self.mirrors.clone(),
            rules: Rules {
                label: config.github.label.clone(),
                bots_allowed: config.github.bots_allowed.clone(),
                budget: config.budget.clone(),
                caps: config.caps,
                sandbox: sandbox_spec(&config.sandbox),
                set_up: set_up_policy(&config.sandbox.set_up),
                output_tokens_max: config.model.output_tokens_max,
                context_tokens: context_of_worker(&config.model),
                scribe_context_tokens: context_of_scribe(&config.model),
                settings_override: None,
                hold: config.github.publish_hold,
                signed_commits: config.github.signed_commits,
            },
            wake: Arc::new(Notify::new()),
            set_ups: SetUpLocks::default(),
            clock: Timestamp::now,
        };
        let secrets = WebhookSecrets::new(app.webhook_secret.clone(), app.webhook_secret_previous.clone())?;
        let webhook = WebhookState {
            secrets,
            label: config.github.label.clone(),
            deliveries: Arc::new(self.store.clone()),
            wake: parts.wake.clone(),
        };
        if self.routes.set(webhook::router(webhook)).is_err() {
            anyhow::bail!("the service has credentials already");
        }
        let reconciler = Reconciler::new(
            reconciling,
            self.store.clone(),
            config.github.label.clone(),
            parts.wake.clone(),
            config.github.reconcile_every,
            Timestamp::now,
        );
        let shutdown = self.running.shutdown.clone();
        self.running.add(tokio::spawn(async move { reconciler.run(&shutdown).await }));
        for number in 0..config.workers {
            let worker = Worker::new(parts.clone(), format!("{}-{number}", std::process::id()));
            let shutdown = self.running.shutdown.clone();
            self.running.add(tokio::spawn(async move { worker.run(&shutdown).await }));
        }
        Ok(())
    }
}

/// The pages on which the App is registered, for a service that goes `live` by them.
fn registration(live: Live, address: SocketAddr, keep: Keep) -> Arc<SetUp> {
    let place = Place {
        api_url: live.config.github.api_url.clone(),
        web_url: live.config.github.web_url.clone(),
        public_url: live.config.public_url.clone(),
        address,
        data_dir: live.config.data_dir.clone(),
        label: live.config.github.label.clone(),
    };
    if keep.was_interrupted(&place.data_dir) {
        warn!("an earlier registration of the GitHub App was cut off; the set-up page says what to do");
    }
    let go_live = move |app: &StoredApp| live.go(&app.into()).map_err(|error| format!("{error:#}"));
    SetUp::new(place, keep, Box::new(go_live))
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

fn router(store: Arc<dyn Store>, live: Arc<OnceLock<Router>>, set_up: Option<&Arc<SetUp>>) -> Router {
    let health = Router::new().route("/healthz", get(health)).with_state(store);
    let pages = set_up.map(|set_up| set_up.router()).unwrap_or_default();
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

/// What the model that works can hold: as stated, else as known.
fn context_of_worker(model: &config::ModelConfig) -> u64 {
    model.context_tokens.unwrap_or_else(|| context_tokens(&model.name))
}

/// What the model that sums up can hold.
fn context_of_scribe(model: &config::ModelConfig) -> u64 {
    match model.brief_name.as_ref().filter(|name| **name != model.name) {
        Some(name) => context_tokens(name),
        None => context_of_worker(model),
    }
}

/// How a model of the configured provider is reached.
pub fn model_config(model: &config::ModelConfig, name: &str) -> ModelConfig {
    let provider = match model.provider {
        ModelProvider::Anthropic => Provider::Anthropic,
        ModelProvider::OpenAi => Provider::OpenAi,
    };
    let key = model.api_key.clone().unwrap_or_else(|| SecretString::from(String::new()));
    let mut wanted = ModelConfig::new(provider, name.to_owned(), key);
    wanted.url = Some(model.url.clone());
    wanted.price = model.stated_price(name);
    wanted
}

/// A model of the configured provider.
fn model(config: &ServerConfig, name: &str) -> anyhow::Result<Arc<dyn Model>> {
    let model = crate::model::connect(model_config(&config.model, name))?;
    match model.price() {
        Some(price) => info!(
            model = model.name(),
            input = price.input,
            output = price.output,
            "US dollars for a million tokens"
        ),
        None => unpriced(config, model.name())?,
    }
    Ok(model)
}

/// What it means that nobody knows what the model costs: a warning where only tokens are to be
/// counted, an error where dollars are to be held.
fn unpriced(config: &ServerConfig, model: &str) -> anyhow::Result<()> {
    let remedy = "state its price in [model.price] or in model.prices_file";
    if config.require_price {
        bail!("budget.require_price: no price is known for {model}; {remedy}");
    }
    let caps = [("repository", config.caps.repository), ("installation", config.caps.installation)];
    for (payer, cap) in caps {
        if cap.usd.is_some() && cap.tokens.is_none() {
            bail!(
                "budget.{payer}_usd_per_day: no price is known for {model}, so that it cannot be held; {remedy}, \
                 or cap tokens with budget.{payer}_tokens_per_day"
            );
        }
    }
    warn!("no price is known for {model}: tokens only are counted, and no limit in dollars holds; {remedy}");
    Ok(())
}

/// The configured sandbox, without what predecessors left of it, tried once: a job must not be the
/// first to find out that it cannot be had.
pub async fn sandbox(config: &SandboxConfig, data_dir: &Path) -> anyhow::Result<Arc<dyn Sandbox>> {
    let sandbox = connect(&sandbox_options(config, data_dir)?)?;
    let removed = sandbox.sweep().await?;
    if removed > 0 {
        info!(removed, "removed what earlier processes had left of their sandboxes");
    }
    let description = try_one(sandbox.as_ref(), config).await?;
    info!(sandbox = description, "the sandbox works");
    Ok(sandbox)
}

/// Tries the configured sandbox beside a service that may be running: leaves everything as it is.
/// Answers with its description.
pub async fn try_sandbox(config: &SandboxConfig, data_dir: &Path) -> anyhow::Result<String> {
    let sandbox = connect(&sandbox_options(config, data_dir)?)?;
    try_one(sandbox.as_ref(), config).await
}

async fn try_one(sandbox: &dyn Sandbox, config: &SandboxConfig) -> anyhow::Result<String> {
    let spec = SandboxSpec { label: "probe".to_owned(), ..sandbox_spec(config) };
    let probe = sandbox.start(&spec).await?;
    let description = probe.description().to_owned();
    probe.shut_down().await;
    Ok(description)
}

/// Removes what sandboxes leave behind, now and then, until `shutdown`.
fn tidy(sandbox: Arc<dyn Sandbox>, bounds: KeptBounds, shutdown: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match sandbox.sweep().await {
                Ok(0) => {}
                Ok(swept) => info!(swept, "removed what earlier sandboxes left behind"),
                Err(error) => warn!(%error, "what earlier sandboxes left behind could not be removed"),
            }
            match sandbox.evict(&bounds).await {
                Ok(evicted) if evicted.is_empty() => {}
                Ok(evicted) => info!(count = evicted.len(), "evicted what set-ups made"),
                Err(error) => warn!(%error, "what set-ups made could not be evicted"),
            }
            tokio::select! {
                () = tokio::time::sleep(TIDY_EVERY) => {}
                () = shutdown.cancelled() => return,
            }
        }
    })
}

fn set_up_policy(config: &SetUpConfig) -> SetUpPolicy {
    SetUpPolicy {
        allowed_hosts: config.allowed_hosts.clone(),
        variables: config.variables.clone(),
        images: config.images.clone(),
        egress_bytes_max: config.egress_bytes_max,
        commands: config.commands,
        kept: KeptBounds {
            count_max: config.kept_count_max,
            bytes_max: config.kept_bytes_max,
            age_max: config.kept_age_max,
        },
        network_for_proposals: config.network_for_proposals,
        repository: None,
    }
}

fn sandbox_options(config: &SandboxConfig, data_dir: &Path) -> anyhow::Result<SandboxOptions> {
    let kind = match config.kind {
        SandboxKind::Bubblewrap => "bubblewrap",
        SandboxKind::Docker => "docker",
    };
    let state_dir = absolute(data_dir)?.join("sandbox");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&state_dir)
        .with_context(|| format!("the directory {} cannot be made", state_dir.display()))?;
    Ok(SandboxOptions {
        kind: kind.to_owned(),
        owner: owner(&state_dir)?,
        state_dir,
        docker: DockerOptions {
            socket: config.engine.socket.clone(),
            runtime: config.engine.runtime.clone(),
            userns: config.engine.userns.clone(),
        },
    })
}

/// What this data directory's containers are signed with, from its first start on.
fn owner(state_dir: &Path) -> anyhow::Result<String> {
    let path = state_dir.join("owner");
    let what = || format!("{} cannot be used", path.display());
    match std::fs::read_to_string(&path) {
        Ok(owner) if uuid::Uuid::try_parse(owner.trim()).is_ok() => return Ok(owner.trim().to_owned()),
        // Cut off by a full disk or a crash: what was signed with it is left to a person.
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(what),
    }
    let owner = uuid::Uuid::new_v4().to_string();
    std::fs::write(&path, &owner).with_context(what)?;
    Ok(owner)
}

/// What every job's sandbox must be.
pub fn sandbox_spec(config: &SandboxConfig) -> SandboxSpec {
    SandboxSpec {
        limits: Limits {
            memory_bytes_max: config.memory_bytes_max,
            pids_max: config.pids_max,
            cpu_millis_max: config.cpu_millis_max,
            disk_bytes_max: config.disk_bytes_max,
            open_files_max: config.open_files_max,
        },
        required: config.required.iter().map(|required| guarantee(*required)).collect(),
        root: match &config.image {
            Some(image) => Root::Image(image.clone()),
            None => Root::Host {
                toolchains: match &config.toolchains {
                    Toolchains::Detect => detect_toolchains(),
                    Toolchains::Paths(paths) => paths.clone(),
                },
            },
        },
        ..SandboxSpec::named("job")
    }
}

fn guarantee(required: SandboxGuarantee) -> Guarantee {
    match required {
        SandboxGuarantee::Memory => Guarantee::Memory,
        SandboxGuarantee::Processes => Guarantee::Processes,
        SandboxGuarantee::Processor => Guarantee::Processor,
        SandboxGuarantee::Disk => Guarantee::Disk,
        SandboxGuarantee::OtherUser => Guarantee::OtherUser,
    }
}

fn absolute(path: &Path) -> anyhow::Result<std::path::PathBuf> {
    std::path::absolute(path).with_context(|| format!("the path {} cannot be resolved", path.display()))
}
