//! What PHPUnit prints.

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestOutcome, TestReport,
};

use super::text::{Innermost, before, blocks, expression, frame, number, take_first_lines};

/// PHPUnit. It names only what did not pass.
pub(in crate::testing) fn printed(text: &str) -> Option<TestReport> {
    if !expression!(r"(?m)^PHPUnit \d+\.").is_match(text) {
        return None;
    }
    let ok = expression!(r"(?m)^OK \((?P<tests>\d+) tests?, ").captures_iter(text).last();
    let summary =
        expression!(r"(?m)^Tests: (?P<tests>\d+), Assertions: \d+[^\n]*\.$").captures_iter(text).last();
    let none = text.lines().any(|line| line == "No tests executed!");
    let mut counts = TestCounts::default();
    if let Some(summary_line) = summary.as_ref().or(ok.as_ref()) {
        let part = expression!(r"(Errors|Failures|Skipped|Incomplete): (\d+)");
        for captures in part.captures_iter(&summary_line[0]) {
            let n = captures[2].parse().unwrap_or(0);
            match &captures[1] {
                "Errors" => counts.errored += n,
                "Failures" => counts.failed += n,
                _ => counts.skipped += n,
            }
        }
        counts.passed = number(summary_line, "tests").saturating_sub(counts.total());
    }
    let finished = summary.is_some() || ok.is_some() || none;
    let section =
        expression!(r"(?m)^There (?:was|were) \d+ (error|failure|risky|warning|incomplete|skipped)[^\n]*:$");
    let header = expression!(r"(?m)^\d+\) (\S+?)(?: with data set (.+?)(?: \(.*\))?)?$");
    let mut builder = ReportBuilder::default();
    for (captures, section) in blocks(section, text) {
        let outcome = match &captures[1] {
            "error" => TestOutcome::Errored,
            "failure" => TestOutcome::Failed,
            _ => continue,
        };
        for (captures, block) in blocks(header, section) {
            let block = before(block, "\n--\n");
            let name = match captures.get(2) {
                Some(data) => format!("{} with data set {}", &captures[1], data.as_str()),
                None => captures[1].to_owned(),
            };
            let mut case = TestCase::new(name, outcome);
            case.message = take_first_lines(before(block, "\n\n/"));
            if let Some((line, at)) = frame(block, Innermost::First) {
                case.frame = Some(line);
                case.location = Some(at);
            }
            builder.push(case);
        }
    }
    Some(builder.finish(ReportSource::Output, ReportFormat::Phpunit, finished.then_some(counts), finished))
}
