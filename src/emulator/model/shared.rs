//! What the handlers share: the conversation, and a memory of earlier requests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, ScriptedTurn, TurnFault};
use super::provider::Provider;
use super::request::ParsedRequest;
use super::usage::PromptCache;
use crate::gate::Gate;

/// How many requests are recorded; older ones are dropped.
const REQUESTS_KEPT_MAX: usize = 1_000;
/// How many earlier requests of a conversation a new one is compared with.
const EARLIER_REQUESTS_MAX: usize = 1_000;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRequest {
    /// Its wire format.
    pub provider: Provider,
    /// The turn that it was answered with: the number of assistant messages in it.
    pub turn: Option<usize>,
    /// The status of the answer.
    pub status: u16,
    /// The body; null if it was not JSON.
    pub body: Value,
}

/// What the handlers share.
pub(super) struct Shared {
    pub(super) conversation: Conversation,
    pub(super) stop: CancellationToken,
    /// Held answers wait here.
    pub(super) gate: Gate,
    memory: Mutex<ProviderMemory>,
}

/// A memory of earlier requests. The text of an answer does not depend on it.
#[derive(Default)]
pub(super) struct ProviderMemory {
    pub(super) requests: Vec<RecordedRequest>,
    pub(super) violations: Vec<String>,
    /// How often each turn of each conversation was requested, for faults that pass.
    attempts: HashMap<(String, bool, usize), u32>,
    /// System prompt and tools by conversation.
    prefixes: HashMap<String, String>,
    /// Fingerprints of the messages of each request, by conversation.
    earlier_messages: HashMap<String, Vec<Vec<u64>>>,
    /// How often handles replaced results.
    pub(super) rewrites: usize,
    /// How often a prompt was too long.
    pub(super) overflows: usize,
    pub(super) cache: PromptCache,
}

impl Shared {
    pub(super) fn new(conversation: Conversation, stop: CancellationToken) -> Self {
        Self { conversation, stop, gate: Gate::default(), memory: Mutex::new(ProviderMemory::default()) }
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, ProviderMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProviderMemory {
    /// Records a request.
    pub(super) fn record(&mut self, request: RecordedRequest) {
        if self.requests.len() >= REQUESTS_KEPT_MAX {
            self.requests.remove(0);
        }
        self.requests.push(request);
    }

    /// Checks that a conversation only grows: its system prompt, tools and earlier messages must not change,
    /// or no cache could serve it. Handles may replace results, which is counted.
    pub(super) fn check_prefix(&mut self, request: &ParsedRequest) -> Result<(), String> {
        if request.tools.is_empty() {
            return Ok(());
        }
        let earlier = self.earlier_messages.entry(request.conversation_key()).or_default();
        // The newest request that this one continues: older ones differ from it by the same change.
        match earlier.iter().rev().find_map(|earlier| request.continues(earlier)) {
            Some(rewritten) => self.rewrites += usize::from(rewritten),
            None if earlier.is_empty() => {}
            None => return Err("earlier messages changed within a conversation".to_owned()),
        }
        if earlier.len() >= EARLIER_REQUESTS_MAX {
            earlier.remove(0);
        }
        earlier.push(request.message_fingerprints());
        let prefix = request.stable_prefix();
        let known = self.prefixes.entry(request.conversation_key()).or_insert_with(|| prefix.clone());
        if *known == prefix {
            return Ok(());
        }
        Err("system prompt or tools changed within a conversation, so that no cache can serve it".to_owned())
    }

    /// The turn's fault, as long as it lasts for this conversation.
    pub(super) fn fault<'a>(
        &mut self,
        request: &ParsedRequest,
        number: usize,
        turn: &'a ScriptedTurn,
    ) -> Option<&'a TurnFault> {
        let fault = turn.fault.as_ref()?;
        let key = (request.conversation_key(), request.tools.is_empty(), number);
        let attempts = self.attempts.entry(key).or_default();
        *attempts = attempts.saturating_add(1);
        (*attempts <= fault.times()).then_some(fault)
    }
}
