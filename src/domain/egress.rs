//! What a sandbox requested from the network, and how it was decided.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The connections to one destination with the same decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EgressDecision {
    /// When the first one was requested.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The host's name as requested.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Why it was refused; `None`: it was allowed.
    pub refused: Option<String>,
    /// How many there were.
    pub connections: u64,
    /// Bytes out of the sandbox.
    pub bytes_up: u64,
    /// Bytes into it.
    pub bytes_down: u64,
}

/// The decisions since the last report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EgressReport {
    /// By destination, in the order of the first request.
    pub decisions: Vec<EgressDecision>,
    /// Connections to more destinations than the bound.
    pub omitted: u64,
}

impl EgressReport {
    /// Whether nothing was requested.
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.omitted == 0
    }

    /// The refused ones.
    pub fn refusals(&self) -> impl Iterator<Item = &EgressDecision> {
        self.decisions.iter().filter(|decision| decision.refused.is_some())
    }
}
