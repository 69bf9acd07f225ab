//! Check runs.

use jiff::Timestamp;
use serde_json::Value;

/// A check run. What the App may send is stored as it was sent, after validation.
#[derive(Debug, Clone)]
pub(crate) struct CheckRun {
    pub(crate) id: u64,
    /// The slug of the App that created it, if it is not the registered one.
    pub(crate) other_app: Option<String>,
    pub(crate) name: String,
    pub(crate) head_sha: String,
    pub(crate) status: String,
    pub(crate) conclusion: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) details_url: Option<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) title: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) text: Option<String>,
    /// As they were sent; each update adds to them.
    pub(crate) annotations: Vec<Value>,
}

impl CheckRun {
    /// A queued run of the registered App.
    pub(crate) fn queued(id: u64, name: String, head_sha: String, now: Timestamp) -> Self {
        Self {
            id,
            other_app: None,
            name,
            head_sha,
            status: "queued".to_owned(),
            conclusion: None,
            external_id: None,
            details_url: None,
            started_at: now,
            completed_at: None,
            title: None,
            summary: None,
            text: None,
            annotations: Vec::new(),
        }
    }
}
