//! Token counts of an answer for which the conversation names none: computed from sizes, with the providers'
//! rules for cached prompts. Anthropic stores the prompt before each breakpoint, and looks it up at
//! breakpoints and a few blocks before them; OpenAI finds the longest common prefix by itself.

use std::collections::HashSet;

use super::conversation::{ScriptedTurn, TurnUsage};
use super::provider::Provider;
use super::request::{ParsedRequest, PromptBlock};

const BYTES_PER_TOKEN: u64 = 4;
/// OpenAI caches prompts from 1,024 tokens on, in steps of 128.
const OPENAI_CACHED_TOKENS_MIN: u64 = 1024;
const OPENAI_CACHED_TOKENS_STEP: u64 = 128;
/// How many blocks before a breakpoint Anthropic looks at.
const ANTHROPIC_LOOKBACK: usize = 20;

/// Fingerprints of the prompts that a provider has cached.
#[derive(Default)]
pub(super) struct PromptCache {
    anthropic: HashSet<u64>,
    openai: HashSet<u64>,
}

/// The number of tokens in blocks.
pub(super) fn tokens(blocks: &[PromptBlock]) -> u64 {
    blocks.iter().map(|block| block.text.len() as u64).sum::<u64>().div_ceil(BYTES_PER_TOKEN)
}

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
        match provider {
            Provider::Anthropic => TurnUsage { output, ..self.count_anthropic(request) },
            Provider::OpenAi => TurnUsage { output, ..self.count_openai(request) },
        }
    }

    fn count_anthropic(&mut self, request: &ParsedRequest) -> TurnUsage {
        // `prefixes[n]` is the fingerprint of the first n blocks.
        let prefixes = request.fingerprints();
        let breakpoints: Vec<usize> =
            (1..prefixes.len()).filter(|end| request.blocks[end - 1].cached).collect();
        let candidates =
            breakpoints.iter().flat_map(|end| end.saturating_sub(ANTHROPIC_LOOKBACK).max(1)..=*end);
        let hit = candidates.filter(|end| self.anthropic.contains(&prefixes[*end])).max().unwrap_or(0);
        let last = breakpoints.last().copied().unwrap_or(0);
        self.anthropic.extend(breakpoints.iter().map(|end| prefixes[*end]));
        let (read, cacheable, all) =
            (tokens(&request.blocks[..hit]), tokens(&request.blocks[..last]), tokens(&request.blocks));
        TurnUsage { input: all - cacheable, cache_read: read, cache_write: cacheable - read, output: 0 }
    }

    fn count_openai(&mut self, request: &ParsedRequest) -> TurnUsage {
        let prefixes = request.fingerprints();
        let hit = (1..prefixes.len()).take_while(|end| self.openai.contains(&prefixes[*end])).last();
        let cached = tokens(&request.blocks[..hit.unwrap_or(0)]);
        let steps = cached / OPENAI_CACHED_TOKENS_STEP * OPENAI_CACHED_TOKENS_STEP;
        let cache_read = if steps < OPENAI_CACHED_TOKENS_MIN { 0 } else { steps };
        self.openai.extend(&prefixes[1..]);
        TurnUsage { input: tokens(&request.blocks) - cache_read, cache_read, cache_write: 0, output: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sizes: &[usize], breakpoints: &[usize]) -> ParsedRequest {
        let block = |(at, size): (usize, &usize)| PromptBlock {
            text: char::from(b'a' + u8::try_from(at % 26).unwrap()).to_string().repeat(*size),
            cached: breakpoints.contains(&at),
        };
        ParsedRequest { blocks: sizes.iter().enumerate().map(block).collect(), ..ParsedRequest::default() }
    }

    #[test]
    fn anthropic_reads_cached_prompt_within_its_lookback() {
        let mut cache = PromptCache::default();
        let first = cache.count_anthropic(&request(&[400, 400, 400], &[1]));
        assert_eq!((first.input, first.cache_write, first.cache_read), (100, 200, 0));
        let second = cache.count_anthropic(&request(&[400; 5], &[1, 4]));
        assert_eq!((second.input, second.cache_write, second.cache_read), (0, 300, 200));
        let far = cache.count_anthropic(&request(&[400; 40], &[39]));
        assert_eq!((far.cache_read, far.cache_write), (0, 4_000));
        let near = cache.count_anthropic(&request(&[400; 40], &[4, 39]));
        assert_eq!(near.cache_read, 4_000);
        let changed = cache.count_anthropic(&request(&[404, 400, 400, 400, 400], &[4]));
        assert_eq!(changed.cache_read, 0);
    }

    #[test]
    fn openai_reads_longest_common_prefix_in_steps_above_its_minimum() {
        let mut cache = PromptCache::default();
        assert_eq!(cache.count_openai(&request(&[4_000, 400], &[])).cache_read, 0);
        assert_eq!(cache.count_openai(&request(&[4_000, 400, 4_000], &[])).cache_read, 1_024);
        assert_eq!(
            cache.count_openai(&request(&[4_000, 404], &[])).cache_read,
            0,
            "1,000 tokens are too few"
        );
    }
}
