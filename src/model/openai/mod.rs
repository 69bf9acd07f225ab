//! OpenAI's Chat Completions API, which many other servers speak too.
//! Source: platform.openai.com/docs/api-reference/chat.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::connection::OutputLimitParameter;
use super::exchange::Exchange;
use super::retry::Failure;
use super::{Model, ModelError, ModelReply, ModelRequest, RetryPolicy, estimated_input};
use crate::domain::Price;

mod reply;
mod request;

/// A model behind Chat Completions.
pub(super) struct OpenAi {
    name: String,
    price: Option<Price>,
    exchange: Exchange,
    retry: RetryPolicy,
    /// Whether this server wants `max_tokens`. Set by configuration, or learned once.
    wants_max_tokens: AtomicBool,
}

impl OpenAi {
    pub(super) fn new(
        name: String,
        price: Option<Price>,
        exchange: Exchange,
        retry: RetryPolicy,
        parameter: OutputLimitParameter,
    ) -> Self {
        let wants_max_tokens = match parameter {
            OutputLimitParameter::MaxTokens => true,
            OutputLimitParameter::MaxCompletionTokens => false,
        };
        Self { name, price, exchange, retry, wants_max_tokens: AtomicBool::new(wants_max_tokens) }
    }

    async fn attempt(&self, request: &ModelRequest) -> Result<ModelReply, Failure> {
        let with_max_tokens = self.wants_max_tokens.load(Ordering::Relaxed);
        match self.attempt_with(request, with_max_tokens).await {
            Err(Failure::Final(ModelError::Refused { status: 400 | 422, detail, .. }))
                if !with_max_tokens && detail.contains("max_completion_tokens") =>
            {
                tracing::info!(model = %self.name, "the server wants max_tokens; it is asked so from now on");
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
        let mut reply = reply::Assembly::new(&self.exchange.asked);
        match self.exchange.run(body, |part| reply.read(part)).await {
            Ok(()) => reply.finish(|| estimated_input(request)),
            Err(failure) => Err(reply.broken_by(failure)),
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
        self.retry.run(&self.exchange.asked.url, || self.attempt(request)).await
    }
}
