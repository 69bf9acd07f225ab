//! Reacts with 👀 to issues whose jobs wait for a free worker, so that whoever added the label knows that
//! it was noticed. A worker that claims a job at once reacts itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::context::WorkerContext;
use super::effects::JobEffect;
use crate::domain::{Job, JobId, authorize};
use crate::github::GitHubError;
use crate::store::StoreError;

/// How often it looks for a job without being woken.
const POLL: Duration = Duration::from_secs(5);
/// Within this time, a free worker has claimed the job.
const HEAD_START: Duration = Duration::from_millis(200);
/// How many jobs are remembered as done. Beyond it some are checked again, which changes nothing.
const REMEMBERED_MAX: usize = 1_000;

/// Acknowledges jobs that wait.
pub struct Acknowledger {
    context: WorkerContext,
    /// Wakes it.
    job_queued: Arc<Notify>,
    /// Jobs that were acknowledged, or must not be.
    done: HashSet<JobId>,
}

impl Acknowledger {
    /// An acknowledger that `job_queued` wakes.
    pub fn new(context: WorkerContext, job_queued: Arc<Notify>) -> Self {
        Self { context, job_queued, done: HashSet::new() }
    }

    /// Works until `shutdown`.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = self.job_queued.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.cancelled() => return,
            }
            let round = async {
                tokio::time::sleep(HEAD_START).await;
                self.acknowledge_waiting().await
            };
            tokio::select! {
                done = round => if let Err(error) = done {
                    error!(%error, "waiting jobs not acknowledged");
                },
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn acknowledge_waiting(&mut self) -> Result<(), StoreError> {
        let effect = JobEffect::Acknowledgement.name();
        let waiting = self.context.store.unacknowledged_jobs(effect).await?;
        if self.done.len() > REMEMBERED_MAX {
            self.done.clear();
        }
        for job in waiting {
            if self.done.contains(&job.id) {
                continue;
            }
            match self.acknowledge(&job).await {
                Ok(is_acknowledged) => {
                    if is_acknowledged {
                        let now = (self.context.clock)();
                        self.context.store.record_effect(&job, effect, "eyes", now).await?;
                    }
                    self.done.insert(job.id);
                }
                // The next look tries again, and so does the job's worker.
                Err(error) => {
                    let repo = &job.trigger.repository.name;
                    debug!(job.id = %job.id, %repo, %error, "job not acknowledged");
                }
            }
        }
        Ok(())
    }

    /// Reacts to the job's issue. False: whoever asked may not, and the job's worker will say so.
    async fn acknowledge(&self, job: &Job) -> Result<bool, GitHubError> {
        let WorkerContext { github, policy, .. } = &self.context;
        let trigger = &job.trigger;
        let permission = github.permission(&trigger.repository, &trigger.labeller).await?;
        let bots = &policy.rules.bots_allowed;
        match authorize(permission, &trigger.labeller, trigger.labeller_is_bot, bots) {
            Err(_) => Ok(false),
            Ok(()) => {
                github.react_with_eyes(&trigger.repository, trigger.issue.number).await?;
                Ok(true)
            }
        }
    }
}
