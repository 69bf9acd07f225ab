//! What pytest and unittest print.

use std::collections::HashMap;

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestOutcome, TestReport,
};

use super::text::{Innermost, before, blocks, expression, frame, number, take_first_lines};

/// pytest, plain or verbose. Without `-v` it names only what did not pass.
pub(in crate::testing) fn pytest(text: &str) -> Option<TestReport> {
    let session = expression!(r"(?m)^=+ test session starts =+$");
    // `--quiet` has no such line.
    let summary_line = expression!(
        r"(?m)^=* ?((?:\d+ (?:passed|failed|errors?|skipped|xfailed|xpassed|deselected|warnings?|subtests? passed)(?:, )?)+|no tests ran)[^\n]* in [\d.:]+ ?s?[^\n]*$"
    );
    let summary = summary_line.captures_iter(text).last();
    if !session.is_match(text) && summary.is_none() {
        return None;
    }
    let mut builder = ReportBuilder::default();
    let verbose = expression!(
        r"(?m)^((?:[^\s:]+\.py|[^\s:]+)::\S.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)(?: \(.*\))?(?:\s+\[ *\d+%\])?$"
    );
    for captures in verbose.captures_iter(text) {
        let outcome = match &captures[2] {
            "PASSED" | "XPASS" => TestOutcome::Passed,
            "FAILED" => TestOutcome::Failed,
            "ERROR" => TestOutcome::Errored,
            _ => TestOutcome::Skipped,
        };
        builder.push(TestCase::new(&captures[1], outcome));
    }
    let mut tracebacks = sections(text);
    let short = expression!(r"(?m)^(FAILED|ERROR) ([^\s:]+\.py(?:::[^\n]*?)?)(?: - ([^\n]*))?$");
    for captures in short.captures_iter(text) {
        let outcome = if &captures[1] == "FAILED" { TestOutcome::Failed } else { TestOutcome::Errored };
        let name = captures[2].to_owned();
        let mut case = TestCase::new(name.clone(), outcome);
        case.stands_for_tests = !name.contains("::");
        let title = name.split_once("::").map_or(name.as_str(), |(_, rest)| rest);
        let (own, parameters) = title.split_at(title.find('[').unwrap_or(title.len()));
        let title = format!("{}{parameters}", own.replace("::", "."));
        case.message = captures.get(3).map(|message| message.as_str().to_owned());
        // A test that is named twice has its details once.
        if let Some(traceback) = tracebacks.remove(title.as_str()) {
            if let Some((line, at)) = frame(traceback, Innermost::Last) {
                case.frame = Some(line);
                case.location = Some(at);
            }
            let errors = traceback.lines().filter_map(|line| line.strip_prefix("E   "));
            case.message = case.message.or_else(|| take_first_lines(&errors.collect::<Vec<_>>().join("\n")));
        }
        builder.detail(case);
    }
    let counts = summary.as_ref().map(|captures| pytest_counts(&captures[0]));
    let finished = summary.is_some();
    Some(builder.finish(ReportSource::Output, ReportFormat::Pytest, counts, finished))
}

fn pytest_counts(line: &str) -> TestCounts {
    let part = expression!(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)\b");
    let mut counts = TestCounts::default();
    for captures in part.captures_iter(line) {
        let n: u64 = captures[1].parse().unwrap_or(0);
        let more = match &captures[2] {
            "passed" | "xpassed" => TestCounts { passed: n, ..TestCounts::default() },
            "failed" => TestCounts { failed: n, ..TestCounts::default() },
            "skipped" | "xfailed" => TestCounts { skipped: n, ..TestCounts::default() },
            _ => TestCounts { errored: n, ..TestCounts::default() },
        };
        counts.add_all(more);
    }
    counts
}

/// The tracebacks by title: `____ TestA.test_b ____`, `____ ERROR at setup of test_b ____`.
fn sections(text: &str) -> HashMap<&str, &str> {
    let title =
        expression!(r"(?m)^_{2,} (?:ERROR at (?:setup|teardown) of |ERROR collecting )?(\S.*?) _{2,}$");
    let end = expression!(r"(?m)^(?:=|-){3,} ?[^\n]*$|^_{2,} \S");
    let mut found = HashMap::new();
    for (captures, block) in blocks(title, text) {
        let Some(name) = captures.get(1) else { continue };
        let until = end.find(block).map_or(block.len(), |end| end.start());
        found.entry(name.as_str()).or_insert(&block[..until]);
    }
    found
}

/// unittest, plain or verbose. Without `-v` it names only what did not pass.
pub(in crate::testing) fn unittest(text: &str) -> Option<TestReport> {
    let ran = expression!(r"(?m)^Ran (?P<ran>\d+) tests? in [\d.]+s$");
    let verbose = expression!(
        r"(?m)^(\w+) \(([\w.<>]+)\)(?: \(.*\)| \[.*\])?(?:\n[^\n]*?)? \.\.\. (?:(ok|FAIL|ERROR|expected failure|unexpected success|skipped [^\n]*)$)?"
    );
    let summary = ran.captures_iter(text).last();
    if summary.is_none() && !verbose.is_match(text) {
        return None;
    }
    let mut builder = ReportBuilder::default();
    let mut named = verbose.captures_iter(text).peekable();
    while let Some(captures) = named.next() {
        let end = captures.get(0).map_or(text.len(), |whole| whole.end());
        let next = named.peek().and_then(|next| next.get(0)).map_or(text.len(), |next| next.start());
        let printed = captures.get(3).map(|result| result.as_str());
        let outcome = match printed.or_else(|| result_below(&text[end..next])) {
            Some("ok") => TestOutcome::Passed,
            Some("FAIL" | "unexpected success") => TestOutcome::Failed,
            Some("ERROR") => TestOutcome::Errored,
            Some(_) => TestOutcome::Skipped,
            // Subtests have lines of their own; a test without a result never ended.
            None => continue,
        };
        let name = format!("{} ({})", &captures[1], &captures[2]);
        let stands_for_tests = outcome == TestOutcome::Errored && is_loader_or_fixture(&name);
        builder.push(TestCase { stands_for_tests, ..TestCase::new(name, outcome) });
    }
    let header = expression!(r"(?m)^(FAIL|ERROR): (\S+ \([\w.<>]+\))[^\n]*\n(?:[^\n-][^\n]*\n)?-{20,}\n");
    for (captures, block) in blocks(header, text) {
        let outcome = if &captures[1] == "FAIL" { TestOutcome::Failed } else { TestOutcome::Errored };
        let traceback = before(before(block, "\n====="), "\n-----");
        let mut case = TestCase::new(&captures[2], outcome);
        case.stands_for_tests = is_loader_or_fixture(&captures[2]);
        case.message = traceback.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
        if let Some((line, at)) = frame(traceback, Innermost::Last) {
            case.frame = Some(line);
            case.location = Some(at);
        }
        builder.detail(case);
    }
    let counts = summary.as_ref().map(|captures| unittest_counts(text, number(captures, "ran")));
    let finished = summary.is_some() && expression!(r"(?m)^(?:OK|FAILED|NO TESTS RAN)\b").is_match(text);
    Some(builder.finish(ReportSource::Output, ReportFormat::Unittest, counts, finished))
}

/// The result of a test that printed something, such as a warning: it stands alone on the last line before the next
/// test.
fn result_below(printed: &str) -> Option<&str> {
    let printed = before(before(printed, "\n====="), "\n-----");
    let last = printed.lines().rev().find(|line| !line.trim().is_empty())?;
    let is_result = matches!(last, "ok" | "FAIL" | "ERROR" | "expected failure" | "unexpected success");
    (is_result || last.starts_with("skipped ")).then_some(last)
}

/// Whether unittest names a module that it could not load, or a fixture, in place of the tests.
fn is_loader_or_fixture(name: &str) -> bool {
    name.contains("unittest.loader._FailedTest")
        || ["setUpClass (", "tearDownClass (", "setUpModule (", "tearDownModule ("]
            .iter()
            .any(|fixture| name.starts_with(fixture))
}

fn unittest_counts(text: &str, ran: u64) -> TestCounts {
    let part = expression!(r"(failures|errors|skipped|expected failures|unexpected successes)=(\d+)");
    let line = expression!(r"(?m)^(?:OK|FAILED) \(.*\)$").captures_iter(text).last();
    let mut counts = TestCounts::default();
    for captures in
        part.captures_iter(line.as_ref().map_or("", |line| line.get(0).map_or("", |line| line.as_str())))
    {
        let n = captures[2].parse().unwrap_or(0);
        match &captures[1] {
            "failures" | "unexpected successes" => counts.failed += n,
            "errors" => counts.errored += n,
            _ => counts.skipped += n,
        }
    }
    counts.passed = ran.saturating_sub(counts.red() + counts.skipped);
    counts
}
