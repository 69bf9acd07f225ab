//! The port to language models. The only module that knows the providers' wire formats.
//!
//! [`connect`] gives a [`Model`] for a configuration; both providers' adapters share one HTTP
//! exchange (`exchange`), one reading of failures (`failure`) and one retry loop (`retry`).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{AssistantBlock, Message, Price, StopReason, ToolArguments, ToolSpec, Usage, WorstCase};

mod access;
mod anthropic;
mod connection;
mod contexts;
mod exchange;
mod failure;
mod openai;
mod prices;
mod retry;

pub use access::{ProviderAccess, check_access};
pub use connection::{InvalidModelConfig, ModelConfig, OutputLimitParameter, Provider, connect};
pub use contexts::context_tokens;
pub use exchange::ExchangeLimits;
pub use prices::known_price;
pub use retry::RetryPolicy;

/// A language model that can call tools.
#[async_trait]
pub trait Model: Send + Sync {
    /// The name the provider knows it by.
    fn name(&self) -> &str;

    /// Its price, where known.
    fn price(&self) -> Option<Price>;

    /// One call. The reply is complete or an error: a stream that was cut never yields a reply.
    ///
    /// What certainly cost nothing (no connection, an error status) is tried again here. What may
    /// have been billed is not: it ends the call as [`ModelError::Interrupted`], for another attempt
    /// needs money of its own.
    async fn complete(&self, request: &ModelRequest) -> Result<ModelReply, ModelError>;
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// The system prompt; the same for a whole job, so that providers can cache it.
    pub system: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// The last message that is shown other than it was said, if there is one: all up to it stays as
    /// it is for many calls, and is worth a mark of its own in a provider's cache.
    pub anchor: Option<usize>,
    /// The tools it may call; the same for a whole job.
    pub tools: Arc<[ToolSpec]>,
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

/// Why there is no reply. Nothing was billed, unless it is [`Interrupted`](Self::Broken).
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
    /// An answer was under way, or may have been, and did not come to its end: the stream was cut,
    /// fell silent, or turned into nonsense.
    #[error("the model provider at {url} broke off its answer: {detail}")]
    Interrupted {
        /// Base address.
        url: String,
        /// What happened.
        detail: String,
        /// The tokens that the provider counted before, and of the output at least what was
        /// received; `None` where it counted nothing, and may bill up to the worst case.
        usage: Option<Usage>,
        /// How long to wait before it is asked again; `None` where that would end the same way.
        retry_after: Option<Duration>,
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

/// Bytes of text to a token: 4.09 were measured on code; fewer bytes means a higher estimate.
const BYTES_PER_TOKEN: u64 = 4;
/// What the estimate may be short by (text that is not English, wire format): a fifth.
const ESTIMATE_MARGIN_DIVISOR: u64 = 5;
/// Tokens that a provider adds around system prompt, tools and messages.
const FRAMING_TOKENS: u64 = 500;

/// The most that a call with this request can take: its estimated input with a margin, and all the
/// output it allows.
pub fn worst_case(request: &ModelRequest, price: Option<Price>) -> WorstCase {
    let estimate = text_bytes(request).div_ceil(BYTES_PER_TOKEN);
    let input = estimate + estimate.div_ceil(ESTIMATE_MARGIN_DIVISOR) + FRAMING_TOKENS;
    let output = u64::from(request.output_tokens_max);
    WorstCase {
        input_tokens: input,
        output_tokens: output,
        usd: price.map(|price| price.worst_case(input, output)),
    }
}

/// How many bytes of text a request holds, wire format left out.
fn text_bytes(request: &ModelRequest) -> u64 {
    instruction_bytes(&request.system, &request.tools)
        + request.messages.iter().map(message_bytes).sum::<u64>()
}

/// How many bytes of text system prompt and tools hold.
pub fn instruction_bytes(system: &str, tools: &[ToolSpec]) -> u64 {
    let tools = tools
        .iter()
        .map(|tool| tool.name.len() + tool.description.len() + tool.input_schema.to_string().len());
    (system.len() + tools.sum::<usize>()) as u64
}

/// How many bytes of text a message holds.
pub fn message_bytes(message: &Message) -> u64 {
    let bytes = match message {
        Message::User { text } => text.len(),
        Message::Assistant { blocks } => blocks.iter().map(block_bytes).sum(),
        Message::ToolResults { results } => {
            results.iter().map(|result| result.text.len() + result.call_id.len()).sum()
        }
    };
    bytes as u64
}

fn block_bytes(block: &AssistantBlock) -> usize {
    match block {
        AssistantBlock::Text { text } => text.len(),
        AssistantBlock::ToolCall(call) => {
            let arguments = match &call.arguments {
                ToolArguments::Json(value) => value.to_string().len(),
                ToolArguments::Malformed(text) => text.len(),
            };
            call.id.len() + call.name.len() + arguments
        }
        AssistantBlock::Opaque { block, .. } => block.to_string().len(),
    }
}

/// Estimated tokens of a request whose provider did not count them.
fn estimated_input(request: &ModelRequest) -> u64 {
    text_bytes(request).div_ceil(BYTES_PER_TOKEN)
}

/// Estimated tokens of an answer, or of what came of it.
fn estimated_output(blocks: &[AssistantBlock]) -> u64 {
    let bytes: usize = blocks.iter().map(block_bytes).sum();
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_case_covers_the_text_a_margin_and_all_allowed_output() {
        let request = ModelRequest {
            anchor: None,
            system: "s".repeat(4_000),
            messages: vec![Message::User { text: "u".repeat(36_001) }],
            tools: [].into(),
            output_tokens_max: 2_000,
        };
        let price = Price::flat(3.0, 15.0, 0.3, 3.75);
        let worst = worst_case(&request, Some(price));
        let input = 10_001 + 2_001 + 500;
        assert_eq!((worst.input_tokens, worst.output_tokens), (input, 2_000));
        let usd = (input as f64 * 3.75 + 2_000.0 * 15.0) / 1e6;
        assert!((worst.usd.unwrap() - usd).abs() < 1e-12);
        assert_eq!(worst_case(&request, None).usd, None);
    }
}
