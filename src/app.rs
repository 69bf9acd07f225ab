//! The composition root: from configuration to running adapters, router and workers, and down
//! again. `main`, the demo and the tests all come through here; nobody else builds an adapter.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
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
use tracing::{info, warn};

use crate::config::{
    ModelProvider, SandboxConfig, SandboxGuarantee, SandboxKind, ServerConfig, SetUpConfig, Toolchains,
};
use crate::github::{Connection, GitHub, OctocrabGitHub};
use crate::model::{Model, ModelConfig, Price, Provider};
use crate::sandbox::{
    DockerOptions, Guarantee, KeptBounds, Limits, Root, Sandbox, SandboxOptions, SandboxSpec, connect,
    detect_toolchains,
};
use crate::store::{SqliteStore, Store};
use crate::telemetry::register_secret;
use crate::verdict::{SetUpLocks, SetUpPolicy};
use crate::webhook::{self, WebhookSecrets, WebhookState};
use crate::worker::{Parts, Rules, Worker};
use crate::workspace::Mirrors;

/// How often is looked for what sandboxes left behind.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// For the last traces of a predecessor that was killed to go.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A running service. [`App::shut_down`] ends it; jobs under way are put back and go on at the
/// next start.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its store, for those who watch.
    pub store: Arc<dyn Store>,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    /// Held as long as we run: no other process works on our data.
    _lock: std::fs::File,
}

impl App {
    /// Starts everything that `config` asks for. Nothing is half started: an adapter that cannot
    /// be had is an error here, before the first webhook is accepted.
    pub async fn start(config: ServerConfig) -> anyhow::Result<Self> {
        config.secrets().for_each(register_secret);
        config.warnings.iter().for_each(|warning| warn!("{warning}"));
        let data_dir = &config.data_dir;
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("the data directory {} cannot be made", data_dir.display()))?;
        let lock = lock(data_dir).await?;
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.store_path).await?);
        let taken_over = store.end_leases_of_the_dead().await?;
        if taken_over > 0 {
            info!(jobs = taken_over, "going on with jobs that were under way when the service ended");
        }
        let github: Arc<dyn GitHub> = Arc::new(OctocrabGitHub::new(Connection {
            api_url: config.github.api_url.clone(),
            web_url: config.github.web_url.clone(),
            app_id: config.github.app_id,
            private_key_pem: config.github.private_key.clone(),
        })?);
        let parts = Parts {
            store: store.clone(),
            github,
            model: model(&config)?,
            sandbox: sandbox(&config.sandbox, data_dir).await?,
            mirrors: Mirrors::new(absolute(data_dir)?.join("mirrors")),
            rules: Rules {
                label: config.github.label.clone(),
                bots_allowed: config.github.bots_allowed.clone(),
                budget: config.budget.clone(),
                sandbox: sandbox_spec(&config.sandbox),
                set_up: set_up_policy(&config.sandbox.set_up),
                output_tokens_max: config.model.output_tokens_max,
                settings_override: None,
            },
            wake: Arc::new(Notify::new()),
            set_ups: SetUpLocks::default(),
            clock: Timestamp::now,
        };
        let current = config.github.webhook_secret.clone();
        let webhook = WebhookState {
            secrets: WebhookSecrets::new(current, config.github.webhook_secret_previous.clone())?,
            label: config.github.label.clone(),
            deliveries: Arc::new(store.clone()),
            wake: parts.wake.clone(),
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("server.listen: cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let mut tasks = vec![serve(listener, router(webhook, store.clone()), shutdown.clone())];
        tasks.push(tidy(parts.sandbox.clone(), parts.rules.set_up.kept, shutdown.clone()));
        for number in 0..config.workers {
            let worker = Worker::new(parts.clone(), format!("{}-{number}", std::process::id()));
            let shutdown = shutdown.clone();
            tasks.push(tokio::spawn(async move { worker.run(&shutdown).await }));
        }
        info!(%address, workers = config.workers, "mendwright is listening");
        Ok(Self { address, store, shutdown, tasks, _lock: lock })
    }

    /// Stops taking requests and jobs, puts back what is under way, and waits for all of it.
    pub async fn shut_down(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                warn!(%error, "a task did not end well");
            }
        }
    }
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

fn router(webhook: WebhookState, store: Arc<dyn Store>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .with_state(store)
        .merge(webhook::router(webhook))
        .layer(CatchPanicLayer::new())
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
    tokio::spawn(async move {
        let stopped = async move { shutdown.cancelled().await };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the server stopped");
        }
    })
}

fn model(config: &ServerConfig) -> anyhow::Result<Arc<dyn Model>> {
    let model = &config.model;
    let provider = match model.provider {
        ModelProvider::Anthropic => Provider::Anthropic,
        ModelProvider::OpenAi => Provider::OpenAi,
    };
    let key = model.api_key.clone().unwrap_or_else(|| SecretString::from(String::new()));
    let mut wanted = ModelConfig::new(provider, model.name.clone(), key);
    wanted.url = Some(model.url.clone());
    wanted.price =
        model.price.map(|price| Price::flat(price.input, price.output, price.cache_read, price.cache_write));
    Ok(crate::model::connect(wanted)?)
}

/// The configured sandbox, without what predecessors left of it, tried once: a job must not be the
/// first to find out that it cannot be had.
pub async fn sandbox(config: &SandboxConfig, data_dir: &Path) -> anyhow::Result<Arc<dyn Sandbox>> {
    let sandbox = connect(&sandbox_options(config, data_dir)?)?;
    let removed = sandbox.sweep().await?;
    if removed > 0 {
        info!(removed, "removed what earlier processes had left of their sandboxes");
    }
    let spec = SandboxSpec { label: "probe".to_owned(), ..sandbox_spec(config) };
    let probe = sandbox.start(&spec).await?;
    info!(sandbox = probe.description(), "the sandbox works");
    probe.shut_down().await;
    Ok(sandbox)
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
