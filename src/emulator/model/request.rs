//! A request in a form that no wire format determines.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::conversation::Expectation;

/// A parsed request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ParsedRequest {
    pub model: String,
    pub system: String,
    pub tools: Vec<ToolDefinition>,
    pub messages: Vec<PromptMessage>,
    /// Whether the wire format carries reasoning.
    pub carries_reasoning: bool,
    /// Tools, system prompt and messages, in the order in which a provider reads them.
    pub blocks: Vec<PromptBlock>,
}

/// The smallest part of a prompt that a cache distinguishes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PromptBlock {
    /// As sent, without `cache_control`.
    pub text: String,
    /// Whether it has `cache_control` (Anthropic only).
    pub cached: bool,
}

/// The words before the number of turns in a first message that stands for an earlier conversation.
const TURNS_BEFORE: &str = "Turns so far: ";

/// The tool that a result may name when a handle replaces its text.
const HANDLE: &str = "read_result";

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToolDefinition {
    pub name: String,
    pub description: String,
    pub schema: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum PromptMessage {
    User(String),
    Assistant {
        text: String,
        calls: Vec<PromptToolCall>,
        opaque: Vec<Value>,
        /// How many blocks of the request come before it.
        blocks_before: usize,
    },
    /// Id of the call, and text.
    Results(Vec<(String, String)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct PromptToolCall {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

impl PromptMessage {
    /// All its text.
    pub(super) fn text(&self) -> String {
        match self {
            Self::User(text) => text.clone(),
            Self::Assistant { text, calls, .. } => {
                let calls = calls.iter().map(|call| format!("\n{} {}", call.name, call.arguments));
                text.clone() + &calls.collect::<String>()
            }
            Self::Results(results) => {
                results.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

impl ParsedRequest {
    /// Whether the setup agent asks: it has tools of its own.
    pub(super) fn is_of_setup_agent(&self) -> bool {
        self.tools.iter().any(|tool| tool.name == "propose_setup")
    }

    /// The index of the turn that answers this request: the number of assistant messages.
    pub(super) fn turn_index(&self) -> usize {
        let assistant =
            self.messages.iter().filter(|message| matches!(message, PromptMessage::Assistant { .. }));
        self.turns_before() + assistant.count()
    }

    /// The number of turns that the first message stands for.
    pub(super) fn turns_before(&self) -> usize {
        let first = self.conversation_key();
        let Some((_, rest)) = first.rsplit_once(TURNS_BEFORE) else { return 0 };
        rest.chars().map_while(|c| c.to_digit(10)).fold(0, |sum, digit| sum * 10 + digit as usize)
    }

    /// Fingerprints of the prompt before the first block and up to each block.
    pub(super) fn fingerprints(&self) -> Vec<u64> {
        let mut hasher = DefaultHasher::new();
        self.model.hash(&mut hasher);
        let mut all = vec![hasher.finish()];
        for block in &self.blocks {
            block.text.hash(&mut hasher);
            all.push(hasher.finish());
        }
        all
    }

    /// Whether this request continues an earlier one with these fingerprints of messages: unchanged
    /// (`Some(false)`), or except for results that handles replaced (`Some(true)`).
    pub(super) fn continues(&self, earlier: &[u64]) -> Option<bool> {
        let now = self.message_fingerprints();
        if earlier.len() > now.len() {
            return None;
        }
        let differs = |at: &usize| earlier[*at] != now[*at];
        let Some(first) = (0..earlier.len()).find(differs) else { return Some(false) };
        let is_handle = |at: usize| match &self.messages[at] {
            PromptMessage::Results(results) => results.iter().any(|(_, text)| text.contains(HANDLE)),
            PromptMessage::User(_) | PromptMessage::Assistant { .. } => false,
        };
        let has_reasoning = |message: &PromptMessage| matches!(message, PromptMessage::Assistant { opaque, .. } if !opaque.is_empty());
        let allowed = (first..earlier.len()).filter(differs).all(is_handle);
        // Signed reasoning is bound to everything before it.
        (allowed && !self.messages[first..].iter().any(has_reasoning)).then_some(true)
    }

    /// A fingerprint of each message.
    pub(super) fn message_fingerprints(&self) -> Vec<u64> {
        let fingerprint = |message: &PromptMessage| {
            let mut hasher = DefaultHasher::new();
            message.text().hash(&mut hasher);
            hasher.finish()
        };
        self.messages.iter().map(fingerprint).collect()
    }

    /// The first message, which identifies the conversation.
    pub(super) fn conversation_key(&self) -> String {
        match self.messages.first() {
            Some(PromptMessage::User(text)) => text.clone(),
            Some(PromptMessage::Assistant { .. } | PromptMessage::Results(_)) | None => String::new(),
        }
    }

    /// System prompt and tools, which must not change, so that providers can cache them.
    pub(super) fn stable_prefix(&self) -> String {
        let tools =
            self.tools.iter().map(|tool| format!("\n{} {} {}", tool.name, tool.description, tool.schema));
        self.system.clone() + &tools.collect::<String>()
    }

    /// The first expectation that does not hold.
    pub(super) fn unmet_expectation(&self, expect: &Expectation) -> Option<String> {
        let last = self.messages.last().map(PromptMessage::text).unwrap_or_default();
        let messages = self.messages.iter().map(PromptMessage::text);
        let all = std::iter::once(self.system.clone()).chain(messages).collect::<Vec<_>>().join("\n");
        let missing = |text: &str, from: &str| format!("{text:?} is not in the {from}");
        expect
            .contains
            .iter()
            .find(|text| !all.contains(text.as_str()))
            .map(|text| missing(text, "request"))
            .or_else(|| {
                let text = expect.last_contains.iter().find(|text| !last.contains(text.as_str()))?;
                Some(missing(text, "last message"))
            })
            .or_else(|| {
                let text = expect.not_contains.iter().find(|text| all.contains(text.as_str()))?;
                Some(format!("{text:?} is in the request"))
            })
    }
}

/// How many bytes of text count as a token.
pub(super) const BYTES_PER_TOKEN: u64 = 4;

/// The number of tokens in blocks.
pub(super) fn tokens(blocks: &[PromptBlock]) -> u64 {
    blocks.iter().map(|block| block.text.len() as u64).sum::<u64>().div_ceil(BYTES_PER_TOKEN)
}
