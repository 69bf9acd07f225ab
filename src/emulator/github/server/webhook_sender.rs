//! Sends webhooks: signed, in order, once each, with the result in the delivery log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, mpsc};

use super::shared::Shared;
use crate::github::data::{Database, Delivery, DeliveryResult};

/// GitHub gives up after ten seconds.
/// Source: docs.github.com, "Troubleshooting webhooks".
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many deliveries may wait to be sent; more would only grow the queue.
pub(crate) const OUTBOX_MAX: usize = 10_000;
/// How much of a response is stored.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// Sends queued deliveries one after the other, until the queue is closed. Notifies `settled` after each.
pub(crate) async fn send_all(
    shared: Arc<Shared>,
    client: reqwest::Client,
    mut queue: mpsc::Receiver<u64>,
    settled: Arc<Notify>,
) {
    while let Some(id) = queue.recv().await {
        let prepared = shared.with_db(|db| {
            let delivery = db.deliveries.iter().find(|delivery| delivery.id == id)?;
            Some((delivery.url.clone(), delivery.payload.clone(), headers(db, delivery)))
        });
        let Some((url, payload, headers)) = prepared else { continue };
        let mut result = post(&client, &url, payload, &headers).await;
        result.request_headers =
            Value::Object(headers.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect());
        shared.with_db(|db| {
            if let Some(delivery) = db.deliveries.iter_mut().find(|delivery| delivery.id == id) {
                delivery.result = Some(result);
            }
        });
        settled.notify_waiters();
    }
}

fn headers(db: &Database, delivery: &Delivery) -> Vec<(&'static str, String)> {
    let secret = db.app.webhook_secret.expose_secret().as_bytes();
    let sign =
        |algorithm| hex::encode(hmac::sign(&hmac::Key::new(algorithm, secret), delivery.payload.as_bytes()));
    vec![
        ("Accept", "*/*".to_owned()),
        ("Content-Type", "application/json".to_owned()),
        ("User-Agent", "GitHub-Hookshot/e5a1c3d".to_owned()),
        ("X-GitHub-Delivery", delivery.guid.clone()),
        ("X-GitHub-Event", delivery.event.clone()),
        ("X-GitHub-Hook-ID", db.app.hook_id.to_string()),
        ("X-GitHub-Hook-Installation-Target-ID", db.app.id.to_string()),
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
) -> DeliveryResult {
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
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > RESPONSE_BYTES_MAX {
                body.truncate(RESPONSE_BYTES_MAX);
                break;
            }
        }
        Ok::<_, reqwest::Error>((status, response_headers, body))
    };
    match answered.await {
        Ok((status, response_headers, body)) => DeliveryResult {
            status: status.canonical_reason().unwrap_or("OK").to_owned(),
            status_code: status.as_u16(),
            seconds: started.elapsed().as_secs_f64(),
            request_headers: json!({}),
            response_headers: Value::Object(response_headers),
            response_body: String::from_utf8_lossy(&body).into_owned(),
        },
        Err(error) if error.is_timeout() => {
            DeliveryResult::failed("timed out", 504, started.elapsed().as_secs_f64())
        }
        Err(_) => DeliveryResult::failed("failed to connect to host", 502, started.elapsed().as_secs_f64()),
    }
}
