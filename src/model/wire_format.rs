//! What a provider's wire format consists of, besides its requests and replies.

use std::sync::Arc;

use super::exchange::Exchange;
use super::{Model, RetryPolicy};
use crate::domain::Price;

/// A connection to one model, of which a provider makes a [`Model`].
pub(super) struct ModelConnection {
    /// The model's name at the provider.
    pub(super) name: String,
    /// Its price, if it is known.
    pub(super) price: Option<Price>,
    /// The exchange with the endpoint.
    pub(super) exchange: Exchange,
    /// How failures are retried.
    pub(super) retry: RetryPolicy,
    /// Whether the server is known to need the old parameter for the output limit.
    pub(super) wants_max_tokens: bool,
}

/// A provider's wire format.
pub(super) struct WireFormat {
    /// The path of the endpoint, below the path of the base address.
    pub(super) endpoint: fn(base: &str) -> String,
    /// The path of the list of models, below the path of the base address.
    pub(super) models_path: fn(base: &str) -> String,
    /// The query of that list.
    pub(super) models_query: Option<&'static str>,
    /// Headers that every request carries: names in lower case, and values.
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// The header that carries a key, and its value.
    pub(super) key_header: fn(key: &str) -> (&'static str, String),
    /// Makes the model.
    pub(super) connect: fn(ModelConnection) -> Arc<dyn Model>,
}
