//! Payloads that count once, queues that do not delay each other, and what is deleted.

use super::*;

const DAY: i64 = 24 * 3600;

fn queued(request: QueuedRequest) -> DeliveryRequest {
    DeliveryRequest::Queue(request.without_texts_of_strangers())
}

fn comment_request(id: u64, command: SlashCommand, by_stranger: bool) -> DeliveryRequest {
    let body = "a long text".into();
    let comment = RequestComment { by_stranger, body, ..comment(7, id) };
    queued(QueuedRequest::Command(CommandRequest { command, comment }))
}

async fn due_in(store: &SqliteStore, lane: Lane) -> Vec<String> {
    let pending = store.pending_requests(InstallationId(7), lane, at(DAY), 10).await.unwrap();
    pending.into_iter().map(|pending| pending.id).collect()
}

#[tokio::test]
async fn payload_counts_once_for_a_week_whatever_the_id_of_its_delivery() {
    let (store, _directory) = store().await;
    let first = delivery("d1", DeliveryRequest::Start(trigger(5)));
    assert!(matches!(store.record_delivery(&first, at(0)).await.unwrap(), DeliveryRecorded::Job(_)));
    let copy = |id: &str| NewDelivery { id: id.parse().unwrap(), ..first.clone() };
    for (id, seconds, counts) in [("d2", 1, false), ("d3", 7 * DAY - 1, false), ("d4", 7 * DAY, true)] {
        let recorded = store.record_delivery(&copy(id), at(seconds)).await.unwrap();
        assert_eq!(recorded != DeliveryRecorded::Duplicate, counts, "{id}");
    }
    // What we record ourselves has no payload.
    for id in ["found-1", "found-2"] {
        let own = NewDelivery { payload_sha256: String::new(), ..copy(id) };
        assert_ne!(store.record_delivery(&own, at(9)).await.unwrap(), DeliveryRecorded::Duplicate);
    }
}

#[tokio::test]
async fn stop_and_strangers_have_queues_of_their_own_and_nothing_that_a_stranger_wrote_is_stored() {
    let (store, _directory) = store().await;
    for (id, request) in [
        ("d1", comment_request(1, SlashCommand::Status, false)),
        ("d2", comment_request(2, SlashCommand::Stop, false)),
        ("d3", comment_request(3, SlashCommand::Stop, true)),
    ] {
        store.record_delivery(&delivery(id, request), at(1)).await.unwrap();
    }
    assert_eq!(due_in(&store, Lane::Stop).await, ["d2"]);
    assert_eq!(due_in(&store, Lane::Usual).await, ["d1"]);
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
async fn strangers_commands_of_an_hour_are_bounded_for_each_repository() {
    let (store, _directory) = store().await;
    let mut recorded = Vec::new();
    for number in 0..25 {
        let delivery = delivery(&format!("d{number}"), comment_request(number, SlashCommand::Status, true));
        recorded.push(store.record_delivery(&delivery, at(1)).await.unwrap());
    }
    let queued = recorded.iter().filter(|one| **one == DeliveryRecorded::CommandQueued).count();
    let too_many = recorded.iter().filter(|one| **one == DeliveryRecorded::TooMany).count();
    assert_eq!((queued, too_many), (20, 5));
    let writer = delivery("w", comment_request(100, SlashCommand::Status, false));
    assert_eq!(store.record_delivery(&writer, at(2)).await.unwrap(), DeliveryRecorded::CommandQueued);
    let later = delivery("later", comment_request(101, SlashCommand::Status, true));
    assert_eq!(store.record_delivery(&later, at(3_602)).await.unwrap(), DeliveryRecorded::CommandQueued);
}

#[tokio::test]
async fn old_deliveries_and_answered_commands_are_deleted_and_nothing_else() {
    let (store, _directory) = store().await;
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
