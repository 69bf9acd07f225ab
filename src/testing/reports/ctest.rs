//! What CTest prints.

use crate::domain::{ReportBuilder, ReportFormat, ReportSource, TestCase, TestOutcome, TestReport};

use super::text::expression;

/// CTest: a line for each test.
pub(in crate::testing) fn printed(text: &str) -> Option<TestReport> {
    let line = expression!(
        r"(?m)^ *\d+/\d+ (?:Test|MemCheck) +#\d+: (?P<name>\S.*?) \.*(?: +|\*\*\*)(?P<said>Passed|Failed|Skipped|Not Run(?: \(Disabled\))?|Timeout|Exception: \w+|Exception)[^\n]*$"
    );
    let summary = expression!(r"(?m)^\d+% tests passed(?:, \d+ tests? failed)? out of \d+$");
    let summary_line = summary.captures_iter(text).last();
    let none = text.lines().any(|line| line == "No tests were found!!!");
    if summary_line.is_none() && !line.is_match(text) && !none {
        return None;
    }
    let mut builder = ReportBuilder::default();
    for captures in line.captures_iter(text) {
        let outcome = match &captures["said"] {
            "Passed" => TestOutcome::Passed,
            "Skipped" | "Not Run (Disabled)" => TestOutcome::Skipped,
            "Failed" => TestOutcome::Failed,
            _ => TestOutcome::Errored,
        };
        let mut case = TestCase::new(&captures["name"], outcome);
        if outcome != TestOutcome::Passed {
            case.message = Some(captures["said"].to_owned());
        }
        builder.push(case);
    }
    let counts = builder.counted();
    Some(builder.finish(
        ReportSource::Output,
        ReportFormat::Ctest,
        Some(counts),
        summary_line.is_some() || none,
    ))
}
