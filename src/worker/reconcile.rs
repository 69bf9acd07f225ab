//! What webhooks should have told and did not: at start and every few minutes the App's delivery log
//! is asked for deliveries that failed, and the repositories for open issues that carry the label and
//! have no job. Both end in the store as a delivery does, under the same rules: nothing is started
//! twice, and who put the label on is judged when the job starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::{DeliveryId, InvalidIdentity, LabelName, RepositoryFilter, RepositoryRef, Trigger};
use crate::github::{AppClient, GitHubError, LabelledIssue, LabelledPage, WebhookDelivery};
use crate::store::{DeliveryRecorded, DeliveryRequest, NewDelivery, Store, StoreError};
use crate::webhook::HANDLED_EVENTS;

/// Deliveries that are asked for again in one round.
const REDELIVERIES_MAX: usize = 50;
/// GitHub keeps deliveries, and delivers them again, for three days.
/// Source: docs.github.com, "Redelivering webhooks".
const REDELIVERY_AGE_MAX: SignedDuration = SignedDuration::from_hours(3 * 24);
/// What was asked for comes within this time.
const REDELIVERY_TIME: Duration = Duration::from_secs(20);
/// Repositories that are looked at in one round; the next round goes on behind them.
const REPOSITORIES_MAX: usize = 200;
/// So many installations may be in trouble in one round; beyond it, it is GitHub that is.
const TROUBLED_MAX: usize = 3;
/// Issues of one repository that are looked at in one round: those that changed last.
const ISSUES_MAX: usize = 500;
/// A webhook gets this long to come by itself: it has the issue's text as it was when labelled.
const GRACE_MAX: Duration = Duration::from_secs(120);

/// Finds what webhooks did not tell.
pub struct Reconciler {
    github: AppClient,
    store: Arc<dyn Store>,
    label: LabelName,
    repository_filter: RepositoryFilter,
    /// Wakes a worker.
    wake: Arc<Notify>,
    /// Between two rounds.
    every: Duration,
    clock: fn() -> Timestamp,
    /// Deliveries that were asked for again by this process.
    asked_again: BTreeSet<String>,
    /// What a repository's list of labelled issues was tagged with when all of it was settled.
    settled: BTreeMap<u64, String>,
    /// Behind which repository the next round goes on.
    after: Option<u64>,
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reconciler {
    /// Nothing is asked yet.
    pub fn new(
        github: AppClient,
        store: Arc<dyn Store>,
        (label, repository_filter): (LabelName, RepositoryFilter),
        wake: Arc<Notify>,
        every: Duration,
        clock: fn() -> Timestamp,
    ) -> Self {
        let (asked_again, settled) = (BTreeSet::new(), BTreeMap::new());
        Self {
            github,
            store,
            label,
            repository_filter,
            wake,
            every,
            clock,
            asked_again,
            settled,
            after: None,
        }
    }

    /// Works until `shutdown`. Trouble ends a round, and the next one goes on.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        loop {
            let pause = tokio::select! {
                pause = self.round() => pause,
                () = shutdown.cancelled() => return,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// One round. Answers with how long to wait before the next.
    async fn round(&mut self) -> Duration {
        let asked = match self.redeliver().await {
            Ok(asked) => asked,
            Err(error) => return self.cut_short(error),
        };
        if asked > 0 {
            // They have the issues' text as it was when labelled: they go before what is there now.
            return self.every.min(REDELIVERY_TIME);
        }
        match self.look_for_labels().await {
            Ok(()) => self.every,
            Err(error) => self.cut_short(error),
        }
    }

    /// Says why a round ended early. Answers with how long to wait before the next.
    fn cut_short(&self, error: RoundError) -> Duration {
        if let RoundError::GitHub(GitHubError::Unavailable { what, detail, retry_after }) = error {
            warn!(what, detail, seconds = retry_after.as_secs(), "reconciliation waits for GitHub");
            return self.every.max(retry_after);
        }
        warn!(%error, "reconciliation was cut short");
        self.every
    }

    /// Has GitHub send again what did not arrive: each delivery once, the oldest first. Answers with
    /// how many were asked for.
    async fn redeliver(&mut self) -> Result<usize, RoundError> {
        let now = (self.clock)();
        let failed = self.github.failed_deliveries(now - REDELIVERY_AGE_MAX).await?;
        // A guid that was redelivered and failed again is left to people.
        let again: BTreeSet<&str> =
            failed.iter().filter(|attempt| attempt.redelivery).map(|attempt| attempt.guid.as_str()).collect();
        let mut due: Vec<&WebhookDelivery> = failed
            .iter()
            .filter(|attempt| HANDLED_EVENTS.contains(&attempt.event.as_str()))
            .filter(|attempt| !again.contains(attempt.guid.as_str()))
            .filter(|attempt| !self.asked_again.contains(&attempt.guid))
            .collect();
        due.sort_by_key(|attempt| (attempt.delivered_at, attempt.id));
        let due: Vec<(u64, String)> = due
            .into_iter()
            .take(REDELIVERIES_MAX)
            .map(|attempt| (attempt.id, attempt.guid.clone()))
            .collect();
        let known: BTreeSet<&str> = failed.iter().map(|attempt| attempt.guid.as_str()).collect();
        self.asked_again.retain(|guid| known.contains(guid.as_str()));
        let mut count = 0;
        for (attempt, guid) in due {
            let Ok(id) = guid.parse::<DeliveryId>() else { continue };
            // It may have arrived, and only our answer was lost.
            if !self.store.has_delivery(&id).await? {
                match self.github.redeliver(attempt).await {
                    Ok(()) => {
                        info!(delivery = guid, "asked GitHub to deliver again");
                        count += 1;
                    }
                    Err(error @ GitHubError::Unavailable { .. }) => return Err(error.into()),
                    // One that GitHub will not send is not in the way of the others.
                    Err(error) => warn!(delivery = guid, %error, "GitHub does not deliver it again"),
                }
            }
            self.asked_again.insert(guid);
        }
        Ok(count)
    }

    /// Looks for open issues with the label that no job knows of.
    async fn look_for_labels(&mut self) -> Result<(), RoundError> {
        let mut all: Vec<RepositoryRef> = Vec::new();
        // One installation's trouble is not the others': its rate limit, say.
        let mut troubled: BTreeSet<u64> = BTreeSet::new();
        for installation in self.github.installations().await?.into_iter().filter(|place| !place.suspended) {
            match self.github.repositories(installation.id).await {
                Ok(repositories) => {
                    all.extend(repositories.into_iter().filter(|at| self.repository_filter.allows(&at.name)));
                }
                Err(error) => {
                    warn!(account = installation.account, %error, "its repositories are not known");
                    if matches!(error, GitHubError::Unavailable { .. }) {
                        troubled.insert(installation.id);
                    }
                }
            }
            if troubled.len() > TROUBLED_MAX {
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
            if troubled.contains(&installation) {
                continue;
            }
            match self.look_at(repository).await {
                Ok(()) => {}
                Err(RoundError::GitHub(error)) => {
                    warn!(repository = %repository.name, %error, "its labelled issues are not known");
                    if matches!(error, GitHubError::Unavailable { .. }) {
                        troubled.insert(installation);
                    }
                    if troubled.len() > TROUBLED_MAX {
                        return Ok(());
                    }
                }
                Err(error @ RoundError::Store(_)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn look_at(&mut self, at: &RepositoryRef) -> Result<(), RoundError> {
        let known = self.settled.get(&at.id.0).map(String::as_str);
        let (issues, tag) =
            match self.github.labelled_issues(at, self.label.as_str(), ISSUES_MAX, known).await? {
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

    /// Makes a job for an issue that has none. False: it must be looked at again.
    async fn settle(&self, at: &RepositoryRef, issue: LabelledIssue) -> Result<bool, RoundError> {
        let number = issue.snapshot.number;
        if let Some(job) = self.store.latest_job(at.id, number).await?
            && (!job.state.is_final() || job.updated_at >= issue.updated_at)
        {
            // An unfinished job settles it for now only: its end changes the issue, and the list.
            return Ok(job.state.is_final());
        }
        let Some(event) = self.github.last_label_event(at, number, self.label.as_str()).await? else {
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
                warn!(%error, issue = %number, "a labeller cannot be understood");
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
                info!(%job, repository = %at.name, issue = %number, "found a label that no webhook told of");
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
