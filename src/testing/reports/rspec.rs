//! What RSpec prints, and the JSON that it writes.

use std::collections::HashMap;

use serde::Deserialize;

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestLocation, TestOutcome, TestReport,
};

use super::text::{Innermost, before, blocks, expression, frame, number, relative, take_first_lines};

#[derive(Deserialize)]
struct RspecFile {
    #[serde(default)]
    examples: Vec<RspecExample>,
    summary: RspecSummary,
    #[serde(default)]
    messages: Vec<String>,
}

#[derive(Deserialize)]
struct RspecExample {
    full_description: String,
    status: String,
    file_path: Option<String>,
    line_number: Option<u32>,
    pending_message: Option<String>,
    exception: Option<RspecException>,
}

#[derive(Deserialize)]
struct RspecException {
    message: Option<String>,
    backtrace: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RspecSummary {
    example_count: u64,
    #[serde(default)]
    errors_outside_of_examples_count: u64,
}

/// Reads what RSpec's `json` formatter wrote.
pub(super) fn json(text: &str) -> Option<TestReport> {
    let written: RspecFile = serde_json::from_str(text).ok()?;
    let mut builder = ReportBuilder::default();
    let examples = written.examples.len() as u64;
    for example in written.examples {
        let outcome = match example.status.as_str() {
            "passed" => TestOutcome::Passed,
            "failed" => TestOutcome::Failed,
            _ => TestOutcome::Skipped,
        };
        let mut case = TestCase::new(example.full_description, outcome);
        case.group = example.file_path.as_deref().map(|file| relative(file).to_owned());
        case.message = example.pending_message;
        if let Some(exception) = example.exception.filter(|_| case.outcome == TestOutcome::Failed) {
            case.message = exception.message.and_then(|message| take_first_lines(&message));
            case.location = example
                .file_path
                .map(|file| TestLocation { file: relative(&file).to_owned(), line: example.line_number });
            if let Some((line, at)) =
                frame(&exception.backtrace.unwrap_or_default().join("\n"), Innermost::First)
            {
                case.frame = Some(line);
                case.location = Some(at);
            }
        }
        builder.push_another(case);
    }
    if written.summary.errors_outside_of_examples_count > 0 {
        for message in &written.messages {
            outside_of_examples(message, &mut builder);
        }
    }
    let counts = builder.counted();
    let finished = examples >= written.summary.example_count;
    Some(builder.finish(ReportSource::File, ReportFormat::Rspec, Some(counts), finished))
}

/// `An error occurred while loading ./spec/more_spec.rb.`
fn outside_of_examples(text: &str, builder: &mut ReportBuilder) {
    let loading = expression!(r"(?m)^An error occurred while loading (\S+?)\.?$");
    for (captures, block) in blocks(loading, text) {
        let mut case = TestCase::broken(relative(&captures[1]));
        case.message = take_first_lines(before(block, "\n# "));
        case.location = Some(TestLocation { file: relative(&captures[1]).to_owned(), line: None });
        builder.push(case);
    }
}

/// RSpec. It names only what failed.
pub(in crate::testing) fn printed(text: &str) -> Option<TestReport> {
    let summary = expression!(
        r"(?m)^(?P<all>\d+) examples?, (?P<failed>\d+) failures?(?:, (?P<pending>\d+) pending)?(?:, (?P<errors>\d+) errors? occurred outside of examples)?$"
    );
    let summary_line = summary.captures_iter(text).last()?;
    let mut builder = ReportBuilder::default();
    outside_of_examples(text, &mut builder);
    let mut details = details(text);
    let failed = expression!(r"(?m)^rspec (\S+?)(?::(\d+)|\[[\d:,]+\])(?: # (.*))?$");
    for captures in failed.captures_iter(text) {
        let name = captures.get(3).map_or(&captures[1], |name| name.as_str().trim()).to_owned();
        let mut case = TestCase::new(name.clone(), TestOutcome::Failed);
        let line = captures.get(2).and_then(|line| line.as_str().parse().ok());
        case.location = Some(TestLocation { file: relative(&captures[1]).to_owned(), line });
        // A test that is named twice has its details once.
        if let Some(block) = details.remove(name.as_str()) {
            let said: Vec<&str> = block.iter().take_while(|line| !line.starts_with("# ")).copied().collect();
            case.message = take_first_lines(&said.join("\n"));
            let stack: Vec<&str> = block.iter().filter(|line| line.starts_with("# ")).copied().collect();
            case.frame = frame(&stack.join("\n"), Innermost::First).map(|(line, _)| line);
        }
        builder.push(case);
    }
    let (all, failed, pending) =
        (number(&summary_line, "all"), number(&summary_line, "failed"), number(&summary_line, "pending"));
    let counts = TestCounts {
        passed: all.saturating_sub(failed + pending),
        failed,
        skipped: pending,
        errored: number(&summary_line, "errors"),
    };
    Some(builder.finish(ReportSource::Output, ReportFormat::Rspec, Some(counts), true))
}

/// The lines below each numbered header (`  1) name`), by name.
fn details(text: &str) -> HashMap<&str, Vec<&str>> {
    const LINES_MAX: usize = 40;
    let header = expression!(r"(?m)^[ \t]*\d+\) (.*)$");
    let mut details = HashMap::new();
    for (captures, block) in blocks(header, text) {
        let lines = block.lines().skip_while(|line| line.is_empty()).take(LINES_MAX).map(str::trim);
        if let Some(name) = captures.get(1) {
            details.entry(name.as_str()).or_insert_with(|| lines.collect());
        }
    }
    details
}
