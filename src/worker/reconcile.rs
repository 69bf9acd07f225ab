//! Recovers missed webhooks. At start and every few minutes the App's delivery log is read for deliveries
//! that failed, and the repositories for open issues that have the label and no job. Both end in the store
//! as a delivery does, under the same rules: nothing is started twice, and the permission of whoever added
//! the label is checked when the job starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::domain::{
    DeliveryId, DeliveryRequest, InvalidIdentity, NewDelivery, RepositoryFilter, RepositoryRef, Trigger,
};
use crate::github::{AppClient, GitHubError, LabelledIssue, LabelledPage, WebhookDelivery};
use crate::store::{DeliveryRecorded, Store, StoreError};
use crate::webhook::HANDLED_EVENTS;

/// Redeliveries that are requested in one round.
const REDELIVERIES_MAX: usize = 50;
/// GitHub keeps deliveries, and can redeliver them, for three days.
/// Source: docs.github.com, "Redelivering webhooks".
const REDELIVERY_AGE_MAX: SignedDuration = SignedDuration::from_hours(3 * 24);
/// A requested redelivery arrives within this time.
const REDELIVERY_TIME: Duration = Duration::from_secs(20);
/// Repositories that are searched in one round; the next round continues after them.
const REPOSITORIES_MAX: usize = 200;
/// If GitHub is unavailable for more installations than this in one round, it is unavailable for all.
const UNAVAILABLE_MAX: usize = 3;
/// Issues of one repository that are read in one round: those that changed last.
const ISSUES_MAX: usize = 500;
/// A webhook gets this long to arrive by itself: it has the text that the issue had when it was labelled.
const GRACE_MAX: Duration = Duration::from_secs(120);

/// Recovers missed webhooks.
pub struct Reconciler {
    github: AppClient,
    store: Arc<dyn Store>,
    label: String,
    repository_filter: RepositoryFilter,
    /// Wakes a worker.
    wake: Arc<Notify>,
    /// The time between two rounds.
    every: Duration,
    clock: fn() -> Timestamp,
    /// Deliveries whose redelivery this process requested.
    requested: BTreeSet<String>,
    /// The tag of each repository's list of labelled issues when none of them needed anything.
    settled: BTreeMap<u64, String>,
    /// The repository after which the next round continues.
    after: Option<u64>,
    /// Counts the rounds.
    round: u64,
}

/// Why a part of a round ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reconciler {
    /// A reconciler that has read nothing yet.
    pub fn new(
        github: AppClient,
        store: Arc<dyn Store>,
        (label, repository_filter): (String, RepositoryFilter),
        wake: Arc<Notify>,
        every: Duration,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            github,
            store,
            label,
            repository_filter,
            wake,
            every,
            clock,
            requested: BTreeSet::new(),
            settled: BTreeMap::new(),
            after: None,
            round: 0,
        }
    }

    /// Works until `shutdown`. An error ends a part of a round; the next round tries again.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        loop {
            self.round += 1;
            let span = info_span!("reconcile", round = self.round);
            let pause = tokio::select! {
                pause = self.reconcile().instrument(span) => pause,
                () = shutdown.cancelled() => return,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// One round. Gives the pause before the next.
    async fn reconcile(&mut self) -> Duration {
        let redelivered = self.redeliver().await;
        if are_redeliveries_under_way(&redelivered) {
            return self.every.min(REDELIVERY_TIME);
        }
        let pause = match redelivered {
            Ok(_) => self.every,
            Err(error) => self.pause_after(&error, "failed deliveries not read"),
        };
        match self.search_labels().await {
            Ok(()) => pause,
            Err(error) => pause.max(self.pause_after(&error, "labels not searched")),
        }
    }

    /// Logs why a part of a round ended early. Gives the pause before the next round.
    fn pause_after(&self, error: &RoundError, message: &str) -> Duration {
        match error {
            RoundError::GitHub(GitHubError::Unavailable { retry_after, .. }) => {
                warn!(%error, seconds = retry_after.as_secs(), "{message}");
                self.every.max(*retry_after)
            }
            RoundError::GitHub(_) => {
                warn!(%error, "{message}");
                self.every
            }
            RoundError::Store(_) => {
                error!(%error, "{message}");
                self.every
            }
        }
    }

    /// Requests the redelivery of what did not arrive: each delivery once, the oldest first. Gives the
    /// number of requests.
    async fn redeliver(&mut self) -> Result<usize, RoundError> {
        let now = (self.clock)();
        let failed = self.github.failed_deliveries(now - REDELIVERY_AGE_MAX).await?;
        // A delivery whose redelivery failed, too, is left to people.
        let failed_again: BTreeSet<&str> =
            failed.iter().filter(|attempt| attempt.redelivery).map(|attempt| attempt.guid.as_str()).collect();
        let mut due: Vec<&WebhookDelivery> = failed
            .iter()
            .filter(|attempt| HANDLED_EVENTS.contains(&attempt.event.as_str()))
            .filter(|attempt| !failed_again.contains(attempt.guid.as_str()))
            .filter(|attempt| !self.requested.contains(&attempt.guid))
            .collect();
        due.sort_by_key(|attempt| (attempt.delivered_at, attempt.id));
        let due: Vec<(u64, String)> = due
            .into_iter()
            .take(REDELIVERIES_MAX)
            .map(|attempt| (attempt.id, attempt.guid.clone()))
            .collect();
        let known: BTreeSet<&str> = failed.iter().map(|attempt| attempt.guid.as_str()).collect();
        self.requested.retain(|guid| known.contains(guid.as_str()));
        let mut count = 0;
        for (attempt, guid) in due {
            let Ok(id) = guid.parse::<DeliveryId>() else { continue };
            // The delivery may have arrived, and only our answer was lost.
            if !self.store.has_delivery(&id).await? {
                match self.github.redeliver(attempt).await {
                    Ok(()) => {
                        info!(delivery = guid, "redelivery requested");
                        count += 1;
                    }
                    Err(error @ GitHubError::Unavailable { .. }) => return Err(error.into()),
                    // A delivery that GitHub refuses to redeliver does not delay the others.
                    Err(error) => warn!(delivery = guid, %error, "redelivery refused"),
                }
            }
            self.requested.insert(guid);
        }
        Ok(count)
    }

    /// Searches for open issues with the label that have no job.
    async fn search_labels(&mut self) -> Result<(), RoundError> {
        let mut all: Vec<RepositoryRef> = Vec::new();
        // What is unavailable for one installation, for its rate limit, say, is available for others.
        let mut unavailable: BTreeSet<u64> = BTreeSet::new();
        for installation in self.github.installations().await?.into_iter().filter(|place| !place.suspended) {
            match self.github.repositories(installation.id).await {
                Ok(repositories) => {
                    let allowed =
                        repositories.into_iter().filter(|at| self.repository_filter.allows(&at.name));
                    all.extend(allowed);
                }
                Err(error) => {
                    warn!(account = installation.account, %error, "repositories not read");
                    if matches!(error, GitHubError::Unavailable { .. }) {
                        unavailable.insert(installation.id);
                    }
                }
            }
            if unavailable.len() > UNAVAILABLE_MAX {
                return Ok(());
            }
        }
        all.sort_by_key(|repository| repository.id.0);
        let ids: BTreeSet<u64> = all.iter().map(|repository| repository.id.0).collect();
        self.settled.retain(|id, _| ids.contains(id));
        let start = match self.after {
            Some(after) if all.len() > REPOSITORIES_MAX => {
                all.iter().position(|repository| repository.id.0 > after).unwrap_or(0)
            }
            Some(_) | None => 0,
        };
        all.rotate_left(start);
        for repository in all.iter().take(REPOSITORIES_MAX) {
            self.after = Some(repository.id.0);
            let installation = repository.installation.0;
            if unavailable.contains(&installation) {
                continue;
            }
            match self.search_repository(repository).await {
                Ok(()) => {}
                Err(RoundError::GitHub(error)) => {
                    warn!(repo = %repository.name, %error, "labelled issues not read");
                    if matches!(error, GitHubError::Unavailable { .. }) {
                        unavailable.insert(installation);
                    }
                    if unavailable.len() > UNAVAILABLE_MAX {
                        return Ok(());
                    }
                }
                Err(error @ RoundError::Store(_)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn search_repository(&mut self, at: &RepositoryRef) -> Result<(), RoundError> {
        let known = self.settled.get(&at.id.0).map(String::as_str);
        let (issues, tag) = match self.github.labelled_issues(at, &self.label, ISSUES_MAX, known).await? {
            LabelledPage::Unchanged => return Ok(()),
            LabelledPage::Issues { issues, tag } => (issues, tag),
        };
        let mut all_settled = true;
        for issue in issues {
            all_settled &= self.settle(at, issue).await?;
        }
        match tag.filter(|_| all_settled) {
            Some(tag) => self.settled.insert(at.id.0, tag),
            None => self.settled.remove(&at.id.0),
        };
        Ok(())
    }

    /// Records a job for an issue that has none. False: the next round has to check the issue again.
    async fn settle(&self, at: &RepositoryRef, issue: LabelledIssue) -> Result<bool, RoundError> {
        let number = issue.snapshot.number;
        if let Some(job) = self.store.latest_job(at.id, number).await?
            && (!job.state.is_final() || job.updated_at >= issue.updated_at)
        {
            // An unfinished job settles it for now only: its end changes the issue, and the list.
            return Ok(job.state.is_final());
        }
        let Some(event) = self.github.last_label_event(at, number, &self.label).await? else {
            return Ok(true);
        };
        let age = (self.clock)().duration_since(event.at);
        let grace = GRACE_MAX.min(self.every);
        if age < SignedDuration::try_from(grace).unwrap_or_default() {
            return Ok(false);
        }
        let labeller = match event.labeller.parse() {
            Ok(labeller) => labeller,
            Err(error) => {
                let error: InvalidIdentity = error;
                warn!(%error, issue = %number, "label skipped: its author has no valid login");
                return Ok(true);
            }
        };
        let Ok(id) = format!("found-{}", event.id).parse::<DeliveryId>() else { return Ok(true) };
        let trigger = Trigger {
            repository: at.clone(),
            issue: issue.snapshot,
            labeller,
            labeller_id: event.labeller_id,
            labeller_is_bot: event.labeller_is_bot,
            labelled_at: Some(event.at),
            found: true,
            commanded: false,
        };
        let delivery = NewDelivery {
            id,
            event: "issues".to_owned(),
            action: Some("labeled".to_owned()),
            payload_sha256: String::new(),
            request: Some(DeliveryRequest::Start(trigger)),
        };
        match self.store.record_delivery(&delivery, (self.clock)()).await? {
            DeliveryRecorded::Job(job) => {
                info!(%job, repo = %at.name, issue = %number, "missed label recovered");
                self.wake.notify_one();
                Ok(false)
            }
            DeliveryRecorded::AlreadyActive(_) => Ok(false),
            DeliveryRecorded::Cancelled(_)
            | DeliveryRecorded::CommandQueued
            | DeliveryRecorded::Ignored
            | DeliveryRecorded::Duplicate => Ok(true),
        }
    }
}

/// Whether the label search waits for redeliveries: they have the text that the issue had when it was
/// labelled. It does not wait if the delivery log cannot be read: it does not need the log.
fn are_redeliveries_under_way(redelivered: &Result<usize, RoundError>) -> bool {
    redelivered.as_ref().is_ok_and(|requested| *requested > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_in_the_delivery_log_does_not_stop_the_label_search() {
        let error = GitHubError::Forbidden { what: "listing deliveries".into(), detail: "403".into() };
        assert!(!are_redeliveries_under_way(&Err(error.into())));
        assert!(!are_redeliveries_under_way(&Ok(0)));
        assert!(are_redeliveries_under_way(&Ok(1)));
    }
}
