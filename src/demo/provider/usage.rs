//! Token counts of an answer where the conversation names none: from sizes, with cache reads for
//! the prefix that an earlier request had.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::conversation::{Turn, TurnUsage};
use super::heard::{Heard, HeardMessage};
use crate::model::Provider;

const BYTES_PER_TOKEN: u64 = 4;
/// OpenAI caches prompts from 1,024 tokens on, in steps of 128.
const OPENAI_CACHED_TOKENS_MIN: u64 = 1024;
const OPENAI_CACHED_TOKENS_STEP: u64 = 128;
/// Earlier requests that are compared with.
const PREFIXES_KEPT_MAX: usize = 256;

/// What earlier requests were made of, as fingerprints of system prompt and tools, and of each
/// message.
#[derive(Default)]
pub(super) struct SeenPrefixes(Vec<Vec<u64>>);

impl SeenPrefixes {
    /// The counts for an answer to `heard`, which is remembered.
    pub(super) fn count(&mut self, provider: Provider, heard: &Heard, turn: &Turn) -> TurnUsage {
        let parts: Vec<String> = std::iter::once(heard.stable_prefix())
            .chain(heard.messages.iter().map(HeardMessage::text))
            .collect();
        let fingerprints: Vec<u64> = parts.iter().map(|part| fingerprint(&(&heard.model, part))).collect();
        let tokens = |parts: &[String]| {
            parts.iter().map(|part| part.len() as u64).sum::<u64>().div_ceil(BYTES_PER_TOKEN)
        };
        let common = |seen: &Vec<u64>| seen.iter().zip(&fingerprints).take_while(|(a, b)| a == b).count();
        let parts_cached = self.0.iter().map(common).max().unwrap_or_default();
        let (all, cached) = (tokens(&parts), tokens(&parts[..parts_cached]));
        if self.0.len() >= PREFIXES_KEPT_MAX {
            self.0.remove(0);
        }
        self.0.push(fingerprints);

        let calls =
            turn.calls.iter().map(|call| call.tool.len() + call.arguments_text().len()).sum::<usize>();
        let thought = turn.think.as_ref().map_or(0, String::len);
        let output = ((turn.say.len() + calls + thought) as u64).div_ceil(BYTES_PER_TOKEN).max(1);
        match provider {
            Provider::Anthropic if heard.cache_breakpoints == 0 => {
                TurnUsage { input: all, output, ..TurnUsage::default() }
            }
            // The last breakpoint is at the end, so everything is either read or written.
            Provider::Anthropic => {
                TurnUsage { input: 0, output, cache_read: cached, cache_write: all - cached }
            }
            Provider::OpenAi => {
                let steps = cached / OPENAI_CACHED_TOKENS_STEP * OPENAI_CACHED_TOKENS_STEP;
                let cache_read = if steps < OPENAI_CACHED_TOKENS_MIN { 0 } else { steps };
                TurnUsage { input: all - cache_read, output, cache_read, cache_write: 0 }
            }
        }
    }
}

fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
