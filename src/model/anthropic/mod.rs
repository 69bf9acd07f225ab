//! Anthropic's Messages API.
//! Source: platform.claude.com/docs, "Create a Message" and "Streaming Messages".

use async_trait::async_trait;
use bytes::Bytes;
use tracing::Instrument;

use super::exchange::Exchange;
use super::{Model, ModelError, ModelReply, ModelRequest, RetryPolicy, call_span, estimated_input};
use crate::domain::Price;

mod reply;
mod request;

/// The name under which opaque blocks of this provider are stored.
const PROVIDER: &str = "anthropic";

/// A model with the Messages API.
pub(super) struct Anthropic {
    pub name: String,
    pub price: Option<Price>,
    pub exchange: Exchange,
    pub retry: RetryPolicy,
}

#[async_trait]
impl Model for Anthropic {
    fn name(&self) -> &str {
        &self.name
    }

    fn price(&self) -> Option<Price> {
        self.price
    }

    async fn complete(&self, request: &ModelRequest) -> Result<ModelReply, ModelError> {
        let body = Bytes::from(request::to_wire(&self.name, request));
        let attempt = || {
            let body = body.clone();
            async {
                let mut reply = reply::ReplyBuilder::new(&self.exchange.target);
                match self.exchange.run(body, |part| reply.read(part)).await {
                    Ok(()) => reply.finish(|| estimated_input(request)),
                    Err(failure) => Err(reply.interrupted_by(failure)),
                }
            }
        };
        let span = call_span(PROVIDER, &self.name, request);
        self.retry.run(&self.exchange.target.url, attempt).instrument(span).await
    }
}
