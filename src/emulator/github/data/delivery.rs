//! Webhook deliveries.

use jiff::Timestamp;
use serde_json::{Value, json};

/// One attempt to send a webhook.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: u64,
    pub(crate) guid: String,
    pub(crate) redelivery: bool,
    pub(crate) event: String,
    pub(crate) action: Option<String>,
    pub(crate) repository: Option<u64>,
    pub(crate) url: String,
    /// The exact bytes that are signed and sent.
    pub(crate) payload: String,
    pub(crate) created_at: Timestamp,
    /// `None` while the attempt is in progress.
    pub(crate) result: Option<DeliveryResult>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryResult {
    pub(crate) status: String,
    pub(crate) status_code: u16,
    pub(crate) seconds: f64,
    pub(crate) request_headers: Value,
    pub(crate) response_headers: Value,
    pub(crate) response_body: String,
}

impl DeliveryResult {
    /// An attempt without an answer.
    pub(crate) fn failed(status: &str, status_code: u16, seconds: f64) -> Self {
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
