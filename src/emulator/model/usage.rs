//! Token counts of an answer where the conversation names none: from sizes, with cache reads as the
//! providers have them. Anthropic keeps what stands before a mark, and looks for it at marks and a
//! few blocks before them; OpenAI finds the longest common beginning by itself.

use std::collections::HashSet;

use super::conversation::{Turn, TurnUsage};
use super::heard::{Heard, HeardBlock};
use crate::model::Provider;

const BYTES_PER_TOKEN: u64 = 4;
/// OpenAI caches prompts from 1,024 tokens on, in steps of 128.
const OPENAI_CACHED_TOKENS_MIN: u64 = 1024;
const OPENAI_CACHED_TOKENS_STEP: u64 = 128;
/// How many blocks before a mark Anthropic looks.
const ANTHROPIC_LOOKBACK: usize = 20;

/// What was kept of earlier requests: fingerprints of beginnings.
#[derive(Default)]
pub(super) struct SeenPrefixes {
    marked: HashSet<u64>,
    any: HashSet<u64>,
}

/// How many tokens blocks have.
pub(super) fn tokens(blocks: &[HeardBlock]) -> u64 {
    blocks.iter().map(|block| block.text.len() as u64).sum::<u64>().div_ceil(BYTES_PER_TOKEN)
}

impl SeenPrefixes {
    /// The counts for an answer to `heard`, which is remembered.
    pub(super) fn count(&mut self, provider: Provider, heard: &Heard, turn: &Turn) -> TurnUsage {
        let calls =
            turn.calls.iter().map(|call| call.tool.len() + call.arguments_text().len()).sum::<usize>();
        let thought = turn.think.as_ref().map_or(0, String::len);
        let output = ((turn.say.len() + calls + thought) as u64).div_ceil(BYTES_PER_TOKEN).max(1);
        match provider {
            Provider::Anthropic => TurnUsage { output, ..self.count_marked(heard) },
            Provider::OpenAi => TurnUsage { output, ..self.count_any(heard) },
        }
    }

    fn count_marked(&mut self, heard: &Heard) -> TurnUsage {
        // `beginnings[n]` stands for the first n blocks.
        let beginnings = heard.fingerprints();
        let marks: Vec<usize> = (1..beginnings.len()).filter(|end| heard.blocks[end - 1].marked).collect();
        let looked_at = marks.iter().flat_map(|end| end.saturating_sub(ANTHROPIC_LOOKBACK).max(1)..=*end);
        let hit = looked_at.filter(|end| self.marked.contains(&beginnings[*end])).max().unwrap_or(0);
        let last = marks.last().copied().unwrap_or(0);
        self.marked.extend(marks.iter().map(|end| beginnings[*end]));
        let (read, marked, all) =
            (tokens(&heard.blocks[..hit]), tokens(&heard.blocks[..last]), tokens(&heard.blocks));
        TurnUsage { input: all - marked, cache_read: read, cache_write: marked - read, output: 0 }
    }

    fn count_any(&mut self, heard: &Heard) -> TurnUsage {
        let beginnings = heard.fingerprints();
        let hit = (1..beginnings.len()).take_while(|end| self.any.contains(&beginnings[*end])).last();
        let cached = tokens(&heard.blocks[..hit.unwrap_or(0)]);
        let steps = cached / OPENAI_CACHED_TOKENS_STEP * OPENAI_CACHED_TOKENS_STEP;
        let cache_read = if steps < OPENAI_CACHED_TOKENS_MIN { 0 } else { steps };
        self.any.extend(&beginnings[1..]);
        TurnUsage { input: tokens(&heard.blocks) - cache_read, cache_read, cache_write: 0, output: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(sizes: &[usize], marks: &[usize]) -> Heard {
        let block = |(at, size): (usize, &usize)| HeardBlock {
            text: char::from(b'a' + u8::try_from(at % 26).unwrap()).to_string().repeat(*size),
            marked: marks.contains(&at),
        };
        Heard { blocks: sizes.iter().enumerate().map(block).collect(), ..Heard::default() }
    }

    #[test]
    fn anthropic_reads_what_was_marked_before_and_no_further_back_than_it_looks() {
        let mut seen = SeenPrefixes::default();
        let first = seen.count_marked(&heard(&[400, 400, 400], &[1]));
        assert_eq!((first.input, first.cache_write, first.cache_read), (100, 200, 0));
        let second = seen.count_marked(&heard(&[400; 5], &[1, 4]));
        assert_eq!((second.input, second.cache_write, second.cache_read), (0, 300, 200));
        let far = seen.count_marked(&heard(&[400; 40], &[39]));
        assert_eq!((far.cache_read, far.cache_write), (0, 4_000));
        let near = seen.count_marked(&heard(&[400; 40], &[4, 39]));
        assert_eq!(near.cache_read, 4_000);
        let changed = seen.count_marked(&heard(&[404, 400, 400, 400, 400], &[4]));
        assert_eq!(changed.cache_read, 0);
    }

    #[test]
    fn openai_reads_the_longest_common_beginning_in_steps_if_it_is_long_enough() {
        let mut seen = SeenPrefixes::default();
        assert_eq!(seen.count_any(&heard(&[4_000, 400], &[])).cache_read, 0);
        assert_eq!(seen.count_any(&heard(&[4_000, 400, 4_000], &[])).cache_read, 1_024);
        assert_eq!(seen.count_any(&heard(&[4_000, 404], &[])).cache_read, 0, "1,000 tokens are too few");
    }
}
