//! The port to language models. The only module that knows the providers' wire formats.
//!
//! [`connect`] gives a [`Model`] for a configuration. Each provider has a folder in `providers`. They share one HTTP
//! exchange (`exchange`), one reading of failures (`failure`) and one retry loop (`retry`).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{AssistantBlock, Message, Price, StopReason, ToolArguments, ToolSpec, Usage, WorstCase};

mod access;
mod connection;
mod contexts;
mod exchange;
mod failure;
mod prices;
mod providers;
mod retry;
mod wire_format;

pub use access::{ProviderAccess, check_access};
pub use connection::{InvalidModelConfig, ModelConfig, Provider, connect};
pub use contexts::context_tokens;
pub use exchange::ExchangeLimits;
pub use prices::known_price;
pub use providers::OutputLimitParameter;
pub use retry::RetryPolicy;

/// A language model that can call tools.
#[async_trait]
pub trait Model: Send + Sync {
    /// Its name at the provider.
    fn name(&self) -> &str;

    /// Its price, if it is known.
    fn price(&self) -> Option<Price>;

    /// One call. The result is a complete reply or an error: a truncated stream never yields a reply.
    ///
    /// A failure that certainly cost nothing (no connection, an error status) is retried here. One that may
    /// have been billed ends the call as [`ModelError::Interrupted`], because a retry needs a budget
    /// reservation of its own.
    async fn complete(&self, request: &ModelRequest) -> Result<ModelReply, ModelError>;
}

/// A request to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// The system prompt; the same for a whole job, so that providers can cache it.
    pub system: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// The last message that is shown in shortened form, if there is one. Everything up to it stays the same
    /// for many calls, so it gets a cache breakpoint of its own.
    pub anchor: Option<usize>,
    /// The tools it may call; the same for a whole job.
    pub tools: Arc<[ToolSpec]>,
    /// The longest reply, in tokens.
    pub output_tokens_max: u32,
}

/// A model's reply.
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

/// Why there is no reply. Nothing was billed, except for [`Interrupted`](Self::Interrupted).
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The provider cannot be reached, is overloaded, or limits us, and no retries are left.
    #[error("the model provider at {url} is unavailable after {attempts} attempts: {detail}")]
    Unavailable {
        /// Base address.
        url: String,
        /// How many.
        attempts: u32,
        /// The last failure.
        detail: String,
    },
    /// A response had begun, or may have, and was not completed: the stream was cut off, sent no more data,
    /// or became invalid.
    #[error("the model provider at {url} interrupted its response: {detail}")]
    Interrupted {
        /// Base address.
        url: String,
        /// What happened.
        detail: String,
        /// The tokens that the provider had counted, and at least the output that was received; `None` if it
        /// counted nothing and may bill up to the worst case.
        usage: Option<Usage>,
        /// How long to wait before a retry; `None` if a retry would fail too.
        retry_after: Option<Duration>,
    },
    /// The conversation is longer than the model's context.
    #[error("the conversation is too long for {model}: {detail}")]
    ContextOverflow {
        /// The model.
        model: String,
        /// The provider's message.
        detail: String,
    },
    /// Key refused, model unknown, request malformed: a retry will not help.
    #[error("the model provider at {url} refused the request (status {status}): {detail}")]
    Refused {
        /// Base address.
        url: String,
        /// HTTP status.
        status: u16,
        /// The provider's message, truncated to 500 characters, and what to do.
        detail: String,
    },
}

/// Bytes of text per token: 4.09 were measured on code; a smaller number gives a higher estimate.
const BYTES_PER_TOKEN: u64 = 4;
/// The margin of the estimate, for text that is not English and for the wire format: a fifth.
const ESTIMATE_MARGIN_DIVISOR: u64 = 5;
/// Tokens that a provider adds around system prompt, tools and messages.
const FRAMING_TOKENS: u64 = 500;

/// The most that a call with this request can cost: its estimated input with a margin, and its longest
/// output.
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

/// The bytes of text in a request, without the wire format.
fn text_bytes(request: &ModelRequest) -> u64 {
    instruction_bytes(&request.system, &request.tools)
        + request.messages.iter().map(message_bytes).sum::<u64>()
}

/// The bytes of text in the system prompt and the tools.
pub fn instruction_bytes(system: &str, tools: &[ToolSpec]) -> u64 {
    let tools = tools
        .iter()
        .map(|tool| tool.name.len() + tool.description.len() + tool.input_schema.to_string().len());
    (system.len() + tools.sum::<usize>()) as u64
}

/// The bytes of text in a message.
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

/// The bytes of text in a part of a message.
pub fn block_bytes(block: &AssistantBlock) -> usize {
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

/// The span of a call. Its turn is the number of replies in the conversation so far, and the next one.
fn call_span(provider: &'static str, model: &str, request: &ModelRequest) -> tracing::Span {
    let replies =
        request.messages.iter().filter(|message| matches!(message, Message::Assistant { .. })).count();
    tracing::info_span!("model_call", provider, model, turn = replies + 1)
}

/// Estimated tokens of a request whose provider did not count them.
fn estimated_input(request: &ModelRequest) -> u64 {
    text_bytes(request).div_ceil(BYTES_PER_TOKEN)
}

/// Estimated tokens of a reply, or of the part that was received.
fn estimated_output(blocks: &[AssistantBlock]) -> u64 {
    let bytes: usize = blocks.iter().map(block_bytes).sum();
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worst_case_covers_the_text_a_margin_and_the_longest_output() {
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
