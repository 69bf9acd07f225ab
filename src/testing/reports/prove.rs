//! What Perl's prove prints.

use std::collections::HashMap;

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestLocation, TestOutcome, TestReport,
};

use super::text::{expression, number, relative, take_first_lines};

/// Perl's prove: files, and with `-v` the tests in them.
pub(in crate::testing) fn printed(text: &str) -> Option<TestReport> {
    let files = expression!(r"(?m)^Files=(?P<files>\d+), Tests=(?P<tests>\d+),");
    let summary_line = files.captures_iter(text).last();
    let line = expression!(r"(?m)^(\S+\.t) \.+ ?(ok|skipped(?:: [^\n]*)?|[^\n]*)$");
    if summary_line.is_none() && !line.is_match(text) {
        return None;
    }
    let mut builder = ReportBuilder::default();
    let failed = expression!(
        r"(?m)^(\S+) +\(Wstat: (\d+)[^)]*(?:\([^)]*\))?[^)]*Tests: (\d+) Failed: (\d+)\)\n((?:  [^\n]*\n)*)"
    );
    let perl = expression!(r"#   at (\S+) line (\d+)\.");
    let mut places: HashMap<&str, u32> = HashMap::new();
    for at in perl.captures_iter(text) {
        if let (Some(file), Ok(line)) = (at.get(1), at[2].parse()) {
            places.entry(relative(file.as_str())).or_insert(line);
        }
    }
    for captures in failed.captures_iter(text) {
        let broke = &captures[4] == "0";
        let outcome = if broke { TestOutcome::Errored } else { TestOutcome::Failed };
        let mut case = TestCase::new(&captures[1], outcome);
        let file = relative(&captures[1]).to_owned();
        let line = places.get(file.as_str()).copied();
        case.location = Some(TestLocation { file, line });
        case.message = take_first_lines(&captures[5]).map(|message| message.trim().to_owned());
        builder.push(case);
    }
    // Any file can be a test's: without its usual extension, what is said of it must be prove's.
    let any_line = expression!(
        r"(?m)^(\S+) \.\.+ ?(ok|skipped(?:: [^\n]*)?|(?:Failed|Dubious|No subtests|All) [^\n]*)$"
    );
    for captures in line.captures_iter(text).chain(any_line.captures_iter(text)) {
        let outcome = match &captures[2] {
            "ok" => TestOutcome::Passed,
            said if said.starts_with("skipped") => TestOutcome::Skipped,
            // Its result is in the summary, or below its own lines with `-v`.
            _ if builder.has(&captures[1]) => continue,
            _ if summary_line.is_some() => TestOutcome::Passed,
            _ => continue,
        };
        if !builder.has(&captures[1]) {
            builder.push(TestCase::new(&captures[1], outcome));
        }
    }
    let counts = builder.counted();
    let finished =
        summary_line.is_some() && expression!(r"(?m)^Result: (?:PASS|FAIL|NOTESTS)$").is_match(text);
    let mut report = builder.finish(ReportSource::Output, ReportFormat::Prove, Some(counts), finished);
    if let Some(summary_line) = summary_line {
        report.add_remark(format!(
            "{} assertions in {} files",
            number(&summary_line, "tests"),
            number(&summary_line, "files")
        ));
    }
    Some(report)
}
