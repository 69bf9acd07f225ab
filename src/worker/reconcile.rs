//! Recovers missed webhooks. At start, every few minutes and when repositories were added, the App's delivery log is read for deliveries
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
/// The longest pause between two requests for one delivery.
const REDELIVERY_PAUSE_MAX: SignedDuration = SignedDuration::from_hours(2);
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

/// Between repositories being added and the search for labels in them: events come in groups.
const ADDED_PAUSE: Duration = Duration::from_secs(2);
/// Between two such searches. Anybody can install and uninstall a public App as often as they like.
const ADDED_PAUSE_AGAIN: Duration = Duration::from_secs(60);

/// Recovers missed webhooks.
pub struct Reconciler {
    github: AppClient,
    store: Arc<dyn Store>,
    label: String,
    repository_filter: RepositoryFilter,
    /// Notified when repositories were added.
    added: Arc<Notify>,
    /// Wakes a worker.
    wake: Arc<Notify>,
    /// The time between two rounds.
    every: Duration,
    clock: fn() -> Timestamp,
    /// The deliveries whose redelivery this process requested, with the attempts that had failed by then.
    requested: BTreeMap<String, usize>,
    /// Failed deliveries that the store has all the same.
    arrived: BTreeSet<String>,
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
        (added, wake): (Arc<Notify>, Arc<Notify>),
        every: Duration,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            github,
            store,
            label,
            repository_filter,
            added,
            wake,
            every,
            clock,
            requested: BTreeMap::new(),
            arrived: BTreeSet::new(),
            settled: BTreeMap::new(),
            after: None,
            round: 0,
        }
    }

    /// Works until `shutdown`. An error ends a part of a round; the next round tries again.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        let mut after_added = ADDED_PAUSE;
        loop {
            self.round += 1;
            let span = info_span!("reconcile", round = self.round);
            let pause = tokio::select! {
                pause = self.reconcile().instrument(span) => pause,
                () = shutdown.cancelled() => return,
            };
            // A longer pause than usual is GitHub's wish.
            let is_asked_to_wait = pause > self.every;
            let next = async {
                tokio::select! {
                    () = tokio::time::sleep(pause) => ADDED_PAUSE,
                    () = self.added.notified(), if !is_asked_to_wait => {
                        tokio::time::sleep(pause.min(after_added)).await;
                        ADDED_PAUSE_AGAIN
                    }
                }
            };
            tokio::select! {
                pause = next => after_added = pause,
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

    /// Requests the redelivery of what did not arrive, the oldest first: again and again, with longer pauses, until
    /// it arrives or GitHub keeps it no longer. Gives the number of requests.
    async fn redeliver(&mut self) -> Result<usize, RoundError> {
        let now = (self.clock)();
        let failed = self.github.failed_deliveries(now - REDELIVERY_AGE_MAX).await?;
        let mut due = due_deliveries(&failed, now, self.every);
        let known: BTreeSet<&str> = failed.iter().map(|attempt| attempt.guid.as_str()).collect();
        self.arrived.retain(|guid| known.contains(guid.as_str()));
        self.requested.retain(|guid, _| known.contains(guid.as_str()));
        due.retain(|delivery| {
            let is_under_way =
                self.requested.get(&delivery.guid).is_some_and(|attempts| *attempts >= delivery.attempts);
            !self.arrived.contains(&delivery.guid) && !is_under_way
        });
        let mut count = 0;
        for FailedDelivery { attempt, guid, attempts } in due {
            if count >= REDELIVERIES_MAX {
                break;
            }
            let Ok(id) = guid.parse::<DeliveryId>() else { continue };
            // The delivery may have arrived, and only our answer was lost.
            if self.store.has_delivery(&id).await? {
                self.arrived.insert(guid);
                continue;
            }
            match self.github.redeliver(attempt).await {
                Ok(()) => {
                    info!(delivery = guid, attempts, "redelivery requested");
                    count += 1;
                }
                Err(error @ GitHubError::Unavailable { .. }) => return Err(error.into()),
                // A delivery that GitHub refuses to redeliver does not delay the others.
                Err(error) => warn!(delivery = guid, %error, "redelivery refused"),
            }
            self.requested.insert(guid, attempts);
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
            | DeliveryRecorded::RequestQueued
            | DeliveryRecorded::Ignored
            | DeliveryRecorded::TooMany
            | DeliveryRecorded::Duplicate => Ok(true),
        }
    }
}

/// A delivery of which every attempt failed so far.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FailedDelivery {
    /// The newest attempt.
    attempt: u64,
    guid: String,
    /// How many attempts failed.
    attempts: usize,
}

/// The deliveries whose redelivery is due, the oldest first. The first redelivery is due at once, and each further one
/// after a longer pause: an outage of ours may last, and what was asked for in it must not be lost.
fn due_deliveries(failed: &[WebhookDelivery], now: Timestamp, every: Duration) -> Vec<FailedDelivery> {
    let mut by_guid: BTreeMap<&str, Vec<&WebhookDelivery>> = BTreeMap::new();
    for attempt in failed.iter().filter(|attempt| HANDLED_EVENTS.contains(&attempt.event.as_str())) {
        by_guid.entry(attempt.guid.as_str()).or_default().push(attempt);
    }
    let mut due = Vec::new();
    for (guid, mut attempts) in by_guid {
        attempts.sort_by_key(|attempt| (attempt.delivered_at, attempt.id));
        let (Some(first), Some(newest)) = (attempts.first(), attempts.last()) else { continue };
        let redeliveries = attempts.iter().filter(|attempt| attempt.redelivery).count();
        if now.duration_since(newest.delivered_at) >= pause_after_redeliveries(redeliveries, every) {
            let (attempt, attempts) = (newest.id, attempts.len());
            due.push((
                (first.delivered_at, first.id),
                FailedDelivery { attempt, guid: guid.to_owned(), attempts },
            ));
        }
    }
    due.sort_by_key(|(age, _)| *age);
    due.into_iter().map(|(_, delivery)| delivery).collect()
}

/// How long to wait after so many failed redeliveries: the time between two rounds, then twice as long each time.
fn pause_after_redeliveries(redeliveries: usize, every: Duration) -> SignedDuration {
    let Some(doublings) = redeliveries.checked_sub(1) else { return SignedDuration::ZERO };
    let every = SignedDuration::try_from(every).unwrap_or(REDELIVERY_PAUSE_MAX);
    let doublings = u32::try_from(doublings).unwrap_or(u32::MAX);
    let pause = 2_i32.checked_pow(doublings).and_then(|factor| every.checked_mul(factor));
    pause.unwrap_or(REDELIVERY_PAUSE_MAX).min(REDELIVERY_PAUSE_MAX)
}

/// Whether the label search waits for redeliveries: they have the text that the issue had when it was
/// labelled. It does not wait if the delivery log cannot be read: it does not need the log.
fn are_redeliveries_under_way(redelivered: &Result<usize, RoundError>) -> bool {
    redelivered.as_ref().is_ok_and(|requested| *requested > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u64, guid: &str, at: i64, redelivery: bool) -> WebhookDelivery {
        WebhookDelivery {
            id,
            guid: guid.into(),
            delivered_at: Timestamp::from_second(at).unwrap(),
            redelivery,
            status: "Service Unavailable".into(),
            status_code: 503,
            event: "issue_comment".into(),
            action: Some("created".into()),
        }
    }

    fn due(failed: &[WebhookDelivery], now: i64) -> Vec<(u64, usize)> {
        let every = Duration::from_secs(60);
        let due = due_deliveries(failed, Timestamp::from_second(now).unwrap(), every);
        due.into_iter().map(|delivery| (delivery.attempt, delivery.attempts)).collect()
    }

    #[test]
    fn delivery_that_failed_again_is_due_again_after_longer_and_longer_pauses() {
        let first = attempt(1, "a", 0, false);
        assert_eq!(due(std::slice::from_ref(&first), 0), [(1, 1)]);
        let mut failed = vec![attempt(2, "a", 10, true), first];
        assert_eq!(due(&failed, 69), []);
        assert_eq!(due(&failed, 70), [(2, 2)]);
        failed.push(attempt(3, "a", 70, true));
        assert_eq!(due(&failed, 189), []);
        assert_eq!(due(&failed, 190), [(3, 3)]);
        // As long as GitHub keeps it, it is asked for at least every two hours.
        failed.extend((4..40).map(|id| attempt(id, "a", 190, true)));
        assert_eq!(due(&failed, 190 + 7_199), []);
        assert_eq!(due(&failed, 190 + 7_200), [(39, 39)]);
    }

    #[test]
    fn oldest_delivery_is_due_first_and_events_that_ask_for_nothing_are_not() {
        let other = WebhookDelivery { event: "star".into(), ..attempt(9, "c", 0, false) };
        let failed = [other, attempt(2, "a", 20, false), attempt(1, "b", 10, false)];
        assert_eq!(due(&failed, 30), [(1, 1), (2, 1)]);
    }

    #[test]
    fn error_in_the_delivery_log_does_not_stop_the_label_search() {
        let error = GitHubError::Forbidden { what: "listing deliveries".into(), detail: "403".into() };
        assert!(!are_redeliveries_under_way(&Err(error.into())));
        assert!(!are_redeliveries_under_way(&Ok(0)));
        assert!(are_redeliveries_under_way(&Ok(1)));
    }
}
