//! OpenAI's wire format (Chat Completions), seen from the provider's side.

use serde_json::{Value, json};

use super::answer::{Answer, pieces, stop_of};
use super::conversation::StopOverride;
use super::heard::{Heard, HeardBlock, HeardCall, HeardMessage, HeardTool};

/// Understands a request, or says which rule of the format it breaks.
pub(super) fn hear(body: &Value) -> Result<Heard, String> {
    if body["stream"] != true || body["stream_options"]["include_usage"] != true {
        return Err("stream, or stream_options.include_usage, is not true".to_owned());
    }
    if !body["max_tokens"].is_null() {
        return Err("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.".to_owned());
    }
    let model = body["model"].as_str().ok_or("model is not text")?;
    let mut heard = Heard { model: model.to_owned(), ..Heard::default() };
    for tool in body["tools"].as_array().into_iter().flatten() {
        if tool["type"] != "function" {
            return Err("a tool is not of type function".to_owned());
        }
        heard.blocks.push(HeardBlock { text: tool.to_string(), marked: false });
        let function = &tool["function"];
        heard.tools.push(HeardTool {
            name: function["name"].as_str().unwrap_or_default().to_owned(),
            description: function["description"].as_str().unwrap_or_default().to_owned(),
            schema: function["parameters"].clone(),
        });
    }
    let messages = body["messages"].as_array().ok_or("messages is not a list")?;
    for (index, message) in messages.iter().enumerate() {
        let begins_at = heard.blocks.len();
        heard.blocks.push(HeardBlock { text: message.to_string(), marked: false });
        let words = || message["content"].as_str().map(str::to_owned);
        match message["role"].as_str() {
            Some("system" | "developer") if index == 0 => heard.system = words().unwrap_or_default(),
            Some("user") => heard.messages.push(HeardMessage::User(words().ok_or("a user has no words")?)),
            Some("assistant") => heard.messages.push(hear_assistant(message, begins_at)?),
            Some("tool") => {
                let id = message["tool_call_id"].as_str().unwrap_or_default().to_owned();
                let result = (id, words().ok_or("a tool message has no text")?);
                match heard.messages.last_mut() {
                    Some(HeardMessage::Results(results)) => results.push(result),
                    Some(HeardMessage::User(_) | HeardMessage::Assistant { .. }) | None => {
                        heard.messages.push(HeardMessage::Results(vec![result]));
                    }
                }
            }
            other => return Err(format!("message {index} has the role {other:?}")),
        }
    }
    Ok(heard)
}

fn hear_assistant(message: &Value, begins_at: usize) -> Result<HeardMessage, String> {
    let text = message["content"].as_str().unwrap_or_default().to_owned();
    let mut calls = Vec::new();
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let arguments = call["function"]["arguments"].as_str().ok_or("arguments are not text")?;
        // OpenAI itself takes any text; servers with chat templates refuse what is not an object.
        if !serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object()) {
            return Err(format!("the arguments {arguments:?} are not a JSON object"));
        }
        calls.push(HeardCall {
            id: call["id"].as_str().unwrap_or_default().to_owned(),
            name: call["function"]["name"].as_str().unwrap_or_default().to_owned(),
            arguments: arguments.to_owned(),
        });
    }
    if text.is_empty() && calls.is_empty() {
        return Err("an assistant message has neither content nor tool_calls".to_owned());
    }
    Ok(HeardMessage::Assistant { text, calls, opaque: Vec::new(), begins_at })
}

/// The events of an answer, in order.
pub(super) fn events(answer: &Answer) -> Vec<String> {
    let mut events = Vec::new();
    let mut emit = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": format!("chatcmpl-{:04}", answer.turn), "object": "chat.completion.chunk",
            "created": 1_790_000_000, "model": answer.model, "choices": choices, "usage": usage,
        });
        events.push(format!("data: {chunk}\n\n"));
    };
    let mut delta = |delta: Value, finish_reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        emit(json!([choice]), Value::Null);
    };
    let is_refusal = answer.stop == Some(StopOverride::Refusal);
    delta(json!({ "role": "assistant", "content": null, "refusal": null }), Value::Null);
    for piece in pieces(&answer.text) {
        let field = if is_refusal { "refusal" } else { "content" };
        delta(json!({ field: piece }), Value::Null);
    }
    for (index, (id, call)) in answer.calls.iter().enumerate() {
        let start = json!({ "index": index, "id": format!("call_{id}"), "type": "function",
            "function": { "name": call.tool, "arguments": "" } });
        delta(json!({ "tool_calls": [start] }), Value::Null);
        for piece in pieces(&call.arguments_text()) {
            let more = json!({ "index": index, "function": { "arguments": piece } });
            delta(json!({ "tool_calls": [more] }), Value::Null);
        }
    }
    let stop = stop_of(answer, "stop", "tool_calls", |stop| match stop {
        StopOverride::OutputLimit => "length",
        // With words it is said in `refusal`; without, the filter took them.
        StopOverride::Refusal if answer.text.is_empty() => "content_filter",
        StopOverride::Refusal => "stop",
    });
    delta(json!({}), stop.into());
    let usage = answer.usage;
    let prompt_tokens = usage.input + usage.cache_read + usage.cache_write;
    emit(
        json!([]),
        json!({
            "prompt_tokens": prompt_tokens, "completion_tokens": usage.output,
            "total_tokens": prompt_tokens + usage.output,
            "prompt_tokens_details": { "cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write },
        }),
    );
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// An error as this provider words it.
pub(super) fn error_body(status: u16, message: &str) -> Value {
    let kind = match status {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
}

/// An error in the middle of a stream.
pub(super) fn error_event(kind: &str) -> String {
    format!("data: {}\n\n", json!({ "error": { "message": "emulated", "type": kind, "code": null } }))
}
