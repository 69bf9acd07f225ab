//! The view: the part of a conversation that the model is sent. It is a pure function of the transcript, so
//! a restarted worker sends the same bytes. It only grows at its end, as providers' caches and signed
//! reasoning need, except for two recorded events: old results are replaced by handles (`ResultsElided`), or
//! all messages are replaced by one (`Compacted`). Never calls a model; `shorten` does.

use std::sync::OnceLock;

use super::prompts;
use crate::domain::{AssistantBlock, Message, ToolResult, Usage};
use crate::model::{instruction_bytes, message_bytes};

mod compaction;
mod shorten;
mod summary;

/// Bytes of text to a token before a provider has counted: 4.09 were measured on code.
const BYTES_PER_TOKEN: f64 = 4.0;
/// The plausible range of a provider's count. Less means a language with long characters, more means mostly
/// white space.
const BYTES_PER_TOKEN_MIN: f64 = 1.5;
const BYTES_PER_TOKEN_MAX: f64 = 6.0;
/// Shorter results stay: their handle would be as long.
const ELIDED_BYTES_MIN: usize = 600;
/// Longest first line in a handle, in characters.
const FIRST_LINE_CHARS_MAX: usize = 120;
/// Messages with results that stay whole while older ones are elided: the work in progress.
const RECENT_MESSAGES: usize = 3;

/// The messages that the model is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    messages: Vec<Message>,
    /// The number of each message's first result; 0 if it has none.
    first_results: Vec<u32>,
    results_given: u32,
    /// The last message with a handle.
    anchor: Option<usize>,
    bytes: u64,
    bytes_per_token: f64,
    /// Whether the view holds reasoning that was signed under other instructions.
    has_foreign_signatures: bool,
}

/// How much may be sent, in tokens, and when to send less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextBudget {
    /// Largest request, without its answer.
    pub input_tokens_max: u64,
}

/// How to send less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Replace these results by handles.
    Elide {
        /// Number of the first.
        first: u32,
        /// Number of the last.
        last: u32,
    },
    /// Replace all messages by one.
    Compact,
}

impl ContextBudget {
    /// The budget for a context of `context_tokens`, of which `output_tokens_max` are for the answer.
    pub fn new(context_tokens: u64, output_tokens_max: u32) -> Self {
        let input = context_tokens.saturating_sub(u64::from(output_tokens_max)).max(context_tokens / 2);
        Self { input_tokens_max: input }
    }

    /// A percentage of what is left after `instructions`, plus the instructions.
    fn share(self, percent: u64, instructions: u64) -> u64 {
        instructions + self.input_tokens_max.saturating_sub(instructions) * percent / 100
    }
}

/// Old results are elided from here on, because every later turn pays for them.
const ELIDE_AT_PERCENT: u64 = 60;
/// Eliding goes down to here in one step, because each step invalidates the provider's cache.
const ELIDE_TO_PERCENT: u64 = 35;
/// Everything is compacted from here on if eliding does not free enough. The rest is reserved for one turn's
/// results, and for an estimate that is too low.
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
            has_foreign_signatures: false,
        }
    }
}

impl View {
    /// The messages, oldest first.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The last message that differs from what was said.
    pub fn anchor(&self) -> Option<usize> {
        self.anchor
    }

    /// How many results there were in the whole conversation.
    pub fn results_given(&self) -> u32 {
        self.results_given
    }

    /// Adds a message.
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

    /// Adjusts the estimate to the tokens that the provider counted for the present view.
    pub fn calibrate(&mut self, usage: &Usage) {
        let prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
        if prompt > 0 {
            let measured = self.bytes_sent() as f64 / prompt as f64;
            self.bytes_per_token = measured.clamp(BYTES_PER_TOKEN_MIN, BYTES_PER_TOKEN_MAX);
        }
    }

    /// The estimated tokens of a request with the whole view.
    pub fn tokens(&self) -> u64 {
        self.tokens_of(self.bytes_sent())
    }

    /// Replaces the results from `first` to `last` by handles.
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

    /// Replaces all messages by `text`.
    pub fn replace_all(&mut self, text: &str) {
        self.messages.clear();
        self.first_results.clear();
        self.bytes = 0;
        self.anchor = None;
        self.has_foreign_signatures = false;
        self.push(Message::User { text: text.to_owned() });
    }

    /// Notes that the system prompt or the tools changed: a newer program continues the job.
    pub fn instructions_changed(&mut self) {
        // A provider refuses reasoning that was signed after other instructions.
        self.has_foreign_signatures = self.messages.iter().any(has_opaque);
    }

    /// How to send less, if it is time to.
    pub fn due_reduction(&self, budget: ContextBudget) -> Option<Reduction> {
        if self.has_foreign_signatures {
            return self.compactable();
        }
        let (tokens, instructions) = (self.tokens(), self.tokens_of(instruction_bytes_sent()));
        let elide_at = budget.share(ELIDE_AT_PERCENT, instructions);
        let elide_to = budget.share(ELIDE_TO_PERCENT, instructions);
        if tokens < elide_at {
            return None;
        }
        let chunk = elide_at - elide_to;
        // Freeing less would not be worth the lost cache, and would soon be needed again.
        let enough = self
            .elidable(self.bytes_of((tokens - elide_to).max(chunk)), RECENT_MESSAGES)
            .filter(|(_, freed)| self.tokens_of(*freed) >= chunk);
        match enough {
            Some((range, _)) => Some(range),
            None if tokens >= budget.share(COMPACT_AT_PERCENT, instructions) => self.compactable(),
            None => None,
        }
    }

    /// How to send less although the estimate allows the request: the provider refused it as too long.
    pub fn forced_reduction(&self) -> Option<Reduction> {
        let all = self.elidable(u64::MAX, 1).filter(|(_, freed)| *freed > self.bytes / 4);
        all.map(|(range, _)| range).or_else(|| self.compactable())
    }

    /// Compaction, if it can make the view shorter.
    pub fn compactable(&self) -> Option<Reduction> {
        // A conversation that has just started or been compacted cannot be shortened like this.
        (self.messages.len() > 1).then_some(Reduction::Compact)
    }

    /// The oldest results that free `wanted` bytes, or as many as possible, and the bytes that they free.
    /// Reasoning that a provider signed depends on everything before it, so nothing before it may change.
    /// The last messages with results are still needed. Source: platform.claude.com/docs, "Preserved
    /// thinking".
    fn elidable(&self, wanted: u64, recent: usize) -> Option<(Reduction, u64)> {
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
        range.map(|(first, last)| (Reduction::Elide { first, last }, freed))
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

/// The size of the system prompt and the tools, which are part of every request.
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

/// The handle that replaces a result.
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
