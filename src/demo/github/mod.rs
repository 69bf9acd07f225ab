//! GitHub, emulated: the REST operations Mendwright uses, App authentication, webhooks with real
//! signatures, and git over HTTP, on a loopback port.
//!
//! Answers have GitHub's shapes and GitHub's refusals; the contract tests hold them to GitHub's own
//! schemas. It knows nothing of Mendwright: it only speaks HTTP with it.

mod access;
mod admin;
mod app;
mod call;
mod checks;
mod comments;
mod connection;
mod credentials;
mod deeds;
mod deliveries;
mod dispatch;
mod faults;
mod git_data;
mod git_routes;
mod issues;
mod labels;
mod operations;
mod pages;
mod people;
mod pull_deeds;
mod pulls;
mod reactions;
mod record;
mod repositories;
mod reviews;
mod seed;
mod server;
mod shapes;
mod state;
mod webhooks;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use url::Url;

pub use credentials::AppCredentials;
pub use faults::{FaultKind, FaultRule};
pub use people::Role;
pub use seed::{EmulatorSeed, SeedIssue};

use connection::{CuttableListener, Scissors};
use credentials::{App, DEFAULT_EVENTS, DEFAULT_PERMISSIONS, generate_key, random_text};
use deeds::IssueEdit;
use people::{DEMO_USERS, User, UserKind};
use pull_deeds::{NewReview, NewReviewComment, submit_review};
use record::Recorder;
use world::{RateLimit, Repository, Urls, World};

use crate::demo::git_http::{BareRepository, GitHttpError};

/// Who acts where nobody is named.
pub(crate) const DEFAULT_ACTOR: &str = "octo-maintainer";
/// Requests an hour: GitHub's least for an installation.
const RATE_LIMIT_MAX: u64 = 5_000;
/// Ids begin here, so that they are never taken for issue numbers.
const FIRST_ID: u64 = 1_000_000;
/// The name of the App; its slug is the same.
const APP_SLUG: &str = "mendwright-demo";

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
    #[error("the emulator cannot listen on {address}: {source}; choose another address, or port 0")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The record cannot be written.
    #[error("the record {path} cannot be opened: {source}")]
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
    #[error("the repository {name} cannot be made: {source}")]
    Repository {
        /// `owner/name`
        name: String,
        /// Why.
        source: GitHttpError,
    },
    /// There is nothing of that name or number.
    #[error("the emulator has no {0}")]
    Unknown(String),
}

/// What all requests share.
struct Shared {
    world: Mutex<World>,
    recorder: Recorder,
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
        let url = Url::parse(&format!("http://{bound}/")).map_err(|_| EmulatorError::Random)?;
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
        let shared = Arc::new(Shared { world: Mutex::new(world), recorder });
        let settled = Arc::new(Notify::new());
        // A proxy of the environment has no business between the emulator and its webhook.
        let client = reqwest::Client::builder().no_proxy().build().map_err(|_| EmulatorError::Random)?;
        let deliverer =
            tokio::spawn(webhooks::deliver_all(shared.clone(), client, queue, settled.clone()));
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
        let unnamed = || EmulatorError::Unknown(format!("repository name in {full_name:?}: owner/name is one"));
        let name: crate::domain::RepositoryName = full_name.parse().map_err(|_| unnamed())?;
        let now = Timestamp::now();
        let path = self.data_dir.join(name.owner()).join(format!("{}.git", name.name()));
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
                default_branch,
                created_at: now,
                pushed_at: now,
                labels: Vec::new(),
                issues: BTreeMap::new(),
                check_runs: Vec::new(),
                git,
            });
        });
        self.url.join(&format!("{full_name}.git")).map_err(|_| unnamed())
    }

    /// Adds a seed's repository and opens its issues.
    pub fn plant(&self, seed: &EmulatorSeed) -> Result<Url, EmulatorError> {
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

    /// Opens an issue. Returns its number.
    pub fn open_issue(&self, title: &str, body: &str, by: &str) -> Result<u64, EmulatorError> {
        self.act(by, |world, now| {
            deeds::open_issue(world, 0, title.to_owned(), Some(body.to_owned()), by, now)
        })
    }

    /// Puts a label on an issue, and waits until the webhook about it was answered or failed.
    pub async fn label_issue(&self, number: u64, label: &str, by: &str) -> Result<(), EmulatorError> {
        self.known(number)?;
        self.act(by, |world, now| deeds::add_label(world, 0, number, label, by, now))?;
        self.deliveries_settled().await;
        Ok(())
    }

    /// Takes a label off, and waits like [`Self::label_issue`].
    pub async fn unlabel_issue(&self, number: u64, label: &str, by: &str) -> Result<(), EmulatorError> {
        self.known(number)?;
        let removed = self.act(by, |world, now| deeds::remove_label(world, 0, number, label, by, now))?;
        self.deliveries_settled().await;
        match removed {
            true => Ok(()),
            false => Err(EmulatorError::Unknown(format!("label {label:?} on issue {number}"))),
        }
    }

    /// Closes an issue or a pull request, and waits like [`Self::label_issue`].
    pub async fn close_issue(&self, number: u64, by: &str) -> Result<(), EmulatorError> {
        self.known(number)?;
        let edit = IssueEdit { open: Some(false), ..IssueEdit::default() };
        self.act(by, |world, now| deeds::edit_issue(world, 0, number, edit, by, now))?;
        self.deliveries_settled().await;
        Ok(())
    }

    /// Changes an issue's title and body, and waits like [`Self::label_issue`].
    pub async fn edit_issue(
        &self,
        number: u64,
        title: &str,
        body: &str,
        by: &str,
    ) -> Result<(), EmulatorError> {
        self.known(number)?;
        let (title, body) = (Some(title.to_owned()), Some(body.to_owned()));
        let edit = IssueEdit { title, body, ..IssueEdit::default() };
        self.act(by, |world, now| deeds::edit_issue(world, 0, number, edit, by, now))?;
        self.deliveries_settled().await;
        Ok(())
    }

    /// Comments on an issue or pull request, and waits like [`Self::label_issue`].
    pub async fn comment(&self, number: u64, body: &str, by: &str) -> Result<u64, EmulatorError> {
        let id = self.act(by, |world, now| {
            deeds::add_comment(world, 0, number, body.to_owned(), by, now)
        })?;
        self.deliveries_settled().await;
        id.ok_or_else(|| EmulatorError::Unknown(format!("issue {number}")))
    }

    /// Reviews a pull request, with comments of (path, line, text), and waits like
    /// [`Self::label_issue`]. `state`: `APPROVED`, `CHANGES_REQUESTED` or `COMMENTED`.
    pub async fn review(
        &self,
        number: u64,
        state: &str,
        body: &str,
        comments: &[(&str, u64, &str)],
        by: &str,
    ) -> Result<u64, EmulatorError> {
        let comments = comments
            .iter()
            .map(|(path, line, text)| {
                let (path, body) = ((*path).to_owned(), (*text).to_owned());
                NewReviewComment { path, line: *line, body }
            })
            .collect();
        let review = NewReview { state: state.to_owned(), body: body.to_owned(), comments };
        let id = self.act(by, |world, now| submit_review(world, 0, number, review, by, now))?;
        self.deliveries_settled().await;
        id.ok_or_else(|| EmulatorError::Unknown(format!("pull request {number}")))
    }

    /// Says where webhooks go from now on.
    pub fn set_webhook_url(&self, url: Option<Url>) {
        self.shared.with_world(|world| world.app.webhook_url = url);
    }

    /// Changes what a person may do in every repository.
    pub fn set_role(&self, login: &str, role: Role) {
        self.shared.with_world(|world| ensure_user(world, login).role = role);
    }

    /// Sends the newest delivery with this GUID again, and waits like [`Self::label_issue`].
    pub async fn redeliver(&self, guid: &str) -> Result<(), EmulatorError> {
        let sent = self.shared.with_world(|world| admin::redeliver(world, guid, Timestamp::now()));
        self.deliveries_settled().await;
        sent.map(drop).map_err(|(_, why)| EmulatorError::Unknown(why))
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
        if let Err(error) = (&mut self.server).await {
            tracing::error!(%error, "the emulator's server ended badly");
        }
    }

    fn act<T>(&self, by: &str, work: impl FnOnce(&mut World, Timestamp) -> T) -> Result<T, EmulatorError> {
        self.shared.with_world(|world| {
            if world.repositories.is_empty() {
                return Err(EmulatorError::Unknown("repository yet".to_owned()));
            }
            ensure_user(world, by);
            Ok(work(world, Timestamp::now()))
        })
    }

    fn known(&self, number: u64) -> Result<(), EmulatorError> {
        let known = self.shared.with_world(|world| {
            world.repositories.first().is_some_and(|repository| repository.issues.contains_key(&number))
        });
        match known {
            true => Ok(()),
            false => Err(EmulatorError::Unknown(format!("issue {number}"))),
        }
    }
}

impl Drop for EmulatedGitHub {
    fn drop(&mut self) {
        self.server.abort();
        self.deliverer.abort();
    }
}

/// The account of that login; one without rights is made where there is none.
fn ensure_user<'a>(world: &'a mut World, login: &str) -> &'a mut User {
    let id = world.next_id();
    world.users.entry(login.to_lowercase()).or_insert_with(|| {
        let kind = if login.ends_with("[bot]") { UserKind::Bot } else { UserKind::User };
        User { id, login: login.to_owned(), kind, role: Role::None }
    })
}

fn new_world(
    urls: Urls,
    options: &EmulatorOptions,
    outbox: mpsc::Sender<u64>,
    now: Timestamp,
) -> Result<World, EmulatorError> {
    let (private_key_pem, public_key) = generate_key()?;
    let granted = match options.permissions.is_empty() {
        true => DEFAULT_PERMISSIONS.map(|(name, level)| (name.to_owned(), level.to_owned())).into(),
        false => options.permissions.clone(),
    };
    let app = App {
        id: FIRST_ID + 1,
        slug: APP_SLUG.to_owned(),
        client_id: format!("Iv23li{}", random_text(14)?),
        name: APP_SLUG.to_owned(),
        description: "Mendwright against an emulated GitHub".to_owned(),
        public_key,
        private_key_pem,
        manifest_codes: Vec::new(),
        webhook_secret: random_text(40)?.into(),
        webhook_url: options.webhook_url.clone(),
        hook_id: FIRST_ID + 2,
        installation: FIRST_ID + 3,
        suspended_at: None,
        owner: DEFAULT_ACTOR.to_owned(),
        permissions: granted,
        events: DEFAULT_EVENTS.map(str::to_owned).to_vec(),
        created_at: now,
    };
    let mut world = World {
        urls,
        app,
        users: BTreeMap::new(),
        repositories: Vec::new(),
        tokens: BTreeMap::new(),
        deliveries: VecDeque::new(),
        calls: BTreeMap::new(),
        faults: Vec::new(),
        rate_limit: RateLimit {
            max: RATE_LIMIT_MAX,
            used: 0,
            resets_at: now + SignedDuration::from_hours(1),
        },
        outbox,
        ids: FIRST_ID + 10,
    };
    let bot = world.app.bot_login();
    // The App's own account writes, but is no collaborator: GitHub answers `none` for it.
    for (login, kind, role) in
        DEMO_USERS.into_iter().chain([(bot.as_str(), UserKind::Bot, Role::None)])
    {
        let user = ensure_user(&mut world, login);
        (user.kind, user.role) = (kind, role);
    }
    Ok(world)
}
