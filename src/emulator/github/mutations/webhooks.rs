//! The queue of webhooks: which events the App receives, in which order, and what is sent again.
//!
//! Like GitHub, the emulator never retries by itself; a redelivery keeps its GUID.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::github::data::{Database, Delivery, DeliveryResult};
use crate::github::shapes;

/// How many deliveries the log keeps.
const DELIVERIES_KEPT_MAX: usize = 10_000;

/// An event in a repository.
pub(super) struct WebhookEvent<'a> {
    pub(super) name: &'static str,
    pub(super) action: Option<&'static str>,
    /// The index of the repository.
    pub(super) repository: usize,
    /// The login of the account that caused it.
    pub(super) sender: &'a str,
    /// The fields of the payload that only this event has.
    pub(super) fields: Value,
}

/// Queues an event for the App, if the App is installed and subscribes to it.
pub(super) fn emit(db: &mut Database, event: WebhookEvent<'_>, now: Timestamp) {
    let app = &db.app;
    let Some(url) = app.webhook_url.clone() else { return };
    let is_subscribed = app.events.iter().any(|name| name == event.name);
    if app.suspended_at.is_some() || !app.installed || !is_subscribed {
        return;
    }
    let repository = &db.repositories[event.repository];
    let repository_id = repository.id;
    let mut payload = Map::new();
    if let Some(action) = event.action {
        payload.insert("action".to_owned(), json!(action));
    }
    if let Value::Object(fields) = event.fields {
        payload.extend(fields);
    }
    let installation = app.installation;
    payload.insert("repository".to_owned(), shapes::repository(db, repository));
    payload.insert("sender".to_owned(), shapes::account(db, event.sender));
    payload.insert(
        "installation".to_owned(),
        json!({"id": installation, "node_id": shapes::node_id("MDIz", installation)}),
    );
    let delivery = Delivery {
        id: db.next_id(),
        guid: uuid::Uuid::new_v4().to_string(),
        redelivery: false,
        event: event.name.to_owned(),
        action: event.action.map(str::to_owned),
        repository: Some(repository_id),
        url: url.to_string(),
        payload: Value::Object(payload).to_string(),
        created_at: now,
        result: None,
    };
    schedule(db, delivery);
}

/// Holds a new delivery back, reorders or duplicates it if a disruption asks for that, or queues it.
fn schedule(db: &mut Database, delivery: Delivery) {
    if db.deliveries_to_hold > 0 {
        db.deliveries_to_hold -= 1;
        db.held_deliveries.push(delivery);
    } else if db.deliveries_to_reorder > 0 {
        db.deliveries_to_reorder -= 1;
        db.reordered_deliveries.push(delivery);
        if db.deliveries_to_reorder == 0 {
            let collected = std::mem::take(&mut db.reordered_deliveries);
            collected.into_iter().rev().for_each(|delivery| enqueue(db, delivery));
        }
    } else if db.deliveries_to_duplicate > 0 {
        db.deliveries_to_duplicate -= 1;
        enqueue(db, delivery.clone());
        let id = db.next_id();
        enqueue(db, Delivery { id, ..delivery });
    } else {
        enqueue(db, delivery);
    }
}

/// Sends a delivery again, unchanged, to the current address. Returns the new delivery's id; `None`
/// means that there is no such delivery.
pub(crate) fn redeliver(db: &mut Database, id: u64, now: Timestamp) -> Option<u64> {
    let old = db.deliveries.iter().find(|delivery| delivery.id == id)?.clone();
    let id = db.next_id();
    let url = db.app.webhook_url.as_ref().map_or(old.url.clone(), ToString::to_string);
    enqueue(db, Delivery { id, redelivery: true, created_at: now, result: None, url, ..old });
    Some(id)
}

/// Sends the newest delivery with this GUID again. Returns the new delivery's id; `None` means that there
/// is no such delivery.
pub(crate) fn redeliver_newest(db: &mut Database, guid: &str, now: Timestamp) -> Option<u64> {
    let newest = db.deliveries.iter().rev().find(|delivery| delivery.guid == guid)?.id;
    redeliver(db, newest, now)
}

/// Sends the deliveries that were held back.
pub(crate) fn continue_held(db: &mut Database) {
    for delivery in std::mem::take(&mut db.held_deliveries) {
        enqueue(db, delivery);
    }
}

fn enqueue(db: &mut Database, mut delivery: Delivery) {
    if db.outbox.try_send(delivery.id).is_err() {
        delivery.result = Some(DeliveryResult::failed("the emulator's outbox is full or closed", 500, 0.0));
    }
    if db.deliveries.len() == DELIVERIES_KEPT_MAX {
        db.deliveries.pop_front();
    }
    db.deliveries.push_back(delivery);
}
