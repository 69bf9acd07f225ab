//! Defines when a replay is the same as the recording. Both transcripts are reduced to steps, which are
//! compared in order:
//! - the baseline, and each run of the suite by the agent: how it ended, and which tests failed;
//! - each result of a tool: whether it is an error, and its text;
//! - what the model is told beside that; the plan; each checkpoint's tree and paths;
//! - each verdict: whether it is verified, the tree, the failing tests, the proof.
//!
//! Not compared: the model's answers (they are taken from the recording), states, times, costs, the
//! sandbox's description, setup, network, notes, what is published, how the job ended, and events
//! of a later version.
//!
//! In texts, what is never twice the same is taken out first, see [`normalised`]. Of texts that hold
//! the output of tests (`run_tests`, `finish`, `read_result`, and what the model is told) the lines
//! may come in any order: parallel tests print in any.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use crate::domain::{AssistantBlock, FailedTest, Message, RecordedEvent, TestRun, TranscriptEvent};

/// Lines of each side that a difference shows.
const LINES_SHOWN_MAX: usize = 12;
/// Longest line that is shown whole.
const LINE_CHARS_MAX: usize = 300;

/// Tools whose results hold the output of tests and other programs.
const OUTPUT_TOOLS: [&str; 5] = ["run_tests", "run_script", "check_files", "finish", "read_result"];

/// A step of a transcript that is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayStep {
    /// The number of the model's answers before it.
    pub turn: u32,
    /// The tool, if the step is a tool result.
    pub tool: Option<String>,
    /// The kind of step.
    pub what: &'static str,
    /// The compared text.
    pub text: String,
}

/// The first step that differs from the recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// The recorded step; `None`: nothing more was recorded.
    pub expected: Option<ReplayStep>,
    /// The replayed step; `None`: nothing more happened.
    pub actual: Option<ReplayStep>,
}

impl Divergence {
    /// Describes the location and the lines that differ.
    pub fn describe(&self) -> String {
        let Some(step) = self.expected.as_ref().or(self.actual.as_ref()) else { return String::new() };
        let tool = step.tool.as_ref().map(|tool| format!(" of {tool}")).unwrap_or_default();
        let mut words = format!("turn {}: {}{tool}\n", step.turn, step.what);
        match (&self.expected, &self.actual) {
            (Some(expected), Some(actual))
                if expected.what == actual.what && expected.tool == actual.tool =>
            {
                words += &differing_lines(&expected.text, &actual.text);
            }
            (expected, actual) => {
                for (sign, side) in [('-', expected), ('+', actual)] {
                    let shown = side.as_ref().map_or_else(
                        || "(nothing)".to_owned(),
                        |step| {
                            format!(
                                "{}{}",
                                step.what,
                                step.tool.as_deref().map(|t| format!(" of {t}")).unwrap_or_default()
                            )
                        },
                    );
                    let _ = writeln!(words, "{sign} {shown}");
                }
            }
        }
        words
    }
}

/// The first lines that differ, a few of each side.
fn differing_lines(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let first = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let mut shown = String::new();
    if first > 0 {
        let _ = writeln!(shown, "  (the same up to line {first})");
    }
    for (sign, side) in [('-', &old), ('+', &new)] {
        for line in side.iter().skip(first).take(LINES_SHOWN_MAX) {
            let line: String =
                line.chars().take(LINE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
            let _ = writeln!(shown, "{sign} {line}");
        }
        let more = side.len().saturating_sub(first + LINES_SHOWN_MAX);
        if more > 0 {
            let _ = writeln!(shown, "{sign} … {more} more lines");
        }
    }
    shown
}

/// The first difference between `now` and `recorded`. A job that is not `done` may still reach later steps.
pub(super) fn first_divergence(
    recorded: &[ReplayStep],
    now: &[ReplayStep],
    done: bool,
) -> Option<Divergence> {
    let same = recorded.iter().zip(now).take_while(|(one, other)| one == other).count();
    let (expected, actual) = (recorded.get(same).cloned(), now.get(same).cloned());
    match (&expected, &actual) {
        (None, None) => None,
        (Some(_), None) if !done => None,
        _ => Some(Divergence { expected, actual }),
    }
}

/// The steps of a transcript.
pub(super) fn steps(transcript: &[RecordedEvent]) -> Vec<ReplayStep> {
    let mut steps = Vec::new();
    let mut turn = 0;
    let mut calls: Vec<(String, String)> = Vec::new();
    for recorded in transcript {
        let mut add = |what, tool: Option<String>, text: String| {
            steps.push(ReplayStep { turn, tool, what, text });
        };
        match &recorded.event {
            TranscriptEvent::BaselineRun { run } => add("the suite at the base", None, run_in_words(run)),
            TranscriptEvent::AgentTestRun { run } => {
                add("the suite, run by the agent", None, run_in_words(run));
            }
            TranscriptEvent::PlanUpdated { plan } => add("the plan", None, plan.clone()),
            TranscriptEvent::Checkpoint { tree, paths, .. } => {
                add("the files as the tools left them", None, format!("tree {tree}\n{}", paths.join("\n")));
            }
            TranscriptEvent::VerdictReached { verified, tree, run, proof, .. } => {
                let run = run.as_ref().map(run_in_words).unwrap_or_default();
                let proof = proof.as_deref().map(names).unwrap_or_else(|| "none".to_owned());
                add("the verdict", None, format!("verified: {verified}\ntree {tree}\n{run}\nproof: {proof}"));
            }
            TranscriptEvent::MessageAdded { message, .. } => match message {
                Message::User { text } => add("what the model is told", None, in_any_order(text)),
                Message::Assistant { blocks } => {
                    turn += 1;
                    calls = blocks.iter().filter_map(call).collect();
                }
                Message::ToolResults { results } => {
                    for result in results {
                        let tool =
                            calls.iter().find(|(id, _)| *id == result.call_id).map(|(_, name)| name.clone());
                        let holds_output = tool.as_deref().is_some_and(|tool| OUTPUT_TOOLS.contains(&tool));
                        let text = match holds_output {
                            true => in_any_order(&result.text),
                            false => normalised(&result.text),
                        };
                        let error = if result.is_error { "error: " } else { "" };
                        add("the result", tool, format!("{error}{text}"));
                    }
                }
            },
            _ => {}
        }
    }
    steps
}

fn in_any_order(text: &str) -> String {
    let text = normalised(text);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn call(block: &AssistantBlock) -> Option<(String, String)> {
    match block {
        AssistantBlock::ToolCall(call) => Some((call.id.clone(), call.name.clone())),
        AssistantBlock::Text { .. } | AssistantBlock::Opaque { .. } => None,
    }
}

fn run_in_words(run: &TestRun) -> String {
    format!("{}: {}\nfailed: {}", run.command, run.result.ending.describe(), names(&run.failed()))
}

fn names(tests: &[FailedTest]) -> String {
    let mut names: Vec<&str> = tests.iter().map(|test| test.0.as_str()).collect();
    names.sort_unstable();
    names.join(", ")
}

/// Replaces what differs between any two runs: times, durations, temporary paths, process and thread ids,
/// memory addresses, local ports. Each becomes a word in angle brackets.
pub fn normalised(text: &str) -> String {
    static VOLATILE: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let rules = [
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?", "<when>"),
            (r"\b\d\d:\d\d:\d\d([.,]\d+)?\b", "<when>"),
            (
                r"\b\d+(\.\d+)?\s?(milliseconds?|seconds?|secs?|minutes?|mins?|hours?|ms|µs|us|ns|s|m|h)\b",
                "<time>",
            ),
            (r"(/var)?/tmp/[^\s'\x22:)\]]+", "<tmp>"),
            (r"(thread '[^']*') \(\d+\)", "$1 (<id>)"),
            (r"(?:\b|\()((?:pid|PID|tid|process|thread)[ =:#]+)\d+", "$1<id>"),
            (r"\b0x[0-9a-fA-F]{6,16}\b", "<address>"),
            (r"\b(127\.0\.0\.1|localhost|\[::1\]):\d+", "$1:<port>"),
        ];
        rules.map(|(pattern, to)| (Regex::new(pattern).expect("a pattern of ours"), to)).to_vec()
    });
    let mut text = text.to_owned();
    for (pattern, to) in VOLATILE.iter() {
        if let std::borrow::Cow::Owned(changed) = pattern.replace_all(&text, *to) {
            text = changed;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volatile_parts_are_replaced() {
        let text = "`cargo test`: exit code 101 after 1.2 s.\nfinished in 0.00s; 12 ms; 3 seconds\n\
                    thread 'a::b' (4711) panicked at src/lib.rs:12:3\nat 0x7ffd3a2b1c10, pid 42, /tmp/x.Ab12/log:3\n\
                    2026-11-22T10:00:00.123Z 10:00:01 on 127.0.0.1:40123\n3 tests, 2 items, line 17";
        insta::assert_snapshot!(normalised(text), @"
        `cargo test`: exit code 101 after <time>.
        finished in <time>; <time>; <time>
        thread 'a::b' (<id>) panicked at src/lib.rs:12:3
        at <address>, pid <id>, <tmp>:3
        <when> <when> on 127.0.0.1:<port>
        3 tests, 2 items, line 17
        ");
    }

    fn step(text: &str) -> ReplayStep {
        ReplayStep { turn: 2, tool: Some("read_file".into()), what: "the result", text: text.into() }
    }

    #[test]
    fn divergence_is_described_with_its_turn_and_lines() {
        let (recorded, now) = ([step("a\nb\nc"), step("x")], [step("a\nB\nc")]);
        insta::assert_snapshot!(first_divergence(&recorded, &now, false).unwrap().describe(), @"
        turn 2: the result of read_file
          (the same up to line 1)
        - b
        - c
        + B
        + c
        ");
        assert_eq!(first_divergence(&recorded, &recorded[..1], false), None);
        insta::assert_snapshot!(first_divergence(&recorded, &recorded[..1], true).unwrap().describe(), @r"
        turn 2: the result of read_file
        - the result of read_file
        + (nothing)
        ");
        assert_eq!(first_divergence(&recorded, &recorded, true), None);
    }
}
