//! Sends the webhooks: signed, in order, once each, and every attempt in the delivery log.
//!
//! Like GitHub it never tries again by itself; a redelivery keeps its GUID.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, mpsc};

use super::Shared;
use super::shapes;
use super::world::{Delivery, Outcome, World};

/// GitHub gives up after ten seconds.
/// Source: docs.github.com, "Troubleshooting webhooks".
const TIMEOUT: Duration = Duration::from_secs(10);
/// Deliveries that may wait to be sent; beyond it the emulator would only grow.
pub(super) const OUTBOX_MAX: usize = 10_000;
/// Deliveries that are remembered.
const DELIVERIES_KEPT_MAX: usize = 10_000;
/// How much of an answer is kept.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// What an event is about, beside its own fields.
pub(super) struct Event<'a> {
    pub(super) name: &'static str,
    pub(super) action: Option<&'static str>,
    pub(super) repository: usize,
    pub(super) sender: &'a str,
    /// The fields of the payload that only this event has.
    pub(super) fields: Value,
}

/// Queues an event for the App, if it wants it. Returns the delivery's GUID.
pub(super) fn fire(world: &mut World, event: Event<'_>, now: Timestamp) -> Option<String> {
    let url = world.app.webhook_url.clone()?;
    if world.app.suspended_at.is_some()
        || !world.app.installed
        || !world.app.events.iter().any(|name| name == event.name)
    {
        return None;
    }
    let repository = &world.repositories[event.repository];
    let repository_id = repository.id;
    let mut payload = Map::new();
    if let Some(action) = event.action {
        payload.insert("action".to_owned(), json!(action));
    }
    if let Value::Object(fields) = event.fields {
        payload.extend(fields);
    }
    let installation = world.app.installation;
    payload.insert("repository".to_owned(), shapes::repository(world, repository));
    payload.insert("sender".to_owned(), shapes::user(world, event.sender));
    payload.insert(
        "installation".to_owned(),
        json!({"id": installation, "node_id": shapes::node_id("MDIz", installation)}),
    );
    let delivery = Delivery {
        id: world.next_id(),
        guid: uuid::Uuid::new_v4().to_string(),
        redelivery: false,
        event: event.name.to_owned(),
        action: event.action.map(str::to_owned),
        repository: Some(repository_id),
        url: url.to_string(),
        payload: Value::Object(payload).to_string(),
        created_at: now,
        outcome: None,
    };
    let guid = delivery.guid.clone();
    if world.to_hold > 0 {
        world.to_hold -= 1;
        world.held.push(delivery);
        return Some(guid);
    }
    if world.to_reorder > 0 {
        world.to_reorder -= 1;
        world.reordering.push(delivery);
        if world.to_reorder == 0 {
            let waiting = std::mem::take(&mut world.reordering);
            waiting.into_iter().rev().for_each(|delivery| enqueue(world, delivery));
        }
        return Some(guid);
    }
    let twice = world.to_duplicate > 0;
    enqueue(world, delivery.clone());
    if twice {
        world.to_duplicate -= 1;
        let id = world.next_id();
        enqueue(world, Delivery { id, ..delivery });
    }
    Some(guid)
}

/// Sends a delivery again, as it was, to where the App listens now.
pub(super) fn redeliver(world: &mut World, id: u64, now: Timestamp) -> Option<u64> {
    let old = world.deliveries.iter().find(|delivery| delivery.id == id)?.clone();
    let id = world.next_id();
    let url = world.app.webhook_url.as_ref().map_or(old.url.clone(), ToString::to_string);
    enqueue(world, Delivery { id, redelivery: true, created_at: now, outcome: None, url, ..old });
    Some(id)
}

/// Sends what was held back.
pub(super) fn let_go(world: &mut World) {
    for delivery in std::mem::take(&mut world.held) {
        enqueue(world, delivery);
    }
}

fn enqueue(world: &mut World, mut delivery: Delivery) {
    if world.outbox.try_send(delivery.id).is_err() {
        delivery.outcome = Some(Outcome::failed("the emulator's outbox is full or closed", 500, 0.0));
    }
    if world.deliveries.len() == DELIVERIES_KEPT_MAX {
        world.deliveries.pop_front();
    }
    world.deliveries.push_back(delivery);
}

impl Outcome {
    fn failed(status: &str, status_code: u16, seconds: f64) -> Self {
        Self {
            status: status.to_owned(),
            status_code,
            seconds,
            request_headers: json!({}),
            response_headers: json!({}),
            response_body: String::new(),
        }
    }
}

/// Sends what is queued, one after the other, until the queue is closed.
pub(super) async fn deliver_all(
    shared: Arc<Shared>,
    client: reqwest::Client,
    mut queue: mpsc::Receiver<u64>,
    settled: Arc<Notify>,
) {
    while let Some(id) = queue.recv().await {
        let prepared = shared.with_world(|world| {
            let delivery = world.deliveries.iter().find(|delivery| delivery.id == id)?;
            Some((delivery.url.clone(), delivery.payload.clone(), headers(world, delivery)))
        });
        let Some((url, payload, headers)) = prepared else { continue };
        let mut outcome = post(&client, &url, payload, &headers).await;
        outcome.request_headers =
            Value::Object(headers.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect());
        shared.with_world(|world| {
            if let Some(delivery) = world.deliveries.iter_mut().find(|delivery| delivery.id == id) {
                delivery.outcome = Some(outcome);
            }
        });
        settled.notify_waiters();
    }
}

fn headers(world: &World, delivery: &Delivery) -> Vec<(&'static str, String)> {
    let secret = world.app.webhook_secret.expose_secret().as_bytes();
    let sign =
        |algorithm| hex::encode(hmac::sign(&hmac::Key::new(algorithm, secret), delivery.payload.as_bytes()));
    vec![
        ("Accept", "*/*".to_owned()),
        ("Content-Type", "application/json".to_owned()),
        ("User-Agent", "GitHub-Hookshot/e5a1c3d".to_owned()),
        ("X-GitHub-Delivery", delivery.guid.clone()),
        ("X-GitHub-Event", delivery.event.clone()),
        ("X-GitHub-Hook-ID", world.app.hook_id.to_string()),
        ("X-GitHub-Hook-Installation-Target-ID", world.app.id.to_string()),
        ("X-GitHub-Hook-Installation-Target-Type", "integration".to_owned()),
        ("X-Hub-Signature", format!("sha1={}", sign(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY))),
        ("X-Hub-Signature-256", format!("sha256={}", sign(hmac::HMAC_SHA256))),
    ]
}

async fn post(
    client: &reqwest::Client,
    url: &str,
    payload: String,
    headers: &[(&'static str, String)],
) -> Outcome {
    let started = Instant::now();
    let mut request = client.post(url).timeout(TIMEOUT).body(payload);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answered = async {
        let mut response = request.send().await?;
        let status = response.status();
        let response_headers: Map<String, Value> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await? {
            body.extend_from_slice(&piece);
            if body.len() > RESPONSE_BYTES_MAX {
                body.truncate(RESPONSE_BYTES_MAX);
                break;
            }
        }
        Ok::<_, reqwest::Error>((status, response_headers, body))
    };
    match answered.await {
        Ok((status, response_headers, body)) => Outcome {
            status: status.canonical_reason().unwrap_or("OK").to_owned(),
            status_code: status.as_u16(),
            seconds: started.elapsed().as_secs_f64(),
            request_headers: json!({}),
            response_headers: Value::Object(response_headers),
            response_body: String::from_utf8_lossy(&body).into_owned(),
        },
        Err(error) if error.is_timeout() => {
            Outcome::failed("timed out", 504, started.elapsed().as_secs_f64())
        }
        Err(_) => Outcome::failed("failed to connect to host", 502, started.elapsed().as_secs_f64()),
    }
}
