//! Builds a reply from the events of the Messages API. Only `message_stop` completes it.

use std::collections::BTreeMap;

use eventsource_stream::Event;
use serde::Deserialize;
use serde_json::Value;

use super::PROVIDER;
use crate::domain::{AssistantBlock, StopReason, ToolArguments, ToolCall, Usage};
use crate::model::exchange::{Part, Progress};
use crate::model::failure::{Target, failure_of_event, is_error, quote};
use crate::model::retry::Failure;
use crate::model::{ModelReply, estimated_output};

/// The most blocks of one reply; about a hundred times what a model returns.
const BLOCKS_MAX: usize = 1000;

/// A reply that is being received.
pub(super) struct ReplyBuilder<'a> {
    target: &'a Target,
    model: String,
    blocks: BTreeMap<u64, PartialBlock>,
    stop: Option<String>,
    usage: WireUsage,
}

enum PartialBlock {
    Text(String),
    Call {
        id: String,
        name: String,
        input: Value,
        json: String,
    },
    /// Reasoning: an object whose text fields grow. It is returned unchanged.
    Opaque(serde_json::Map<String, Value>),
    Ignored,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireEvent {
    MessageStart {
        message: StartedMessage,
    },
    ContentBlockStart {
        index: u64,
        content_block: Value,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    MessageDelta {
        delta: MessageDelta,
        #[serde(default)]
        usage: WireUsage,
    },
    MessageStop,
    Error,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct WholeMessage {
    content: Vec<Value>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    model: String,
    #[serde(default)]
    usage: WireUsage,
}

#[derive(Deserialize)]
struct StartedMessage {
    #[serde(default)]
    model: String,
    #[serde(default)]
    usage: WireUsage,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct MessageDelta {
    #[serde(default)]
    stop_reason: Option<String>,
}

/// Counts are cumulative; a count that a later event omits stays as it was.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

impl WireUsage {
    fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens =
            later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
    }

    fn to_usage(&self, input_tokens: u64) -> Usage {
        Usage {
            input_tokens,
            output_tokens: self.output_tokens.unwrap_or_default(),
            cache_read_tokens: self.cache_read_input_tokens.unwrap_or_default(),
            cache_write_tokens: self.cache_creation_input_tokens.unwrap_or_default(),
        }
    }
}

impl<'a> ReplyBuilder<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        Self {
            target,
            model: String::new(),
            blocks: BTreeMap::new(),
            stop: None,
            usage: WireUsage::default(),
        }
    }

    /// Reads a part of the response.
    pub(super) fn read(&mut self, part: Part<'_>) -> Result<Progress, Failure> {
        match part {
            Part::Event(event) => self.read_event(event),
            Part::Whole(text) => self.read_whole(text),
        }
    }

    /// Reads the message of a server without streaming.
    fn read_whole(&mut self, text: &str) -> Result<Progress, Failure> {
        let Ok(whole) = serde_json::from_str::<WholeMessage>(text) else {
            return match is_error(text) {
                true => Err(failure_of_event(self.target, text)),
                false => Ok(Progress::More),
            };
        };
        self.model = whole.model;
        self.usage.update(whole.usage);
        self.stop = whole.stop_reason;
        for (index, block) in (0..).zip(whole.content) {
            self.start(index, block)?;
        }
        Ok(Progress::Complete)
    }

    fn read_event(&mut self, event: &Event) -> Result<Progress, Failure> {
        let parsed = serde_json::from_str(&event.data).map_err(|error| {
            Failure::interrupted(format!("an event cannot be read ({error}): {}", quote(&event.data)))
        })?;
        match parsed {
            WireEvent::MessageStart { message } => {
                self.model = message.model;
                self.usage.update(message.usage);
            }
            WireEvent::ContentBlockStart { index, content_block } => self.start(index, content_block)?,
            WireEvent::ContentBlockDelta { index, delta } => self.grow(index, delta)?,
            WireEvent::MessageDelta { delta, usage } => {
                self.stop = delta.stop_reason.or(self.stop.take());
                self.usage.update(usage);
            }
            WireEvent::MessageStop => return Ok(Progress::Complete),
            WireEvent::Error => return Err(failure_of_event(self.target, &event.data)),
            WireEvent::Other => {}
        }
        Ok(Progress::More)
    }

    fn start(&mut self, index: u64, block: Value) -> Result<(), Failure> {
        let Value::Object(mut block) = block else {
            return Err(Failure::interrupted("a content block is not an object"));
        };
        let kind = block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut text = |field: &str| match block.remove(field) {
            Some(Value::String(text)) => text,
            Some(_) | None => String::new(),
        };
        let building = match kind.as_str() {
            "text" => PartialBlock::Text(text("text")),
            "tool_use" => PartialBlock::Call {
                id: text("id"),
                name: text("name"),
                input: block.remove("input").unwrap_or_default(),
                json: String::new(),
            },
            "thinking" | "redacted_thinking" => PartialBlock::Opaque(block),
            _ => PartialBlock::Ignored,
        };
        if self.blocks.len() >= BLOCKS_MAX {
            return Err(Failure::interrupted(format!("the reply has more than {BLOCKS_MAX} blocks")));
        }
        self.blocks.insert(index, building);
        Ok(())
    }

    fn grow(&mut self, index: u64, delta: Delta) -> Result<(), Failure> {
        match (self.blocks.get_mut(&index), delta) {
            (Some(PartialBlock::Text(so_far)), Delta::Text { text }) => so_far.push_str(&text),
            (Some(PartialBlock::Call { json, .. }), Delta::InputJson { partial_json }) => {
                json.push_str(&partial_json);
            }
            (Some(PartialBlock::Opaque(block)), Delta::Thinking { thinking }) => {
                append(block, "thinking", &thinking);
            }
            (Some(PartialBlock::Opaque(block)), Delta::Signature { signature }) => {
                append(block, "signature", &signature);
            }
            (Some(PartialBlock::Ignored), _) | (Some(_), Delta::Other) => {}
            (Some(_), _) => {
                return Err(Failure::interrupted(format!(
                    "content block {index} receives a delta of another type"
                )));
            }
            (None, _) => {
                return Err(Failure::interrupted(format!(
                    "content block {index} receives a delta before its start"
                )));
            }
        }
        Ok(())
    }

    /// The failure after what was read so far. Nothing was billed before the message began.
    pub(super) fn interrupted_by(self, failure: Failure) -> Failure {
        let Some(input_tokens) = self.usage.input_tokens else {
            return match self.blocks.is_empty() {
                true => failure,
                false => failure.after_partial_response(None),
            };
        };
        let (counted, blocks) = (self.usage, self.blocks);
        let received: Vec<_> = blocks.into_values().filter_map(|building| finished(building, true)).collect();
        // The last count came at the start; the text received since then was generated too.
        let output_tokens = counted.output_tokens.unwrap_or_default().max(estimated_output(&received));
        let usage = Usage { output_tokens, ..counted.to_usage(input_tokens) };
        failure.after_partial_response(Some(usage))
    }

    /// The reply, after [`Progress::Complete`] was returned. `estimated_input` counts the input if the server
    /// did not.
    pub(super) fn finish(self, estimated_input: impl FnOnce() -> u64) -> Result<ModelReply, Failure> {
        let Some(stop) = self.stop.clone() else {
            return Err(self.interrupted_by(Failure::interrupted("the message ended without a stop reason")));
        };
        let was_truncated = matches!(stop.as_str(), "max_tokens" | "model_context_window_exceeded");
        let blocks: Vec<_> =
            self.blocks.into_values().filter_map(|building| finished(building, was_truncated)).collect();
        let has_calls = blocks.iter().any(|block| matches!(block, AssistantBlock::ToolCall(_)));
        let stop = match stop.as_str() {
            "max_tokens" | "model_context_window_exceeded" => StopReason::OutputLimit,
            "refusal" => StopReason::Refusal,
            // end_turn, tool_use, stop_sequence, pause_turn and future reasons: the message's content
            // shows whether the model waits for results.
            _ if has_calls => StopReason::ToolCalls,
            _ => StopReason::EndOfTurn,
        };
        let input_tokens = self.usage.input_tokens.unwrap_or_else(estimated_input);
        let output_tokens = self.usage.output_tokens.unwrap_or_else(|| estimated_output(&blocks));
        let usage = Usage { output_tokens, ..self.usage.to_usage(input_tokens) };
        let model = if self.model.is_empty() { self.target.model.clone() } else { self.model };
        Ok(ModelReply { blocks, stop, usage, model })
    }
}

fn append(block: &mut serde_json::Map<String, Value>, field: &str, more: &str) {
    let value = block.entry(field).or_insert_with(|| Value::String(String::new()));
    if let Value::String(text) = value {
        text.push_str(more);
    }
}

/// The finished block; empty text is left out.
fn finished(building: PartialBlock, was_truncated: bool) -> Option<AssistantBlock> {
    match building {
        PartialBlock::Text(text) if text.is_empty() => None,
        PartialBlock::Text(text) => Some(AssistantBlock::Text { text }),
        PartialBlock::Call { id, name, input, json } => {
            let arguments = arguments(input, json, was_truncated);
            Some(AssistantBlock::ToolCall(ToolCall { id, name, arguments }))
        }
        PartialBlock::Opaque(block) => {
            Some(AssistantBlock::Opaque { provider: PROVIDER.to_owned(), block: Value::Object(block) })
        }
        PartialBlock::Ignored => None,
    }
}

/// A call without arguments streams no JSON. In a truncated reply, it is a call whose arguments did not
/// arrive.
fn arguments(input: Value, json: String, was_truncated: bool) -> ToolArguments {
    if !json.trim().is_empty() {
        return serde_json::from_str(&json).map_or(ToolArguments::Malformed(json), ToolArguments::Json);
    }
    match input {
        Value::Object(fields) if !was_truncated || !fields.is_empty() => {
            ToolArguments::Json(Value::Object(fields))
        }
        Value::Null if !was_truncated => ToolArguments::Json(Value::Object(serde_json::Map::new())),
        _ => ToolArguments::Malformed(json),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ModelError;

    fn reply_of(events: &[Value]) -> Result<ModelReply, Failure> {
        let target = Target { url: "http://p".into(), model: "m-1".into() };
        let mut assembly = ReplyBuilder::new(&target);
        for (index, event) in events.iter().enumerate() {
            let event = Event { data: event.to_string(), ..Event::default() };
            let progress = assembly.read(Part::Event(&event))?;
            assert_eq!(progress == Progress::Complete, index + 1 == events.len());
        }
        assembly.finish(|| 77)
    }

    fn start(index: u64, block: Value) -> Value {
        json!({"type": "content_block_start", "index": index, "content_block": block})
    }

    fn delta(index: u64, delta: Value) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": delta})
    }

    fn ending(reason: &str) -> [Value; 2] {
        [
            json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 42}}),
            json!({"type": "message_stop"}),
        ]
    }

    #[test]
    fn reasoning_text_and_calls_keep_their_order_and_signatures() {
        let mut events = vec![
            json!({"type": "message_start", "message": {"model": "m-1-20260101", "usage":
                {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 1}}}),
            start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
            json!({"type": "ping"}),
            delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
            delta(0, json!({"type": "signature_delta", "signature": "c2ln"})),
            start(1, json!({"type": "redacted_thinking", "data": "ZGF0YQ=="})),
            start(2, json!({"type": "text", "text": ""})),
            delta(2, json!({"type": "text_delta", "text": "I se"})),
            delta(2, json!({"type": "text_delta", "text": "e."})),
            start(3, json!({"type": "a_block_of_the_future", "x": 1})),
            delta(3, json!({"type": "a_delta_of_the_future", "x": 1})),
            start(4, json!({"type": "tool_use", "id": "t1", "name": "search", "input": {}})),
            delta(4, json!({"type": "input_json_delta", "partial_json": "{\"pattern\": "})),
            delta(4, json!({"type": "input_json_delta", "partial_json": "\"x\"}"})),
            start(5, json!({"type": "tool_use", "id": "t2", "name": "run_tests", "input": {}})),
        ];
        events.extend(ending("tool_use"));
        let reply = reply_of(&events).unwrap();
        let opaque = |block: Value| AssistantBlock::Opaque { provider: "anthropic".into(), block };
        let call = |id: &str, name: &str, arguments: Value| {
            AssistantBlock::ToolCall(ToolCall {
                id: id.into(),
                name: name.into(),
                arguments: ToolArguments::Json(arguments),
            })
        };
        assert_eq!(
            reply,
            ModelReply {
                blocks: vec![
                    opaque(json!({"type": "thinking", "thinking": "hm", "signature": "c2ln"})),
                    opaque(json!({"type": "redacted_thinking", "data": "ZGF0YQ=="})),
                    AssistantBlock::Text { text: "I see.".into() },
                    call("t1", "search", json!({"pattern": "x"})),
                    call("t2", "run_tests", json!({})),
                ],
                stop: StopReason::ToolCalls,
                usage: Usage {
                    input_tokens: 3,
                    output_tokens: 42,
                    cache_read_tokens: 100,
                    cache_write_tokens: 20
                },
                model: "m-1-20260101".into(),
            }
        );
    }

    #[test]
    fn truncated_call_is_not_taken_for_a_call_without_arguments() {
        for partial in ["", "{\"path\": \"a"] {
            let mut events = vec![
                start(0, json!({"type": "tool_use", "id": "t1", "name": "run_tests", "input": {}})),
                delta(0, json!({"type": "input_json_delta", "partial_json": partial})),
            ];
            events.extend(ending("max_tokens"));
            let reply = reply_of(&events).unwrap();
            assert_eq!(reply.stop, StopReason::OutputLimit);
            let AssistantBlock::ToolCall(call) = &reply.blocks[0] else { panic!("no call") };
            assert_eq!(call.arguments, ToolArguments::Malformed(partial.into()));
        }
    }

    #[test]
    fn stop_reasons_are_distinguished() {
        let stop = |reason| {
            let mut events = vec![start(0, json!({"type": "text", "text": "x"}))];
            events.extend(ending(reason));
            reply_of(&events).unwrap().stop
        };
        assert_eq!(stop("end_turn"), StopReason::EndOfTurn);
        assert_eq!(stop("refusal"), StopReason::Refusal);
        assert_eq!(stop("model_context_window_exceeded"), StopReason::OutputLimit);
        assert_eq!(stop("tool_use"), StopReason::EndOfTurn, "there is no call to wait for");
    }

    #[test]
    fn invalid_event_sequence_is_an_error() {
        let stop = json!({"type": "message_stop"});
        let invalid = [
            vec![stop.clone()],
            vec![delta(0, json!({"type": "text_delta", "text": "x"})), stop.clone()],
            vec![
                start(0, json!({"type": "text", "text": ""})),
                delta(0, json!({"type": "input_json_delta", "partial_json": "{}"})),
                stop.clone(),
            ],
            vec![json!([1, 2]), stop],
        ];
        for events in invalid {
            assert!(matches!(reply_of(&events), Err(Failure::Interrupted { .. })), "{events:?}");
        }
    }

    #[test]
    fn interrupted_response_is_billed_as_counted_and_received() {
        let target = Target { url: "http://p".into(), model: "m-1".into() };
        let broken = |events: &[Value], failure| {
            let mut assembly = ReplyBuilder::new(&target);
            for event in events {
                assembly.read_event(&Event { data: event.to_string(), ..Event::default() }).unwrap();
            }
            assembly.interrupted_by(failure)
        };
        let begun = json!({"type": "message_start", "message": {"model": "m-1", "usage":
            {"input_tokens": 3, "cache_read_input_tokens": 100, "output_tokens": 1}}});
        let text = [
            start(0, json!({"type": "text", "text": ""})),
            delta(0, json!({"type": "text_delta", "text": "x".repeat(400)})),
        ];
        let overloaded = || Failure::transient("overloaded");
        assert!(matches!(broken(&[json!({"type": "ping"})], overloaded()), Failure::Transient { .. }));
        assert!(matches!(broken(&text, overloaded()), Failure::Interrupted { usage: None, .. }));
        let counted = |output_tokens| Usage {
            input_tokens: 3,
            cache_read_tokens: 100,
            output_tokens,
            ..Usage::default()
        };
        let usage = |events: &[Value]| match broken(events, overloaded()) {
            Failure::Interrupted { usage, is_transient: true, .. } => usage,
            other => panic!("{other:?}"),
        };
        assert_eq!(usage(std::slice::from_ref(&begun)), Some(counted(1)));
        let [first, second] = text;
        assert_eq!(usage(&[begun.clone(), first, second]), Some(counted(100)));
        let refused =
            Failure::Permanent(ModelError::ContextOverflow { model: "m-1".into(), detail: "long".into() });
        assert!(matches!(broken(&[begun], refused), Failure::Interrupted { is_transient: false, .. }));
    }
}
