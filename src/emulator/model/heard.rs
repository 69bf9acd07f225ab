//! A request in neither dialect, and the rules that every request must keep.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::conversation::{Conversation, Expect};

/// A request as understood.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Heard {
    pub model: String,
    pub system: String,
    pub tools: Vec<HeardTool>,
    pub messages: Vec<HeardMessage>,
    /// Whether the wire format has a place for reasoning.
    pub takes_reasoning: bool,
    /// Everything in the order in which a provider reads it: tools, system prompt, messages.
    pub blocks: Vec<HeardBlock>,
}

/// The smallest part that a cache tells apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeardBlock {
    /// As sent, without the mark.
    pub text: String,
    /// Anthropic: whether it has a `cache_control` mark.
    pub marked: bool,
}

/// What a conversation begins with that stands for an earlier one.
const TURNS_BEFORE: &str = "Turns so far: ";

/// The only words that may take the place of a result.
const HANDLE: &str = "read_result";

#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeardTool {
    pub name: String,
    pub description: String,
    pub schema: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum HeardMessage {
    User(String),
    Assistant {
        text: String,
        calls: Vec<HeardCall>,
        opaque: Vec<Value>,
        /// How many blocks of the request stand before it.
        begins_at: usize,
    },
    /// Call id and text.
    Results(Vec<(String, String)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeardCall {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

impl HeardMessage {
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

impl Heard {
    /// How often the model has spoken: the index of the turn that is due.
    pub(super) fn turns(&self) -> usize {
        let spoken = self.messages.iter().filter(|message| matches!(message, HeardMessage::Assistant { .. }));
        self.turns_before() + spoken.count()
    }

    /// Turns that the first message stands for.
    fn turns_before(&self) -> usize {
        let said = self.conversation_key();
        let Some((_, rest)) = said.rsplit_once(TURNS_BEFORE) else { return 0 };
        rest.chars().map_while(|c| c.to_digit(10)).fold(0, |sum, digit| sum * 10 + digit as usize)
    }

    /// Fingerprints of everything up to each block, and of nothing in front.
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

    /// Whether this goes on where `earlier`, the fingerprints of the messages of an earlier request,
    /// ended: word for word (`Some(false)`), or but for results that became handles (`Some(true)`).
    pub(super) fn continues(&self, earlier: &[u64]) -> Option<bool> {
        let now = self.message_fingerprints();
        if earlier.len() > now.len() {
            return None;
        }
        let differs = |at: &usize| earlier[*at] != now[*at];
        let Some(first) = (0..earlier.len()).find(differs) else { return Some(false) };
        let is_handle = |at: usize| match &self.messages[at] {
            HeardMessage::Results(results) => results.iter().any(|(_, text)| text.contains(HANDLE)),
            HeardMessage::User(_) | HeardMessage::Assistant { .. } => false,
        };
        let thinks = |message: &HeardMessage| matches!(message, HeardMessage::Assistant { opaque, .. } if !opaque.is_empty());
        let allowed = (first..earlier.len()).filter(differs).all(is_handle);
        // Signed reasoning is bound to all that stood before it.
        (allowed && !self.messages[first..].iter().any(thinks)).then_some(true)
    }

    /// A fingerprint of each message.
    pub(super) fn message_fingerprints(&self) -> Vec<u64> {
        let fingerprint = |message: &HeardMessage| {
            let mut hasher = DefaultHasher::new();
            message.text().hash(&mut hasher);
            hasher.finish()
        };
        self.messages.iter().map(fingerprint).collect()
    }

    /// What tells one conversation from another: how it begins.
    pub(super) fn conversation_key(&self) -> String {
        match self.messages.first() {
            Some(HeardMessage::User(text)) => text.clone(),
            Some(HeardMessage::Assistant { .. } | HeardMessage::Results(_)) | None => String::new(),
        }
    }

    /// System prompt and tools: what must stay the same, so that providers can cache it.
    pub(super) fn stable_prefix(&self) -> String {
        let tools =
            self.tools.iter().map(|tool| format!("\n{} {} {}", tool.name, tool.description, tool.schema));
        self.system.clone() + &tools.collect::<String>()
    }

    /// The first rule that the request breaks.
    pub(super) fn broken_rule(&self, conversation: &Conversation) -> Option<String> {
        self.broken_tool_rule().or_else(|| self.broken_order_rule()).or_else(|| {
            let thinking = self.broken_thinking_rule(conversation);
            thinking.map(|turn| {
                format!("the reasoning of turn {turn} did not come back as it was sent, or what stands before it changed")
            })
        })
    }

    fn broken_tool_rule(&self) -> Option<String> {
        for (index, tool) in self.tools.iter().enumerate() {
            let shaped = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if tool.name.is_empty() || tool.name.len() > 64 || !tool.name.chars().all(shaped) {
                return Some(format!("the tool name {:?} is not [a-zA-Z0-9_-]{{1,64}}", tool.name));
            }
            if tool.schema.get("type").and_then(Value::as_str) != Some("object") {
                return Some(format!("the schema of {} is not of type object", tool.name));
            }
            if tool.description.trim().is_empty() {
                return Some(format!("the tool {} has no description", tool.name));
            }
            if self.tools[..index].iter().any(|other| other.name == tool.name) {
                return Some(format!("there are two tools named {}", tool.name));
            }
        }
        None
    }

    /// A user begins and speaks last; the model's calls get exactly one result each, at once.
    fn broken_order_rule(&self) -> Option<String> {
        let mut open: Vec<&str> = Vec::new();
        let mut before: Option<&HeardMessage> = None;
        for message in &self.messages {
            match (message, before) {
                (HeardMessage::Results(results), _) => {
                    for (id, _) in results {
                        let Some(position) = open.iter().position(|call| call == id) else {
                            return Some(format!(
                                "the result for {id:?} has no open call, or is the second one"
                            ));
                        };
                        open.remove(position);
                    }
                }
                (HeardMessage::User(_) | HeardMessage::Assistant { .. }, _) if !open.is_empty() => {
                    return Some(format!("the call {:?} got no result", open[0]));
                }
                (HeardMessage::User(_), _) => {}
                (HeardMessage::Assistant { .. }, None) => {
                    return Some("the conversation begins with the model".to_owned());
                }
                (HeardMessage::Assistant { .. }, Some(HeardMessage::Assistant { .. })) => {
                    return Some("the model speaks twice in a row".to_owned());
                }
                (HeardMessage::Assistant { calls, .. }, Some(_)) => {
                    open = calls.iter().map(|call| call.id.as_str()).collect();
                    let mut ids = open.clone();
                    ids.sort_unstable();
                    ids.dedup();
                    if ids.len() != open.len() {
                        return Some("two calls of one message have the same id".to_owned());
                    }
                }
            }
            before = Some(message);
        }
        match before {
            None => Some("there are no messages".to_owned()),
            Some(HeardMessage::Assistant { .. }) => Some("the model spoke last".to_owned()),
            Some(HeardMessage::User(_) | HeardMessage::Results(_)) => {
                open.first().map(|call| format!("the call {call:?} got no result"))
            }
        }
    }

    /// The first turn whose reasoning was sent by us and is missing or changed.
    fn broken_thinking_rule(&self, conversation: &Conversation) -> Option<usize> {
        if self.tools.is_empty() || !self.takes_reasoning {
            return None;
        }
        let spoken = self.messages.iter().filter_map(|message| match message {
            HeardMessage::Assistant { opaque, begins_at, .. } => Some((opaque, begins_at)),
            HeardMessage::User(_) | HeardMessage::Results(_) => None,
        });
        let fingerprints = self.fingerprints();
        spoken.zip(self.turns_before()..).find_map(|((opaque, begins_at), number)| {
            let think = conversation.turn(number)?.think.as_ref()?;
            let expected = super::anthropic::thinking_block(think, number, fingerprints[*begins_at]);
            (!opaque.contains(&expected)).then_some(number)
        })
    }

    /// The expectation that does not hold.
    pub(super) fn unmet(&self, expect: &Expect) -> Option<String> {
        let last = self.messages.last().map(HeardMessage::text).unwrap_or_default();
        let messages = self.messages.iter().map(HeardMessage::text);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(text: &str) -> HeardMessage {
        HeardMessage::User(text.into())
    }

    fn model(ids: &[&str]) -> HeardMessage {
        let call = |id: &&str| HeardCall { id: (*id).into(), name: "search".into(), arguments: "{}".into() };
        HeardMessage::Assistant {
            text: "x".into(),
            calls: ids.iter().map(call).collect(),
            opaque: vec![],
            begins_at: 0,
        }
    }

    fn results(ids: &[&str]) -> HeardMessage {
        HeardMessage::Results(ids.iter().map(|id| ((*id).into(), "r".into())).collect())
    }

    fn broken(messages: Vec<HeardMessage>) -> Option<String> {
        let conversation = Conversation::from_json(r#"{"model": "m", "turns": [{"say": "x"}]}"#).unwrap();
        Heard { messages, ..Heard::default() }.broken_rule(&conversation)
    }

    #[test]
    fn each_call_gets_exactly_one_result_at_once_and_roles_take_turns() {
        assert_eq!(broken(vec![user("a"), model(&["1", "2"]), results(&["2", "1"]), user("b")]), None);
        let wrong = [
            vec![],
            vec![model(&[])],
            vec![user("a"), model(&[])],
            vec![user("a"), model(&[]), model(&[]), user("b")],
            vec![user("a"), model(&["1"]), user("b")],
            vec![user("a"), model(&["1", "2"]), results(&["1"])],
            vec![user("a"), model(&["1"]), results(&["1", "1"])],
            vec![user("a"), model(&["1"]), results(&["2"])],
            vec![user("a"), results(&["1"])],
            vec![user("a"), model(&["1", "1"]), results(&["1", "1"])],
            vec![user("a"), model(&["1"]), results(&["1"]), model(&["1"])],
        ];
        for messages in wrong {
            assert!(broken(messages.clone()).is_some(), "{messages:?}");
        }
    }

    #[test]
    fn tools_must_be_what_the_strictest_provider_takes() {
        let conversation = Conversation::from_json(r#"{"model": "m", "turns": [{"say": "x"}]}"#).unwrap();
        let with = |name: &str, schema: Value| {
            let tool = HeardTool { name: name.into(), description: "d".into(), schema };
            Heard { tools: vec![tool], messages: vec![user("a")], ..Heard::default() }
                .broken_rule(&conversation)
        };
        assert_eq!(with("edit_file", json!({"type": "object"})), None);
        assert!(with("edit file", json!({"type": "object"})).is_some());
        assert!(with("edit_file", json!({"type": "string"})).is_some());
        assert!(with("edit_file", json!({})).is_some());
    }
}
