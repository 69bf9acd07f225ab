//! GitHub, emulated: the REST operations Mendwright uses, App authentication, webhooks with real
//! signatures, and git over HTTP, on a loopback port.
//!
//! Answers have GitHub's shapes and GitHub's refusals; the contract tests hold them to GitHub's own
//! schemas. It knows nothing of Mendwright: it only speaks HTTP with it.

mod access;
mod admin;
mod app;
mod beginning;
mod call;
mod checks;
mod closing;
mod comments;
mod commit_on_branch;
mod connection;
mod credentials;
mod deeds;
mod deliveries;
mod dispatch;
mod faults;
mod git_data;
mod git_routes;
mod hands;
mod issues;
mod labels;
mod operations;
mod pages;
mod people;
mod pull_deeds;
mod pulls;
mod reactions;
mod record;
mod removals;
mod repositories;
mod reviews;
mod seed;
mod server;
mod settings;
mod shapes;
mod state;
mod upheavals;
mod webhooks;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use url::Url;

pub use credentials::AppCredentials;
pub use faults::{FaultKind, FaultRule};
pub use people::Role;
pub use seed::{EmulatorSeed, SeedIssue};
pub use upheavals::Disruption;

use beginning::{ensure_user, new_world};
use connection::{CuttableListener, Scissors};
use credentials::random_text;
use record::Recorder;
use world::{Repository, Urls, World};

use crate::gate::Gate;
use crate::git::{BareRepository, GitHttpError};
use crate::repository_name::{InvalidRepositoryName, RepositoryName};

/// Who acts where nobody is named.
const DEFAULT_ACTOR: &str = "octo-maintainer";
/// How long the emulator's end waits for requests under way.
const SHUT_DOWN_MAX: Duration = Duration::from_secs(5);

/// How an emulator is started.
#[derive(Debug, Clone)]
pub struct EmulatorOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Each REST exchange becomes a line of JSON at the end of this file.
    pub record: Option<PathBuf>,
    /// The bare repositories live here.
    pub data_dir: PathBuf,
    /// Where webhooks go; `None`: nowhere, until it is set.
    pub webhook_url: Option<Url>,
    /// What the App was granted; empty: the least it needs.
    pub permissions: BTreeMap<String, String>,
}

impl EmulatorOptions {
    /// A free loopback port, no record, no webhooks yet.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            record: None,
            data_dir: data_dir.into(),
            webhook_url: None,
            permissions: BTreeMap::new(),
        }
    }
}

/// Why the emulator cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The address cannot be listened on.
    #[error("the emulator cannot listen on {address}; choose another address, or port 0")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The record cannot be written.
    #[error("the record {path} cannot be opened for writing")]
    Record {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Keys or secrets could not be made.
    #[error("the system gave no randomness for keys and secrets")]
    Random,
    /// A repository cannot be made or imported.
    #[error("the repository {name} cannot be made")]
    Repository {
        /// `owner/name`
        name: String,
        /// Why.
        source: GitHttpError,
    },
    /// The client that sends the webhooks cannot be made.
    #[error("the emulator's HTTP client cannot be made")]
    Client(#[from] reqwest::Error),
    /// The repository's name is none.
    #[error(transparent)]
    Name(#[from] InvalidRepositoryName),
    /// The repository exists already.
    #[error("{path} exists already; choose another name, or an empty data directory")]
    Occupied {
        /// Where it is.
        path: String,
    },
    /// There is nothing of that name or number.
    #[error("the emulator has no {0}")]
    Unknown(String),
}

/// What all requests share.
struct Shared {
    world: Mutex<World>,
    recorder: Recorder,
    /// Where requests with [`FaultKind::Hold`] wait.
    gate: Gate,
}

impl Shared {
    /// Works on the world. The lock is held for `work` and no longer.
    fn with_world<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a new repository is filled with.
#[derive(Debug, Clone, Copy)]
pub enum RepositorySource<'a> {
    /// A git repository (all branches and tags), or a plain directory (one commit on `main`).
    Path(&'a Path),
    /// Path and bytes of each file; one commit on `main`.
    Files(&'a [(String, Vec<u8>)]),
}

/// A running emulator. Dropping it ends it.
pub struct EmulatedGitHub {
    shared: Arc<Shared>,
    url: Url,
    credentials: AppCredentials,
    data_dir: PathBuf,
    settled: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    deliverer: JoinHandle<()>,
}

impl EmulatedGitHub {
    /// Starts it: registers the App with a new key and new secrets, and listens.
    pub async fn start(options: EmulatorOptions) -> Result<Self, EmulatorError> {
        let address = options.listen;
        let cannot_listen = |source| EmulatorError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;
        let bound = listener.local_addr().map_err(cannot_listen)?;
        let url = Url::parse(&format!("http://{bound}/")).expect("a socket address makes a URL");
        let recorder = Recorder::new(options.record.as_deref()).map_err(|source| {
            let path = options.record.iter().map(|path| path.display().to_string()).collect();
            EmulatorError::Record { path, source }
        })?;
        let (outbox, queue) = mpsc::channel(webhooks::OUTBOX_MAX);
        let web = url.as_str().trim_end_matches('/').to_owned();
        let urls = Urls { api: format!("{web}{}", server::API_PREFIX), web };
        let world = new_world(urls, &options, outbox, Timestamp::now())?;
        let credentials = AppCredentials {
            app_id: world.app.id,
            slug: world.app.slug.clone(),
            client_id: world.app.client_id.clone(),
            private_key_pem: world.app.private_key_pem.clone(),
            webhook_secret: world.app.webhook_secret.clone(),
            installation_id: world.app.installation,
        };
        let shared = Arc::new(Shared { world: Mutex::new(world), recorder, gate: Gate::default() });
        let settled = Arc::new(Notify::new());
        // A proxy of the environment has no business between the emulator and its webhook.
        let client = reqwest::Client::builder().no_proxy().build()?;
        let deliverer = tokio::spawn(webhooks::deliver_all(shared.clone(), client, queue, settled.clone()));
        let (stop, stopped) = oneshot::channel::<()>();
        let router = axum::Router::new().fallback(server::handle).with_state(shared.clone());
        let service = router.into_make_service_with_connect_info::<Scissors>();
        let serving = axum::serve(CuttableListener(listener), service).with_graceful_shutdown(async {
            // An error means that the emulator was dropped: the same.
            let _ = stopped.await;
        });
        let server = tokio::spawn(async {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the emulator's server ended");
            }
        });
        let data_dir = options.data_dir;
        Ok(Self { shared, url, credentials, data_dir, settled, stop: Some(stop), server, deliverer })
    }

    /// The root of its pages and of git: `{url}{owner}/{name}.git`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The root of its REST API, as on GitHub Enterprise Server: `…/api/v3`.
    pub fn api_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path(server::API_PREFIX);
        url
    }

    /// What the bot under test is configured with.
    pub fn credentials(&self) -> &AppCredentials {
        &self.credentials
    }

    /// Adds a repository that the App is installed on. Returns its clone address. The methods
    /// below act on the first one.
    pub fn add_repository(
        &self,
        full_name: &str,
        source: RepositorySource<'_>,
    ) -> Result<Url, EmulatorError> {
        let failed = |source| EmulatorError::Repository { name: full_name.to_owned(), source };
        let name: RepositoryName = full_name.parse()?;
        let now = Timestamp::now();
        let path = self.data_dir.join(name.owner()).join(format!("{}.git", name.name()));
        if path.exists() {
            return Err(EmulatorError::Occupied { path: path.display().to_string() });
        }
        let git = BareRepository::create(&path, "main").map_err(failed)?;
        let default_branch = match source {
            RepositorySource::Path(path) => git.import(path, now.as_second()).map_err(failed)?,
            RepositorySource::Files(files) => {
                git.commit_files("main", files, "Initial commit", now.as_second()).map_err(failed)?;
                "main".to_owned()
            }
        };
        self.shared.with_world(|world| {
            let id = world.next_id();
            if !world.users.contains_key(&name.owner().to_lowercase()) {
                ensure_user(world, name.owner()).role = Role::Admin;
            }
            world.repositories.push(Repository {
                id,
                owner: name.owner().to_owned(),
                name: name.name().to_owned(),
                former_names: Vec::new(),
                private: true,
                archived: false,
                covered: true,
                default_branch,
                created_at: now,
                pushed_at: now,
                labels: Vec::new(),
                issues: BTreeMap::new(),
                gone: BTreeMap::new(),
                check_runs: Vec::new(),
                git,
            });
        });
        Ok(self.url.join(&format!("{name}.git")).expect("a checked repository name fits into a URL"))
    }

    /// Adds a seed's repository and opens its issues.
    pub fn add_seed(&self, seed: &EmulatorSeed) -> Result<Url, EmulatorError> {
        let url = self.add_repository(&seed.repository, RepositorySource::Files(&seed.files))?;
        self.shared.with_world(|world| {
            let Some(at) = world.repository_named(&seed.repository) else { return };
            for issue in &seed.issues {
                ensure_user(world, &issue.author);
                let (title, body) = (issue.title.clone(), Some(issue.body.clone()));
                deeds::open_issue(world, at, title, body, &issue.author, Timestamp::now());
            }
        });
        Ok(url)
    }

    /// Makes the next matching requests go wrong.
    pub fn inject_fault(&self, rule: FaultRule) -> Result<(), EmulatorError> {
        let fault = faults::Fault::new(rule).map_err(EmulatorError::Unknown)?;
        self.shared.with_world(|world| world.faults.push(fault));
        Ok(())
    }

    /// Ends the life of every installation token there is, an hour early.
    pub fn expire_tokens(&self) {
        let now = Timestamp::now();
        self.shared.with_world(|world| {
            world.tokens.values_mut().for_each(|token| token.expires_at = now);
        });
    }

    /// Makes a code that the manifest flow may convert once.
    pub fn issue_manifest_code(&self) -> Result<String, EmulatorError> {
        let code = random_text(40)?;
        self.shared.with_world(|world| world.app.manifest_codes.push(code.clone()));
        Ok(code)
    }

    /// The names of the REST operations there are, as GitHub's description has them.
    pub fn operations() -> impl Iterator<Item = &'static str> {
        operations::OPERATIONS.iter().map(|operation| operation.id)
    }

    /// The webhooks that were sent, each attempt: event and payload.
    pub fn webhooks_sent(&self) -> Vec<(String, Value)> {
        let sent = |delivery: &world::Delivery| {
            // Its own text, made from a value.
            (delivery.event.clone(), serde_json::from_str(&delivery.payload).unwrap_or_default())
        };
        self.shared.with_world(|world| world.deliveries.iter().map(sent).collect())
    }

    /// Everything that happened, without secrets. See `GET /_emulator/state`.
    pub fn state(&self) -> Value {
        self.shared.with_world(|world| state::describe(world))
    }

    /// Waits until every webhook was answered or failed.
    pub async fn deliveries_settled(&self) {
        loop {
            let notified = self.settled.notified();
            tokio::pin!(notified);
            // Registered before the look, so that no end is missed in between.
            notified.as_mut().enable();
            let all = |world: &mut World| world.deliveries.iter().all(|delivery| delivery.outcome.is_some());
            if self.shared.with_world(all) {
                return;
            }
            notified.await;
        }
    }

    /// Ends it, after the requests under way.
    pub async fn shut_down(mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the server has ended already.
            let _ = stop.send(());
        }
        // Whoever still waits for an answer after that does not get one: dropping aborts.
        if tokio::time::timeout(SHUT_DOWN_MAX, &mut self.server).await.is_err() {
            tracing::warn!("a request to the emulator was cut off by its end");
        }
    }
}

impl Drop for EmulatedGitHub {
    fn drop(&mut self) {
        self.server.abort();
        self.deliverer.abort();
    }
}
