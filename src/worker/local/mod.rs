//! One issue in a repository on this machine, without GitHub: the same worker and pipeline, with a
//! store and mirrors of its own in one directory. What `fix`, `replay` and `evaluate` share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::github::LocalGitHub;
use super::{JobPolicy, Worker, WorkerContext};
use crate::domain::{
    DeliveryId, InstallationId, IssueSnapshot, Job, JobId, RecordedEvent, RepositoryId, RepositoryName,
    RepositoryRef, Sha, TranscriptEvent, Trigger,
};
use crate::model::Model;
use crate::sandbox::Sandbox;
use crate::setup::SetupLocks;
use crate::store::{Attempt, DeliveryRecorded, DeliveryRequest, NewDelivery, SqliteStore, Store};
use crate::workspace::{LocalRepository, Mirrors, Workspace};

mod github;

pub use github::Published;

/// How often the transcript is looked at for news.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is to be worked on.
#[derive(Debug, Clone)]
pub struct LocalTask {
    /// The issue.
    pub issue: IssueSnapshot,
    /// What the repository is called in what is published.
    pub name: RepositoryName,
    /// The repository; a proposal becomes a branch of it.
    pub repository: LocalRepository,
    /// The branch or revision to start from.
    pub base: String,
}

/// Who works on it, and with what.
#[derive(Clone)]
pub struct LocalContext {
    /// Who thinks.
    pub model: Arc<dyn Model>,
    /// Who writes briefs and sums up; `None`: no brief, and the same model sums up.
    pub brief_model: Option<Arc<dyn Model>>,
    /// Everything else.
    pub bench: TestBench,
}

/// What suites are run with.
#[derive(Clone)]
pub struct TestBench {
    /// Where they are run.
    pub sandbox: Arc<dyn Sandbox>,
    /// The rules of the person at the keyboard.
    pub policy: JobPolicy,
    /// Set-ups that are under way in this process.
    pub setup_locks: SetupLocks,
}

/// A local job: recorded, and perhaps begun by a process that did not come to its end.
pub struct LocalJob {
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Its id.
    pub id: JobId,
    directory: PathBuf,
    forge: Arc<LocalGitHub>,
    mirrors: Mirrors,
}

/// A local job that has ended.
#[derive(Debug)]
pub struct LocalResult {
    /// The job.
    pub job: Job,
    /// Everything that happened.
    pub transcript: Vec<RecordedEvent>,
    /// What would have been published.
    pub published: Published,
}

impl LocalJob {
    /// Records the job in `directory`, which is made where it is not there, or finds it there.
    ///
    /// # Errors
    /// The store or the repository cannot be used.
    pub async fn open(directory: &Path, work: LocalTask) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        let path = directory.join("mendwright.sqlite");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).await?);
        // The directory is one process's at a time; who had it before is dead.
        store.expire_stale_leases().await?;
        let id = record(store.as_ref(), &work).await?;
        let forge = Arc::new(LocalGitHub::new(work.repository, work.base, work.issue)?);
        let mirrors = Mirrors::new(directory.join("mirrors"));
        Ok(Self { store, id, directory: directory.to_owned(), forge, mirrors })
    }

    /// Where its store and mirrors are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The work at `base` in its mirror.
    ///
    /// # Errors
    /// The repository does not have that commit.
    pub async fn workspace(&self, base: &Sha) -> anyhow::Result<Workspace> {
        let access = self.forge.access();
        Ok(self.mirrors.fetch(RepositoryId(0), &access, base.as_str()).await?)
    }

    /// Records `events` before any work, as if an earlier worker had. The base commit that they name
    /// must be in the mirror, see [`LocalJob::workspace`].
    ///
    /// # Errors
    /// The store cannot be used, or another worker has the job.
    pub async fn begin_with(&self, events: &[TranscriptEvent]) -> anyhow::Result<()> {
        let now = Timestamp::now();
        let until = now + jiff::SignedDuration::from_secs(60);
        let claim = self.store.claim("before", until, now).await?.context("the job is at work already")?;
        self.store.append(&claim, events, now).await?;
        Ok(self.store.release(&claim, now, Attempt::DoesNotCount).await?)
    }

    /// Works until the job has ended; `tell` is given each event. `None`: `stop` was cancelled first,
    /// the sandbox is taken down, and the job goes on where it was when it is run again.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn run(
        &self,
        parts: &LocalContext,
        stop: &CancellationToken,
        mut tell: impl FnMut(&RecordedEvent),
    ) -> anyhow::Result<Option<LocalResult>> {
        let parts = WorkerContext {
            store: self.store.clone(),
            github: self.forge.clone(),
            model: parts.model.clone(),
            brief_model: parts.brief_model.clone(),
            sandbox: parts.bench.sandbox.clone(),
            mirrors: self.mirrors.clone(),
            policy: parts.bench.policy.clone(),
            wake: Arc::new(Notify::new()),
            setup_locks: parts.bench.setup_locks.clone(),
            clock: Timestamp::now,
        };
        let shutdown = stop.child_token();
        let worker = Worker::new(parts, "local");
        let working = worker.run(&shutdown);
        tokio::pin!(working);
        let mut told = 0;
        loop {
            let stopped = tokio::select! {
                () = &mut working => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let transcript = self.store.transcript(self.id).await?;
            transcript.iter().skip(told).for_each(&mut tell);
            told = transcript.len();
            let job =
                self.store.job(self.id).await?.ok_or_else(|| anyhow!("the job is gone from its store"))?;
            if job.state.is_final() {
                if !stopped {
                    shutdown.cancel();
                    working.await;
                }
                return Ok(Some(LocalResult { job, transcript, published: self.forge.published() }));
            }
            if stopped {
                return Ok(None);
            }
        }
    }
}

/// Records the job as a delivery, as a webhook would be; once.
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
            None => bail!("the store knows of the job, and does not have it"),
        },
        other => bail!("the job was not recorded: {other:?}"),
    }
}
