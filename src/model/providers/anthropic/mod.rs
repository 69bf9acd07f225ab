//! Anthropic's Messages API.
//! Source: platform.claude.com/docs, "Create a Message" and "Streaming Messages".

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tracing::Instrument;

use crate::domain::Price;
use crate::model::exchange::Exchange;
use crate::model::wire_format::{ModelConnection, WireFormat};
use crate::model::{Model, ModelError, ModelReply, ModelRequest, RetryPolicy, call_span, estimated_input};

mod reply;
mod request;

/// The name under which opaque blocks of this provider are stored.
const PROVIDER: &str = "anthropic";

pub(super) static WIRE_FORMAT: WireFormat = WireFormat {
    endpoint: |base| format!("{}/messages", with_version(base)),
    models_path: |base| format!("{}/models", with_version(base)),
    // The default page has twenty models.
    models_query: Some("limit=1000"),
    headers: &[("anthropic-version", "2023-06-01")],
    key_header: |key| ("x-api-key", key.to_owned()),
    connect: |ModelConnection { name, price, exchange, retry, wants_max_tokens: _ }| {
        Arc::new(Anthropic { name, price, exchange, retry })
    },
};

/// The path of the base address, which may end in the API's version or not.
fn with_version(base: &str) -> String {
    if base.ends_with("/v1") { base.to_owned() } else { format!("{base}/v1") }
}

/// A model with the Messages API.
struct Anthropic {
    name: String,
    price: Option<Price>,
    exchange: Exchange,
    retry: RetryPolicy,
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
