//! Anthropic's wire format, from the provider's side.

use std::borrow::Cow;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer::{ModelAnswer, pieces, stop_reason};
use super::conversation::{ScriptedStop, TurnUsage};
use super::emulated_format::{CachedPrompts, EmulatedFormat, has_bearer};
use super::request::{ParsedRequest, PromptBlock, PromptMessage, PromptToolCall, ToolDefinition, tokens};

/// How many cache breakpoints the real provider accepts in one request.
const CACHE_BREAKPOINTS_MAX: usize = 4;

/// How many blocks before a breakpoint the provider looks at.
const CACHE_LOOKBACK: usize = 20;

pub(super) const FORMAT: EmulatedFormat = EmulatedFormat {
    base: "",
    endpoint: "/v1/messages",
    required_header: Some("anthropic-version"),
    // Either header is accepted: the provider's own Python client sends the second one.
    has_key: |headers| headers.get("x-api-key").is_some_and(|key| !key.is_empty()) || has_bearer(headers),
    parse_request,
    events,
    error_event,
    error_body,
    count,
};

/// Parses a request. The error names the rule of the format that it violates.
fn parse_request(body: &Value) -> Result<ParsedRequest, String> {
    let text = |value: &Value, what: &str| {
        value.as_str().map(str::to_owned).ok_or_else(|| format!("{what} is not text"))
    };
    if body["stream"] != true {
        return Err("stream is not true".to_owned());
    }
    if body["max_tokens"].as_u64().is_none_or(|max| max == 0) {
        return Err("max_tokens: Field required".to_owned());
    }
    let mut request = ParsedRequest {
        model: text(&body["model"], "model")?,
        carries_reasoning: true,
        ..ParsedRequest::default()
    };
    for tool in list(&body["tools"], "tools")? {
        request.blocks.push(parse_block("tool", tool));
        request.tools.push(ToolDefinition {
            name: text(&tool["name"], "a tool's name")?,
            description: tool["description"].as_str().unwrap_or_default().to_owned(),
            schema: tool["input_schema"].clone(),
        });
    }
    for block in list(&in_blocks(&body["system"]), "system")? {
        request.blocks.push(parse_block("system", block));
        request.system += &text(&block["text"], "a system block")?;
    }
    let mut previous_role = "";
    for message in list(&body["messages"], "messages")? {
        let role = message["role"].as_str().unwrap_or_default();
        let content = in_blocks(&message["content"]);
        let content = list(&content, "content")?;
        if role == previous_role {
            return Err(format!("roles must alternate, but {role} follows {role}"));
        }
        if content.is_empty() {
            return Err("a message has no content".to_owned());
        }
        let blocks_before = request.blocks.len();
        request.blocks.extend(content.iter().map(|block| parse_block(role, block)));
        match role {
            "user" => request.messages.extend(parse_user_message(content)?),
            "assistant" => request.messages.push(parse_assistant_message(content, blocks_before)?),
            other => return Err(format!("the role {other:?} is not known")),
        }
        previous_role = role;
    }
    let breakpoints = request.blocks.iter().filter(|block| block.cached).count();
    if breakpoints > CACHE_BREAKPOINTS_MAX {
        return Err(format!("a maximum of {CACHE_BREAKPOINTS_MAX} blocks may have cache_control"));
    }
    // A rule of this emulator: without the mark, the next request pays for the whole prompt again.
    if !request.tools.is_empty() && request.blocks.last().is_some_and(|block| !block.cached) {
        return Err("the last block of a conversation with tools has no cache_control".to_owned());
    }
    Ok(request)
}

fn parse_block(role: &str, block: &Value) -> PromptBlock {
    let mut block = block.clone();
    let cached = block.as_object_mut().is_some_and(|block| block.remove("cache_control").is_some());
    PromptBlock { text: format!("{role} {block}"), cached }
}

/// Content as a list of blocks: plain text is one block.
fn in_blocks(content: &Value) -> Cow<'_, Value> {
    match content.as_str() {
        Some(text) => Cow::Owned(json!([{ "type": "text", "text": text }])),
        None => Cow::Borrowed(content),
    }
}

fn list<'a>(value: &'a Value, what: &str) -> Result<&'a [Value], String> {
    match value {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(format!("{what} is not a list"))
        }
    }
}

fn parse_user_message(content: &[Value]) -> Result<Vec<PromptMessage>, String> {
    let mut results = Vec::new();
    let mut texts: Vec<&str> = Vec::new();
    for block in content {
        match block["type"].as_str() {
            Some("text") => texts.push(text_of(block)?),
            Some("tool_result") if !texts.is_empty() => {
                return Err("tool_result blocks must come before text".to_owned());
            }
            Some("tool_result") => results.push((
                block["tool_use_id"].as_str().unwrap_or_default().to_owned(),
                block["content"].as_str().ok_or("a tool_result's content is not text")?.to_owned(),
            )),
            other => return Err(format!("a user message holds a block of type {other:?}")),
        }
    }
    let results = (!results.is_empty()).then_some(PromptMessage::Results(results));
    let text = (!texts.is_empty()).then(|| PromptMessage::User(texts.join("\n")));
    Ok(results.into_iter().chain(text).collect())
}

fn parse_assistant_message(content: &[Value], blocks_before: usize) -> Result<PromptMessage, String> {
    let (mut text, mut calls, mut opaque) = (String::new(), Vec::new(), Vec::new());
    for block in content {
        match block["type"].as_str() {
            Some("text") => text += text_of(block)?,
            Some("tool_use") => {
                let id = block["id"].as_str().unwrap_or_default();
                let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                if id.is_empty() || !id.chars().all(is_allowed) {
                    return Err(format!("tool_use.id {id:?} does not match ^[a-zA-Z0-9_-]+$"));
                }
                if !block["input"].is_object() {
                    return Err("tool_use.input: Input should be a valid dictionary".to_owned());
                }
                calls.push(PromptToolCall {
                    id: id.to_owned(),
                    name: block["name"].as_str().unwrap_or_default().to_owned(),
                    arguments: block["input"].to_string(),
                });
            }
            Some("thinking") => opaque.push(block.clone()),
            other => return Err(format!("an assistant message holds a block of type {other:?}")),
        }
    }
    Ok(PromptMessage::Assistant { text, calls, opaque, blocks_before })
}

fn text_of(block: &Value) -> Result<&str, String> {
    match block["text"].as_str() {
        Some(text) if !text.trim().is_empty() => Ok(text),
        Some(_) => Err("text content blocks must contain non-whitespace text".to_owned()),
        None => Err("a text block has no text".to_owned()),
    }
}

/// The reasoning of a turn with the signature that it was sent with. The signature is bound to everything
/// before it, as with models that have "preserved thinking".
pub(super) fn thinking_block(think: &str, turn: usize, prompt_fingerprint: u64) -> Value {
    json!({ "type": "thinking", "thinking": think, "signature": signature(think, turn, prompt_fingerprint) })
}

fn signature(think: &str, turn: usize, prompt_fingerprint: u64) -> String {
    hex::encode(Sha256::digest(format!("{turn}:{prompt_fingerprint}:{think}")))
}

/// The events of an answer, in order.
fn events(answer: &ModelAnswer) -> Vec<String> {
    let usage = answer.usage;
    let mut events = Vec::new();
    let mut emit = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        events.push(format!("event: {kind}\ndata: {data}\n\n"));
    };
    emit(
        "message_start",
        json!({ "message": {
            "id": format!("msg_{:04}", answer.turn), "type": "message", "role": "assistant",
            "model": answer.model, "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {
                "input_tokens": usage.input, "cache_read_input_tokens": usage.cache_read,
                "cache_creation_input_tokens": usage.cache_write, "output_tokens": 1,
            },
        }}),
    );
    emit("ping", json!({}));
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        emit("content_block_start", json!({ "index": index, "content_block": start }));
        for delta in deltas {
            emit("content_block_delta", json!({ "index": index, "delta": delta }));
        }
        emit("content_block_stop", json!({ "index": index }));
        index += 1;
    };
    let typed = |kind: &str, field: &str, text: &str| -> Vec<Value> {
        pieces(text).map(|piece| json!({ "type": kind, field: piece })).collect()
    };
    if let Some(think) = &answer.think {
        let mut deltas = typed("thinking_delta", "thinking", think);
        let signature = signature(think, answer.turn, answer.prompt_fingerprint);
        deltas.push(json!({ "type": "signature_delta", "signature": signature }));
        block(json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas);
    }
    if !answer.text.is_empty() {
        block(json!({ "type": "text", "text": "" }), typed("text_delta", "text", &answer.text));
    }
    for (id, call) in &answer.calls {
        let start =
            json!({ "type": "tool_use", "id": format!("toolu_{id}"), "name": call.tool, "input": {} });
        block(start, typed("input_json_delta", "partial_json", &call.arguments_text()));
    }
    let stop = stop_reason(answer, "end_turn", "tool_use", |stop| match stop {
        ScriptedStop::OutputLimit => "max_tokens",
        ScriptedStop::Refusal => "refusal",
    });
    emit(
        "message_delta",
        json!({ "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": { "output_tokens": usage.output } }),
    );
    emit("message_stop", json!({}));
    events
}

/// An error in this provider's format.
fn error_body(status: u16, message: &str) -> Value {
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}

/// An error in the middle of a stream.
fn error_event(kind: &str) -> String {
    let data = json!({ "type": "error", "error": { "type": kind, "message": "emulated" } });
    format!("event: error\ndata: {data}\n\n")
}

/// The prompt before each breakpoint is cached, and looked up at breakpoints and a few blocks before them.
fn count(cached: &mut CachedPrompts, request: &ParsedRequest) -> TurnUsage {
    // `prefixes[n]` is the fingerprint of the first n blocks.
    let prefixes = request.fingerprints();
    let breakpoints: Vec<usize> = (1..prefixes.len()).filter(|end| request.blocks[end - 1].cached).collect();
    let candidates = breakpoints.iter().flat_map(|end| end.saturating_sub(CACHE_LOOKBACK).max(1)..=*end);
    let hit = candidates.filter(|end| cached.contains(&prefixes[*end])).max().unwrap_or(0);
    let last = breakpoints.last().copied().unwrap_or(0);
    cached.extend(breakpoints.iter().map(|end| prefixes[*end]));
    let (read, cacheable, all) =
        (tokens(&request.blocks[..hit]), tokens(&request.blocks[..last]), tokens(&request.blocks));
    TurnUsage { input: all - cacheable, cache_read: read, cache_write: cacheable - read, output: 0 }
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
    fn anthropic_reads_cached_prompt_within_its_lookback() {
        let mut cache = CachedPrompts::default();
        let first = count(&mut cache, &request(&[400, 400, 400], &[1]));
        assert_eq!((first.input, first.cache_write, first.cache_read), (100, 200, 0));
        let second = count(&mut cache, &request(&[400; 5], &[1, 4]));
        assert_eq!((second.input, second.cache_write, second.cache_read), (0, 300, 200));
        let far = count(&mut cache, &request(&[400; 40], &[39]));
        assert_eq!((far.cache_read, far.cache_write), (0, 4_000));
        let near = count(&mut cache, &request(&[400; 40], &[4, 39]));
        assert_eq!(near.cache_read, 4_000);
        let changed = count(&mut cache, &request(&[404, 400, 400, 400, 400], &[4]));
        assert_eq!(changed.cache_read, 0);
    }
}
