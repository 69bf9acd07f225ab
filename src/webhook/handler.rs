//! `POST /webhooks/github`: answers 202 once the delivery is recorded, and for no other reason.
//!
//! The extractor [`VerifiedDelivery`] is the only way in: it checks the signature over the raw
//! bytes before anything is parsed, so no handler ever sees JSON of an unauthenticated sender.

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::body::{BODY_TIME_MAX, BodyError, BodyReader, PAYLOAD_BYTES_MAX};
use super::event::{EventError, Interpretation, read_event};
use super::signature::{Signature, SignatureRefusal, WebhookSecrets};
use crate::domain::{DeliveryId, DeliveryRequest, Login, NewDelivery, RepositoryFilter, is_listed};
use crate::store::{DeliveryRecorded, Store};

/// The path of the App's webhook.
pub const WEBHOOK_PATH: &str = "/webhooks/github";

/// What the receiver needs.
#[derive(Clone)]
pub struct WebhookState {
    /// The secrets that deliveries may be signed with.
    pub secrets: WebhookSecrets,
    /// The label that starts work.
    pub label: String,
    /// The repositories that may use this service.
    pub repository_filter: RepositoryFilter,
    /// Bots that may give commands, though they belong to no organization.
    pub bots_allowed: Vec<Login>,
    /// Where deliveries are recorded.
    pub store: Arc<dyn Store>,
    /// The bodies that are being read, and their bounds.
    pub bodies: BodyReader,
    /// Wakes a worker after a delivery that made or ended a job.
    pub wake_worker: Arc<Notify>,
    /// Wakes the command processor after a delivery that it has to carry out.
    pub wake_commands: Arc<Notify>,
    /// Wakes the acknowledger after a delivery that made a job.
    pub wake_acknowledger: Arc<Notify>,
    /// Wakes the reconciler after a delivery by which repositories were added.
    pub wake_reconciler: Arc<Notify>,
}

/// The receiver's routes.
pub fn router(state: WebhookState) -> Router {
    Router::new().route(WEBHOOK_PATH, post(receive)).with_state(state)
}

async fn receive(
    State(state): State<WebhookState>,
    delivery: VerifiedDelivery,
) -> Result<Response, DeliveryRefusal> {
    let span = info_span!("delivery", id = delivery.delivery.id.as_str(), event = delivery.delivery.event);
    record(state, delivery).instrument(span).await
}

/// Records the delivery, then wakes whoever has to act on it.
async fn record(state: WebhookState, delivery: VerifiedDelivery) -> Result<Response, DeliveryRefusal> {
    let VerifiedDelivery { delivery, ignored_because, searches_labels } = delivery;
    let recorded = state.store.record_delivery(&delivery, Timestamp::now()).await.map_err(|error| {
        error!(%error, "delivery not recorded");
        DeliveryRefusal::NotRecorded
    })?;
    info!(action = delivery.action, recorded = recorded.log_name(), ignored_because, "delivery");
    let answer = match recorded {
        DeliveryRecorded::Job(job) => {
            state.wake_worker.notify_one();
            state.wake_acknowledger.notify_one();
            json!({"outcome": "queued", "job": job})
        }
        DeliveryRecorded::AlreadyActive(job) => json!({"outcome": "already_active", "job": job}),
        DeliveryRecorded::Cancelled(jobs) => {
            state.wake_worker.notify_one();
            json!({"outcome": "cancelled", "jobs": jobs})
        }
        DeliveryRecorded::RequestQueued => {
            state.wake_commands.notify_one();
            json!({"outcome": "asked"})
        }
        DeliveryRecorded::Ignored if searches_labels => {
            state.wake_reconciler.notify_one();
            json!({"outcome": "searching"})
        }
        DeliveryRecorded::Ignored => json!({"outcome": "ignored", "why": ignored_because}),
        DeliveryRecorded::TooMany => {
            let why = "too many commands by people who are not known to belong to the repository";
            json!({"outcome": "ignored", "why": why})
        }
        DeliveryRecorded::Duplicate => json!({"outcome": "duplicate"}),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// A delivery whose signature is ours and whose payload was understood.
struct VerifiedDelivery {
    delivery: NewDelivery,
    /// Why it asks for nothing, if it does.
    ignored_because: Option<String>,
    /// Whether it is a reason to search for labelled issues.
    searches_labels: bool,
}

impl FromRequest<WebhookState> for VerifiedDelivery {
    type Rejection = DeliveryRefusal;

    async fn from_request(request: Request, state: &WebhookState) -> Result<Self, DeliveryRefusal> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers;
        let signature = Signature::from_headers(&headers).map_err(|why| signature_refused(&headers, why))?;
        if declared_bytes(&headers).is_some_and(|bytes| bytes > PAYLOAD_BYTES_MAX as u64) {
            return Err(BodyError::TooLarge.into());
        }
        let payload = state.bodies.read(body).await.inspect_err(|why| {
            // Anybody can cause this: it is no operator's problem.
            debug!(?why, "the body of an unverified delivery was not read");
        })?;
        state.secrets.verify(&signature, &payload).map_err(|why| signature_refused(&headers, why))?;

        let event = required(&headers, "x-github-event")?.to_owned();
        let id: DeliveryId = required(&headers, "x-github-delivery")?
            .parse()
            .map_err(|_| DeliveryRefusal::Header("x-github-delivery"))?;
        let parsed = read_event(&event, &payload, &state.label).map_err(|error| {
            warn!(id = id.as_str(), %error, "the payload of a signed delivery cannot be read");
            DeliveryRefusal::Payload(error)
        })?;
        let searches_labels = parsed.interpretation == Interpretation::SearchLabels;
        let (request, ignored_because) = match parsed.interpretation {
            Interpretation::SearchLabels => (None, None),
            Interpretation::Ignore { why } => (None, Some(why)),
            Interpretation::Act(request) => {
                let repository = &request.repository().name;
                if request.requests_work() && !state.repository_filter.allows(repository) {
                    (None, Some(format!("{repository} may not use this service")))
                } else {
                    (Some(without_foreign_texts(request, &state.bots_allowed)), None)
                }
            }
        };
        let payload_sha256 = hex::encode(Sha256::digest(&payload));
        let delivery = NewDelivery { id, event, action: parsed.action, payload_sha256, request };
        Ok(Self { delivery, ignored_because, searches_labels })
    }
}

/// What is recorded of a request: no text by people who may not ask for anything, as far as that is known now.
fn without_foreign_texts(request: DeliveryRequest, bots_allowed: &[Login]) -> DeliveryRequest {
    match request {
        DeliveryRequest::Queue(mut request) => {
            if let Some(comment) = request.comment_mut() {
                comment.by_stranger &= !is_listed(bots_allowed, &comment.by);
            }
            DeliveryRequest::Queue(request.without_texts_of_strangers())
        }
        request @ (DeliveryRequest::Start(_)
        | DeliveryRequest::Cancel { .. }
        | DeliveryRequest::CancelBranch { .. }) => request,
    }
}

fn signature_refused(headers: &HeaderMap, why: SignatureRefusal) -> DeliveryRefusal {
    let id = headers.get("x-github-delivery").and_then(|value| value.to_str().ok());
    warn!(id, %why, "delivery refused: no valid signature");
    DeliveryRefusal::Signature
}

fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn required<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, DeliveryRefusal> {
    const VALUE_BYTES_MAX: usize = 100;
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value
        .filter(|value| !value.is_empty() && value.len() <= VALUE_BYTES_MAX)
        .ok_or(DeliveryRefusal::Header(name))
}

/// Why a delivery is refused. How much the sender learns depends on whether the signature was right.
#[derive(Debug)]
enum DeliveryRefusal {
    Signature,
    Body(BodyError),
    Header(&'static str),
    Payload(EventError),
    NotRecorded,
}

impl From<BodyError> for DeliveryRefusal {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl IntoResponse for DeliveryRefusal {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Signature => (StatusCode::UNAUTHORIZED, "the signature is not valid".to_owned()),
            Self::Body(BodyError::TooLarge) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the payload is larger than {} MiB", PAYLOAD_BYTES_MAX / 1024 / 1024),
            ),
            Self::Body(BodyError::TooSlow) => (
                StatusCode::REQUEST_TIMEOUT,
                format!("the payload did not arrive within {} s", BODY_TIME_MAX.as_secs()),
            ),
            Self::Body(BodyError::Truncated) => {
                (StatusCode::BAD_REQUEST, "the payload is truncated".to_owned())
            }
            Self::Body(BodyError::Dropped) => {
                (StatusCode::SERVICE_UNAVAILABLE, "too many large payloads at once".to_owned())
            }
            Self::Header(name) => {
                (StatusCode::BAD_REQUEST, format!("the header {name} is missing or malformed"))
            }
            Self::Payload(error) => (
                StatusCode::BAD_REQUEST,
                format!("{error}; the App's webhook content type must be application/json"),
            ),
            // GitHub lists the delivery as failed, and it can be delivered again.
            Self::NotRecorded => {
                (StatusCode::SERVICE_UNAVAILABLE, "the delivery could not be recorded".to_owned())
            }
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}
