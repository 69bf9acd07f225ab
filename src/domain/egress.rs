//! What a sandbox asked of the network, and what it was answered.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The connections to one place that were treated alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EgressDecision {
    /// When the first one was asked for.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The host's name, as it was asked for.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Why not; `None`: it was allowed.
    pub refused: Option<String>,
    /// How many there were.
    pub connections: u64,
    /// Bytes out of the sandbox.
    pub bytes_up: u64,
    /// Bytes into it.
    pub bytes_down: u64,
}

/// What was decided since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EgressReport {
    /// By place, in the order in which they were first asked for.
    pub decisions: Vec<EgressDecision>,
    /// Connections to further places, beyond the bound.
    pub omitted: u64,
}

impl EgressReport {
    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.omitted == 0
    }

    /// The decisions against.
    pub fn refusals(&self) -> impl Iterator<Item = &EgressDecision> {
        self.decisions.iter().filter(|decision| decision.refused.is_some())
    }
}
