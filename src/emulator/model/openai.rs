//! OpenAI's wire format (Chat Completions), from the provider's side.

use serde_json::{Value, json};

use super::answer::{ModelAnswer, pieces, stop_reason};
use super::conversation::{ScriptedStop, TurnUsage};
use super::emulated_format::{CachedPrompts, EmulatedFormat, has_bearer};
use super::request::{ParsedRequest, PromptBlock, PromptMessage, PromptToolCall, ToolDefinition, tokens};

/// Prompts are cached from 1,024 tokens on, in steps of 128.
const CACHED_TOKENS_MIN: u64 = 1024;
const CACHED_TOKENS_STEP: u64 = 128;

pub(super) const FORMAT: EmulatedFormat = EmulatedFormat {
    base: "/v1",
    endpoint: "/v1/chat/completions",
    required_header: None,
    has_key: has_bearer,
    parse_request,
    events,
    error_event,
    error_body,
    count,
};

/// Parses a request. The error names the rule of the format that it violates.
fn parse_request(body: &Value) -> Result<ParsedRequest, String> {
    if body["stream"] != true || body["stream_options"]["include_usage"] != true {
        return Err("stream, or stream_options.include_usage, is not true".to_owned());
    }
    if !body["max_tokens"].is_null() {
        return Err("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.".to_owned());
    }
    let model = body["model"].as_str().ok_or("model is not text")?;
    let mut request = ParsedRequest { model: model.to_owned(), ..ParsedRequest::default() };
    for tool in body["tools"].as_array().into_iter().flatten() {
        if tool["type"] != "function" {
            return Err("a tool is not of type function".to_owned());
        }
        request.blocks.push(PromptBlock { text: tool.to_string(), cached: false });
        let function = &tool["function"];
        request.tools.push(ToolDefinition {
            name: function["name"].as_str().unwrap_or_default().to_owned(),
            description: function["description"].as_str().unwrap_or_default().to_owned(),
            schema: function["parameters"].clone(),
        });
    }
    let messages = body["messages"].as_array().ok_or("messages is not a list")?;
    for (index, message) in messages.iter().enumerate() {
        let blocks_before = request.blocks.len();
        request.blocks.push(PromptBlock { text: message.to_string(), cached: false });
        let text = || message["content"].as_str().map(str::to_owned);
        match message["role"].as_str() {
            Some("system" | "developer") if index == 0 => request.system = text().unwrap_or_default(),
            Some("user") => {
                request.messages.push(PromptMessage::User(text().ok_or("a user message has no text")?));
            }
            Some("assistant") => request.messages.push(parse_assistant_message(message, blocks_before)?),
            Some("tool") => {
                let id = message["tool_call_id"].as_str().unwrap_or_default().to_owned();
                let result = (id, text().ok_or("a tool message has no text")?);
                match request.messages.last_mut() {
                    Some(PromptMessage::Results(results)) => results.push(result),
                    Some(PromptMessage::User(_) | PromptMessage::Assistant { .. }) | None => {
                        request.messages.push(PromptMessage::Results(vec![result]));
                    }
                }
            }
            other => return Err(format!("message {index} has the role {other:?}")),
        }
    }
    Ok(request)
}

fn parse_assistant_message(message: &Value, blocks_before: usize) -> Result<PromptMessage, String> {
    let text = message["content"].as_str().unwrap_or_default().to_owned();
    let mut calls = Vec::new();
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let arguments = call["function"]["arguments"].as_str().ok_or("arguments are not text")?;
        // OpenAI itself accepts any text; servers with chat templates reject everything but objects.
        if !serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object()) {
            return Err(format!("the arguments {arguments:?} are not a JSON object"));
        }
        calls.push(PromptToolCall {
            id: call["id"].as_str().unwrap_or_default().to_owned(),
            name: call["function"]["name"].as_str().unwrap_or_default().to_owned(),
            arguments: arguments.to_owned(),
        });
    }
    if text.is_empty() && calls.is_empty() {
        return Err("an assistant message has neither content nor tool_calls".to_owned());
    }
    Ok(PromptMessage::Assistant { text, calls, opaque: Vec::new(), blocks_before })
}

/// The events of an answer, in order.
fn events(answer: &ModelAnswer) -> Vec<String> {
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
    let is_refusal = answer.stop == Some(ScriptedStop::Refusal);
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
    let stop = stop_reason(answer, "stop", "tool_calls", |stop| match stop {
        ScriptedStop::OutputLimit => "length",
        // With text, `refusal` holds it; without, the content filter removed it.
        ScriptedStop::Refusal if answer.text.is_empty() => "content_filter",
        ScriptedStop::Refusal => "stop",
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

/// An error in this provider's format.
fn error_body(status: u16, message: &str) -> Value {
    let kind = match status {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
}

/// An error in the middle of a stream.
fn error_event(kind: &str) -> String {
    format!("data: {}\n\n", json!({ "error": { "message": "emulated", "type": kind, "code": null } }))
}

/// The longest common prefix of earlier prompts is read from the cache.
fn count(prompts: &mut CachedPrompts, request: &ParsedRequest) -> TurnUsage {
    let prefixes = request.fingerprints();
    let hit = (1..prefixes.len()).take_while(|end| prompts.contains(&prefixes[*end])).last();
    let cached = tokens(&request.blocks[..hit.unwrap_or(0)]);
    let steps = cached / CACHED_TOKENS_STEP * CACHED_TOKENS_STEP;
    let cache_read = if steps < CACHED_TOKENS_MIN { 0 } else { steps };
    prompts.extend(&prefixes[1..]);
    TurnUsage { input: tokens(&request.blocks) - cache_read, cache_read, cache_write: 0, output: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sizes: &[usize], breakpoints: &[usize]) -> ParsedRequest {
        let block = |(at, size): (usize, &usize)| PromptBlock {
            text: char::from(b'a' + u8::try_from(at % 26).unwrap()).to_string().repeat(*size),
            cached: breakpoints.contains(&at),
        };
        ParsedRequest { blocks: sizes.iter().enumerate().map(block).collect(), ..ParsedRequest::default() }
    }

    #[test]
    fn openai_reads_longest_common_prefix_in_steps_above_its_minimum() {
        let mut cache = CachedPrompts::default();
        assert_eq!(count(&mut cache, &request(&[4_000, 400], &[])).cache_read, 0);
        assert_eq!(count(&mut cache, &request(&[4_000, 400, 4_000], &[])).cache_read, 1_024);
        assert_eq!(count(&mut cache, &request(&[4_000, 404], &[])).cache_read, 0, "1,000 tokens are too few");
    }
}
