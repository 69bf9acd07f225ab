//! Daily caps hold for concurrent jobs and for workers that die.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::Barrier;

use crate::domain::*;
use crate::store::tests::{at, delivery, start, store, trigger};
use crate::store::{DeliveryRecorded, SqliteStore, Store};

const REPOSITORY: DailyCap = DailyCap { usd: Some(1.0), tokens: Some(40_000) };
const INSTALLATION: DailyCap = DailyCap { usd: Some(1.5), tokens: Some(60_000) };
const CAPS: DailyCaps = DailyCaps { repository: REPOSITORY, installation: INSTALLATION };

fn worst(cents: u64) -> WorstCase {
    WorstCase { input_tokens: cents * 300, output_tokens: cents * 100, usd: Some(cents as f64 / 100.0) }
}

/// The event of an answer that cost so many cents.
fn answered(cents: u64) -> TranscriptEvent {
    TranscriptEvent::MessageAdded {
        message: Message::Assistant { blocks: Vec::new() },
        usage: Some(Usage { input_tokens: cents * 400, ..Usage::default() }),
        usd: Some(cents as f64 / 100.0),
        model: Some("m".into()),
        milliseconds: 5,
    }
}

fn in_repository(id: &str, repository: u64, issue: u64) -> NewDelivery {
    let mut trigger = trigger(issue);
    trigger.repository.id = RepositoryId(repository);
    delivery(id, DeliveryRequest::Start(trigger))
}

/// What the store counts at `now`, in cents, for a repository or for the installation.
async fn counted(store: &SqliteStore, column: &'static str, id: u64, now: jiff::Timestamp) -> f64 {
    let mut tx = store.pool().begin().await.unwrap();
    let calls = store.calls_of_day(&mut tx, column, id as i64, now).await.unwrap();
    calls.iter().map(|call| call.micro_usd).sum::<u64>() as f64 / 1e4
}

#[tokio::test]
async fn reservation_counts_until_the_cost_is_recorded() {
    let (store, _directory) = store::<SqliteStore>().await;
    start(&store, "d1", 5).await;
    let claim = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    let reserve = async |cents| store.reserve_call(&claim, "m", worst(cents), &CAPS, at(2)).await.unwrap();
    let cents = async || counted(&store, "repository_id", 70, at(2)).await;

    reserve(60).await.unwrap();
    assert_eq!(cents().await, 60.0);
    assert_eq!(store.unsettled_call(claim.job.id).await.unwrap().unwrap().worst, worst(60));
    store.append(&claim, &[answered(7)], at(3)).await.unwrap();
    assert_eq!(cents().await, 7.0);
    assert_eq!(store.unsettled_call(claim.job.id).await.unwrap(), None);

    reserve(93).await.unwrap();
    store.cancel_call(&claim).await.unwrap();
    assert_eq!(cents().await, 7.0);
    let refused = reserve(94).await.unwrap_err();
    assert_eq!(&*refused.setting, "budget.repository_usd_per_day");
    let wait = refused.room_from.unwrap().duration_since(at(2) + DAY).as_secs();
    assert!((0..60).contains(&wait), "{wait}");
    assert_eq!(cents().await, 7.0, "what was refused was set aside");
}

#[tokio::test]
async fn job_has_one_open_call_and_a_worker_without_lease_none() {
    let (store, _directory) = store::<SqliteStore>().await;
    start(&store, "d1", 5).await;
    let old = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    store.reserve_call(&old, "m", worst(1), &CAPS, at(2)).await.unwrap().unwrap();
    assert!(store.reserve_call(&old, "m", worst(1), &CAPS, at(2)).await.is_err());
    let new = store.claim("w2", at(120), at(61)).await.unwrap().unwrap();
    assert!(store.cancel_call(&old).await.is_err());
    assert!(store.append(&old, &[answered(1)], at(62)).await.is_err());
    assert!(store.unsettled_call(new.job.id).await.unwrap().is_some(), "the dead one's call counts");
}

#[tokio::test]
async fn day_is_the_last_24_hours_for_every_store_on_the_file() {
    let (store, directory) = store::<SqliteStore>().await;
    start(&store, "d1", 5).await;
    let claim = store.claim("w1", at(200_000), at(1)).await.unwrap().unwrap();
    store.reserve_call(&claim, "m", worst(100), &CAPS, at(0)).await.unwrap().unwrap();
    let other = SqliteStore::open(&directory.path().join("m.sqlite")).await.unwrap();
    let room = async |seconds| other.fits_daily_caps(&claim.job, worst(1), &CAPS, at(seconds)).await.unwrap();
    assert!(room(86_399).await.is_err());
    assert_eq!(room(86_400).await, Ok(()));
    assert!(room(-5).await.is_err(), "a clock that was set back makes no room");
}

#[tokio::test]
async fn repositories_have_separate_caps_and_share_the_installation_cap() {
    let (store, _directory) = store::<SqliteStore>().await;
    for (id, repository) in [("d1", 1), ("d2", 2)] {
        store.record_delivery(&in_repository(id, repository, 5), at(0)).await.unwrap();
    }
    let first = store.claim("w1", at(60), at(1)).await.unwrap().unwrap();
    let second = store.claim("w2", at(60), at(1)).await.unwrap().unwrap();
    store.reserve_call(&first, "m", worst(90), &CAPS, at(2)).await.unwrap().unwrap();
    let over = store.reserve_call(&second, "m", worst(70), &CAPS, at(2)).await.unwrap().unwrap_err();
    assert_eq!(over.scope, BudgetScope::Installation);
    store.reserve_call(&second, "m", worst(60), &CAPS, at(2)).await.unwrap().unwrap();
}

/// What a racing job does with the call that it was given room for.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It costs a part of what was set aside, in percent.
    Answered(u64),
    /// It costs nothing.
    Refused,
    /// Its worker dies; the next one records it as the most that it can have been.
    Died,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => (0..=100_u64).prop_map(Fate::Answered),
        1 => Just(Fate::Refused),
        1 => Just(Fate::Died),
    ]
}

/// The calls that one job tries to make: how many cents at most, and what becomes of each.
fn calls() -> impl Strategy<Value = Vec<(u64, Fate)>> {
    prop::collection::vec((1..=20_u64, fate()), 6..12)
}

/// Runs one job's calls. Answers with how many found room, and how many did not.
async fn race(
    store: SqliteStore,
    repository: u64,
    issue: u64,
    calls: Vec<(u64, Fate)>,
    start: Arc<Barrier>,
) -> (u64, u64) {
    let new = in_repository(&format!("{repository}-{issue}"), repository, issue);
    let DeliveryRecorded::Job(job) = store.record_delivery(&new, at(0)).await.unwrap() else {
        panic!("no job")
    };
    // Whichever job is claimed, it belongs to one of the racers; each claims one.
    let mut claim = store.claim("w", at(60), at(0)).await.unwrap().unwrap();
    let _ = job;
    start.wait().await;
    let (mut made, mut refused) = (0, 0);
    for (cents, fate) in calls {
        if store.reserve_call(&claim, "m", worst(cents), &CAPS, at(1)).await.unwrap().is_err() {
            refused += 1;
            continue;
        }
        made += 1;
        tokio::task::yield_now().await;
        match fate {
            Fate::Answered(percent) => {
                store.append(&claim, &[answered(cents * percent / 100)], at(1)).await.unwrap();
            }
            Fate::Refused => store.cancel_call(&claim).await.unwrap(),
            Fate::Died => {
                let successor = store.claim_again(&claim).await;
                let left = store.unsettled_call(claim.job.id).await.unwrap().expect("it counts on");
                assert_eq!(left.worst, worst(cents));
                claim = successor;
                store.append(&claim, &[answered(cents)], at(1)).await.unwrap();
            }
        }
    }
    (made, refused)
}

impl SqliteStore {
    /// The same job under the next epoch, as after the death of its worker.
    async fn claim_again(&self, claim: &super::Claim) -> super::Claim {
        sqlx::query("UPDATE jobs SET epoch = epoch + 1 WHERE id = $1")
            .bind(claim.job.id.to_string())
            .execute(self.pool())
            .await
            .unwrap();
        super::Claim { epoch: claim.epoch + 1, ..claim.clone() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Many jobs of two repositories race through two stores on one file, as two services would. At
    /// no moment does a sum exceed its cap, and at the end every cent is accounted for.
    #[test]
    fn racing_jobs_never_spend_more_than_a_cap(jobs in prop::collection::vec(calls(), 8)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, directory) = store::<SqliteStore>().await;
            let other = SqliteStore::open(&directory.path().join("m.sqlite")).await.unwrap();
            let start = Arc::new(Barrier::new(jobs.len()));
            let racers: Vec<_> = jobs
                .into_iter()
                .enumerate()
                .map(|(number, calls)| {
                    let store = if number % 2 == 0 { store.clone() } else { other.clone() };
                    let repository = 1 + (number as u64 / 2) % 2;
                    tokio::spawn(race(store, repository, number as u64, calls, start.clone()))
                })
                .collect();
            let within = async || {
                for repository in [1, 2] {
                    let cents = counted(&store, "repository_id", repository, at(1)).await;
                    assert!(cents <= 100.0, "repository {repository}: {cents} cents");
                }
                let cents = counted(&store, "installation_id", 7, at(1)).await;
                assert!(cents <= 150.0, "installation: {cents} cents");
            };
            let (mut made, mut refused) = (0, 0);
            for racer in racers {
                while !racer.is_finished() {
                    within().await;
                }
                let (more_made, more_refused) = racer.await.unwrap();
                made += more_made;
                refused += more_refused;
            }
            within().await;
            assert!(made > 0);
            assert!(refused > 0, "nobody was refused: the race was none");
        });
    }
}
