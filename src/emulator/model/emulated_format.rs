//! What a provider's wire format consists of, from the provider's side.

use std::collections::HashSet;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;

use super::answer::ModelAnswer;
use super::conversation::TurnUsage;
use super::request::ParsedRequest;

/// The wire format of an emulated provider.
pub(super) struct EmulatedFormat {
    /// The path of the base address that a client is given.
    pub(super) base: &'static str,
    /// The path of the endpoint.
    pub(super) endpoint: &'static str,
    /// A header without which a request is rejected, besides the key's.
    pub(super) required_header: Option<&'static str>,
    /// Whether a request carries a key.
    pub(super) has_key: fn(&HeaderMap) -> bool,
    /// Parses a request. The error names the rule of the format that it violates.
    pub(super) parse_request: fn(&Value) -> Result<ParsedRequest, String>,
    /// The events of an answer.
    pub(super) events: fn(&ModelAnswer) -> Vec<String>,
    /// The event of an error in the middle of an answer.
    pub(super) error_event: fn(&str) -> String,
    /// The body of an answer with an error status.
    pub(super) error_body: fn(u16, &str) -> Value,
    /// Counts the tokens of a prompt, by the provider's rules for cached prompts, and caches it. The output is 0.
    pub(super) count: fn(&mut CachedPrompts, &ParsedRequest) -> TurnUsage,
}

/// Fingerprints of the prompts that a provider has cached.
pub(super) type CachedPrompts = HashSet<u64>;

/// Whether a request carries a key as a bearer token.
pub(super) fn has_bearer(headers: &HeaderMap) -> bool {
    let key = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    key.is_some_and(|key| !key.is_empty())
}
