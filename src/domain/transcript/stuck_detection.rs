//! Detects a model that learns nothing any more: turn after turn without a text that it has not read, and without a
//! result that it has not seen. Reading again what it wrote itself, and changing a file again, brings nothing new by
//! itself; the test run after it does, if something else fails or passes than in any run before. A pure function of the
//! transcript's events.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{ToolEffect, TranscriptEvent};
use crate::domain::{Message, TestCase, TestRun, ToolArguments, ToolCall, ToolResult};

/// After so many turns without news, the model is told to say what it knows or to ask.
const NOTICE_TURNS: u32 = 10;
/// After so many, the job ends.
const STUCK_TURNS: u32 = 16;
/// So many lines that were not shown before are news, in a file that the model changed: its own changes are fewer.
const NEW_LINES_MIN: usize = 10;
/// What the notice says, so that it is recognised in a transcript.
pub const NOTHING_NEW: &str = "nothing has been new";
/// Results that are remembered. A job's turns are limited, so honest work stays far below.
const SEEN_MAX: usize = 100_000;

/// What a model has learnt so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StuckDetector {
    /// Hashes of all results, and of the lines that were read.
    seen: HashSet<u64>,
    /// The files that the model changed.
    written: BTreeSet<String>,
    /// Whether the present turn brought something new.
    has_news: bool,
    /// Turns without news.
    turns: u32,
    /// How many there were when the model was told.
    noticed_at: Option<u32>,
}

impl StuckDetector {
    /// Turns without news, if the model must be told about it now.
    pub(super) fn due(&self) -> Option<u32> {
        (self.turns >= NOTICE_TURNS && self.noticed_at.is_none()).then_some(self.turns)
    }

    /// Turns without news, if there were so many after the notice that the job ends.
    pub(super) fn stuck_for(&self) -> Option<u32> {
        let after = self.turns.saturating_sub(self.noticed_at?);
        (after >= STUCK_TURNS - NOTICE_TURNS).then_some(self.turns)
    }

    fn begin_again(&mut self) {
        (self.turns, self.noticed_at) = (0, None);
    }

    /// Takes one more event into account, but for calls and their results.
    pub(super) fn apply(&mut self, event: &TranscriptEvent) {
        match event {
            TranscriptEvent::MessageAdded { message: Message::User { text }, .. }
                if text.contains(NOTHING_NEW) =>
            {
                self.noticed_at = Some(self.turns);
            }
            TranscriptEvent::AgentTestRun { run } => self.see(&outcome_of(run)),
            TranscriptEvent::VerdictReached { run, explanation, .. } => {
                self.see(&(run.as_ref().map(outcome_of), without_digits(explanation)));
            }
            // What the model cannot see any more, it has to read again.
            TranscriptEvent::Compacted { .. } | TranscriptEvent::ResultsElided { .. } => {
                self.seen.clear();
                self.begin_again();
            }
            // Work that spreads over many files gets on, though nothing of it is new to the model.
            TranscriptEvent::Checkpoint { paths, .. } => {
                for path in paths {
                    self.has_news |= self.written.insert(path.clone());
                }
            }
            // A person spoke, or gave more to spend.
            TranscriptEvent::Resumed { .. } => self.begin_again(),
            _ => {}
        }
    }

    /// Takes a turn's calls and their results into account. What was recorded before them counts for the same turn.
    pub(super) fn add_results(&mut self, calls: &[ToolCall], results: &[ToolResult]) {
        for (call, result) in calls.iter().zip(results) {
            self.add_result(call, result);
        }
        match self.has_news {
            true => self.begin_again(),
            false if !calls.is_empty() => self.turns += 1,
            false => {}
        }
        self.has_news = false;
    }

    fn add_result(&mut self, call: &ToolCall, result: &ToolResult) {
        match ToolEffect::of_call(call) {
            ToolEffect::Reads => {
                let had_news = self.has_news;
                let is_own = self.is_of_own_file(call);
                self.see(&(&call.name, &result.text));
                let new_lines = result.text.lines().filter(|line| self.is_new_line(line)).count();
                if is_own && new_lines < NEW_LINES_MIN {
                    self.has_news = had_news;
                }
            }
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
        if self.seen.len() < SEEN_MAX {
            self.has_news |= self.seen.insert(hash_of(what));
        }
    }

    /// Whether a line of a file was not shown before, whatever its number is now.
    fn is_new_line(&mut self, line: &str) -> bool {
        let text = line.trim_start().trim_start_matches(|letter: char| letter.is_ascii_digit()).trim();
        self.seen.len() < SEEN_MAX && self.seen.insert(hash_of(&("line", text)))
    }
}

fn hash_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// What a run tells: how it ended, and which tests do not pass with which messages. Where it names none, its output
/// without numbers.
fn outcome_of(run: &TestRun) -> (String, Option<String>, BTreeSet<(String, String)>, String) {
    let message = |case: &TestCase| without_digits(case.message.as_deref().unwrap_or_default());
    let red: BTreeSet<(String, String)> =
        run.report.red().map(|case| (run.report.title(case), message(case))).collect();
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
        BoundedOutput, ExitStatus, ProcessOutput, ReportBuilder, ReportFormat, ReportSource, TestOutcome,
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
        let call = |(name, arguments, _): &(&str, serde_json::Value, &str)| ToolCall {
            id: "c".into(),
            name: (*name).to_owned(),
            arguments: ToolArguments::Json(arguments.clone()),
        };
        let result = |(_, _, text): &(&str, serde_json::Value, &str)| ToolResult {
            call_id: "c".into(),
            text: (*text).to_owned(),
            is_error: false,
        };
        before.iter().for_each(|event| detector.apply(event));
        let results: Vec<ToolResult> = calls.iter().map(result).collect();
        detector.add_results(&calls.iter().map(call).collect::<Vec<_>>(), &results);
        if let Some(turns) = detector.due() {
            let text = format!("Notice: For {turns} turns {NOTHING_NEW}.");
            detector.apply(&message(Message::User { text }));
        }
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
        edit(&mut detector, 100);
        tests(&mut detector, &["a", "b"]);
        for number in 0..8 {
            assert_eq!(detector.stuck_for(), None, "{number}");
            edit(&mut detector, number);
            turn(
                &mut detector,
                &[("read_file", json!({"path": "./src/a.rs"}), &number.to_string())],
                &[run(&["b", "a"])],
            );
        }
        assert_eq!((detector.noticed_at, detector.stuck_for()), (Some(10), Some(16)));
    }

    #[test]
    fn new_file_or_another_failure_is_news() {
        let mut detector = StuckDetector::default();
        for number in 0..16 {
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
        for number in 0..17 {
            edit(&mut detector, number);
        }
        assert!(detector.stuck_for().is_some());
        turn(&mut detector, &[], &[]);
        assert_eq!(detector.turns, 16);
    }

    #[test]
    fn rest_of_an_own_file_another_message_and_a_shorter_context_bring_news() {
        let mut detector = StuckDetector::default();
        edit(&mut detector, 1);
        let read = |detector: &mut StuckDetector, text: &str| {
            turn(detector, &[("read_file", json!({"path": "src/a.rs"}), text)], &[]);
            detector.turns
        };
        let window = |from: usize| {
            (from..from + 20).map(|n| format!("{n}  line {}\n", "x".repeat(n))).collect::<String>()
        };
        assert_eq!((read(&mut detector, &window(1)), read(&mut detector, &window(1))), (0, 1));
        assert_eq!((read(&mut detector, &window(40)), read(&mut detector, &window(43))), (0, 1));
        let failing = |detector: &mut StuckDetector, why: &str| {
            let TranscriptEvent::AgentTestRun { mut run } = run(&["a"]) else { unreachable!() };
            run.report.cases[0].message = Some(why.to_owned());
            turn(detector, &[("run_tests", json!({}), "red")], &[TranscriptEvent::AgentTestRun { run }]);
            detector.turns
        };
        assert_eq!((failing(&mut detector, "ImportError"), failing(&mut detector, "got 1, not 2")), (0, 0));
        assert_eq!(failing(&mut detector, "got 3, not 2"), 1);
        detector.apply(&TranscriptEvent::ResultsElided { first: 1, last: 2 });
        assert_eq!(read(&mut detector, &window(1)), 0);
    }

    #[test]
    fn job_of_an_earlier_version_gets_the_notice_before_it_ends() {
        let mut detector = StuckDetector::default();
        edit(&mut detector, 0);
        detector.turns = 30;
        assert_eq!((detector.due(), detector.stuck_for()), (Some(30), None));
        edit(&mut detector, 1);
        assert_eq!((detector.noticed_at, detector.stuck_for()), (Some(31), None));
        (2..8).for_each(|number| edit(&mut detector, number));
        assert_eq!(detector.stuck_for(), Some(37));
    }
}
