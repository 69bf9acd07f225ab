//! What each part of a job's requests to the model costs. A part is paid for again in every request after it, so a part
//! that is said once and early costs most.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::agent::{Agent, Conversation};
use crate::domain::{AssistantBlock, Message, RecordedEvent, ToolEffect, TranscriptEvent, Usage};
use crate::model::{block_bytes, instruction_bytes};

/// The parts of all requests of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RequestCosts {
    /// Requests that the model answered.
    pub requests: u64,
    /// What the provider counted for them.
    pub usage: Usage,
    /// US dollars for them; `None`: no price is known for one.
    pub usd: Option<f64>,
    /// The parts, the most expensive first.
    pub parts: Vec<PartCost>,
}

/// A part of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartCost {
    /// What it is.
    pub part: String,
    /// Its bytes of text.
    pub bytes: u64,
    /// Its bytes in all requests together.
    pub sent_bytes: u64,
}

/// Bytes of text: once, and in all requests.
#[derive(Default)]
struct Sums(BTreeMap<String, (u64, u64)>);

impl Sums {
    fn once(&mut self, part: &str, bytes: u64) {
        self.0.entry(part.to_owned()).or_default().0 += bytes;
    }

    fn sent(&mut self, part: &str, bytes: u64) {
        self.0.entry(part.to_owned()).or_default().1 += bytes;
    }
}

impl RequestCosts {
    /// The costs of the requests in `transcript`. The system prompt and the tools are not in it: they are counted as
    /// this build has them, with every tool that a job can have. The setup agent's requests are left out.
    pub fn of(transcript: &[RecordedEvent]) -> Self {
        let instructions = Agent::shortest_request(0);
        let system = instruction_bytes(&instructions.system, &[]);
        let tools = instruction_bytes("", &instructions.tools);
        let mut sums = Sums::default();
        let mut tool_of_call: BTreeMap<String, String> = BTreeMap::new();
        let mut state = Conversation::replay(&[]);
        let mut costs = Self { usd: Some(0.0), ..Self::default() };
        for recorded in transcript {
            let event = &recorded.event;
            if let (TranscriptEvent::MessageAdded { message, usage, usd, .. }, false) =
                (event, state.is_of_setup_agent())
            {
                if let Message::Assistant { blocks } = message {
                    costs.requests += 1;
                    costs.usage += usage.unwrap_or_default();
                    costs.usd = costs.usd.zip(*usd).map(|(sum, one)| sum + one);
                    sums.sent("system prompt", system);
                    sums.sent("tools", tools);
                    for (at, shown) in state.view.messages().iter().enumerate() {
                        parts(shown, at == 0, &tool_of_call, |part, bytes| sums.sent(part, bytes));
                    }
                    let calls = blocks.iter().filter_map(|block| match block {
                        AssistantBlock::ToolCall(call) => Some((call.id.clone(), call.name.clone())),
                        AssistantBlock::Text { .. } | AssistantBlock::Opaque { .. } => None,
                    });
                    tool_of_call.extend(calls);
                }
                parts(message, !state.has_started(), &tool_of_call, |part, bytes| sums.once(part, bytes));
            }
            state.apply(event);
        }
        if costs.requests > 0 {
            sums.once("system prompt", system);
            sums.once("tools", tools);
        }
        costs.parts = sums
            .0
            .into_iter()
            .map(|(part, (bytes, sent_bytes))| PartCost { part, bytes, sent_bytes })
            .collect();
        costs.parts.sort_by_key(|part| Reverse(part.sent_bytes));
        costs
    }

    /// As a table for a terminal.
    pub fn table(&self) -> String {
        let total: u64 = self.parts.iter().map(|part| part.sent_bytes).sum();
        let usd = self.usd.map_or("price unknown".to_owned(), |usd| format!("${usd:.4}"));
        let mut text = format!(
            "{} requests with {total} bytes of text. The provider counted {} tokens read, {} of them from its cache, and {} \
             written; {usd}.\n\n{:<32} {:>10} {:>12} {:>6}\n",
            self.requests,
            self.usage.prompt(),
            self.usage.cache_read_tokens,
            self.usage.output_tokens,
            "part",
            "bytes once",
            "in all",
            "share"
        );
        for PartCost { part, bytes, sent_bytes } in &self.parts {
            let share = sent_bytes * 100 / total.max(1);
            text.push_str(&format!("{part:<32} {bytes:>10} {sent_bytes:>12} {share:>5}%\n"));
        }
        text
    }
}

/// Gives the parts of a message with their bytes. The first message has the task, or the summary in its place.
fn parts(
    message: &Message,
    is_first: bool,
    tool_of_call: &BTreeMap<String, String>,
    mut give: impl FnMut(&str, u64),
) {
    match message {
        Message::User { text } if is_first => give("first message", text.len() as u64),
        Message::User { text } => give("notices", text.len() as u64),
        Message::Assistant { blocks } => {
            for block in blocks {
                let part = match block {
                    AssistantBlock::Text { .. } => "the model's words",
                    AssistantBlock::ToolCall(_) => "the model's calls",
                    AssistantBlock::Opaque { .. } => "the model's reasoning",
                };
                give(part, block_bytes(block) as u64);
            }
        }
        Message::ToolResults { results } => {
            for result in results {
                // A name that a model made up is not printed.
                let tool = tool_of_call.get(&result.call_id).filter(|tool| ToolEffect::of(tool).is_some());
                let tool = tool.map_or("an unknown tool", String::as_str);
                give(&format!("results of {tool}"), (result.text.len() + result.call_id.len()) as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{ToolArguments, ToolCall, ToolResult};

    fn recorded(messages: Vec<(Message, Option<f64>)>) -> Vec<RecordedEvent> {
        let event = |(at, (message, usd)): (usize, (Message, Option<f64>))| RecordedEvent {
            sequence: at as u64 + 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            event: TranscriptEvent::MessageAdded {
                usage: Some(Usage { input_tokens: 100, output_tokens: 10, ..Usage::default() }),
                usd,
                message,
                model: None,
                milliseconds: 0,
            },
        };
        messages.into_iter().enumerate().map(event).collect()
    }

    fn call(id: &str, tool: &str) -> AssistantBlock {
        let arguments = ToolArguments::Json(json!({}));
        AssistantBlock::ToolCall(ToolCall { id: id.to_owned(), name: tool.to_owned(), arguments })
    }

    #[test]
    fn each_part_counts_once_in_every_request_after_it() {
        let result = |id: &str, text: &str| Message::ToolResults {
            results: vec![ToolResult { call_id: id.to_owned(), text: text.to_owned(), is_error: false }],
        };
        let text = |text: &str| AssistantBlock::Text { text: text.to_owned() };
        let costs = RequestCosts::of(&recorded(vec![
            (Message::User { text: "t".repeat(100) }, None),
            (Message::Assistant { blocks: vec![text("hm"), call("1", "read_file")] }, Some(0.5)),
            (result("1", "nine byte"), None),
            (Message::Assistant { blocks: vec![call("2", "finish")] }, Some(0.25)),
            (result("2", "red"), None),
            (Message::User { text: "stop".to_owned() }, None),
            (Message::Assistant { blocks: vec![text("end")] }, Some(0.25)),
        ]));
        assert_eq!((costs.requests, costs.usd, costs.usage.input_tokens), (3, Some(1.0), 300));
        let of = |name: &str| {
            let part = costs.parts.iter().find(|part| part.part == name).unwrap();
            (part.bytes, part.sent_bytes)
        };
        assert_eq!(of("first message"), (100, 300));
        assert_eq!(of("results of read_file"), (10, 20));
        assert_eq!(of("results of finish"), (4, 4));
        assert_eq!(of("notices"), (4, 4));
        assert_eq!(of("the model's words"), (5, 4));
        // "1" + "read_file" + "{}" in two requests, "2" + "finish" + "{}" in one.
        assert_eq!(of("the model's calls"), (12 + 9, 24 + 9));
        let (tools, sent) = of("tools");
        assert!(tools > 1_000 && sent == 3 * tools);
        assert_eq!(costs.parts[0].part, "tools");
    }

    #[test]
    fn unknown_price_and_no_request_differ() {
        let one = RequestCosts::of(&recorded(vec![
            (Message::User { text: "t".to_owned() }, None),
            (Message::Assistant { blocks: Vec::new() }, None),
        ]));
        assert!(one.usd.is_none() && one.table().contains("price unknown"));
        let none = RequestCosts::of(&[]);
        assert_eq!((none.requests, none.parts.len()), (0, 0));
        assert!(none.table().starts_with("0 requests with 0 bytes of text."), "{}", none.table());
    }
}
