//! The port to the store: jobs, deliveries, transcripts. The only module that knows SQL.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{DeliveryId, IssueNumber, JobId, RepositoryRef, Trigger};

/// What Mendwright keeps.
#[async_trait]
pub trait Store: Send + Sync {
    /// Records a verified delivery and what it asks for, in one transaction. A delivery id that is
    /// already there changes nothing.
    async fn record_delivery(
        &self,
        delivery: &NewDelivery,
        now: Timestamp,
    ) -> Result<DeliveryRecorded, StoreError>;
}

/// A verified webhook delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// `X-GitHub-Delivery`.
    pub id: DeliveryId,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The payload's action, where it has one.
    pub action: Option<String>,
    /// SHA-256 of the raw payload, in hexadecimal.
    pub payload_sha256: String,
    /// What it asks for; `None` where it is only taken note of.
    pub request: Option<DeliveryRequest>,
}

/// What a delivery asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryRequest {
    /// Work on an issue.
    Start(Trigger),
    /// Call off the work on an issue.
    Cancel {
        /// Where.
        repository: RepositoryRef,
        /// Which issue.
        issue: IssueNumber,
        /// Why, in words.
        why: String,
    },
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryRecorded {
    /// A new job was queued.
    Job(JobId),
    /// There is an unfinished job for the issue.
    AlreadyActive(JobId),
    /// So many jobs were called off.
    Cancelled(u32),
    /// It asked for nothing.
    Ignored,
    /// It was there before.
    Duplicate,
}

/// The store could not do it.
#[derive(Debug, thiserror::Error)]
#[error("the store cannot do it: {0}")]
pub struct StoreError(pub String);
