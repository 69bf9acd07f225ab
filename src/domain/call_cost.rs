//! What one model call costs: its tokens and dollars, and the most that the next one can cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens of one model call, as the provider counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Input tokens that were neither read from nor written to a cache.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Input tokens read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to the provider's cache.
    pub cache_write_tokens: u64,
}

impl Usage {
    /// All tokens of the call. Saturates: the numbers are a provider's.
    pub fn total(&self) -> u64 {
        self.prompt().saturating_add(self.output_tokens)
    }

    /// All input tokens, cached or not.
    pub fn prompt(&self) -> u64 {
        self.input_tokens.saturating_add(self.cache_read_tokens).saturating_add(self.cache_write_tokens)
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cache_read_tokens = self.cache_read_tokens.saturating_add(other.cache_read_tokens);
        self.cache_write_tokens = self.cache_write_tokens.saturating_add(other.cache_write_tokens);
    }
}

/// What one model call cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallCost<'a> {
    /// The model, as the provider names it.
    pub model: &'a str,
    /// Its tokens.
    pub usage: Usage,
    /// US dollars, if the model has a price.
    pub usd: Option<f64>,
}

/// The most that the next model call can cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorstCase {
    /// Input tokens, estimated with a margin.
    pub input_tokens: u64,
    /// The output limit.
    pub output_tokens: u64,
    /// US dollars, if the model has a price.
    pub usd: Option<f64>,
}

impl WorstCase {
    /// Input and output together.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}
