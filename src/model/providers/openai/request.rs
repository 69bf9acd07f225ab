//! Converts a request to the format of Chat Completions.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::{AssistantBlock, Message, ToolArguments, ToolCall, ToolSpec};
use crate::model::ModelRequest;

/// The request as JSON text.
pub(super) fn to_wire(model: &str, request: &ModelRequest, with_max_tokens: bool) -> Vec<u8> {
    let limit = Some(request.output_tokens_max);
    let body = Body {
        model,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        max_completion_tokens: limit.filter(|_| !with_max_tokens),
        max_tokens: limit.filter(|_| with_max_tokens),
        tools: request.tools.iter().map(tool).collect(),
        messages: messages(request),
    };
    serde_json::to_vec(&body).expect("a request is made of text and JSON values only")
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    messages: Vec<WireMessage<'a>>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionSpec<'a>,
}

#[derive(Serialize)]
struct FunctionSpec<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum WireMessage<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: String,
}

fn tool(spec: &ToolSpec) -> Tool<'_> {
    let function =
        FunctionSpec { name: &spec.name, description: &spec.description, parameters: &spec.input_schema };
    Tool { kind: "function", function }
}

fn messages(request: &ModelRequest) -> Vec<WireMessage<'_>> {
    let mut wire = Vec::new();
    if !request.system.trim().is_empty() {
        wire.push(WireMessage::System { content: &request.system });
    }
    for message in &request.messages {
        match message {
            Message::User { text } => wire.push(WireMessage::User { content: text }),
            Message::Assistant { blocks } => wire.push(assistant(blocks)),
            Message::ToolResults { results } => {
                wire.extend(results.iter().map(|result| WireMessage::Tool {
                    tool_call_id: &result.call_id,
                    content: &result.text,
                }));
            }
        }
    }
    wire
}

/// Text and calls are two fields, so their relative order is lost.
fn assistant(blocks: &[AssistantBlock]) -> WireMessage<'_> {
    let mut texts = Vec::new();
    let mut tool_calls = Vec::new();
    for block in blocks {
        match block {
            AssistantBlock::Text { text } => texts.push(text.as_str()),
            AssistantBlock::ToolCall(call) => tool_calls.push(wire_call(call)),
            // Another provider's reasoning cannot be sent here.
            AssistantBlock::Opaque { .. } => {}
        }
    }
    let content = match (texts.is_empty(), tool_calls.is_empty()) {
        (true, false) => None,
        (true, true) => Some("(no words)".to_owned()),
        (false, _) => Some(texts.join("\n")),
    };
    WireMessage::Assistant { content, tool_calls }
}

/// OpenAI accepts any text as arguments, but other servers parse it, so it is always an object.
fn wire_call(call: &ToolCall) -> Call<'_> {
    let arguments = match &call.arguments {
        ToolArguments::Json(value @ Value::Object(_)) => value.to_string(),
        ToolArguments::Json(value) => json!({ "not_an_object": value }).to_string(),
        ToolArguments::Malformed(text) => json!({ "malformed_json": text }).to_string(),
    };
    Call { id: &call.id, kind: "function", function: CalledFunction { name: &call.name, arguments } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ToolResult;

    #[test]
    fn conversation_is_converted_with_one_tool_message_per_result() {
        let call = |id: &str, arguments| {
            AssistantBlock::ToolCall(ToolCall { id: id.into(), name: "search".into(), arguments })
        };
        let result =
            |id: &str| ToolResult { call_id: id.into(), text: format!("result of {id}"), is_error: false };
        let request = ModelRequest {
            anchor: None,
            system: "Mend it.".into(),
            messages: vec![
                Message::User { text: "the task".into() },
                Message::Assistant {
                    blocks: vec![
                        AssistantBlock::Opaque { provider: "anthropic".into(), block: json!({}) },
                        AssistantBlock::Text { text: "Let me".into() },
                        AssistantBlock::Text { text: "look.".into() },
                        call("c1", ToolArguments::Json(json!({"pattern": "x"}))),
                        call("c2", ToolArguments::Malformed("{".into())),
                    ],
                },
                Message::ToolResults { results: vec![result("c1"), result("c2")] },
                Message::Assistant { blocks: vec![call("c3", ToolArguments::Json(json!(1)))] },
                Message::ToolResults { results: vec![result("c3")] },
            ],
            tools: [ToolSpec {
                name: "search".into(),
                description: "d".into(),
                input_schema: json!({"type": "object"}),
            }]
            .into(),
            output_tokens_max: 1000,
        };
        let wire: Value = serde_json::from_slice(&to_wire("m-1", &request, false)).unwrap();
        let called = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "search", "arguments": arguments}});
        assert_eq!(
            wire,
            json!({
                "model": "m-1", "stream": true, "stream_options": {"include_usage": true},
                "max_completion_tokens": 1000,
                "tools": [{"type": "function", "function":
                    {"name": "search", "description": "d", "parameters": {"type": "object"}}}],
                "messages": [
                    {"role": "system", "content": "Mend it."},
                    {"role": "user", "content": "the task"},
                    {"role": "assistant", "content": "Let me\nlook.", "tool_calls": [
                        called("c1", "{\"pattern\":\"x\"}"), called("c2", "{\"malformed_json\":\"{\"}")]},
                    {"role": "tool", "tool_call_id": "c1", "content": "result of c1"},
                    {"role": "tool", "tool_call_id": "c2", "content": "result of c2"},
                    {"role": "assistant", "content": null, "tool_calls": [called("c3", "{\"not_an_object\":1}")]},
                    {"role": "tool", "tool_call_id": "c3", "content": "result of c3"},
                ],
            })
        );
        let older: Value = serde_json::from_slice(&to_wire("m-1", &request, true)).unwrap();
        assert_eq!(older["max_tokens"], 1000);
        assert!(older.get("max_completion_tokens").is_none());
    }
}
