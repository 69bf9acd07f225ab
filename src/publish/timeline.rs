//! What happened in a job, turn by turn: as a short list, and in full in collapsed sections.

use std::time::Duration;

use super::escape::{code_span, cut, fenced, html_text, inline, quoted, visible};
use super::format::{dollars, output_tail, run_in_cell, tail, time};
use crate::domain::{AssistantBlock, Message, TestRun, ToolArguments, ToolCall, TranscriptEvent};

/// Turns in the short list, from its end; earlier ones are counted.
const TURNS_LISTED_MAX: usize = 30;
/// Calls of one turn in the short list.
const CALLS_LISTED_MAX: usize = 6;
/// Longest text by the model, or arguments of one call, in a section.
const TEXT_CHARS_MAX: usize = 6_000;
/// Longest result of a tool in a section, from its end.
const RESULT_CHARS_MAX: usize = 4_000;
const RESULT_LINES_MAX: usize = 80;
/// Longest section: a turn with fifty parallel calls must still fit in one comment.
const SECTION_CHARS_MAX: usize = 30_000;

/// What happened in a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Timeline {
    turns: Vec<Turn>,
    /// Whether the agent that fixes was given its task.
    has_task: bool,
    /// Whether the setup agent was, if it is at work.
    setup_agent_has_task: Option<bool>,
}

/// One message of the model, and everything that followed before the next one.
#[derive(Debug, Clone, Default, PartialEq)]
struct Turn {
    text: String,
    calls: Vec<TimelineCall>,
    cost: Option<f64>,
    took: Duration,
    /// The test runs, verdicts and messages to the model that followed.
    followed: Vec<Followed>,
}

#[derive(Debug, Clone, PartialEq)]
struct TimelineCall {
    id: String,
    name: String,
    subject: Option<String>,
    arguments: String,
    result: Option<(String, bool)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Followed {
    Tests(Box<TestRun>),
    Verdict { verified: bool, explanation: String },
    Message(String),
}

impl Timeline {
    pub(super) fn add(&mut self, event: &TranscriptEvent) {
        match event {
            TranscriptEvent::MessageAdded { message, usd, milliseconds, .. } => {
                let took = Duration::from_millis(*milliseconds);
                match message {
                    Message::Assistant { blocks } => self.turns.push(Turn::new(blocks, *usd, took)),
                    Message::ToolResults { results } => {
                        let Some(turn) = self.turns.last_mut() else { return };
                        turn.took += took;
                        for result in results {
                            let call = turn.calls.iter_mut().find(|call| call.id == result.call_id);
                            if let Some(call) = call {
                                call.result = Some((result.text.clone(), result.is_error));
                            }
                        }
                    }
                    // The first message of a conversation is its task, which the issue shows.
                    Message::User { text } => {
                        let has_task = self.setup_agent_has_task.as_mut().unwrap_or(&mut self.has_task);
                        if std::mem::replace(has_task, true) {
                            self.followed(Followed::Message(text.clone()));
                        }
                    }
                }
            }
            TranscriptEvent::SetupAgentStarted { .. } => self.setup_agent_has_task = Some(false),
            TranscriptEvent::SetupAgentEnded { .. } => self.setup_agent_has_task = None,
            TranscriptEvent::AgentTestRun { run } => self.followed(Followed::Tests(Box::new(run.clone()))),
            TranscriptEvent::VerdictReached { verified, explanation, .. } => {
                self.followed(Followed::Verdict { verified: *verified, explanation: explanation.clone() });
            }
            _ => {}
        }
    }

    fn followed(&mut self, what: Followed) {
        if let Some(turn) = self.turns.last_mut() {
            turn.followed.push(what);
        }
    }

    /// Whether the model ever answered.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// A line for each turn.
    pub(super) fn short_list(&self) -> String {
        let left_out = self.turns.len().saturating_sub(TURNS_LISTED_MAX);
        let mut lines = Vec::new();
        if left_out > 0 {
            lines.push(format!("- … {left_out} earlier turns"));
        }
        for (index, turn) in self.turns.iter().enumerate().skip(left_out) {
            lines.push(format!("- **Turn {}:** {}", index + 1, turn.summary_line()));
        }
        lines.join("\n")
    }

    /// A collapsed section for each turn, each complete in itself.
    pub(super) fn sections(&self) -> Vec<String> {
        self.turns.iter().enumerate().map(|(index, turn)| turn.section(index + 1)).collect()
    }
}

impl Turn {
    fn new(blocks: &[AssistantBlock], cost: Option<f64>, took: Duration) -> Self {
        let mut turn = Self { cost, took, ..Self::default() };
        for block in blocks {
            match block {
                AssistantBlock::Text { text } => {
                    turn.text += text;
                    turn.text += "\n";
                }
                AssistantBlock::ToolCall(call) => turn.calls.push(TimelineCall::new(call)),
                AssistantBlock::Opaque { .. } => {}
            }
        }
        turn
    }

    fn summary_line(&self) -> String {
        let mut parts = Vec::new();
        if self.calls.is_empty() {
            parts.push(inline(&cut(&self.text, 160)));
        }
        parts.extend(self.calls.iter().take(CALLS_LISTED_MAX).map(TimelineCall::summary_line));
        if self.calls.len() > CALLS_LISTED_MAX {
            parts.push(format!("{} more calls", self.calls.len() - CALLS_LISTED_MAX));
        }
        parts.extend(self.followed.iter().filter_map(|followed| match followed {
            Followed::Tests(run) => Some(format!("tests: {}", run_in_cell(run))),
            Followed::Verdict { verified: true, .. } => Some("verdict: verified".to_owned()),
            Followed::Verdict { verified: false, explanation } => {
                Some(format!("verdict: not verified, {}", inline(&cut(explanation, 160))))
            }
            Followed::Message(_) => None,
        }));
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() { "(no text)".to_owned() } else { parts.join("; ") }
    }

    fn section(&self, number: usize) -> String {
        let calls: Vec<String> = self.calls.iter().map(|call| html_text(&cut(&call.name, 60))).collect();
        let title = if calls.is_empty() { "text only".to_owned() } else { calls.join(", ") };
        let cost = self.cost.map_or_else(String::new, |cost| format!(", {}", dollars(Some(cost))));
        let summary = format!("Turn {number}: {} ({}{cost})", cut(&title, 200), time(self.took));
        let mut parts = Vec::new();
        if !self.text.trim().is_empty() {
            parts.push(quoted(&cut(&self.text, TEXT_CHARS_MAX)));
        }
        for call in &self.calls {
            parts.push(format!(
                "{}\n\n{}",
                call.summary_line(),
                fenced(&cut(&call.arguments, TEXT_CHARS_MAX), "json")
            ));
            if let Some((text, _)) = &call.result {
                parts.push(fenced(&tail(&visible(text), RESULT_LINES_MAX, RESULT_CHARS_MAX), "text"));
            }
        }
        for followed in &self.followed {
            parts.push(match followed {
                Followed::Tests(run) => {
                    format!("Tests: {}\n\n{}", run_in_cell(run), fenced(&output_tail(run), "text"))
                }
                Followed::Verdict { verified, explanation } => {
                    let verdict = if *verified { "verified" } else { "not verified" };
                    format!(
                        "Verdict: {verified}\n\n{}",
                        quoted(&cut(explanation, TEXT_CHARS_MAX)),
                        verified = verdict
                    )
                }
                Followed::Message(text) => {
                    format!("Message to the model:\n\n{}", quoted(&cut(text, TEXT_CHARS_MAX)))
                }
            });
        }
        // Whole parts only: a fence or a quotation is never cut in two.
        let mut body = String::new();
        let mut left_out = 0;
        for part in parts {
            if left_out > 0 || body.chars().count() + part.chars().count() > SECTION_CHARS_MAX {
                left_out += 1;
            } else {
                body += part.trim_end();
                body += "\n\n";
            }
        }
        if left_out > 0 {
            body += &format!("… {left_out} more parts of this turn are left out.\n\n");
        }
        format!("<details><summary>{summary}</summary>\n\n{body}</details>\n")
    }
}

impl TimelineCall {
    fn new(call: &ToolCall) -> Self {
        let (subject, arguments) = match &call.arguments {
            ToolArguments::Json(value) => {
                let subject = ["path", "pattern", "from", "question", "command", "test", "missing"]
                    .iter()
                    .find_map(|key| value[*key].as_str());
                let pretty = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
                (subject.map(str::to_owned), pretty)
            }
            ToolArguments::Malformed(text) => (Some("broken JSON".to_owned()), text.clone()),
        };
        Self { id: call.id.clone(), name: call.name.clone(), subject, arguments, result: None }
    }

    fn summary_line(&self) -> String {
        let name = code_span(&cut(&self.name, 60));
        let subject = self.subject.as_ref().map(|subject| format!(" {}", code_span(&cut(subject, 100))));
        let failed = match &self.result {
            Some((_, true)) => " → error",
            Some((_, false)) => "",
            // The verdict or a person answers the calls that end a run.
            None if matches!(self.name.as_str(), "finish" | "ask_human" | "propose_setup" | "give_up") => "",
            None => " → not run",
        };
        format!("{name}{}{failed}", subject.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_message_of_each_conversation_is_left_out_and_later_ones_are_shown() {
        let message = |message| TranscriptEvent::MessageAdded {
            message,
            usage: None,
            usd: None,
            model: None,
            milliseconds: 0,
        };
        let to_model = |text: &str| message(Message::User { text: text.to_owned() });
        let answered = || message(Message::Assistant { blocks: vec![] });
        let started = || TranscriptEvent::SetupAgentStarted { usd_max: 1.0, turns_max: 25 };
        let ended = || TranscriptEvent::SetupAgentEnded { recipe: None, why: None };
        let mut timeline = Timeline::default();
        for event in [
            started(),
            to_model("first search"),
            answered(),
            // The worker was ended.
            started(),
            to_model("second search"),
            answered(),
            to_model("you called no tool"),
            ended(),
            to_model("the issue"),
            answered(),
            // A further round with another base.
            started(),
            to_model("third search"),
            answered(),
            ended(),
            to_model("a review"),
        ] {
            timeline.add(&event);
        }
        let shown: Vec<&Followed> = timeline.turns.iter().flat_map(|turn| &turn.followed).collect();
        let texts = ["you called no tool", "a review"].map(|text| Followed::Message(text.to_owned()));
        assert_eq!(shown, texts.iter().collect::<Vec<_>>());
    }
}
