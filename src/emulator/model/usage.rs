//! Token counts of an answer for which the conversation names none: computed from sizes, with the provider's rules for
//! cached prompts.

use std::collections::HashMap;

use super::conversation::{ScriptedTurn, TurnUsage};
use super::emulated_format::CachedPrompts;
use super::provider::Provider;
use super::request::{BYTES_PER_TOKEN, ParsedRequest};

/// What each provider has cached.
#[derive(Default)]
pub(super) struct PromptCache(HashMap<Provider, CachedPrompts>);

impl PromptCache {
    /// The counts of an answer to `request`, whose prompt is cached.
    pub(super) fn count(
        &mut self,
        provider: Provider,
        request: &ParsedRequest,
        turn: &ScriptedTurn,
    ) -> TurnUsage {
        let calls =
            turn.calls.iter().map(|call| call.tool.len() + call.arguments_text().len()).sum::<usize>();
        let reasoning = turn.think.as_ref().map_or(0, String::len);
        let output = ((turn.say.len() + calls + reasoning) as u64).div_ceil(BYTES_PER_TOKEN).max(1);
        let prompts = self.0.entry(provider).or_default();
        TurnUsage { output, ..(provider.format().count)(prompts, request) }
    }
}
