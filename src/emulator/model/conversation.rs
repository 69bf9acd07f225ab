//! The conversation file: the emulated model's answers, turn by turn. The parent module describes the
//! format.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// The largest conversation file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The script of an emulated model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// What it demonstrates, for readers.
    #[serde(default)]
    pub about: String,
    /// The name of the model.
    pub model: String,
    /// A second model name that is accepted, for configurations with a cheaper model for the brief.
    #[serde(default)]
    pub brief_model: Option<String>,
    /// Answers to requests without tools; the first whose expectations hold is sent.
    #[serde(default)]
    pub brief: Vec<ScriptedTurn>,
    /// Answers to requests with the tools of the setup agent, by the number of assistant messages in the request.
    #[serde(default)]
    pub setup: Vec<ScriptedTurn>,
    /// Answers to other requests with tools, by the number of assistant messages in the request.
    pub turns: Vec<ScriptedTurn>,
    /// The answers after the last turn.
    #[serde(default)]
    pub afterwards: Afterwards,
    /// The longest prompt that the models accept, in tokens; unlimited by default.
    #[serde(default)]
    pub context_tokens: Option<u64>,
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptedTurn {
    /// What the request must and must not contain.
    pub expect: Expectation,
    /// Reasoning; Anthropic's format only.
    pub think: Option<String>,
    /// Text.
    pub say: String,
    /// Tool calls, in order.
    pub calls: Vec<ScriptedCall>,
    /// Token counts; computed from sizes by default.
    pub usage: Option<TurnUsage>,
    /// Why the answer ends, if that does not follow from `calls`.
    pub stop: Option<ScriptedStop>,
    /// A fault of the first attempts.
    pub fault: Option<TurnFault>,
}

/// What a request must and must not contain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expectation {
    /// Texts that must be in the request.
    pub contains: Vec<String>,
    /// Texts that must be in its last message (tool results included).
    pub last_contains: Vec<String>,
    /// Texts that must not be in the request.
    pub not_contains: Vec<String>,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedCall {
    /// The tool's name.
    pub tool: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Option<Value>,
    /// Its arguments as text that may be invalid JSON.
    #[serde(default)]
    pub raw_arguments: Option<String>,
}

impl ScriptedCall {
    /// The arguments as sent.
    pub(super) fn arguments_text(&self) -> String {
        match (&self.raw_arguments, &self.arguments) {
            (Some(raw), _) => raw.clone(),
            (None, Some(arguments)) => arguments.to_string(),
            (None, None) => "{}".to_owned(),
        }
    }
}

/// Token counts as the provider would report them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TurnUsage {
    /// Input neither read from nor written to a cache.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Input read from the cache.
    pub cache_read: u64,
    /// Input written to the cache.
    pub cache_write: u64,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptedStop {
    /// It reached the output limit.
    OutputLimit,
    /// The model refuses.
    Refusal,
}

/// The answers after the last turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Afterwards {
    /// Status 400 and a violation.
    #[default]
    Error,
    /// The last turn again, with new ids.
    RepeatLast,
}

/// How an answer fails, for the first `times` attempts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum TurnFault {
    /// An error status instead of the answer.
    Status {
        /// HTTP status.
        status: u16,
        /// The provider's message.
        #[serde(default)]
        message: Option<String>,
        /// Seconds for the `retry-after` header.
        #[serde(default)]
        retry_after: Option<u64>,
        /// For how many attempts.
        #[serde(default = "once")]
        times: u32,
    },
    /// The stream ends early.
    Cut {
        /// After this many bytes.
        cut_after_bytes: usize,
        /// Whether the body ends properly, instead of with a reset connection.
        #[serde(default)]
        cleanly: bool,
        /// For how many attempts.
        #[serde(default = "once")]
        times: u32,
    },
    /// Half the answer, then silence.
    Stall {
        /// Must be true.
        stall: bool,
        /// For how many attempts.
        #[serde(default = "once")]
        times: u32,
    },
    /// The answer is sent when [`continue_held_answers`] is called.
    ///
    /// [`continue_held_answers`]: super::EmulatedProvider::continue_held_answers
    Hold {
        /// Must be true.
        hold: bool,
        /// For how many attempts.
        #[serde(default = "once")]
        times: u32,
    },
    /// A page instead of the answer.
    ContentType {
        /// Its content type.
        content_type: String,
        /// For how many attempts.
        #[serde(default = "once")]
        times: u32,
    },
    /// Half the answer, then an error event.
    StreamError {
        /// The error's type, as `overloaded_error`.
        stream_error: String,
        /// For how many attempts.
        #[serde(default = "once")]
        times: u32,
    },
}

fn once() -> u32 {
    1
}

impl TurnFault {
    /// For how many attempts it lasts.
    pub(super) fn times(&self) -> u32 {
        match self {
            Self::Status { times, .. }
            | Self::Cut { times, .. }
            | Self::Stall { times, .. }
            | Self::Hold { times, .. }
            | Self::ContentType { times, .. }
            | Self::StreamError { times, .. } => *times,
        }
    }
}

/// A conversation file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConversation {
    /// The file cannot be read.
    #[error("the conversation file {path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// It is not JSON, or has unknown fields.
    #[error("the conversation is not in the format: {0}")]
    Format(#[from] serde_json::Error),
    /// It contradicts itself.
    #[error("{place} of the conversation: {why}")]
    Contradiction {
        /// The turn.
        place: String,
        /// The contradiction.
        why: &'static str,
    },
}

impl Conversation {
    /// Reads a conversation file.
    pub fn load(path: &Path) -> Result<Self, InvalidConversation> {
        let unreadable =
            |why: String| InvalidConversation::Unreadable { path: path.display().to_string(), why };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(unreadable(format!("it has {size} bytes, more than {FILE_BYTES_MAX}")));
        }
        Self::from_json(&std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?)
    }

    /// Reads a conversation from JSON text.
    pub fn from_json(text: &str) -> Result<Self, InvalidConversation> {
        let conversation: Self = serde_json::from_str(text)?;
        let contradiction = |place: String, why| Err(InvalidConversation::Contradiction { place, why });
        if conversation.turns.is_empty() && conversation.brief.is_empty() {
            return contradiction("turns".to_owned(), "there are none");
        }
        let named = |list: &'static str, turns| -> Vec<(String, &ScriptedTurn)> {
            let turns: &Vec<ScriptedTurn> = turns;
            turns.iter().enumerate().map(|(index, turn)| (format!("{list}[{index}]"), turn)).collect()
        };
        let all = [
            named("brief", &conversation.brief),
            named("setup", &conversation.setup),
            named("turns", &conversation.turns),
        ]
        .concat();
        for (place, turn) in all {
            if turn.say.is_empty() && turn.calls.is_empty() && turn.stop.is_none() {
                return contradiction(place, "it has neither text nor a tool call");
            }
            if turn.calls.iter().any(|call| call.arguments.is_some() && call.raw_arguments.is_some()) {
                return contradiction(place, "a call has both arguments and raw_arguments");
            }
            if let Some(TurnFault::Stall { stall: false, .. } | TurnFault::Hold { hold: false, .. }) =
                turn.fault
            {
                return contradiction(place, "a fault of `false` is not a fault; leave it out");
            }
        }
        Ok(conversation)
    }

    /// The answer to a request with tools that holds `assistant_messages` messages of the model.
    pub(super) fn turn(&self, assistant_messages: usize, is_of_setup: bool) -> Option<&ScriptedTurn> {
        let turns = if is_of_setup { &self.setup } else { &self.turns };
        match self.afterwards {
            Afterwards::Error => turns.get(assistant_messages),
            Afterwards::RepeatLast => turns.get(assistant_messages).or(turns.last()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversation_is_parsed_with_defaults_and_every_kind_of_fault() {
        let text = r#"{"model": "m", "afterwards": "repeat_last", "turns": [
            {"say": "a", "fault": {"status": 529, "times": 2, "retry_after": 1}},
            {"say": "b", "fault": {"cut_after_bytes": 7, "cleanly": true}},
            {"say": "c", "fault": {"stall": true}},
            {"say": "d", "fault": {"content_type": "text/html"}},
            {"stop": "refusal", "fault": {"stream_error": "overloaded_error"}},
            {"calls": [{"tool": "x"}, {"tool": "y", "raw_arguments": "{"}]}
        ]}"#;
        let conversation = Conversation::from_json(text).unwrap();
        let times: Vec<_> =
            conversation.turns.iter().filter_map(|turn| turn.fault.as_ref()).map(TurnFault::times).collect();
        assert_eq!(times, [2, 1, 1, 1, 1]);
        assert_eq!(conversation.turn(99, false), conversation.turns.last());
        assert_eq!(conversation.turns[5].calls[0].arguments_text(), "{}");
        assert_eq!(conversation.turns[5].calls[1].arguments_text(), "{");
    }

    #[test]
    fn conversation_with_a_mistake_is_rejected() {
        let mistakes = [
            r#"{"model": "m", "turns": []}"#,
            r#"{"model": "m", "turns": [{}]}"#,
            r#"{"model": "m", "turns": [{"say": "x", "sya": "y"}]}"#,
            r#"{"model": "m", "turns": [{"say": "x", "fault": {"status": 500, "stall": true}}]}"#,
            r#"{"model": "m", "turns": [{"calls": [{"tool": "x", "arguments": {}, "raw_arguments": ""}]}]}"#,
        ];
        for text in mistakes {
            assert!(Conversation::from_json(text).is_err(), "{text}");
        }
    }
}
