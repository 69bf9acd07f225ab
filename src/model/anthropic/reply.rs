//! A reply, put together from the Messages API's events. Only `message_stop` completes it.

use std::collections::BTreeMap;

use eventsource_stream::Event;
use serde::Deserialize;
use serde_json::Value;

use super::PROVIDER;
use crate::domain::{AssistantBlock, StopReason, ToolArguments, ToolCall, Usage};
use crate::model::exchange::{Part, Progress};
use crate::model::failure::{Asked, is_error, of_event, quote};
use crate::model::retry::Failure;
use crate::model::{ModelReply, estimated_output};

/// Blocks of one reply; some hundred times what a model gives.
const BLOCKS_MAX: usize = 1000;

/// A reply in the making.
pub(super) struct Assembly<'a> {
    asked: &'a Asked,
    model: String,
    blocks: BTreeMap<u64, Building>,
    stop: Option<String>,
    usage: WireUsage,
}

enum Building {
    Text(String),
    Call {
        id: String,
        name: String,
        input: Value,
        json: String,
    },
    /// Reasoning: an object whose text fields grow. Handed back as it is.
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

/// Counts are cumulative; what a later event leaves out stands as it was.
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

impl<'a> Assembly<'a> {
    pub(super) fn new(asked: &'a Asked) -> Self {
        Self { asked, model: String::new(), blocks: BTreeMap::new(), stop: None, usage: WireUsage::default() }
    }

    /// Takes a part of the answer.
    pub(super) fn read(&mut self, part: Part<'_>) -> Result<Progress, Failure> {
        match part {
            Part::Event(event) => self.read_event(event),
            Part::Whole(text) => self.read_whole(text),
        }
    }

    /// The message that a server without streaming answers with.
    fn read_whole(&mut self, text: &str) -> Result<Progress, Failure> {
        let Ok(whole) = serde_json::from_str::<WholeMessage>(text) else {
            return match is_error(text) {
                true => Err(of_event(self.asked, text)),
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
            Failure::broken(format!("an event cannot be read ({error}): {}", quote(&event.data)))
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
            WireEvent::Error => return Err(of_event(self.asked, &event.data)),
            WireEvent::Other => {}
        }
        Ok(Progress::More)
    }

    fn start(&mut self, index: u64, block: Value) -> Result<(), Failure> {
        let Value::Object(mut block) = block else {
            return Err(Failure::broken("a content block is not an object"));
        };
        let kind = block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut text = |field: &str| match block.remove(field) {
            Some(Value::String(text)) => text,
            Some(_) | None => String::new(),
        };
        let building = match kind.as_str() {
            "text" => Building::Text(text("text")),
            "tool_use" => Building::Call {
                id: text("id"),
                name: text("name"),
                input: block.remove("input").unwrap_or_default(),
                json: String::new(),
            },
            "thinking" | "redacted_thinking" => Building::Opaque(block),
            _ => Building::Ignored,
        };
        if self.blocks.len() >= BLOCKS_MAX {
            return Err(Failure::broken(format!("the reply has more than {BLOCKS_MAX} blocks")));
        }
        self.blocks.insert(index, building);
        Ok(())
    }

    fn grow(&mut self, index: u64, delta: Delta) -> Result<(), Failure> {
        match (self.blocks.get_mut(&index), delta) {
            (Some(Building::Text(so_far)), Delta::Text { text }) => so_far.push_str(&text),
            (Some(Building::Call { json, .. }), Delta::InputJson { partial_json }) => {
                json.push_str(&partial_json);
            }
            (Some(Building::Opaque(block)), Delta::Thinking { thinking }) => {
                append(block, "thinking", &thinking);
            }
            (Some(Building::Opaque(block)), Delta::Signature { signature }) => {
                append(block, "signature", &signature);
            }
            (Some(Building::Ignored), _) | (Some(_), Delta::Other) => {}
            (Some(_), _) => {
                return Err(Failure::broken(format!(
                    "content block {index} grows by what it is not made of"
                )));
            }
            (None, _) => {
                return Err(Failure::broken(format!("content block {index} grows before it began")));
            }
        }
        Ok(())
    }

    /// What a failure means after what was read so far: nothing was billed before the message began.
    pub(super) fn broken_by(self, failure: Failure) -> Failure {
        let Some(input_tokens) = self.usage.input_tokens else {
            return match self.blocks.is_empty() {
                true => failure,
                false => failure.in_an_answer(None),
            };
        };
        let (counted, blocks) = (self.usage, self.blocks);
        let received: Vec<_> = blocks.into_values().filter_map(|building| finished(building, true)).collect();
        // The last count came with the beginning; what was received since then was made, too.
        let output_tokens = counted.output_tokens.unwrap_or_default().max(estimated_output(&received));
        let usage = Usage { output_tokens, ..counted.to_usage(input_tokens) };
        failure.in_an_answer(Some(usage))
    }

    /// The reply, once [`Progress::Complete`] was said. `estimated_input` counts the input where
    /// the server did not.
    pub(super) fn finish(self, estimated_input: impl FnOnce() -> u64) -> Result<ModelReply, Failure> {
        let Some(stop) = self.stop.clone() else {
            return Err(self.broken_by(Failure::broken("the message ended without a stop reason")));
        };
        let was_cut = matches!(stop.as_str(), "max_tokens" | "model_context_window_exceeded");
        let blocks: Vec<_> =
            self.blocks.into_values().filter_map(|building| finished(building, was_cut)).collect();
        let has_calls = blocks.iter().any(|block| matches!(block, AssistantBlock::ToolCall(_)));
        let stop = match stop.as_str() {
            "max_tokens" | "model_context_window_exceeded" => StopReason::OutputLimit,
            "refusal" => StopReason::Refusal,
            // end_turn, tool_use, stop_sequence, pause_turn and reasons yet to come: what the
            // message holds says whether the model waits for results.
            _ if has_calls => StopReason::ToolCalls,
            _ => StopReason::EndOfTurn,
        };
        let input_tokens = self.usage.input_tokens.unwrap_or_else(estimated_input);
        let output_tokens = self.usage.output_tokens.unwrap_or_else(|| estimated_output(&blocks));
        let usage = Usage { output_tokens, ..self.usage.to_usage(input_tokens) };
        let model = if self.model.is_empty() { self.asked.model.clone() } else { self.model };
        Ok(ModelReply { blocks, stop, usage, model })
    }
}

fn append(block: &mut serde_json::Map<String, Value>, field: &str, more: &str) {
    let value = block.entry(field).or_insert_with(|| Value::String(String::new()));
    if let Value::String(text) = value {
        text.push_str(more);
    }
}

/// A finished block; empty text says nothing and is left out.
fn finished(building: Building, was_cut: bool) -> Option<AssistantBlock> {
    match building {
        Building::Text(text) if text.is_empty() => None,
        Building::Text(text) => Some(AssistantBlock::Text { text }),
        Building::Call { id, name, input, json } => {
            let arguments = arguments(input, json, was_cut);
            Some(AssistantBlock::ToolCall(ToolCall { id, name, arguments }))
        }
        Building::Opaque(block) => {
            Some(AssistantBlock::Opaque { provider: PROVIDER.to_owned(), block: Value::Object(block) })
        }
        Building::Ignored => None,
    }
}

/// A call without arguments streams no JSON at all; in a reply that was cut, that is a call whose
/// arguments never came.
fn arguments(input: Value, json: String, was_cut: bool) -> ToolArguments {
    if !json.trim().is_empty() {
        return serde_json::from_str(&json).map_or(ToolArguments::Malformed(json), ToolArguments::Json);
    }
    match input {
        Value::Object(fields) if !was_cut || !fields.is_empty() => ToolArguments::Json(Value::Object(fields)),
        Value::Null if !was_cut => ToolArguments::Json(Value::Object(serde_json::Map::new())),
        _ => ToolArguments::Malformed(json),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ModelError;

    fn reply_of(events: &[Value]) -> Result<ModelReply, Failure> {
        let asked = Asked { url: "http://p".into(), model: "m-1".into() };
        let mut assembly = Assembly::new(&asked);
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
    fn reasoning_text_and_calls_come_back_in_order_and_signatures_word_for_word() {
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
    fn a_call_that_the_output_limit_cut_is_never_taken_for_one_without_arguments() {
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
    fn stop_reasons_are_told_apart() {
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
    fn nonsense_is_no_reply() {
        let stop = json!({"type": "message_stop"});
        let nonsense = [
            vec![stop.clone()],
            vec![delta(0, json!({"type": "text_delta", "text": "x"})), stop.clone()],
            vec![
                start(0, json!({"type": "text", "text": ""})),
                delta(0, json!({"type": "input_json_delta", "partial_json": "{}"})),
                stop.clone(),
            ],
            vec![json!([1, 2]), stop],
        ];
        for events in nonsense {
            assert!(matches!(reply_of(&events), Err(Failure::Interrupted { .. })), "{events:?}");
        }
    }

    #[test]
    fn an_answer_that_breaks_off_was_billed_as_far_as_it_was_counted_and_received() {
        let asked = Asked { url: "http://p".into(), model: "m-1".into() };
        let broken = |events: &[Value], failure| {
            let mut assembly = Assembly::new(&asked);
            for event in events {
                assembly.read_event(&Event { data: event.to_string(), ..Event::default() }).unwrap();
            }
            assembly.broken_by(failure)
        };
        let begun = json!({"type": "message_start", "message": {"model": "m-1", "usage":
            {"input_tokens": 3, "cache_read_input_tokens": 100, "output_tokens": 1}}});
        let text = [
            start(0, json!({"type": "text", "text": ""})),
            delta(0, json!({"type": "text_delta", "text": "x".repeat(400)})),
        ];
        let overloaded = || Failure::passing("overloaded");
        assert!(matches!(broken(&[json!({"type": "ping"})], overloaded()), Failure::Passing { .. }));
        assert!(matches!(broken(&text, overloaded()), Failure::Interrupted { usage: None, .. }));
        let counted = |output_tokens| Usage {
            input_tokens: 3,
            cache_read_tokens: 100,
            output_tokens,
            ..Usage::default()
        };
        let usage = |events: &[Value]| match broken(events, overloaded()) {
            Failure::Interrupted { usage, is_passing: true, .. } => usage,
            other => panic!("{other:?}"),
        };
        assert_eq!(usage(std::slice::from_ref(&begun)), Some(counted(1)));
        let [first, second] = text;
        assert_eq!(usage(&[begun.clone(), first, second]), Some(counted(100)));
        let refused =
            Failure::Final(ModelError::ContextOverflow { model: "m-1".into(), detail: "long".into() });
        assert!(matches!(broken(&[begun], refused), Failure::Interrupted { is_passing: false, .. }));
    }
}
