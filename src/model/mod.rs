//! The port to language models. The only module that knows the providers' wire formats.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::{AssistantBlock, Message, StopReason, ToolSpec, Usage};

/// A language model that can call tools.
#[async_trait]
pub trait Model: Send + Sync {
    /// The name the provider knows it by.
    fn name(&self) -> &str;

    /// Its price, where known.
    fn price(&self) -> Option<Price>;

    /// One call. Retries what is worth retrying; the reply is complete or an error: a stream that
    /// was cut never yields a reply.
    async fn complete(&self, request: &ModelRequest) -> Result<ModelReply, ModelError>;
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// The system prompt; the same for a whole job, so that providers can cache it.
    pub system: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// The tools it may call; the same for a whole job.
    pub tools: Vec<ToolSpec>,
    /// The most it may answer with.
    pub output_tokens_max: u32,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelReply {
    /// Text and tool calls, in order.
    pub blocks: Vec<AssistantBlock>,
    /// Why it stopped.
    pub stop: StopReason,
    /// Tokens, as the provider counted them.
    pub usage: Usage,
    /// The model that answered, as the provider names it.
    pub model: String,
}

/// US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Input.
    pub input: f64,
    /// Output.
    pub output: f64,
    /// Input read from the cache.
    pub cache_read: f64,
    /// Input written to the cache.
    pub cache_write: f64,
}

impl Price {
    /// What `usage` costs, in US dollars.
    pub fn of(&self, usage: &Usage) -> f64 {
        let cost = |tokens: u64, per_million: f64| tokens as f64 * per_million / 1e6;
        cost(usage.input_tokens, self.input)
            + cost(usage.output_tokens, self.output)
            + cost(usage.cache_read_tokens, self.cache_read)
            + cost(usage.cache_write_tokens, self.cache_write)
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The provider cannot be reached, is overloaded, or limits us; every retry was used.
    #[error("the model provider at {url} cannot answer after {attempts} attempts: {detail}")]
    Unavailable {
        /// Base address.
        url: String,
        /// How many.
        attempts: u32,
        /// The last failure.
        detail: String,
    },
    /// The conversation is longer than the model can read.
    #[error("the conversation is too long for {model}: {detail}")]
    ContextOverflow {
        /// The model.
        model: String,
        /// The provider's words.
        detail: String,
    },
    /// Key refused, model unknown, request malformed: trying again will not help.
    #[error("the model provider at {url} refuses the request ({status}): {detail}")]
    Refused {
        /// Base address.
        url: String,
        /// HTTP status.
        status: u16,
        /// The provider's words, cut to 500 characters, and what to do.
        detail: String,
    },
}
