//! Receives GitHub's webhooks: verify, understand, record, answer. In that order, always.
//!
//! Nothing is acknowledged from memory: the answer 202 means that the delivery is in the store.
//! Nothing here talks to GitHub; whether the labeller may ask for work is decided live, by the
//! worker, with [`crate::domain::authorize`].

mod event;
mod handler;
mod signature;

pub use event::{EventError, HANDLED_EVENTS, Meaning, ParsedEvent, read_event};
pub use handler::{DeliveryLog, PAYLOAD_BYTES_MAX, RecordFailed, WEBHOOK_PATH, WebhookState, router};
pub use signature::{EmptySecret, Signature, SignatureRefusal, WebhookSecrets};
