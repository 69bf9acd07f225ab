//! `POST /webhooks/github`: answers 202 once the delivery is recorded, and for no other reason.
//!
//! The extractor [`VerifiedDelivery`] is the only way in: it checks the signature over the raw
//! bytes before anything is parsed, so no handler ever sees JSON, least of all a stranger's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::event::{EventError, Meaning, read_event};
use super::signature::{Signature, SignatureRefusal, WebhookSecrets};
use crate::domain::{DeliveryId, LabelName, RepositoryFilter};
use crate::store::{DeliveryRecorded, NewDelivery, Store};

/// Where the App's webhook points to.
pub const WEBHOOK_PATH: &str = "/webhooks/github";

/// GitHub caps payloads at 25 MB (docs.github.com, "Webhook events and payloads").
pub const PAYLOAD_BYTES_MAX: usize = 25 * 1024 * 1024;

/// GitHub itself gives up on a delivery after 10 s; a body that takes longer is not GitHub's.
const BODY_TIME_MAX: Duration = Duration::from_secs(20);

/// Bodies held in memory at once: anybody can send one, only its end tells whether it is signed.
static BODIES: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(16);
/// How long a delivery waits for its place; GitHub waits 10 s in all.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(5);

/// What the receiver needs.
#[derive(Clone)]
pub struct WebhookState {
    /// The secrets that deliveries may be signed with.
    pub secrets: WebhookSecrets,
    /// The label that asks for work.
    pub label: LabelName,
    /// Whom is listened to.
    pub repository_filter: RepositoryFilter,
    /// Where deliveries are recorded: `Arc::new(store)` for a `store: Arc<dyn Store>`.
    pub deliveries: Arc<dyn DeliveryLog>,
    /// Poked after a delivery that made or ended a job, so that the worker looks at once.
    pub wake: Arc<Notify>,
    /// Poked after a delivery with a command, so that it is carried out at once.
    pub asked: Arc<Notify>,
    /// Poked after a delivery that made a job, so that it is seen to be seen.
    pub arrived: Arc<Notify>,
}

/// The one thing that the receiver needs of the store. Every `Arc` of a [`Store`] has it.
#[async_trait]
pub trait DeliveryLog: Send + Sync {
    /// Records a delivery and what it asks for, in one transaction.
    async fn record(&self, delivery: &NewDelivery, now: Timestamp) -> Result<DeliveryRecorded, RecordFailed>;
}

/// The delivery is not recorded.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RecordFailed(pub String);

#[async_trait]
impl<S: Store + ?Sized> DeliveryLog for Arc<S> {
    async fn record(&self, delivery: &NewDelivery, now: Timestamp) -> Result<DeliveryRecorded, RecordFailed> {
        self.record_delivery(delivery, now).await.map_err(|error| RecordFailed(error.to_string()))
    }
}

/// The receiver's routes.
pub fn router(state: WebhookState) -> Router {
    Router::new().route(WEBHOOK_PATH, post(receive)).with_state(state)
}

async fn receive(
    State(state): State<WebhookState>,
    delivery: VerifiedDelivery,
) -> Result<Response, DeliveryRefusal> {
    let VerifiedDelivery { delivery, why_nothing } = delivery;
    let (id, event) = (delivery.id.as_str(), delivery.event.as_str());
    let recorded = state.deliveries.record(&delivery, Timestamp::now()).await.map_err(|error| {
        tracing::error!(delivery = id, event, %error, "a delivery could not be recorded");
        DeliveryRefusal::NotRecorded
    })?;
    tracing::info!(delivery = id, event, action = delivery.action.as_deref(), ?recorded, "delivery");
    let answer = match recorded {
        DeliveryRecorded::Job(job) => {
            state.wake.notify_one();
            state.arrived.notify_one();
            json!({"outcome": "queued", "job": job})
        }
        DeliveryRecorded::AlreadyActive(job) => json!({"outcome": "already_active", "job": job}),
        DeliveryRecorded::Cancelled(jobs) => {
            state.wake.notify_one();
            json!({"outcome": "cancelled", "jobs": jobs})
        }
        DeliveryRecorded::CommandQueued => {
            state.asked.notify_one();
            json!({"outcome": "asked"})
        }
        DeliveryRecorded::Ignored => json!({"outcome": "ignored", "why": why_nothing}),
        DeliveryRecorded::Duplicate => json!({"outcome": "duplicate"}),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// A delivery whose signature is ours and whose payload was understood.
struct VerifiedDelivery {
    delivery: NewDelivery,
    /// Where it asks for nothing: why.
    why_nothing: Option<String>,
}

impl FromRequest<WebhookState> for VerifiedDelivery {
    type Rejection = DeliveryRefusal;

    async fn from_request(request: Request, state: &WebhookState) -> Result<Self, DeliveryRefusal> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers;
        let signature = Signature::from_headers(&headers).map_err(|why| unsigned(&headers, why))?;
        let Ok(Ok(_place)) = tokio::time::timeout(PLACE_WAIT_MAX, BODIES.acquire()).await else {
            tracing::warn!("too many deliveries at once; one was turned away");
            return Err(DeliveryRefusal::NotRecorded);
        };
        let payload = read_body(&headers, body).await?;
        state.secrets.verify(&signature, &payload).map_err(|why| unsigned(&headers, why))?;

        let event = required(&headers, "x-github-event")?.to_owned();
        let id: DeliveryId = required(&headers, "x-github-delivery")?
            .parse()
            .map_err(|_| DeliveryRefusal::Header("x-github-delivery"))?;
        let parsed = read_event(&event, &payload, &state.label).map_err(|error| {
            tracing::warn!(delivery = id.as_str(), %error, "a signed delivery cannot be read");
            DeliveryRefusal::Payload(error)
        })?;
        let (request, why_nothing) = match parsed.meaning {
            Meaning::Request(request) => (Some(request), None),
            Meaning::Nothing { why } => (None, Some(why)),
        };
        let (request, why_nothing) = match request {
            Some(request)
                if request.requests_work() && !state.repository_filter.allows(&request.repository().name) =>
            {
                let repository = &request.repository().name;
                tracing::warn!(delivery = id.as_str(), %repository, "ignored: it may not use this service");
                (None, Some(format!("{repository} may not use this service")))
            }
            request => (request, why_nothing),
        };
        let payload_sha256 = hex::encode(Sha256::digest(&payload));
        let delivery = NewDelivery { id, event, action: parsed.action, payload_sha256, request };
        Ok(Self { delivery, why_nothing })
    }
}

fn unsigned(headers: &HeaderMap, why: SignatureRefusal) -> DeliveryRefusal {
    let delivery = headers.get("x-github-delivery").and_then(|value| value.to_str().ok());
    tracing::warn!(delivery, %why, "a delivery was refused");
    DeliveryRefusal::Signature
}

fn required<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, DeliveryRefusal> {
    const VALUE_BYTES_MAX: usize = 100;
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value
        .filter(|value| !value.is_empty() && value.len() <= VALUE_BYTES_MAX)
        .ok_or(DeliveryRefusal::Header(name))
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, DeliveryRefusal> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: u64| bytes > PAYLOAD_BYTES_MAX as u64) {
        return Err(DeliveryRefusal::TooLarge);
    }
    tokio::time::timeout(BODY_TIME_MAX, collect(body)).await.map_err(|_| DeliveryRefusal::TooSlow)?
}

async fn collect(mut body: Body) -> Result<Vec<u8>, DeliveryRefusal> {
    let mut payload = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| DeliveryRefusal::CutShort)?;
        let Ok(data) = frame.into_data() else { continue };
        if payload.len() + data.len() > PAYLOAD_BYTES_MAX {
            return Err(DeliveryRefusal::TooLarge);
        }
        payload.extend_from_slice(&data);
    }
    Ok(payload)
}

/// Why a delivery is not taken. What the sender is told depends on whether the signature held.
#[derive(Debug)]
enum DeliveryRefusal {
    Signature,
    TooLarge,
    TooSlow,
    CutShort,
    Header(&'static str),
    Payload(EventError),
    NotRecorded,
}

impl IntoResponse for DeliveryRefusal {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Signature => (StatusCode::UNAUTHORIZED, "the signature is refused".to_owned()),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the payload is over {} MiB", PAYLOAD_BYTES_MAX / 1024 / 1024),
            ),
            Self::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, format!("no whole payload in {} s", BODY_TIME_MAX.as_secs()))
            }
            Self::CutShort => (StatusCode::BAD_REQUEST, "the payload was cut short".to_owned()),
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
