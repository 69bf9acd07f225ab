//! Detects a model that learns nothing any more: turn after turn without a text that it has not read, and without a
//! result that it has not seen. Reading again what it wrote itself, and changing files, brings nothing new by itself; the
//! test run after it does, if something else fails or passes than in any run before. A pure function of the transcript's
//! events.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{ToolEffect, TranscriptEvent};
use crate::domain::{AssistantBlock, Message, TestRun, ToolArguments, ToolCall, ToolResult};

/// After so many turns without news, the model is told to say what it knows or to ask.
const NOTICE_TURNS: u32 = 10;
/// After so many, the job ends.
const STUCK_TURNS: u32 = 16;
/// Results that are remembered. A job's turns are limited, so honest work stays far below.
const SEEN_MAX: usize = 100_000;

/// What a model has learnt so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StuckDetector {
    /// The calls that wait for their results.
    pending: Vec<ToolCall>,
    /// Hashes of all results.
    seen: HashSet<u64>,
    /// The files that the model changed.
    written: BTreeSet<String>,
    /// Whether the present turn brought something new.
    has_news: bool,
    turns: u32,
}

impl StuckDetector {
    /// Turns without news, if the model must be told about it now.
    pub(super) fn due(&self) -> Option<u32> {
        (self.turns == NOTICE_TURNS).then_some(self.turns)
    }

    /// Turns without news, if there were so many that the job ends.
    pub(super) fn stuck_for(&self) -> Option<u32> {
        (self.turns >= STUCK_TURNS).then_some(self.turns)
    }

    /// Takes one more event into account.
    pub(super) fn apply(&mut self, event: &TranscriptEvent) {
        match event {
            TranscriptEvent::MessageAdded { message: Message::Assistant { blocks }, .. } => {
                let calls = blocks.iter().filter_map(|block| match block {
                    AssistantBlock::ToolCall(call) => Some(call.clone()),
                    AssistantBlock::Text { .. } | AssistantBlock::Opaque { .. } => None,
                });
                self.pending = calls.collect();
            }
            TranscriptEvent::MessageAdded { message: Message::ToolResults { results }, .. } => {
                let calls = std::mem::take(&mut self.pending);
                for (call, result) in calls.iter().zip(results) {
                    self.add_result(call, result);
                }
                if !calls.is_empty() {
                    self.turns = if self.has_news { 0 } else { self.turns + 1 };
                }
                self.has_news = false;
            }
            TranscriptEvent::AgentTestRun { run }
            | TranscriptEvent::VerdictReached { run: Some(run), .. } => {
                self.see(&outcome_of(run));
            }
            TranscriptEvent::VerdictReached { run: None, explanation, .. } => {
                self.see(&without_digits(explanation));
            }
            TranscriptEvent::Checkpoint { paths, .. } => self.written.extend(paths.iter().cloned()),
            // A person spoke, or gave more to spend.
            TranscriptEvent::Resumed { .. } => self.turns = 0,
            _ => {}
        }
    }

    fn add_result(&mut self, call: &ToolCall, result: &ToolResult) {
        match ToolEffect::of(&call.name).unwrap_or(ToolEffect::Reads) {
            ToolEffect::Reads if self.is_of_own_file(call) => {}
            ToolEffect::Reads => self.see(&(&call.name, &result.text)),
            // A run of the suite and a verdict have events of their own.
            ToolEffect::Tries if call.name == "run_tests" || call.name == "finish" => {}
            ToolEffect::Tries => self.see(&without_digits(&result.text)),
            ToolEffect::Changes | ToolEffect::Speaks => {}
        }
    }

    /// Whether a call reads a file that the model wrote, or only what it changed.
    fn is_of_own_file(&self, call: &ToolCall) -> bool {
        let ToolArguments::Json(arguments) = &call.arguments else { return false };
        let path = arguments["path"].as_str().map(|path| path.trim_start_matches("./"));
        call.name == "show_diff" || path.is_some_and(|path| self.written.contains(path))
    }

    fn see(&mut self, what: &impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        if self.seen.len() < SEEN_MAX {
            self.has_news |= self.seen.insert(hasher.finish());
        }
    }
}

/// What a run tells: how it ended and which tests do not pass. Where it names none, its output without numbers.
fn outcome_of(run: &TestRun) -> (String, Option<String>, BTreeSet<String>, String) {
    let red: BTreeSet<String> = run.report.red().map(|case| run.report.title(case)).collect();
    let output = match red.is_empty() && !run.exited_successfully() {
        true => without_digits(&run.result.output.to_text()),
        false => String::new(),
    };
    (run.result.ending.describe(), run.selection.clone(), red, output)
}

/// Times, addresses and counts make no difference.
fn without_digits(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::domain::{
        BoundedOutput, ExitStatus, ProcessOutput, ReportBuilder, ReportFormat, ReportSource, TestCase,
        TestOutcome,
    };

    fn message(message: Message) -> TranscriptEvent {
        TranscriptEvent::MessageAdded { message, usage: None, usd: None, model: None, milliseconds: 0 }
    }

    /// A turn with these calls, and the events that are recorded before their results.
    fn turn(
        detector: &mut StuckDetector,
        calls: &[(&str, serde_json::Value, &str)],
        before: &[TranscriptEvent],
    ) {
        let call = |(name, arguments, _): &(&str, serde_json::Value, &str)| {
            AssistantBlock::ToolCall(ToolCall {
                id: "c".into(),
                name: (*name).to_owned(),
                arguments: ToolArguments::Json(arguments.clone()),
            })
        };
        let result = |(_, _, text): &(&str, serde_json::Value, &str)| ToolResult {
            call_id: "c".into(),
            text: (*text).to_owned(),
            is_error: false,
        };
        detector.apply(&message(Message::Assistant { blocks: calls.iter().map(call).collect() }));
        before.iter().for_each(|event| detector.apply(event));
        detector.apply(&message(Message::ToolResults { results: calls.iter().map(result).collect() }));
    }

    fn edit(detector: &mut StuckDetector, number: usize) {
        let checkpoint = TranscriptEvent::Checkpoint {
            tree: "1".repeat(40).parse().unwrap(),
            paths: vec!["src/a.rs".to_owned()],
            contents: vec![Some(number.to_string())],
        };
        turn(detector, &[("edit_file", json!({"path": "src/a.rs", "n": number}), "done")], &[checkpoint]);
    }

    fn run(red: &[&str]) -> TranscriptEvent {
        let mut report = ReportBuilder::default();
        red.iter().for_each(|name| report.push(TestCase::new(*name, TestOutcome::Failed)));
        let counts = report.counted();
        let output = BoundedOutput { head: format!("took {} ms", red.len()), ..BoundedOutput::default() };
        TranscriptEvent::AgentTestRun {
            run: TestRun {
                command: "t".into(),
                selection: None,
                result: ProcessOutput {
                    ending: ExitStatus::Exited { code: 1 },
                    output,
                    duration: Duration::ZERO,
                },
                report: report.finish(ReportSource::File, ReportFormat::Junit, Some(counts), true),
            },
        }
    }

    fn tests(detector: &mut StuckDetector, red: &[&str]) {
        turn(detector, &[("run_tests", json!({}), "red, in other words each time")], &[run(red)]);
    }

    #[test]
    fn changes_after_which_the_same_tests_fail_bring_nothing_new() {
        let mut detector = StuckDetector::default();
        tests(&mut detector, &["a", "b"]);
        let mut notices = Vec::new();
        for number in 0..8 {
            assert_eq!(detector.stuck_for(), None, "{number}");
            edit(&mut detector, number);
            notices.extend(detector.due());
            turn(
                &mut detector,
                &[("read_file", json!({"path": "./src/a.rs"}), &number.to_string())],
                &[run(&["b", "a"])],
            );
            notices.extend(detector.due());
        }
        assert_eq!((notices, detector.stuck_for()), (vec![10], Some(16)));
    }

    #[test]
    fn new_file_or_another_failure_is_news() {
        let mut detector = StuckDetector::default();
        for number in 0..15 {
            edit(&mut detector, number);
        }
        assert_eq!((detector.turns, detector.stuck_for()), (15, None));
        turn(&mut detector, &[("read_file", json!({"path": "src/b.rs"}), "text")], &[]);
        assert_eq!(detector.turns, 0);
        turn(&mut detector, &[("read_file", json!({"path": "src/b.rs"}), "text")], &[]);
        assert_eq!(detector.turns, 1);
        tests(&mut detector, &["a"]);
        tests(&mut detector, &["b"]);
        assert_eq!(detector.turns, 0);
        tests(&mut detector, &["a"]);
        assert_eq!(detector.turns, 1);
    }

    #[test]
    fn commands_verdicts_and_people_bring_news() {
        let mut detector = StuckDetector::default();
        let command = |detector: &mut StuckDetector, text: &str| {
            turn(detector, &[("run_command", json!({"argv": ["make"]}), text)], &[]);
            detector.turns
        };
        assert_eq!(command(&mut detector, "exit code 2 after 0.3 s: no rule"), 0);
        assert_eq!(command(&mut detector, "exit code 2 after 0.4 s: no rule"), 1);
        assert_eq!(command(&mut detector, "exit code 2 after 0.4 s: no file"), 0);
        let verdict = |explanation: &str| TranscriptEvent::VerdictReached {
            verified: false,
            tree: "1".repeat(40).parse().unwrap(),
            explanation: explanation.to_owned(),
            run: None,
            proof: None,
            flags: Vec::new(),
        };
        for (text, turns) in [("brings no test", 0), ("brings no test", 1), ("passes on the base", 0)] {
            turn(&mut detector, &[("finish", json!({}), "refused")], &[verdict(text)]);
            assert_eq!(detector.turns, turns, "{text}");
        }
        for number in 0..16 {
            edit(&mut detector, number);
        }
        assert!(detector.stuck_for().is_some());
        turn(&mut detector, &[], &[]);
        assert_eq!(detector.turns, 16);
    }
}
