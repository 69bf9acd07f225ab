//! Receives GitHub's webhooks: verifies, interprets, records, answers, always in this order.
//!
//! A delivery is acknowledged only when it is in the store: the answer 202 means that it is on disk.
//! Nothing here talks to GitHub: whether the sender may ask for work is decided by the worker, with the
//! permission that GitHub reports at that moment.

mod body;
pub mod event;
mod handler;
mod signature;

pub use body::{BodyReader, PAYLOAD_BYTES_MAX};
pub use event::{
    EVENTS, EventError, EventRow, HANDLED_EVENTS, Interpretation, ParsedEvent, read_event, subscribed_events,
};
pub use handler::{WEBHOOK_PATH, WebhookState, router};
pub use signature::{EmptySecret, Signature, SignatureRefusal, WebhookSecrets};
