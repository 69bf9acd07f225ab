//! Says 👀 on issues whose jobs wait for a free worker, so that whoever put the label on knows at once
//! that it was seen. A worker that takes a job at once says so itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::domain::{Job, JobId, authorize};
use crate::github::GitHubError;
use crate::store::StoreError;

use super::WorkerContext;
use super::publication::EYES;

/// How often is looked for a job that nobody woke us for.
const POLL: Duration = Duration::from_secs(5);
/// A free worker has taken a job by then.
const HEAD_START: Duration = Duration::from_millis(200);
/// Jobs that are remembered as looked at; beyond it some are looked at again, which changes nothing.
const REMEMBERED_MAX: usize = 1_000;

/// Greets.
pub struct Acknowledger {
    parts: WorkerContext,
    /// Wakes it.
    arrived: Arc<Notify>,
    /// Jobs that were greeted, or are not to be.
    looked_at: HashSet<JobId>,
}

impl Acknowledger {
    /// A greeter that `arrived` wakes.
    pub fn new(parts: WorkerContext, arrived: Arc<Notify>) -> Self {
        Self { parts, arrived, looked_at: HashSet::new() }
    }

    /// Works until `shutdown`.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = self.arrived.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.cancelled() => return,
            }
            let round = async {
                tokio::time::sleep(HEAD_START).await;
                self.round().await
            };
            tokio::select! {
                done = round => if let Err(error) = done {
                    warn!(%error, "waiting jobs cannot be looked at");
                },
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let waiting = self.parts.store.unacknowledged_jobs(EYES).await?;
        if self.looked_at.len() > REMEMBERED_MAX {
            self.looked_at.clear();
        }
        for job in waiting {
            if self.looked_at.contains(&job.id) {
                continue;
            }
            match self.greet(&job).await {
                Ok(greeted) => {
                    if greeted {
                        self.parts.store.record_effect(&job, EYES, "eyes", (self.parts.clock)()).await?;
                    }
                    self.looked_at.insert(job.id);
                }
                // The next round tries again; its worker will, too.
                Err(error) => debug!(%error, job.id = %job.id, "it could not be said that a job was seen"),
            }
        }
        Ok(())
    }

    /// False: who asked may not, and the worker will say so.
    async fn greet(&self, job: &Job) -> Result<bool, GitHubError> {
        let WorkerContext { github, policy, .. } = &self.parts;
        let trigger = &job.trigger;
        let permission = github.permission(&trigger.repository, &trigger.labeller).await?;
        let bots = &policy.bots_allowed;
        match authorize(permission, &trigger.labeller, trigger.labeller_is_bot, bots) {
            Err(_) => Ok(false),
            Ok(()) => {
                github.react_with_eyes(&trigger.repository, trigger.issue.number).await?;
                Ok(true)
            }
        }
    }
}
