//! OpenAI's Chat Completions API, which many other servers implement too.
//! Source: platform.openai.com/docs/api-reference/chat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::Instrument;

use crate::domain::Price;
use crate::model::exchange::Exchange;
use crate::model::retry::Failure;
use crate::model::wire_format::{ModelConnection, WireFormat};
use crate::model::{Model, ModelError, ModelReply, ModelRequest, RetryPolicy, call_span, estimated_input};

mod reply;
mod request;

/// The name of the parameter for the output limit in Chat Completions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputLimitParameter {
    /// OpenAI's current name. If a server says that it does not know it, the request is repeated with the
    /// old one.
    #[default]
    MaxCompletionTokens,
    /// The old name, for servers that silently ignore the current one.
    MaxTokens,
}

pub(super) static WIRE_FORMAT: WireFormat = WireFormat {
    endpoint: |base| format!("{base}/chat/completions"),
    models_path: |base| format!("{base}/models"),
    models_query: None,
    headers: &[],
    key_header: |key| ("authorization", format!("Bearer {key}")),
    connect: |ModelConnection { name, price, exchange, retry, wants_max_tokens }| {
        let wants_max_tokens = AtomicBool::new(wants_max_tokens);
        Arc::new(OpenAi { name, price, exchange, retry, wants_max_tokens })
    },
};

/// A model with the Chat Completions API.
struct OpenAi {
    name: String,
    price: Option<Price>,
    exchange: Exchange,
    retry: RetryPolicy,
    /// Whether this server needs `max_tokens`. Set by configuration, or learned from its first error.
    wants_max_tokens: AtomicBool,
}

impl OpenAi {
    async fn attempt(&self, request: &ModelRequest) -> Result<ModelReply, Failure> {
        let with_max_tokens = self.wants_max_tokens.load(Ordering::Relaxed);
        match self.attempt_with(request, with_max_tokens).await {
            Err(Failure::Permanent(ModelError::Refused { status: 400 | 422, detail, .. }))
                if !with_max_tokens && detail.contains("max_completion_tokens") =>
            {
                tracing::info!(model = %self.name, "the model's server does not know max_completion_tokens; using max_tokens");
                self.wants_max_tokens.store(true, Ordering::Relaxed);
                self.attempt_with(request, true).await
            }
            outcome => outcome,
        }
    }

    async fn attempt_with(
        &self,
        request: &ModelRequest,
        with_max_tokens: bool,
    ) -> Result<ModelReply, Failure> {
        let body = Bytes::from(request::to_wire(&self.name, request, with_max_tokens));
        let mut reply = reply::ReplyBuilder::new(&self.exchange.target);
        match self.exchange.run(body, |part| reply.read(part)).await {
            Ok(()) => reply.finish(|| estimated_input(request)),
            Err(failure) => Err(reply.interrupted_by(failure)),
        }
    }
}

#[async_trait]
impl Model for OpenAi {
    fn name(&self) -> &str {
        &self.name
    }

    fn price(&self) -> Option<Price> {
        self.price
    }

    async fn complete(&self, request: &ModelRequest) -> Result<ModelReply, ModelError> {
        let span = call_span("openai", &self.name, request);
        self.retry.run(&self.exchange.target.url, || self.attempt(request)).instrument(span).await
    }
}
