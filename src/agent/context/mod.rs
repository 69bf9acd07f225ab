//! The view: what the model is shown of a conversation. A pure function of what is recorded, so that
//! a restarted worker shows the same bytes. It only ever grows at its end, which is what providers'
//! caches and signed reasoning need, but for two recorded events: old results become handles
//! (`ResultsElided`), or all of it becomes one message (`Compacted`). Asks nobody anything;
//! `shorten` does.

use std::sync::OnceLock;

use super::prompts;
use crate::domain::{AssistantBlock, Message, ToolResult, Usage};
use crate::model::{instruction_bytes, message_bytes};

mod compaction;
mod shorten;
mod summary;

/// Bytes of text to a token before a provider has counted: 4.09 were measured on code.
const BYTES_PER_TOKEN: f64 = 4.0;
/// What a provider's count can plausibly say: less is a language of long characters, more is mostly
/// white space.
const BYTES_PER_TOKEN_MIN: f64 = 1.5;
const BYTES_PER_TOKEN_MAX: f64 = 6.0;
/// Shorter results stay: their handle would be as long.
const ELIDED_BYTES_MIN: usize = 600;
/// Of the first line of a result, in its handle.
const FIRST_LINE_CHARS_MAX: usize = 120;
/// Messages with results that stay whole when older ones are elided: what the model is at.
const RECENT_MESSAGES: usize = 3;

/// What the model is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    messages: Vec<Message>,
    /// The number of each message's first result; 0 where it has none.
    first_results: Vec<u32>,
    results_given: u32,
    /// The last message with a handle.
    anchor: Option<usize>,
    bytes: u64,
    bytes_per_token: f64,
    /// Whether signed reasoning is shown that was made under other instructions.
    is_bound_elsewhere: bool,
}

/// How much may be shown, in tokens, and when it is time to show less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What a request may hold beside its answer.
    pub input_tokens_max: u64,
}

/// How to show less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shorter {
    /// These results as handles.
    Elide {
        /// Number of the first.
        first: u32,
        /// Number of the last.
        last: u32,
    },
    /// One message in place of all.
    Compact,
}

impl Room {
    /// For a model that holds `context_tokens`, of which `output_tokens_max` are for its answer.
    pub fn new(context_tokens: u64, output_tokens_max: u32) -> Self {
        let input = context_tokens.saturating_sub(u64::from(output_tokens_max)).max(context_tokens / 2);
        Self { input_tokens_max: input }
    }

    /// So many hundredths of what is left beside `instructions`, and they.
    fn share(self, percent: u64, instructions: u64) -> u64 {
        instructions + self.input_tokens_max.saturating_sub(instructions) * percent / 100
    }
}

/// From here on old results are elided: every later turn pays for what stands there.
const ELIDE_AT_PERCENT: u64 = 60;
/// Down to here, in one go: each time costs what the provider had in its cache.
const ELIDE_TO_PERCENT: u64 = 35;
/// From here on, where eliding does not help, all is put together anew. What is between this and the
/// whole is for a turn's results, and for an estimate that is short.
const COMPACT_AT_PERCENT: u64 = 80;

impl Default for View {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            first_results: Vec::new(),
            results_given: 0,
            anchor: None,
            bytes: 0,
            bytes_per_token: BYTES_PER_TOKEN,
            is_bound_elsewhere: false,
        }
    }
}

impl View {
    /// What is shown, oldest first.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The last message that is shown other than it was said.
    pub fn anchor(&self) -> Option<usize> {
        self.anchor
    }

    /// How many results there were in the whole conversation.
    pub fn results_given(&self) -> u32 {
        self.results_given
    }

    /// Shows one more message.
    pub fn push(&mut self, message: Message) {
        let results = match &message {
            Message::ToolResults { results } => u32::try_from(results.len()).unwrap_or(u32::MAX),
            Message::User { .. } | Message::Assistant { .. } => 0,
        };
        self.first_results.push(if results > 0 { self.results_given.saturating_add(1) } else { 0 });
        self.results_given = self.results_given.saturating_add(results);
        self.bytes += message_bytes(&message);
        self.messages.push(message);
    }

    /// Takes in how many tokens the provider counted for what is shown now.
    pub fn counted(&mut self, usage: &Usage) {
        let prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
        if prompt > 0 {
            let measured = self.bytes_sent() as f64 / prompt as f64;
            self.bytes_per_token = measured.clamp(BYTES_PER_TOKEN_MIN, BYTES_PER_TOKEN_MAX);
        }
    }

    /// How many tokens a request with all of it has, as the last count lets expect.
    pub fn tokens(&self) -> u64 {
        self.tokens_of(self.bytes_sent())
    }

    /// Shows the results from `first` to `last` as handles.
    pub fn elide(&mut self, first: u32, last: u32) {
        for (at, (message, first_here)) in self.messages.iter_mut().zip(&self.first_results).enumerate() {
            let Message::ToolResults { results } = message else { continue };
            for (number, result) in (*first_here..).zip(results) {
                if (first..=last).contains(&number) && result.text.len() > ELIDED_BYTES_MIN {
                    let handle = handle(number, &result.text);
                    self.bytes = self.bytes + handle.len() as u64 - result.text.len() as u64;
                    result.text = handle;
                    self.anchor = Some(at);
                }
            }
        }
    }

    /// Shows `text` in place of everything.
    pub fn start_afresh(&mut self, text: &str) {
        self.messages.clear();
        self.first_results.clear();
        self.bytes = 0;
        self.anchor = None;
        self.is_bound_elsewhere = false;
        self.push(Message::User { text: text.to_owned() });
    }

    /// System prompt or tools are others from here on: a newer program goes on with the job.
    pub fn instructions_changed(&mut self) {
        // They stand before all that was signed, which a provider would refuse.
        self.is_bound_elsewhere = self.messages.iter().any(has_opaque);
    }

    /// How to show less, where it is time to.
    pub fn due(&self, room: Room) -> Option<Shorter> {
        if self.is_bound_elsewhere {
            return self.compactable();
        }
        let (tokens, instructions) = (self.tokens(), self.tokens_of(instruction_bytes_sent()));
        let elide_at = room.share(ELIDE_AT_PERCENT, instructions);
        let elide_to = room.share(ELIDE_TO_PERCENT, instructions);
        if tokens < elide_at {
            return None;
        }
        let chunk = elide_at - elide_to;
        // Less is not worth what was in the cache, and would soon have to be done again.
        let enough = self
            .elidable(self.bytes_of((tokens - elide_to).max(chunk)), RECENT_MESSAGES)
            .filter(|(_, freed)| self.tokens_of(*freed) >= chunk);
        match enough {
            Some((range, _)) => Some(range),
            None if tokens >= room.share(COMPACT_AT_PERCENT, instructions) => self.compactable(),
            None => None,
        }
    }

    /// How to show less although no limit seems to be reached: the provider says that it is.
    pub fn at_any_rate(&self) -> Option<Shorter> {
        let all = self.elidable(u64::MAX, 1).filter(|(_, freed)| *freed > self.bytes / 4);
        all.map(|(range, _)| range).or_else(|| self.compactable())
    }

    /// All of it becoming one message.
    pub fn compactable(&self) -> Option<Shorter> {
        // A conversation that has just begun, or begun afresh, cannot be made shorter so.
        (self.messages.len() > 1).then_some(Shorter::Compact)
    }

    /// The oldest results that free `wanted` bytes, or as much as there is, and what they free.
    /// Reasoning that a provider signed is bound to all that stands before it, so nothing before it
    /// may change; and what belongs to the last messages with results is needed.
    /// Source: platform.claude.com/docs, "Preserved thinking".
    fn elidable(&self, wanted: u64, recent: usize) -> Option<(Shorter, u64)> {
        let begin = self.messages.iter().rposition(has_opaque).map_or(0, |last| last + 1);
        let with_results = (0..self.messages.len()).filter(|at| self.first_results[*at] > 0);
        let end = with_results.rev().take(recent).last().unwrap_or(0);
        let (mut range, mut freed) = (None, 0);
        for at in begin..end {
            let Message::ToolResults { results } = &self.messages[at] else { continue };
            for (number, result) in (self.first_results[at]..).zip(results) {
                if freed >= wanted {
                    break;
                }
                if result.text.len() > ELIDED_BYTES_MIN {
                    freed += saved(number, result);
                    range = Some((range.map_or(number, |(first, _)| first), number));
                }
            }
        }
        range.map(|(first, last)| (Shorter::Elide { first, last }, freed))
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes + instruction_bytes_sent()
    }

    fn tokens_of(&self, bytes: u64) -> u64 {
        (bytes as f64 / self.bytes_per_token).ceil() as u64
    }

    fn bytes_of(&self, tokens: u64) -> u64 {
        (tokens as f64 * self.bytes_per_token) as u64
    }
}

/// System prompt and tools, which go with every request.
fn instruction_bytes_sent() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| instruction_bytes(prompts::SYSTEM, &prompts::tools()))
}

fn has_opaque(message: &Message) -> bool {
    match message {
        Message::Assistant { blocks } => {
            blocks.iter().any(|block| matches!(block, AssistantBlock::Opaque { .. }))
        }
        Message::User { .. } | Message::ToolResults { .. } => false,
    }
}

/// What stands for a result that is left out.
fn handle(number: u32, text: &str) -> String {
    let first_line: String =
        text.lines().next().unwrap_or_default().chars().take(FIRST_LINE_CHARS_MAX).collect();
    format!(
        "[Result {number} is left out here to save room. It began: {first_line}\nTo see it again: read_result \
         {{\"result\": {number}}}]"
    )
}

fn saved(number: u32, result: &ToolResult) -> u64 {
    (result.text.len() as u64).saturating_sub(handle(number, &result.text).len() as u64)
}

#[cfg(test)]
mod tests;
