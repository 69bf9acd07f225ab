//! Payloads that count once, queues that do not delay each other, and what is deleted.

use super::*;

pub(in crate::store) const DAY: i64 = 24 * 3600;

fn queued(request: QueuedRequest) -> DeliveryRequest {
    DeliveryRequest::Queue(request.without_texts_of_strangers())
}

pub(in crate::store) fn comment_request(
    id: u64,
    command: SlashCommand,
    by_stranger: bool,
) -> DeliveryRequest {
    let body = "a long text".into();
    let comment = RequestComment { by_stranger, body, ..comment(7, id) };
    queued(QueuedRequest::Command(CommandRequest { command, comment }))
}

pub(in crate::store) async fn due_in(store: &impl Store, lane: Lane) -> Vec<String> {
    let pending = store.pending_requests(InstallationId(7), lane, at(DAY), 10).await.unwrap();
    pending.into_iter().map(|pending| pending.id).collect()
}

pub(super) async fn payload_counts_once_for_a_week_whatever_the_id_of_its_delivery<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
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

pub(super) async fn strangers_commands_of_an_hour_are_bounded_for_each_repository<S: TestedStore>() {
    let (store, _directory) = store::<S>().await;
    let mut recorded = Vec::new();
    for number in 0..25 {
        let delivery = delivery(&format!("d{number}"), comment_request(number, SlashCommand::Status, true));
        recorded.push(store.record_delivery(&delivery, at(1)).await.unwrap());
    }
    let queued = recorded.iter().filter(|one| **one == DeliveryRecorded::RequestQueued).count();
    let too_many = recorded.iter().filter(|one| **one == DeliveryRecorded::TooMany).count();
    assert_eq!((queued, too_many), (20, 5));
    let writer = delivery("w", comment_request(100, SlashCommand::Status, false));
    assert_eq!(store.record_delivery(&writer, at(2)).await.unwrap(), DeliveryRecorded::RequestQueued);
    let later = delivery("later", comment_request(101, SlashCommand::Status, true));
    assert_eq!(store.record_delivery(&later, at(3_602)).await.unwrap(), DeliveryRecorded::RequestQueued);
}
