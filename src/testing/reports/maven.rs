//! What Maven's Surefire prints.

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestLocation, TestOutcome, TestReport,
};

use super::text::{Innermost, before, blocks, expression, frame, number, relative, take_first_lines};

/// Maven's Surefire. It names only what did not pass.
pub(in crate::testing) fn printed(text: &str) -> Option<TestReport> {
    let summary = expression!(
        r"(?m)^(?:\[\w+\] )?Tests run: (?P<run>\d+), Failures: (?P<failures>\d+), Errors: (?P<errors>\d+), Skipped: (?P<skipped>\d+)$"
    );
    let build = expression!(r"(?m)^\[INFO\] BUILD (?:SUCCESS|FAILURE)$");
    let is_maven = text.contains("[INFO] Scanning for projects") || build.is_match(text);
    if !is_maven && !summary.is_match(text) {
        return None;
    }
    let mut counts = TestCounts::default();
    let mut any = false;
    for captures in summary.captures_iter(text) {
        any = true;
        let mut more = TestCounts {
            failed: number(&captures, "failures"),
            errored: number(&captures, "errors"),
            skipped: number(&captures, "skipped"),
            passed: 0,
        };
        more.passed = number(&captures, "run").saturating_sub(more.total());
        counts.add_all(more);
    }
    let mut builder = ReportBuilder::default();
    let line = expression!(
        r"(?m)^\[ERROR\] (?P<name>[\w.$]+(?:\([\w.$]+\))?)(?:\[[^\]\n]*\])?  (?:-- )?Time elapsed: [^\n]*<<< (?P<said>FAILURE|ERROR)!$"
    );
    for (captures, block) in blocks(line, text) {
        let outcome = if &captures["said"] == "ERROR" { TestOutcome::Errored } else { TestOutcome::Failed };
        let block = before(block, "\n\n");
        let name = match captures["name"].strip_suffix(')').and_then(|name| name.split_once('(')) {
            // Older ones: `method(Class)`.
            Some((method, class)) => format!("{class}.{method}"),
            None => captures["name"].to_owned(),
        };
        let mut case = TestCase::new(name, outcome);
        let said: Vec<&str> =
            block.lines().take_while(|line| !line.trim_start().starts_with("at ")).collect();
        case.message = take_first_lines(&said.join("\n"));
        if let Some((line, at)) = frame(block, Innermost::First) {
            case.frame = Some(line);
            case.location = Some(at);
        }
        builder.push(case);
    }
    // A test class in which the virtual machine ended.
    let crashed = expression!(r"(?m)^\[ERROR\] Crashed tests:\n\[ERROR\] (\S+)$");
    for captures in crashed.captures_iter(text) {
        if !builder.has(&captures[1]) {
            let mut case = TestCase::broken(&captures[1]);
            case.message = Some("the virtual machine ended before the tests did".to_owned());
            builder.push(case);
            counts.errored += 1;
        }
    }
    let compile = expression!(r"(?m)^\[ERROR\] COMPILATION ERROR");
    if compile.is_match(text) {
        let error = expression!(r"(?m)^\[ERROR\] (\S+\.(?:java|kt|scala)):\[(\d+),\d+\] ([^\n]*)$");
        let mut case = TestCase::broken("compilation");
        if let Some(captures) = error.captures(text) {
            case.message = Some(captures[3].to_owned());
            case.location = Some(TestLocation {
                file: relative(&captures[1]).to_owned(),
                line: captures[2].parse().ok(),
            });
        }
        builder.push(case);
        counts.errored += 1;
        any = true;
    }
    let ran_surefire = text.contains(" T E S T S");
    let none = text.contains("No tests to run.");
    let counts = (any || none).then_some(counts);
    let finished = build.is_match(text) && (any || none || !ran_surefire);
    Some(builder.finish(ReportSource::Output, ReportFormat::Maven, counts, finished))
}
