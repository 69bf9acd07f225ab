//! The emulator as a value: start, repositories, faults, state, shutdown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use url::Url;

use super::data::{
    ActiveFault, AppCredentials, Delivery, FaultRule, Repository, Role, Urls, initial_database, random_text,
};
use super::error::EmulatorError;
use super::mutations::Actor;
use super::options::{EmulatorOptions, EmulatorSeed, RepositorySource};
use super::rest::OPERATIONS;
use super::server::{
    API_PREFIX, AbortableListener, ConnectionAborter, OUTBOX_MAX, Recorder, Shared, handle, send_all,
};
use super::snapshot::snapshot;
use crate::git::BareRepository;
use crate::repository_name::RepositoryName;

/// How long a shutdown waits for requests in progress.
const SHUT_DOWN_MAX: Duration = Duration::from_secs(5);

/// A running emulator. Dropping it stops it.
pub struct EmulatedGitHub {
    pub(super) shared: Arc<Shared>,
    url: Url,
    credentials: AppCredentials,
    data_dir: PathBuf,
    settled: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    sender: JoinHandle<()>,
}

impl EmulatedGitHub {
    /// Starts an emulator: registers the App with a new key and new secrets, and listens.
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
        let (outbox, queue) = mpsc::channel(OUTBOX_MAX);
        let web = url.as_str().trim_end_matches('/').to_owned();
        let urls = Urls { api: format!("{web}{API_PREFIX}"), web };
        let database = initial_database(urls, &options, outbox, Timestamp::now())?;
        let credentials = database.app.credentials();
        let shared = Arc::new(Shared::new(database, recorder));
        let settled = Arc::new(Notify::new());
        // Webhooks go to their address directly, even if the environment names a proxy.
        let client = reqwest::Client::builder().no_proxy().build()?;
        let sender = tokio::spawn(send_all(shared.clone(), client, queue, settled.clone()));
        let (stop, stopped) = oneshot::channel::<()>();
        let router = axum::Router::new().fallback(handle).with_state(shared.clone());
        let service = router.into_make_service_with_connect_info::<ConnectionAborter>();
        let serving = axum::serve(AbortableListener(listener), service).with_graceful_shutdown(async {
            // An error means that the emulator was dropped, which stops it too.
            let _ = stopped.await;
        });
        let server = tokio::spawn(async {
            if let Err(error) = serving.await {
                tracing::error!(%error, "emulator server failed");
            }
        });
        let data_dir = options.data_dir;
        Ok(Self { shared, url, credentials, data_dir, settled, stop: Some(stop), server, sender })
    }

    /// The root of its pages and of git. Repositories are at `{url}{owner}/{name}.git`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The root of its REST API, as on GitHub Enterprise Server: `…/api/v3`.
    pub fn api_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path(API_PREFIX);
        url
    }

    /// The credentials that the bot under test is configured with.
    pub fn credentials(&self) -> &AppCredentials {
        &self.credentials
    }

    /// Adds a repository that the App is installed on. Returns its clone address.
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
            return Err(EmulatorError::AlreadyExists { path: path.display().to_string() });
        }
        let git = BareRepository::create(&path, "main").map_err(failed)?;
        let default_branch = match source {
            RepositorySource::Path(path) => git.import(path, now.as_second()).map_err(failed)?,
            RepositorySource::Files(files) => {
                git.commit_files("main", files, "Initial commit", now.as_second()).map_err(failed)?;
                "main".to_owned()
            }
        };
        self.shared.with_db(|db| {
            let id = db.next_id();
            if db.account(name.owner()).is_none() {
                db.ensure_account(name.owner()).role = Role::Admin;
            }
            db.repositories.push(Repository {
                id,
                owner: name.owner().to_owned(),
                name: name.name().to_owned(),
                former_names: Vec::new(),
                private: true,
                archived: false,
                covered: true,
                hidden_from: Vec::new(),
                default_branch,
                created_at: now,
                pushed_at: now,
                labels: Vec::new(),
                issues: BTreeMap::new(),
                removed_issues: BTreeMap::new(),
                check_runs: Vec::new(),
                git,
            });
        });
        Ok(self.url.join(&format!("{name}.git")).expect("a checked repository name fits into a URL"))
    }

    /// Makes a repository one that the App's installation does not cover. Nothing happens if there is none of the
    /// name.
    pub fn take_out(&self, full_name: &str) {
        self.with_repository(full_name, |repository| repository.covered = false);
    }

    /// Makes a repository public.
    pub fn make_public(&self, full_name: &str) {
        self.with_repository(full_name, |repository| repository.private = false);
    }

    /// Takes an account's permissions in a repository, whatever its role is in the others.
    pub fn hide_from(&self, full_name: &str, login: &str) {
        self.with_repository(full_name, |repository| repository.hidden_from.push(login.to_lowercase()));
    }

    fn with_repository(&self, full_name: &str, change: impl FnOnce(&mut Repository)) {
        self.shared.with_db(|db| {
            if let Some(index) = db.repository_named(full_name) {
                change(&mut db.repositories[index]);
            }
        });
    }

    /// Adds the repository of a seed and opens its issues.
    pub fn add_seed(&self, seed: &EmulatorSeed) -> Result<Url, EmulatorError> {
        let url = self.add_repository(&seed.repository, RepositorySource::Files(&seed.files))?;
        self.shared.with_db(|db| {
            let Some(index) = db.repository_named(&seed.repository) else { return };
            for issue in &seed.issues {
                db.ensure_account(&issue.author);
                let (title, body) = (issue.title.clone(), Some(issue.body.clone()));
                Actor::new(db, index, &issue.author, Timestamp::now()).open_issue(title, body);
            }
        });
        Ok(url)
    }

    /// Makes the next matching requests fail.
    pub fn inject_fault(&self, rule: FaultRule) -> Result<(), EmulatorError> {
        let fault = ActiveFault::new(rule).map_err(EmulatorError::NotFound)?;
        self.shared.with_db(|db| db.faults.push(fault));
        Ok(())
    }

    /// Creates a code that the manifest flow may convert once.
    pub fn issue_manifest_code(&self) -> Result<String, EmulatorError> {
        let code = random_text(40)?;
        self.shared.with_db(|db| db.app.manifest_codes.push(code.clone()));
        Ok(code)
    }

    /// The ids of all REST operations, as GitHub's description names them.
    pub fn operations() -> impl Iterator<Item = &'static str> {
        OPERATIONS.iter().map(|operation| operation.id)
    }

    /// Event and payload of each attempt to send a webhook.
    pub fn webhooks_sent(&self) -> Vec<(String, Value)> {
        let sent = |delivery: &Delivery| {
            // The payload was serialized from a value, so it parses.
            (delivery.event.clone(), serde_json::from_str(&delivery.payload).unwrap_or_default())
        };
        self.shared.with_db(|db| db.deliveries.iter().map(sent).collect())
    }

    /// The whole database without secrets, as `GET /_emulator/state` shows it.
    pub fn state(&self) -> Value {
        self.shared.with_db(|db| snapshot(db))
    }

    /// Waits until every webhook was answered or has failed.
    pub async fn deliveries_settled(&self) {
        loop {
            let notified = self.settled.notified();
            tokio::pin!(notified);
            // Registered before the check, so that no notification is missed in between.
            notified.as_mut().enable();
            if self.shared.with_db(|db| db.deliveries_settled()) {
                return;
            }
            notified.await;
        }
    }

    /// Stops it after the requests in progress.
    pub async fn shut_down(mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the server has stopped already.
            let _ = stop.send(());
        }
        // Requests that take longer are aborted when `self` is dropped.
        if tokio::time::timeout(SHUT_DOWN_MAX, &mut self.server).await.is_err() {
            tracing::warn!("emulator stopped during a request");
        }
    }
}

impl Drop for EmulatedGitHub {
    fn drop(&mut self) {
        self.server.abort();
        self.sender.abort();
    }
}
