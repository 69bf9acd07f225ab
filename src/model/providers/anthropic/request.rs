//! Converts a request to the format of the Messages API.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use super::PROVIDER;
use crate::domain::{AssistantBlock, Message, ToolArguments, ToolCall, ToolSpec};
use crate::model::ModelRequest;

/// The text of an empty message: the API refuses empty text.
const NO_TEXT: &str = "(no words)";

/// The request as JSON text.
pub(super) fn to_wire(model: &str, request: &ModelRequest) -> Vec<u8> {
    let system = request.system.trim();
    let body = Body {
        model,
        max_tokens: request.output_tokens_max,
        stream: true,
        system: if system.is_empty() {
            Vec::new()
        } else {
            vec![Block::Text { text: system, cache_control: EPHEMERAL }]
        },
        tools: tools(&request.tools, system.is_empty()),
        messages: messages(&request.messages, request.anchor),
    };
    serde_json::to_vec(&body).expect("a request is made of text and JSON values only")
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    messages: Vec<WireMessage<'a>>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Cow<'a, Value>,
    },
    ToolResult {
        tool_use_id: &'a str,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    #[serde(untagged)]
    Opaque(&'a Value),
}

/// A cache breakpoint. The provider caches everything up to it for five minutes, and reads what an earlier
/// request cached up to it, or up to at most 20 blocks before it. A request may have four, and all are used:
/// after the tools and the system prompt; after the anchor, up to which the conversation will stay the same
/// when it is shortened again; after the last user message, so that the next turn can read what this one
/// cached; and after the user message before it, where the last turn cached, because a turn with many
/// parallel calls adds more than 20 blocks.
/// Source: platform.claude.com/docs, "Prompt caching".
#[derive(Clone, Copy, Serialize)]
struct CacheControl {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// The number of breakpoints that move with the conversation.
const MOVING_BREAKPOINTS: usize = 2;

const EPHEMERAL: Option<CacheControl> = Some(CacheControl { kind: "ephemeral" });

fn tools(specs: &[ToolSpec], with_breakpoint: bool) -> Vec<Tool<'_>> {
    let last = specs.len().saturating_sub(1);
    specs
        .iter()
        .enumerate()
        .map(|(index, spec)| Tool {
            name: &spec.name,
            description: &spec.description,
            input_schema: &spec.input_schema,
            cache_control: if with_breakpoint && index == last { EPHEMERAL } else { None },
        })
        .collect()
}

/// The API requires alternating roles, so consecutive messages of one role are joined.
fn messages(conversation: &[Message], anchor: Option<usize>) -> Vec<WireMessage<'_>> {
    let mut wire: Vec<WireMessage<'_>> = Vec::new();
    let mut anchored = None;
    for (index, message) in conversation.iter().enumerate() {
        let (role, content) = match message {
            Message::User { text } => ("user", vec![text_block(text)]),
            Message::Assistant { blocks } => ("assistant", assistant_blocks(blocks)),
            Message::ToolResults { results } => {
                let results = results.iter().map(|result| Block::ToolResult {
                    tool_use_id: &result.call_id,
                    content: &result.text,
                    is_error: result.is_error,
                    cache_control: None,
                });
                ("user", results.collect())
            }
        };
        match wire.last_mut() {
            Some(last) if last.role == role => last.content.extend(content),
            Some(_) | None => wire.push(WireMessage { role, content }),
        }
        if anchor == Some(index) {
            anchored = Some(wire.len() - 1);
        }
    }
    let last: Vec<usize> =
        (0..wire.len()).rev().filter(|at| wire[*at].role == "user").take(MOVING_BREAKPOINTS).collect();
    for at in last.into_iter().chain(anchored) {
        match wire[at].content.last_mut() {
            Some(Block::Text { cache_control, .. } | Block::ToolResult { cache_control, .. }) => {
                *cache_control = EPHEMERAL;
            }
            Some(Block::ToolUse { .. } | Block::Opaque(_)) | None => {}
        }
    }
    wire
}

fn text_block(text: &str) -> Block<'_> {
    let text = if text.trim().is_empty() { NO_TEXT } else { text };
    Block::Text { text, cache_control: None }
}

fn assistant_blocks(blocks: &[AssistantBlock]) -> Vec<Block<'_>> {
    let wire: Vec<_> = blocks
        .iter()
        .filter_map(|block| match block {
            AssistantBlock::Text { text } if text.trim().is_empty() => None,
            AssistantBlock::Text { text } => Some(text_block(text)),
            AssistantBlock::ToolCall(call) => {
                Some(Block::ToolUse { id: &call.id, name: &call.name, input: input_of(call) })
            }
            AssistantBlock::Opaque { provider, block } => {
                (provider == PROVIDER).then_some(Block::Opaque(block))
            }
        })
        .collect();
    if wire.is_empty() { vec![text_block("")] } else { wire }
}

/// The API accepts only objects, so other arguments of the model are wrapped in one.
fn input_of(call: &ToolCall) -> Cow<'_, Value> {
    match &call.arguments {
        ToolArguments::Json(value @ Value::Object(_)) => Cow::Borrowed(value),
        ToolArguments::Json(value) => Cow::Owned(json!({ "not_an_object": value })),
        ToolArguments::Malformed(text) => Cow::Owned(json!({ "malformed_json": text })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ToolResult;

    fn call(id: &str, arguments: ToolArguments) -> AssistantBlock {
        AssistantBlock::ToolCall(ToolCall { id: id.into(), name: "edit_file".into(), arguments })
    }

    fn result(id: &str, is_error: bool) -> ToolResult {
        ToolResult { call_id: id.into(), text: format!("result of {id}"), is_error }
    }

    #[test]
    fn conversation_is_converted_to_alternating_messages_with_cache_breakpoints() {
        let thinking = json!({"type": "thinking", "thinking": "", "signature": "c2ln"});
        let tool = |name: &str| ToolSpec {
            name: name.into(),
            description: "d".into(),
            input_schema: json!({"type": "object"}),
        };
        let request = ModelRequest {
            anchor: None,
            system: "Mend it.".into(),
            messages: vec![
                Message::User { text: "the task".into() },
                Message::Assistant {
                    blocks: vec![
                        AssistantBlock::Opaque { provider: "anthropic".into(), block: thinking },
                        AssistantBlock::Opaque { provider: "another".into(), block: json!({"x": 1}) },
                        AssistantBlock::Text { text: " ".into() },
                        call("t1", ToolArguments::Json(json!({"path": "ä"}))),
                        call("t2", ToolArguments::Malformed("{\"path\": ".into())),
                        call("t3", ToolArguments::Json(json!([1]))),
                    ],
                },
                Message::ToolResults { results: vec![result("t1", false), result("t2", true)] },
                Message::User { text: "and a word from us".into() },
                Message::Assistant { blocks: vec![] },
                Message::User { text: "go on".into() },
            ],
            tools: [tool("edit_file"), tool("finish")].into(),
            output_tokens_max: 1000,
        };
        let wire: Value = serde_json::from_slice(&to_wire("m-1", &request)).unwrap();
        let breakpoint = json!({"type": "ephemeral"});
        assert_eq!(
            wire,
            json!({
                "model": "m-1", "max_tokens": 1000, "stream": true,
                "system": [{"type": "text", "text": "Mend it.", "cache_control": breakpoint}],
                "tools": [
                    {"name": "edit_file", "description": "d", "input_schema": {"type": "object"}},
                    {"name": "finish", "description": "d", "input_schema": {"type": "object"}},
                ],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "the task"}]},
                    {"role": "assistant", "content": [
                        {"type": "thinking", "thinking": "", "signature": "c2ln"},
                        {"type": "tool_use", "id": "t1", "name": "edit_file", "input": {"path": "ä"}},
                        {"type": "tool_use", "id": "t2", "name": "edit_file", "input": {"malformed_json": "{\"path\": "}},
                        {"type": "tool_use", "id": "t3", "name": "edit_file", "input": {"not_an_object": [1]}},
                    ]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "result of t1"},
                        {"type": "tool_result", "tool_use_id": "t2", "content": "result of t2", "is_error": true},
                        {"type": "text", "text": "and a word from us", "cache_control": breakpoint},
                    ]},
                    {"role": "assistant", "content": [{"type": "text", "text": "(no words)"}]},
                    {"role": "user", "content": [{"type": "text", "text": "go on", "cache_control": breakpoint}]},
                ],
            })
        );
    }
}
