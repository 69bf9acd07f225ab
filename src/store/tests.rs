//! What every store must do. A test of each of these for each store.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::domain::*;

pub(super) mod lanes;

use lanes::{
    payload_counts_once_for_a_week_whatever_the_id_of_its_delivery,
    strangers_commands_of_an_hour_are_bounded_for_each_repository,
};

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + seconds)
}

pub(super) fn trigger(issue: u64) -> Trigger {
    Trigger {
        repository: RepositoryRef {
            installation: InstallationId(7),
            id: RepositoryId(70),
            name: "acme/rocket".parse().unwrap(),
        },
        issue: IssueSnapshot {
            number: IssueNumber(issue),
            title: "It is broken".into(),
            body: "Very.".into(),
            author: "somebody".parse().unwrap(),
            labels: vec!["agent-fix".into()],
        },
        labeller: "octo-maintainer".parse().unwrap(),
        labeller_id: 1,
        labeller_is_bot: false,
        labelled_at: None,
        found: false,
        commanded: false,
    }
}

pub(super) fn delivery(id: &str, request: DeliveryRequest) -> NewDelivery {
    NewDelivery {
        id: id.parse().unwrap(),
        event: "issues".into(),
        action: Some("labeled".into()),
        payload_sha256: format!("{id:0>64}"),
        request: Some(request),
    }
}

/// A store that the tests of this file are run on.
pub(super) trait TestedStore: Store + Clone + 'static {
    /// Opens the store in a directory, and creates it if there is none.
    async fn open_in(directory: &Path) -> Self;
    /// Ends every connection.
    async fn close(self);
}

/// An empty store.
pub(super) async fn store<S: TestedStore>() -> (S, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (S::open_in(directory.path()).await, directory)
}

pub(super) async fn start(store: &impl Store, id: &str, issue: u64) -> JobId {
    let start = delivery(id, DeliveryRequest::Start(trigger(issue)));
    match store.record_delivery(&start, at(0)).await.unwrap() {
        DeliveryRecorded::Job(job) => job,
        other => panic!("no job: {other:?}"),
    }
}

async fn rate_limit_is_restored_until_it_ends_and_never_shortened<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    for (installation, until) in [(7, 90), (7, 20), (8, 30)] {
        store.save_rate_limit(InstallationId(installation), at(until)).await.unwrap();
    }
    assert_eq!(
        store.rate_limits(at(10)).await.unwrap(),
        [(InstallationId(7), at(90)), (InstallationId(8), at(30))]
    );
    assert_eq!(store.rate_limits(at(30)).await.unwrap(), [(InstallationId(7), at(90))]);
    store.save_rate_limit(InstallationId(7), at(95)).await.unwrap();
    assert_eq!(store.rate_limits(at(94)).await.unwrap(), [(InstallationId(7), at(95))]);
}

async fn duplicate_delivery_and_second_label_create_no_second_job<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let job = start(&store, "d1", 5).await;
    let again = delivery("d1", DeliveryRequest::Start(trigger(5)));
    assert_eq!(store.record_delivery(&again, at(1)).await.unwrap(), DeliveryRecorded::Duplicate);
    let second_label = delivery("d2", DeliveryRequest::Start(trigger(5)));
    let recorded = store.record_delivery(&second_label, at(2)).await.unwrap();
    assert_eq!(recorded, DeliveryRecorded::AlreadyActive(job));
    assert_eq!(store.jobs(10).await.unwrap().len(), 1);
}

async fn ended_job_allows_the_next_generation<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    start(&store, "d1", 5).await;
    let claim = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    let ended = TranscriptEvent::Ended { outcome: JobOutcome::Cancelled { why: "unlabelled".into() } };
    store.append(&claim, &[ended], at(2)).await.unwrap();
    let job = start(&store, "d2", 5).await;
    assert_eq!(store.job(job).await.unwrap().unwrap().generation, 2);
}

async fn worker_with_an_expired_lease_cannot_write<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    start(&store, "d1", 5).await;
    let old = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    assert!(store.claim("w2", at(119), at(59)).await.unwrap().is_none(), "the lease was still held");
    let new = store.claim("w2", at(120), at(60)).await.unwrap().unwrap();
    assert_eq!((new.epoch, new.attempt), (old.epoch + 1, 2));

    let note = [TranscriptEvent::Note { text: "x".into() }];
    let lost = |result: Result<(), StoreError>| matches!(result, Err(StoreError::LeaseLost { .. }));
    assert!(lost(store.append(&old, &note, at(61)).await));
    assert!(lost(store.release(&old, at(61), Attempt::Counts).await));
    assert!(lost(store.finish_effect(&old, "pr", "1", at(61)).await));
    assert!(matches!(store.begin_effect(&old, "pr", at(61)).await, Err(StoreError::LeaseLost { .. })));
    assert!(matches!(store.heartbeat(&old, at(120)).await, Err(StoreError::LeaseLost { .. })));
    store.append(&new, &note, at(62)).await.unwrap();
    assert_eq!(store.transcript(new.job.id).await.unwrap().len(), 1);
}

async fn concurrent_claims_never_share_a_job<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    for issue in 0..20 {
        start(&store, &format!("d{issue}"), issue).await;
    }
    let claimers = (0..6).map(|worker| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Some(claim) = store.claim(&format!("w{worker}"), at(600), at(1)).await.unwrap() {
                taken.push(claim.job.id);
            }
            taken
        })
    });
    let mut all = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        all.extend(claimer.await.unwrap());
    }
    all.sort();
    let count = all.len();
    all.dedup();
    assert_eq!((count, all.len()), (20, 20));
}

async fn cancellation_reaches_the_next_heartbeat_and_makes_a_waiting_job_due<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    start(&store, "d1", 5).await;
    let claim = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    assert_eq!(store.heartbeat(&claim, at(61)).await.unwrap(), None);
    store.release(&claim, at(9_000), Attempt::DoesNotCount).await.unwrap();
    let cancel = DeliveryRequest::Cancel {
        repository: trigger(5).repository,
        issue: IssueNumber(5),
        why: "the label was removed".into(),
        at: None,
    };
    let recorded = store.record_delivery(&delivery("d2", cancel), at(10)).await.unwrap();
    assert_eq!(recorded, DeliveryRecorded::Cancelled(1));
    let claim = store.claim("w1", at(70), at(10)).await.unwrap().unwrap();
    assert_eq!(claim.attempt, 1, "an attempt given back for the world's sake does not count");
    assert_eq!(store.heartbeat(&claim, at(71)).await.unwrap().as_deref(), Some("the label was removed"));
}

async fn effects_and_costs_survive_reopening<S: TestedStore>() {
    let (store, directory) = store::<S>().await;
    start(&store, "d1", 5).await;
    let claim = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    assert_eq!(store.begin_effect(&claim, "pr", at(1)).await.unwrap(), EffectState::InProgress);
    assert_eq!(store.begin_effect(&claim, "pr", at(2)).await.unwrap(), EffectState::InProgress);
    store.finish_effect(&claim, "pr", "12", at(3)).await.unwrap();
    let spent = TranscriptEvent::MessageAdded {
        message: Message::Assistant { blocks: Vec::new() },
        usage: Some(Usage { input_tokens: 10, ..Usage::default() }),
        usd: Some(0.25),
        model: Some("m".into()),
        milliseconds: 5,
    };
    store.append(&claim, &[spent.clone(), spent], at(4)).await.unwrap();
    TestedStore::close(store).await;

    let store = S::open_in(directory.path()).await;
    assert_eq!(store.begin_effect(&claim, "pr", at(5)).await.unwrap(), EffectState::Done("12".into()));
    let caps = DailyCaps { repository: DailyCap { usd: Some(0.5), tokens: None }, ..DailyCaps::default() };
    let cent = WorstCase { input_tokens: 1, output_tokens: 1, usd: Some(0.01) };
    let full = store.fits_daily_caps(&claim.job, cent, &caps, at(6)).await.unwrap().unwrap_err();
    assert_eq!((&*full.used, &*full.max), ("$0.5000", "$0.5000"));
    let sequences: Vec<u64> =
        store.transcript(claim.job.id).await.unwrap().iter().map(|r| r.sequence).collect();
    assert_eq!(sequences, [1, 2]);
}

async fn job_of_a_dead_worker_is_claimed_after_a_restart<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    start(&store, "d1", 5).await;
    store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    assert_eq!(store.expire_stale_leases().await.unwrap(), 1);
    let claim = store.claim("w2", at(60), at(2)).await.unwrap().unwrap();
    assert_eq!(claim.attempt, 2, "the attempt that died counts");
}

async fn label_removed_and_added_again_starts_a_second_job<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let first = start(&store, "d1", 5).await;
    let claim = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    let cancel = || DeliveryRequest::Cancel {
        repository: trigger(5).repository,
        issue: IssueNumber(5),
        why: "off".into(),
        at: None,
    };
    store.record_delivery(&delivery("d2", cancel()), at(2)).await.unwrap();
    let again = delivery("d3", DeliveryRequest::Start(trigger(5)));
    assert_eq!(store.record_delivery(&again, at(3)).await.unwrap(), DeliveryRecorded::AlreadyActive(first));
    let ended = TranscriptEvent::Ended { outcome: JobOutcome::Cancelled { why: "off".into() } };
    store.append(&claim, &[ended], at(4)).await.unwrap();
    let next = store.claim("w1", at(60), at(5)).await.unwrap().expect("the second label's job");
    assert_eq!(next.job.generation, 2);
}

async fn job_that_is_not_publishing_cannot_be_recorded_as_proposed<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    start(&store, "d1", 5).await;
    let claim = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    let proposed = || TranscriptEvent::Ended {
        outcome: JobOutcome::Proposed {
            pull_request: None,
            branch: "b".into(),
            head: "0".repeat(40).parse().unwrap(),
        },
    };
    let refused = store.append(&claim, &[proposed()], at(2)).await;
    assert!(matches!(refused, Err(StoreError::IllegalTransition { .. })), "{refused:?}");
    assert_eq!(store.transcript(claim.job.id).await.unwrap(), []);
    let publishing = TranscriptEvent::StateChanged { state: JobState::Publishing };
    store.append(&claim, &[publishing, proposed()], at(3)).await.unwrap();
}

/// The same trigger as GitHub's clock and reconciliation tell of it.
fn labelled(issue: u64, seconds: i64, found: bool) -> DeliveryRequest {
    DeliveryRequest::Start(Trigger { labelled_at: Some(at(seconds)), found, ..trigger(issue) })
}

async fn end_job(store: &impl Store, seconds: i64) {
    let claim = store.claim("w1", at(seconds + 60), at(seconds)).await.unwrap().unwrap();
    let ended = TranscriptEvent::Ended { outcome: JobOutcome::Cancelled { why: "off".into() } };
    store.append(&claim, &[ended], at(seconds)).await.unwrap();
}

async fn label_seen_by_webhook_and_reconciliation_creates_one_job<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let record =
        async |id: &str, request| store.record_delivery(&delivery(id, request), at(500)).await.unwrap();
    // Reconciliation first, and its job has ended when the webhook comes.
    assert!(matches!(record("found-1", labelled(5, 10, true)).await, DeliveryRecorded::Job(_)));
    end_job(&store, 600).await;
    assert_eq!(record("late", labelled(5, 11, false)).await, DeliveryRecorded::Duplicate);
    assert!(store.has_delivery(&"late".parse().unwrap()).await.unwrap());
    assert!(!store.has_delivery(&"never".parse().unwrap()).await.unwrap());
    // A later label counts, however late its webhook is.
    assert!(matches!(record("newer", labelled(5, 12, false)).await, DeliveryRecorded::Job(_)));
    end_job(&store, 700).await;
    // The webhook first, then reconciliation; and a label that a job outlived.
    assert_eq!(record("found-2", labelled(5, 12, true)).await, DeliveryRecorded::Duplicate);
    assert_eq!(record("found-3", labelled(5, 699, true)).await, DeliveryRecorded::Duplicate);
    assert!(matches!(record("found-4", labelled(5, 701, true)).await, DeliveryRecorded::Job(_)));
    let newest = store.latest_job(RepositoryId(70), IssueNumber(5)).await.unwrap().unwrap();
    assert_eq!((newest.generation, newest.trigger.labelled_at), (3, Some(at(701))));
    assert_eq!(store.latest_job(RepositoryId(70), IssueNumber(6)).await.unwrap(), None);
}

async fn two_webhooks_in_one_second_are_two_labels<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let record =
        async |id: &str| store.record_delivery(&delivery(id, labelled(5, 10, false)), at(11)).await.unwrap();
    assert!(matches!(record("a").await, DeliveryRecorded::Job(_)));
    end_job(&store, 12).await;
    assert!(matches!(record("b").await, DeliveryRecorded::Job(_)));
}

async fn late_webhook_about_an_older_label_cancels_nothing<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let record =
        async |id: &str, request| store.record_delivery(&delivery(id, request), at(500)).await.unwrap();
    record("d1", labelled(5, 100, false)).await;
    let cancel = |seconds| DeliveryRequest::Cancel {
        repository: trigger(5).repository,
        issue: IssueNumber(5),
        why: "off".into(),
        at: Some(at(seconds)),
    };
    assert_eq!(record("late", cancel(99)).await, DeliveryRecorded::Cancelled(0));
    assert_eq!(record("now", cancel(100)).await, DeliveryRecorded::Cancelled(1));
}

async fn first_manifest_is_kept_and_job_is_found_by_its_prefix<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let job = start(&store, "d1", 5).await;
    let claim = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    assert_eq!(store.manifest(job).await.unwrap(), None);
    assert_eq!(store.save_manifest(&claim, 1, "{1}", at(2)).await.unwrap(), "{1}");
    assert_eq!(store.save_manifest(&claim, 1, "{2}", at(3)).await.unwrap(), "{1}");
    assert_eq!(store.manifest(job).await.unwrap().as_deref(), Some("{1}"));
    let old = Claim { epoch: claim.epoch - 1, ..claim };
    assert!(matches!(store.save_manifest(&old, 1, "{3}", at(4)).await, Err(StoreError::LeaseLost { .. })));

    let named = store.jobs_with_prefix(&job.to_string()[..9]).await.unwrap();
    assert_eq!(named.iter().map(|job| job.id).collect::<Vec<_>>(), [job]);
    assert!(store.jobs_with_prefix("f").await.unwrap().is_empty());
}

async fn last_plan_of_a_repository_is_remembered<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let (one, other) = (RepositoryId(1), RepositoryId(2));
    assert_eq!(store.remembered_plan(one).await.unwrap(), None);
    let recipe = SetupRecipe { setup: vec!["make \"deps\"".into()], test: "make check".into() };
    let found = RememberedPlan { identity: "a".into(), recipe: Some(recipe) };
    let detected = RememberedPlan { identity: "b".into(), recipe: None };
    for plan in [found, detected] {
        store.remember_plan(one, &plan, at(1)).await.unwrap();
        assert_eq!(store.remembered_plan(one).await.unwrap(), Some(plan));
    }
    assert_eq!(store.remembered_plan(other).await.unwrap(), None);
}

async fn job_awaiting_approval_is_resumed_once_and_only_without_another_job<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let job = start(&store, "d1", 5).await;
    let by: Login = "octo-writer".parse().unwrap();
    let (head, other_head): (Sha, Sha) = ("c".repeat(40).parse().unwrap(), "d".repeat(40).parse().unwrap());
    assert_eq!(store.resume_approved(job, &head, &by, at(1)).await.unwrap(), ResumeOutcome::NotResumable);
    let claim = store.claim("w", at(100), at(1)).await.unwrap().unwrap();
    let held = JobOutcome::Held { branch: "agent-fix/issue-5".into(), head: head.clone() };
    let publishing = TranscriptEvent::StateChanged { state: JobState::Publishing };
    store.append(&claim, &[publishing, TranscriptEvent::Ended { outcome: held }], at(2)).await.unwrap();
    assert!(store.claim("w", at(200), at(150)).await.unwrap().is_none(), "what is held is not worked on");

    let other = start(&store, "d2", 5).await;
    assert_eq!(store.resume_approved(job, &head, &by, at(151)).await.unwrap(), ResumeOutcome::Conflict);
    let second = store.claim("w", at(300), at(152)).await.unwrap().unwrap();
    assert_eq!(second.job.id, other);
    let called_off = JobOutcome::Cancelled { why: "x".into() };
    store.append(&second, &[TranscriptEvent::Ended { outcome: called_off }], at(153)).await.unwrap();

    let of_other = store.resume_approved(job, &other_head, &by, at(153)).await.unwrap();
    assert_eq!(of_other, ResumeOutcome::NotResumable, "an approval of another commit counts");
    assert_eq!(store.resume_approved(job, &head, &by, at(154)).await.unwrap(), ResumeOutcome::Resumed);
    assert_eq!(store.resume_approved(job, &head, &by, at(155)).await.unwrap(), ResumeOutcome::NotResumable);
    let again = store.claim("w", at(400), at(156)).await.unwrap().unwrap();
    assert_eq!((again.job.id, again.job.outcome), (job, None));
    let last = store.transcript(job).await.unwrap();
    assert_eq!(last[last.len() - 2].event, TranscriptEvent::Released { by });
    assert_eq!(last[last.len() - 1].sequence, last.len() as u64);
}

pub(super) fn comment(installation: u64, id: u64) -> RequestComment {
    let Trigger { repository, issue, labeller: by, .. } = trigger(5);
    RequestComment {
        repository: RepositoryRef { installation: InstallationId(installation), ..repository },
        number: issue.number,
        is_pull_request: true,
        issue,
        by,
        by_id: 1,
        by_is_bot: false,
        by_stranger: false,
        id: CommentId(id),
        body: String::new(),
        at: None,
    }
}

pub(super) fn command(installation: u64, comment_id: u64) -> DeliveryRequest {
    let comment = comment(installation, comment_id);
    DeliveryRequest::Queue(QueuedRequest::Command(CommandRequest { command: SlashCommand::Status, comment }))
}

pub(super) async fn due(store: &impl Store, installation: u64, seconds: i64) -> Vec<String> {
    let pending =
        store.pending_requests(InstallationId(installation), Lane::Normal, at(seconds), 10).await.unwrap();
    pending.into_iter().map(|pending| pending.id).collect()
}

async fn each_installation_has_a_queue_of_its_own_and_refused_commands_wait_behind_all_others<
    S: TestedStore,
>() {
    let (store, _directory) = store::<S>().await;
    for (id, installation) in [("d1", 7), ("d2", 7), ("d3", 8)] {
        let comment: u64 = id[1..].parse().unwrap();
        let now = at(i64::try_from(comment).unwrap());
        store.record_delivery(&delivery(id, command(installation, comment)), now).await.unwrap();
    }
    let installations = store.installations_with_pending_requests(Lane::Normal, at(9)).await.unwrap();
    assert_eq!(installations, [InstallationId(7), InstallationId(8)]);
    store.refuse_request("d1").await.unwrap();
    let pending = store.pending_requests(InstallationId(7), Lane::Normal, at(9), 10).await.unwrap();
    let refused: Vec<_> = pending.iter().map(|pending| (pending.id.as_str(), pending.is_refused)).collect();
    assert_eq!(refused, [("d2", false), ("d1", true)]);
    assert_eq!(due(&store, 8, 9).await, ["d3"]);
    store.complete_request("d3", "told", at(10)).await.unwrap();
    let installations = store.installations_with_pending_requests(Lane::Normal, at(11)).await.unwrap();
    assert_eq!(installations, [InstallationId(7)]);
}

async fn ended_job_is_resumed_once_together_with_its_reviews<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let job = start(&store, "d0", 5).await;
    let claim = store.claim("w", at(100), at(1)).await.unwrap().unwrap();
    let resumed = || TranscriptEvent::Resumed {
        by: "ada".parse().unwrap(),
        by_is_bot: false,
        why: ResumeReason::Continued { grant: BudgetExtension::default(), words: String::new() },
    };
    assert_eq!(
        store.resume(job, resumed(), &[], at(1)).await.unwrap(),
        ResumeOutcome::NotResumable,
        "it is at work"
    );
    let preparing = TranscriptEvent::StateChanged { state: JobState::Preparing };
    let outcome = JobOutcome::Cancelled { why: "no".into() };
    store.begin_effect(&claim, "pull_request.2", at(2)).await.unwrap();
    store.finish_effect(&claim, "pull_request.2", "12", at(2)).await.unwrap();
    store.append(&claim, &[preparing, TranscriptEvent::Ended { outcome }], at(2)).await.unwrap();
    let Trigger { repository, issue, .. } = trigger(5);
    let opener =
        async |number| store.job_of_pull_request(repository.id, PullRequestNumber(number)).await.unwrap();
    assert_eq!(opener(12).await.map(|job| job.id), Some(job));
    assert_eq!(opener(1).await, None);

    let review = |id: u64| {
        let (kind, comment) = (ReviewKind::Review, comment(7, id));
        DeliveryRequest::Queue(QueuedRequest::Review(ReviewRequest { kind, comment }))
    };
    for (id, review) in [("d1", review(1)), ("d2", review(2))] {
        store.record_delivery(&delivery(id, review), at(3)).await.unwrap();
    }
    let waiting = async || {
        let waiting = store.pending_reviews(repository.id, PullRequestNumber(issue.number.0)).await.unwrap();
        waiting.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, ["d1", "d2"]);
    assert_eq!(store.resume(job, resumed(), &["d1"], at(4)).await.unwrap(), ResumeOutcome::Resumed);
    assert_eq!(store.resume(job, resumed(), &["d2"], at(5)).await.unwrap(), ResumeOutcome::NotResumable);
    assert_eq!(
        waiting().await,
        ["d2"],
        "a review that did not resume the job is lost, or the one that did is not done"
    );
    let again = store.claim("w", at(200), at(6)).await.unwrap().unwrap();
    assert_eq!((again.job.id, again.job.state), (job, JobState::Queued));
    assert_eq!(Transcript::new(&store.transcript(job).await.unwrap()).round_number(), 2);
}

/// The tests of one store.
macro_rules! tests_of {
    ($name:ident: $store:ty) => {
        tests_of!($name: $store, rate_limit_is_restored_until_it_ends_and_never_shortened, duplicate_delivery_and_second_label_create_no_second_job, ended_job_allows_the_next_generation, worker_with_an_expired_lease_cannot_write, concurrent_claims_never_share_a_job, cancellation_reaches_the_next_heartbeat_and_makes_a_waiting_job_due, effects_and_costs_survive_reopening, job_of_a_dead_worker_is_claimed_after_a_restart, label_removed_and_added_again_starts_a_second_job, job_that_is_not_publishing_cannot_be_recorded_as_proposed, label_seen_by_webhook_and_reconciliation_creates_one_job, two_webhooks_in_one_second_are_two_labels, late_webhook_about_an_older_label_cancels_nothing, first_manifest_is_kept_and_job_is_found_by_its_prefix,
    last_plan_of_a_repository_is_remembered, job_awaiting_approval_is_resumed_once_and_only_without_another_job, each_installation_has_a_queue_of_its_own_and_refused_commands_wait_behind_all_others, ended_job_is_resumed_once_together_with_its_reviews, payload_counts_once_for_a_week_whatever_the_id_of_its_delivery, strangers_commands_of_an_hour_are_bounded_for_each_repository);
    };
    ($name:ident: $store:ty, $($test:ident),*) => {
        mod $name {
            $(#[tokio::test]
            async fn $test() {
                super::$test::<$store>().await;
            })*
        }
    };
}

// A line for each store.
tests_of!(sqlite: crate::store::SqliteStore);
