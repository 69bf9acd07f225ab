//! What the tests of every store cannot look at: rows that are damaged or old, and what exactly is stored.

use std::path::Path;

use super::SqliteStore;
use crate::domain::*;
use crate::store::tests::lanes::{DAY, comment_request, due_in};
use crate::store::tests::{TestedStore, at, command, delivery, due, start, store};
use crate::store::{DeliveryRecorded, Store};

impl TestedStore for SqliteStore {
    async fn open_in(directory: &Path) -> Self {
        Self::open(&directory.join("m.sqlite")).await.unwrap()
    }

    async fn close(self) {
        Self::close(&self).await;
    }
}

#[tokio::test]
async fn commands_are_due_in_order_until_they_are_completed_and_each_comment_counts_once() {
    let (store, _directory) = store::<SqliteStore>().await;
    for (id, comment, recorded) in [
        ("d1", 1, DeliveryRecorded::RequestQueued),
        ("d2", 2, DeliveryRecorded::RequestQueued),
        ("d3", 1, DeliveryRecorded::Duplicate),
    ] {
        let delivery = delivery(id, command(7, comment));
        let now = at(i64::try_from(comment).unwrap());
        assert_eq!(store.record_delivery(&delivery, now).await.unwrap(), recorded, "{id}");
    }
    assert_eq!(due(&store, 7, 0).await, [""; 0]);
    assert_eq!(due(&store, 7, 9).await, ["d1", "d2"]);
    store.defer_request("d1", at(60)).await.unwrap();
    assert_eq!(due(&store, 7, 9).await, ["d2"]);
    // A request that cannot be read delays no other.
    sqlx::query("UPDATE asks SET ask_json = '{}' WHERE id = 'd2'").execute(store.pool()).await.unwrap();
    assert_eq!(due(&store, 7, 9).await, [""; 0]);
    assert_eq!(due(&store, 7, 60).await, ["d1"]);
    store.complete_request("d1", "told", at(61)).await.unwrap();
    assert_eq!(due(&store, 7, 99).await, [""; 0]);
}

#[tokio::test]
async fn commands_of_earlier_versions_are_in_the_queue_of_their_installation() {
    let (store, _directory) = store::<SqliteStore>().await;
    store.record_delivery(&delivery("d1", command(7, 1)), at(1)).await.unwrap();
    sqlx::query("UPDATE asks SET installation_id = 0").execute(store.pool()).await.unwrap();
    let migration = include_str!("migrations/0007_ask_queues.sql");
    let update = &migration[migration.find("UPDATE").unwrap()..migration.find("CREATE INDEX").unwrap()];
    sqlx::query(update).execute(store.pool()).await.unwrap();
    assert_eq!(due(&store, 7, 9).await, ["d1"]);
}

#[tokio::test]
async fn stop_and_strangers_have_queues_of_their_own_and_nothing_that_a_stranger_wrote_is_stored() {
    let (store, _directory) = store::<SqliteStore>().await;
    for (id, request) in [
        ("d1", comment_request(1, SlashCommand::Status, false)),
        ("d2", comment_request(2, SlashCommand::Stop, false)),
        ("d3", comment_request(3, SlashCommand::Stop, true)),
    ] {
        store.record_delivery(&delivery(id, request), at(1)).await.unwrap();
    }
    assert_eq!(due_in(&store, Lane::Stop).await, ["d2"]);
    assert_eq!(due_in(&store, Lane::Normal).await, ["d1"]);
    assert_eq!(due_in(&store, Lane::Stranger).await, ["d3"]);
    for lane in Lane::ALL {
        let installations = store.installations_with_pending_requests(lane, at(DAY)).await.unwrap();
        assert_eq!(installations, [InstallationId(7)], "{lane:?}");
    }
    let texts: Vec<String> = sqlx::query_scalar(
        "SELECT ask_json || (SELECT request_json FROM deliveries WHERE deliveries.id = asks.id) FROM asks ORDER BY id",
    )
    .fetch_all(store.pool())
    .await
    .unwrap();
    assert!(texts[0].contains("a long text") && texts[0].contains("It is broken"), "{}", texts[0]);
    assert!(!texts[2].contains("a long text") && !texts[2].contains("It is broken"), "{}", texts[2]);
}

#[tokio::test]
async fn old_deliveries_and_answered_commands_are_deleted_and_nothing_else() {
    let (store, _directory) = store::<SqliteStore>().await;
    let job = start(&store, "d0", 5).await;
    for (id, seconds) in [("d1", 1), ("d2", 2), ("d3", 20 * DAY)] {
        let comment: u64 = id[1..].parse().unwrap();
        let delivery = delivery(id, comment_request(comment, SlashCommand::Status, false));
        store.record_delivery(&delivery, at(seconds)).await.unwrap();
    }
    for id in ["d1", "d3"] {
        store.complete_request(id, "told", at(20 * DAY)).await.unwrap();
    }
    sqlx::query("UPDATE asks SET done_at = received_at WHERE id = 'd1'").execute(store.pool()).await.unwrap();
    assert_eq!(store.prune(at(10 * DAY)).await.unwrap(), 4, "one answered command and three deliveries");
    let asks: Vec<String> =
        sqlx::query_scalar("SELECT id FROM asks ORDER BY id").fetch_all(store.pool()).await.unwrap();
    assert_eq!(asks, ["d2", "d3"], "a command that waits is not deleted");
    let deliveries: Vec<String> =
        sqlx::query_scalar("SELECT id FROM deliveries").fetch_all(store.pool()).await.unwrap();
    assert_eq!(deliveries, ["d3"]);
    assert!(store.job(job).await.unwrap().is_some());
    assert_eq!(store.prune(at(10 * DAY)).await.unwrap(), 0);
}
