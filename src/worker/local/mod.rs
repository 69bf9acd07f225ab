//! A job for one issue in a repository on this machine, without GitHub: the same worker and pipeline, with
//! a store and mirrors of its own in one directory. `fix`, `replay` and `evaluate` use it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::github::LocalGitHub;
use super::context::WorkerContext;
pub use super::reverify::TestBench;
use super::runner::Worker;
use super::submodules::with_local_submodules;
use crate::config::StoreLocation;
use crate::domain::{
    DeliveryId, DeliveryRequest, InstallationId, IssueSnapshot, Job, JobId, NewDelivery, RecordedEvent,
    RepositoryId, RepositoryName, RepositoryRef, Sha, TranscriptEvent, Trigger,
};
use crate::model::Model;
use crate::store::{self, Attempt, DeliveryRecorded, Store};
use crate::workspace::{LocalRepository, Mirrors, Workspace};

mod github;

pub use self::github::Published;

/// How often the transcript is read for new events.
const POLL: Duration = Duration::from_millis(100);

/// What to work on.
#[derive(Debug, Clone)]
pub struct LocalTask {
    /// The issue.
    pub issue: IssueSnapshot,
    /// The name of the repository in everything that would be published.
    pub name: RepositoryName,
    /// The repository; a proposal becomes one of its branches.
    pub repository: LocalRepository,
    /// The branch or revision to start from.
    pub base: String,
}

/// What a local job runs with.
#[derive(Clone)]
pub struct LocalContext {
    /// The model that works on the issue.
    pub model: Arc<dyn Model>,
    /// The model that writes briefs and summarizes. `None`: there is no brief, and `model` summarizes.
    pub planner_model: Option<Arc<dyn Model>>,
    /// Sandbox, policy and setup locks.
    pub bench: TestBench,
}

/// A local job: it is recorded, and an earlier process may have begun it.
pub struct LocalJob {
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Its id.
    pub id: JobId,
    directory: PathBuf,
    github: Arc<LocalGitHub>,
    mirrors: Mirrors,
}

/// A local job that has ended.
#[derive(Debug)]
pub struct LocalResult {
    /// The job.
    pub job: Job,
    /// Its transcript.
    pub transcript: Vec<RecordedEvent>,
    /// What would have been published.
    pub published: Published,
}

impl LocalJob {
    /// Records the job in `directory`, which is created if it does not exist, or finds it there.
    ///
    /// # Errors
    /// The store or the repository cannot be used.
    pub async fn open(directory: &Path, work: LocalTask) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("{} cannot be created", directory.display()))?;
        let store = store::open(&StoreLocation::in_directory(directory)).await?;
        // One process uses the directory at a time: earlier ones are dead.
        store.expire_stale_leases().await?;
        let id = record(store.as_ref(), &work).await?;
        let github = Arc::new(LocalGitHub::new(work.repository, work.base, work.issue)?);
        let mirrors = Mirrors::new(directory.join("mirrors"));
        Ok(Self { store, id, directory: directory.to_owned(), github, mirrors })
    }

    /// The directory of its store and mirrors.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The workspace at `base` in its mirror.
    ///
    /// # Errors
    /// The repository does not contain that commit.
    pub async fn workspace(&self, base: &Sha) -> anyhow::Result<Workspace> {
        let access = self.github.access();
        let id = RepositoryId::LOCAL;
        let workspace = self.mirrors.fetch(id, &access, base.as_str()).await?;
        Ok(with_local_submodules(&self.mirrors, id, workspace, self.github.repository_here()).await?)
    }

    /// Records `events` before any work, as if an earlier worker had recorded them. The base commit that
    /// they name must be in the mirror, see [`LocalJob::workspace`].
    ///
    /// # Errors
    /// The store cannot be used, or another worker has the job.
    pub async fn begin_with(&self, events: &[TranscriptEvent]) -> anyhow::Result<()> {
        let now = Timestamp::now();
        let until = now + jiff::SignedDuration::from_secs(60);
        let claim =
            self.store.claim("before", until, now).await?.context("the job is being worked on already")?;
        self.store.append(&claim, events, now).await?;
        Ok(self.store.release(&claim, now, Attempt::DoesNotCount).await?)
    }

    /// Works until the job has ended; `observe` is given each event. `None`: `stop` was cancelled first. The
    /// sandbox is then gone, and the job continues from where it was when it is run again.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn run(
        &self,
        context: &LocalContext,
        stop: &CancellationToken,
        mut observe: impl FnMut(&RecordedEvent),
    ) -> anyhow::Result<Option<LocalResult>> {
        let context = WorkerContext {
            store: self.store.clone(),
            github: self.github.clone(),
            model: context.model.clone(),
            planner_model: context.planner_model.clone(),
            sandbox: context.bench.sandbox.clone(),
            mirrors: self.mirrors.clone(),
            policy: context.bench.policy.clone(),
            wake: Arc::new(Notify::new()),
            signer: None,
            setup_locks: context.bench.setup_locks.clone(),
            clock: Timestamp::now,
        };
        let shutdown = stop.child_token();
        let worker = Worker::new(context, "local");
        let working = worker.run(&shutdown);
        tokio::pin!(working);
        let mut observed = 0;
        loop {
            let stopped = tokio::select! {
                () = &mut working => true,
                () = tokio::time::sleep(POLL) => false,
            };
            let transcript = self.store.transcript(self.id).await?;
            transcript.iter().skip(observed).for_each(&mut observe);
            observed = transcript.len();
            let job =
                self.store.job(self.id).await?.ok_or_else(|| anyhow!("the store does not have the job"))?;
            if job.state.is_final() {
                if !stopped {
                    shutdown.cancel();
                    working.await;
                }
                return Ok(Some(LocalResult { job, transcript, published: self.github.published() }));
            }
            if stopped {
                return Ok(None);
            }
        }
    }
}

/// Records the job once, as a webhook's delivery would be.
async fn record(store: &dyn Store, work: &LocalTask) -> anyhow::Result<JobId> {
    let trigger = Trigger {
        repository: RepositoryRef {
            installation: InstallationId(0),
            id: RepositoryId(0),
            name: work.name.clone(),
        },
        labeller: work.issue.author.clone(),
        labeller_id: 0,
        labeller_is_bot: false,
        labelled_at: None,
        found: false,
        commanded: false,
        issue: work.issue.clone(),
    };
    let delivery = NewDelivery {
        id: "local".parse::<DeliveryId>()?,
        event: "fix".to_owned(),
        action: None,
        payload_sha256: String::new(),
        request: Some(DeliveryRequest::Start(trigger)),
    };
    match store.record_delivery(&delivery, Timestamp::now()).await? {
        DeliveryRecorded::Job(job) => Ok(job),
        DeliveryRecorded::Duplicate => match store.jobs(1).await?.first() {
            Some(job) => Ok(job.id),
            None => bail!("the store has the job's delivery, but not the job"),
        },
        other => bail!("the job was not recorded: {other:?}"),
    }
}
