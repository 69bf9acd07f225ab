//! The rules of real providers that every request must keep.

use serde_json::Value;

use super::anthropic::thinking_block;
use super::conversation::Conversation;
use super::request::{ParsedRequest, PromptMessage};

impl ParsedRequest {
    /// The first rule that the request violates.
    pub(super) fn violated_rule(&self, conversation: &Conversation) -> Option<String> {
        self.violated_tool_rule().or_else(|| self.violated_order_rule()).or_else(|| {
            let reasoning = self.violated_reasoning_rule(conversation);
            reasoning.map(|turn| {
                format!("the reasoning of turn {turn} did not come back as it was sent, or the prompt before it changed")
            })
        })
    }

    fn violated_tool_rule(&self) -> Option<String> {
        for (index, tool) in self.tools.iter().enumerate() {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if tool.name.is_empty() || tool.name.len() > 64 || !tool.name.chars().all(is_allowed) {
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

    /// The first and the last message are the user's; each call is answered by exactly one result, in the next
    /// message.
    fn violated_order_rule(&self) -> Option<String> {
        let mut open: Vec<&str> = Vec::new();
        let mut previous: Option<&PromptMessage> = None;
        for message in &self.messages {
            match (message, previous) {
                (PromptMessage::Results(results), _) => {
                    for (id, _) in results {
                        let Some(position) = open.iter().position(|call| call == id) else {
                            return Some(format!(
                                "the result for {id:?} has no open call, or is a second one"
                            ));
                        };
                        open.remove(position);
                    }
                }
                (PromptMessage::User(_) | PromptMessage::Assistant { .. }, _) if !open.is_empty() => {
                    return Some(format!("the call {:?} has no result", open[0]));
                }
                (PromptMessage::User(_), _) => {}
                (PromptMessage::Assistant { .. }, None) => {
                    return Some("the first message is an assistant message".to_owned());
                }
                (PromptMessage::Assistant { .. }, Some(PromptMessage::Assistant { .. })) => {
                    return Some("two assistant messages follow each other".to_owned());
                }
                (PromptMessage::Assistant { calls, .. }, Some(_)) => {
                    open = calls.iter().map(|call| call.id.as_str()).collect();
                    let mut ids = open.clone();
                    ids.sort_unstable();
                    ids.dedup();
                    if ids.len() != open.len() {
                        return Some("two calls of one message have the same id".to_owned());
                    }
                }
            }
            previous = Some(message);
        }
        match previous {
            None => Some("there are no messages".to_owned()),
            Some(PromptMessage::Assistant { .. }) => {
                Some("the last message is an assistant message".to_owned())
            }
            Some(PromptMessage::User(_) | PromptMessage::Results(_)) => {
                open.first().map(|call| format!("the call {call:?} has no result"))
            }
        }
    }

    /// The first turn whose reasoning is missing or changed in the request.
    fn violated_reasoning_rule(&self, conversation: &Conversation) -> Option<usize> {
        if self.tools.is_empty() || !self.carries_reasoning {
            return None;
        }
        let assistant = self.messages.iter().filter_map(|message| match message {
            PromptMessage::Assistant { opaque, blocks_before, .. } => Some((opaque, blocks_before)),
            PromptMessage::User(_) | PromptMessage::Results(_) => None,
        });
        let fingerprints = self.fingerprints();
        assistant.zip(self.turns_before()..).find_map(|((opaque, blocks_before), number)| {
            let think = conversation.turn(number, self.is_of_setup_agent())?.think.as_ref()?;
            let expected = thinking_block(think, number, fingerprints[*blocks_before]);
            (!opaque.contains(&expected)).then_some(number)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::request::{PromptToolCall, ToolDefinition};

    fn user(text: &str) -> PromptMessage {
        PromptMessage::User(text.into())
    }

    fn model(ids: &[&str]) -> PromptMessage {
        let call =
            |id: &&str| PromptToolCall { id: (*id).into(), name: "search".into(), arguments: "{}".into() };
        PromptMessage::Assistant {
            text: "x".into(),
            calls: ids.iter().map(call).collect(),
            opaque: vec![],
            blocks_before: 0,
        }
    }

    fn results(ids: &[&str]) -> PromptMessage {
        PromptMessage::Results(ids.iter().map(|id| ((*id).into(), "r".into())).collect())
    }

    fn violated(messages: Vec<PromptMessage>) -> Option<String> {
        let conversation = Conversation::from_json(r#"{"model": "m", "turns": [{"say": "x"}]}"#).unwrap();
        ParsedRequest { messages, ..ParsedRequest::default() }.violated_rule(&conversation)
    }

    #[test]
    fn each_call_needs_exactly_one_result_and_roles_alternate() {
        assert_eq!(violated(vec![user("a"), model(&["1", "2"]), results(&["2", "1"]), user("b")]), None);
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
            assert!(violated(messages.clone()).is_some(), "{messages:?}");
        }
    }

    #[test]
    fn tools_that_the_strictest_provider_rejects_are_violations() {
        let conversation = Conversation::from_json(r#"{"model": "m", "turns": [{"say": "x"}]}"#).unwrap();
        let with = |name: &str, schema: Value| {
            let tool = ToolDefinition { name: name.into(), description: "d".into(), schema };
            ParsedRequest { tools: vec![tool], messages: vec![user("a")], ..ParsedRequest::default() }
                .violated_rule(&conversation)
        };
        assert_eq!(with("edit_file", json!({"type": "object"})), None);
        assert!(with("edit file", json!({"type": "object"})).is_some());
        assert!(with("edit_file", json!({"type": "string"})).is_some());
        assert!(with("edit_file", json!({})).is_some());
    }
}
