//! What the service does once it has the App's credentials: it takes deliveries and works on jobs.

use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Tasks;
use super::http::ServiceRoutes;
use super::models::{context_of_summarizer, context_of_worker};
use super::sandboxes::{sandbox_spec, setup_policy};
use crate::config::{AppConfig, ServerConfig};
use crate::github::{AppClient, GitHub, GitHubConnection, OctocrabGitHub, RateLimits};
use crate::model::Model;
use crate::provenance::ManifestSigner;
use crate::sandbox::Sandbox;
use crate::setup::SetupLocks;
use crate::store::Store;
use crate::webhook::{self, BodyReader, WebhookSecrets, WebhookState};
use crate::worker::{Acknowledger, CommandProcessor, JobPolicy, Reconciler, Worker, WorkerContext};
use crate::workspace::Mirrors;

/// The adapters of a service that may still lack credentials.
pub(super) struct Service {
    pub(super) config: ServerConfig,
    pub(super) store: Arc<dyn Store>,
    pub(super) model: Arc<dyn Model>,
    pub(super) planner_model: Option<Arc<dyn Model>>,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) mirrors: Mirrors,
    pub(super) limits: Arc<RateLimits>,
    pub(super) signer: Arc<ManifestSigner>,
    pub(super) tasks: Arc<Tasks>,
    /// Set by [`Service::start`].
    pub(super) routes: ServiceRoutes,
}

impl Service {
    /// Starts to take deliveries and to work on jobs, with the App's credentials.
    pub(super) fn start(&self, app: &AppConfig) -> anyhow::Result<()> {
        let config = &self.config;
        let connection = GitHubConnection {
            api_url: config.github.api_url.clone(),
            web_url: config.github.web_url.clone(),
            app_id: app.id,
            private_key_pem: app.private_key.clone(),
        };
        let reconciler_client = AppClient::new(&connection)?.with_limits(self.limits.clone());
        let github: Arc<dyn GitHub> =
            Arc::new(OctocrabGitHub::new(connection)?.with_limits(self.limits.clone()));
        let context = self.worker_context(github);
        let (command_queued, delivery_arrived) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let repositories_added = Arc::new(Notify::new());
        let webhook = WebhookState {
            secrets: WebhookSecrets::new(app.webhook_secret.clone(), app.webhook_secret_previous.clone())?,
            label: config.github.rules.label.clone(),
            repository_filter: config.github.rules.repository_filter.clone(),
            bots_allowed: config.github.rules.bots_allowed.clone(),
            store: self.store.clone(),
            bodies: BodyReader::default(),
            wake_worker: context.wake.clone(),
            wake_commands: command_queued.clone(),
            wake_acknowledger: delivery_arrived.clone(),
            wake_reconciler: repositories_added.clone(),
        };
        if self.routes.set(webhook::router(webhook)).is_err() {
            anyhow::bail!("the service has credentials already");
        }
        let reconciler = Reconciler::new(
            reconciler_client,
            self.store.clone(),
            (config.github.rules.label.clone(), config.github.rules.repository_filter.clone()),
            (repositories_added, context.wake.clone()),
            config.github.reconcile_interval,
            Timestamp::now,
        );
        self.spawn(|shutdown| async move { reconciler.run(&shutdown).await });
        let commands = CommandProcessor::new(context.clone(), command_queued);
        self.spawn(|shutdown| async move { commands.run(&shutdown).await });
        let acknowledger = Acknowledger::new(context.clone(), delivery_arrived);
        self.spawn(|shutdown| async move { acknowledger.run(&shutdown).await });
        for number in 0..config.server.workers {
            let worker = Worker::new(context.clone(), format!("{}-{number}", std::process::id()));
            self.spawn(|shutdown| async move { worker.run(&shutdown).await });
        }
        Ok(())
    }

    fn worker_context(&self, github: Arc<dyn GitHub>) -> WorkerContext {
        let config = &self.config;
        WorkerContext {
            store: self.store.clone(),
            github,
            model: self.model.clone(),
            planner_model: self.planner_model.clone(),
            sandbox: self.sandbox.clone(),
            mirrors: self.mirrors.clone(),
            policy: JobPolicy {
                rules: config.github.rules.clone(),
                budget: config.budget.job.clone(),
                caps: config.budget.daily_caps,
                sandbox: sandbox_spec(&config.sandbox),
                setup: setup_policy(&config.sandbox.setup),
                output_tokens_max: config.model.output_tokens_max,
                context_tokens: context_of_worker(&config.model),
                summarizer_context_tokens: context_of_summarizer(&config.model),
                settings_override: None,
            },
            wake: Arc::new(Notify::new()),
            signer: Some(self.signer.clone()),
            setup_locks: SetupLocks::default(),
            clock: Timestamp::now,
        }
    }

    /// Runs a task until the service shuts down.
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(CancellationToken) -> F) {
        self.tasks.add(tokio::spawn(task(self.tasks.shutdown.clone())));
    }
}
