//! Builds a reply from the chunks of Chat Completions. Only `[DONE]` after a finish reason completes it.

use eventsource_stream::Event;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::{AssistantBlock, StopReason, ToolArguments, ToolCall, Usage};
use crate::model::exchange::{Part, Progress};
use crate::model::failure::{Target, failure_of_event, is_error, quote};
use crate::model::retry::Failure;
use crate::model::{ModelReply, estimated_output};

/// The most tool calls of one reply; about ten times what a model returns.
const CALLS_MAX: usize = 500;

/// A reply that is being received.
pub(super) struct ReplyBuilder<'a> {
    target: &'a Target,
    model: String,
    text: String,
    refusal: String,
    calls: Vec<PartialCall>,
    finish: Option<String>,
    usage: Option<WireUsage>,
}

struct PartialCall {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    /// The whole message, if the response is not streamed.
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta {
    content: Option<MessageContent>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
}

/// A message's content: text, or a list of parts, as some servers send it.
#[derive(Deserialize)]
#[serde(untagged)]
enum MessageContent {
    Text(String),
    Parts(Vec<ContentPart>),
}

/// A part of a message. Parts of other types, such as a model's reasoning, are not part of the answer.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ContentPart {
    #[serde(rename = "type")]
    kind: Option<String>,
    text: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FunctionDelta {
    name: Option<String>,
    /// JSON in a string, or a part of that; some servers send the JSON itself.
    arguments: Option<Value>,
}

/// Prompt tokens include the cached ones.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

impl<'a> ReplyBuilder<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        Self {
            target,
            model: String::new(),
            text: String::new(),
            refusal: String::new(),
            calls: Vec::new(),
            finish: None,
            usage: None,
        }
    }

    /// Reads a part of the response.
    pub(super) fn read(&mut self, part: Part<'_>) -> Result<Progress, Failure> {
        match part {
            Part::Event(event) => self.read_event(event),
            Part::Whole(text) => self.read_whole(text),
        }
    }

    /// Reads the completion of a server without streaming.
    fn read_whole(&mut self, text: &str) -> Result<Progress, Failure> {
        if is_error(text) {
            return Err(failure_of_event(self.target, text));
        }
        if let Ok(whole) = serde_json::from_str(text) {
            self.take(whole)?;
        }
        Ok(if self.finish.is_some() { Progress::Complete } else { Progress::More })
    }

    fn read_event(&mut self, event: &Event) -> Result<Progress, Failure> {
        if event.data.trim() == "[DONE]" {
            return match self.finish {
                Some(_) => Ok(Progress::Complete),
                None => Err(Failure::interrupted("the stream ended without a finish reason")),
            };
        }
        let chunk: Chunk = serde_json::from_str(&event.data).map_err(|error| {
            Failure::interrupted(format!("an event cannot be read ({error}): {}", quote(&event.data)))
        })?;
        if chunk.error.as_ref().is_some_and(|error| !error.is_null()) {
            return Err(failure_of_event(self.target, &event.data));
        }
        self.take(chunk)?;
        Ok(Progress::More)
    }

    fn take(&mut self, chunk: Chunk) -> Result<(), Failure> {
        if let Some(model) = chunk.model.filter(|model| !model.is_empty()) {
            self.model = model;
        }
        self.usage = chunk.usage.or(self.usage.take());
        // One choice was requested; others are ignored.
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            self.grow(choice.delta.unwrap_or_default())?;
            self.finish = choice.finish_reason.or(self.finish.take());
        }
        Ok(())
    }

    fn grow(&mut self, delta: Delta) -> Result<(), Failure> {
        match delta.content {
            Some(MessageContent::Text(text)) => self.text.push_str(&text),
            Some(MessageContent::Parts(parts)) => parts.into_iter().for_each(|part| self.grow_by_part(part)),
            None => {}
        }
        self.refusal.push_str(&delta.refusal.unwrap_or_default());
        for part in delta.tool_calls.unwrap_or_default() {
            let function = part.function.unwrap_or_default();
            let id = part.id.unwrap_or_default();
            let call = self.call_for(part.index, &id)?;
            if call.id.is_empty() {
                call.id = id;
            }
            // The name is sent once, but some servers repeat it with every delta.
            if call.name.is_empty() {
                call.name = function.name.unwrap_or_default();
            }
            match function.arguments {
                Some(Value::String(part)) => call.arguments.push_str(&part),
                Some(Value::Null) | None => {}
                Some(whole) => call.arguments.push_str(&whole.to_string()),
            }
        }
        Ok(())
    }

    fn grow_by_part(&mut self, part: ContentPart) {
        self.refusal.push_str(&part.refusal.unwrap_or_default());
        if matches!(part.kind.as_deref(), None | Some("text" | "output_text")) {
            self.text.push_str(&part.text.unwrap_or_default());
        }
    }

    /// The call that a delta belongs to: by index, or by id if the server sends no index.
    fn call_for(&mut self, index: Option<u64>, id: &str) -> Result<&mut PartialCall, Failure> {
        let position = match index {
            Some(_) => self.calls.iter().position(|call| call.index == index),
            None if id.is_empty() => self.calls.len().checked_sub(1),
            None => self.calls.iter().position(|call| call.id == id),
        };
        let position = match position {
            Some(position) => position,
            None if self.calls.len() >= CALLS_MAX => {
                return Err(Failure::interrupted(format!("the reply has more than {CALLS_MAX} tool calls")));
            }
            None => {
                self.calls.push(PartialCall {
                    index,
                    id: String::new(),
                    name: String::new(),
                    arguments: String::new(),
                });
                self.calls.len() - 1
            }
        };
        Ok(&mut self.calls[position])
    }

    /// The failure after what was read so far. An error before the first text was not billed; later ones may
    /// have been, and the count comes last, if at all.
    pub(super) fn interrupted_by(self, failure: Failure) -> Failure {
        let began = self.finish.is_some()
            || !(self.text.is_empty() && self.refusal.is_empty() && self.calls.is_empty());
        match self.usage {
            Some(counted) => failure.after_partial_response(Some(counted.to_usage())),
            None if began => failure.after_partial_response(None),
            None => failure,
        }
    }

    /// The reply, after [`Progress::Complete`] was returned. `estimated_input` counts the input if the server
    /// did not.
    pub(super) fn finish(self, estimated_input: impl FnOnce() -> u64) -> Result<ModelReply, Failure> {
        let finish = self.finish.unwrap_or_default();
        let was_truncated = finish == "length";
        let mut blocks = Vec::new();
        for text in [&self.text, &self.refusal] {
            if !text.is_empty() {
                blocks.push(AssistantBlock::Text { text: text.clone() });
            }
        }
        let has_calls = !self.calls.is_empty();
        blocks.extend(self.calls.into_iter().map(|call| finished(call, was_truncated)));
        let stop = match finish.as_str() {
            "length" => StopReason::OutputLimit,
            "content_filter" => StopReason::Refusal,
            _ if !self.refusal.is_empty() => StopReason::Refusal,
            // stop, tool_calls, function_call and the reasons of other servers: the message's content
            // shows whether the model waits for results.
            _ if has_calls => StopReason::ToolCalls,
            _ => StopReason::EndOfTurn,
        };
        let usage = match &self.usage {
            Some(counted) => counted.to_usage(),
            None => Usage {
                input_tokens: estimated_input(),
                output_tokens: estimated_output(&blocks),
                ..Usage::default()
            },
        };
        let model = if self.model.is_empty() { self.target.model.clone() } else { self.model };
        Ok(ModelReply { blocks, stop, usage, model })
    }
}

impl WireUsage {
    fn to_usage(&self) -> Usage {
        let details = self.prompt_tokens_details.as_ref();
        let cache_read_tokens = details.and_then(|details| details.cached_tokens).unwrap_or_default();
        let cache_write_tokens = details.and_then(|details| details.cache_write_tokens).unwrap_or_default();
        Usage {
            input_tokens: self
                .prompt_tokens
                .saturating_sub(cache_read_tokens)
                .saturating_sub(cache_write_tokens),
            output_tokens: self.completion_tokens,
            cache_read_tokens,
            cache_write_tokens,
        }
    }
}

fn finished(call: PartialCall, was_truncated: bool) -> AssistantBlock {
    let PartialCall { id, name, arguments, .. } = call;
    // Results are matched by id, so a call without one gets a new id.
    let id = if id.is_empty() { format!("call_{}", uuid::Uuid::new_v4().simple()) } else { id };
    let arguments = match serde_json::from_str(&arguments) {
        Ok(value) => ToolArguments::Json(value),
        // Empty text means no arguments, unless the reply was truncated before they arrived.
        Err(_) if arguments.trim().is_empty() && !was_truncated => {
            ToolArguments::Json(Value::Object(serde_json::Map::new()))
        }
        Err(_) => ToolArguments::Malformed(arguments),
    };
    AssistantBlock::ToolCall(ToolCall { id, name, arguments })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply_of(chunks: &[Value]) -> Result<ModelReply, Failure> {
        let target = Target { url: "http://p".into(), model: "m-1".into() };
        let mut assembly = ReplyBuilder::new(&target);
        for chunk in chunks {
            let event = Event { data: chunk.to_string(), ..Event::default() };
            assert_eq!(assembly.read(Part::Event(&event))?, Progress::More);
        }
        let done = Event { data: "[DONE]".into(), ..Event::default() };
        assert_eq!(assembly.read_event(&done)?, Progress::Complete);
        assembly.finish(|| 77)
    }

    fn chunk(delta: Value, finish_reason: Value) -> Value {
        json!({"model": "m-1-2026", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
    }

    fn calls(reply: &ModelReply) -> Vec<(&str, &str, &ToolArguments)> {
        let call = |block| match block {
            &AssistantBlock::ToolCall(ToolCall { ref id, ref name, ref arguments }) => {
                Some((id.as_str(), name.as_str(), arguments))
            }
            AssistantBlock::Text { .. } | AssistantBlock::Opaque { .. } => None,
        };
        reply.blocks.iter().filter_map(call).collect()
    }

    #[test]
    fn interleaved_parallel_calls_are_assembled_by_index() {
        let reply = reply_of(&[
            chunk(json!({"role": "assistant", "content": null}), Value::Null),
            chunk(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "search", "arguments": ""}}]}), Value::Null),
            chunk(json!({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "run_tests", "arguments": ""}}]}), Value::Null),
            chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"pattern\":"}}]}), Value::Null),
            chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"x\"}"}}]}), Value::Null),
            chunk(json!({}), json!("tool_calls")),
            json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 20}}}),
        ])
        .unwrap();
        let (pattern, none) = (ToolArguments::Json(json!({"pattern": "x"})), ToolArguments::Json(json!({})));
        assert_eq!(calls(&reply), [("a", "search", &pattern), ("b", "run_tests", &none)]);
        assert_eq!(reply.stop, StopReason::ToolCalls);
        assert_eq!(reply.model, "m-1-2026");
        assert_eq!(
            reply.usage,
            Usage { input_tokens: 16, output_tokens: 9, cache_read_tokens: 64, cache_write_tokens: 20 }
        );
    }

    #[test]
    fn deltas_without_index_and_usage_are_read() {
        let reply = reply_of(&[
            chunk(
                json!({"tool_calls": [{"id": "a", "function": {"name": "x", "arguments": "{}"}}]}),
                Value::Null,
            ),
            chunk(
                json!({"tool_calls": [{"id": "b", "function": {"name": "y", "arguments": "{\"k\""}}]}),
                Value::Null,
            ),
            chunk(json!({"tool_calls": [{"function": {"arguments": ":1}"}}]}), json!("stop")),
        ])
        .unwrap();
        let (first, second) = (ToolArguments::Json(json!({})), ToolArguments::Json(json!({"k": 1})));
        assert_eq!(calls(&reply), [("a", "x", &first), ("b", "y", &second)]);
        assert_eq!(reply.stop, StopReason::ToolCalls);
        assert_eq!(reply.usage.input_tokens, 77, "estimated");
    }

    #[test]
    fn arguments_and_content_are_read_in_the_forms_that_servers_send() {
        let object = json!({"path": "a", "n": 1, "deep": {"x": [true]}});
        for arguments in [object.clone(), json!(object.to_string())] {
            let call = json!({"id": "a", "function": {"name": "x", "arguments": arguments}});
            let reply = reply_of(&[chunk(json!({"tool_calls": [call]}), json!("tool_calls"))]).unwrap();
            assert_eq!(calls(&reply), [("a", "x", &ToolArguments::Json(object.clone()))]);
        }
        let call = json!({"id": "a", "function": {"name": "x", "arguments": null}});
        let reply = reply_of(&[chunk(json!({"tool_calls": [call]}), json!("stop"))]).unwrap();
        assert_eq!(calls(&reply), [("a", "x", &ToolArguments::Json(json!({})))]);

        let parts = json!([
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": "I "},
            {"type": "output_text", "text": "work"},
            {"text": "."},
            {"type": "image_url", "image_url": {"url": "x"}},
        ]);
        let reply = reply_of(&[chunk(json!({"content": parts}), json!("stop"))]).unwrap();
        assert_eq!(reply.blocks, [AssistantBlock::Text { text: "I work.".into() }]);
        let refusal = json!([{"type": "refusal", "refusal": "No."}]);
        let reply = reply_of(&[chunk(json!({"content": refusal}), json!("stop"))]).unwrap();
        assert_eq!(reply.stop, StopReason::Refusal);
        assert_eq!(reply.blocks, [AssistantBlock::Text { text: "No.".into() }]);
        let reply = reply_of(&[chunk(json!({"content": []}), json!("stop"))]).unwrap();
        assert_eq!((reply.blocks.len(), reply.stop), (0, StopReason::EndOfTurn));
    }

    #[test]
    fn refusal_filter_and_output_limit_are_distinguished() {
        let text = json!({"content": "words"});
        assert_eq!(reply_of(&[chunk(text.clone(), json!("stop"))]).unwrap().stop, StopReason::EndOfTurn);
        assert_eq!(reply_of(&[chunk(text, json!("content_filter"))]).unwrap().stop, StopReason::Refusal);
        let refused = reply_of(&[chunk(json!({"refusal": "I will not."}), json!("stop"))]).unwrap();
        assert_eq!(refused.stop, StopReason::Refusal);
        assert_eq!(refused.blocks, [AssistantBlock::Text { text: "I will not.".into() }]);

        let cut = json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "run_tests"}}]});
        let cut = reply_of(&[chunk(cut, json!("length"))]).unwrap();
        assert_eq!(cut.stop, StopReason::OutputLimit);
        assert_eq!(calls(&cut)[0].2, &ToolArguments::Malformed(String::new()));
    }

    #[test]
    fn stream_without_finish_reason_or_with_an_error_is_an_error() {
        assert!(matches!(
            reply_of(&[chunk(json!({"content": "half an ans"}), Value::Null)]),
            Err(Failure::Interrupted { .. })
        ));
        let error = json!({"error": {"message": "The server had an error", "type": "server_error"}});
        assert!(matches!(reply_of(&[error]), Err(Failure::Transient { .. })));
        let error = json!({"error": {"message": "no such model", "type": "invalid_request_error"}});
        assert!(matches!(reply_of(&[error]), Err(Failure::Permanent(_))));
    }

    #[test]
    fn failure_may_be_billed_once_text_was_received() {
        let target = Target { url: "http://p".into(), model: "m-1".into() };
        let broken = |chunks: &[Value]| {
            let mut assembly = ReplyBuilder::new(&target);
            for chunk in chunks {
                assembly.read_event(&Event { data: chunk.to_string(), ..Event::default() }).unwrap();
            }
            assembly.interrupted_by(Failure::transient("server_error"))
        };
        let role = chunk(json!({"role": "assistant", "content": null}), Value::Null);
        let word = chunk(json!({"content": "x"}), Value::Null);
        let counted = json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 9}});
        assert!(matches!(broken(std::slice::from_ref(&role)), Failure::Transient { .. }));
        assert!(matches!(broken(&[role, word.clone()]), Failure::Interrupted { usage: None, .. }));
        let usage = Usage { input_tokens: 100, output_tokens: 9, ..Usage::default() };
        let Failure::Interrupted { usage: found, is_transient: true, .. } = broken(&[word, counted]) else {
            panic!()
        };
        assert_eq!(found, Some(usage));
    }
}
