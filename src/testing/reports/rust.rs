//! What libtest prints under `cargo test`, and what cargo-nextest prints.

use std::collections::{HashMap, HashSet};

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestLocation, TestOutcome, TestReport,
};

use super::text::{before, blocks, expression, number, take_first_lines};

/// `cargo test`: libtest's lines of each binary, and cargo's own lines for one that does not build or
/// crashes.
pub(in crate::testing) fn cargo(text: &str) -> Option<TestReport> {
    let running = expression!(r"(?m)^running \d+ tests?$");
    let result = expression!(
        r"(?m)^test result: (?:ok|FAILED)\. (?P<passed>\d+) passed; (?P<failed>\d+) failed; (?P<ignored>\d+) ignored;"
    );
    let mut builder = ReportBuilder::default();
    broken_builds(text, &mut builder);
    let begun = running.captures_iter(text).count();
    if begun == 0 && builder.counted().total() == 0 {
        return None;
    }
    for (group, section) in sections(text) {
        results(section, group.as_deref(), &mut builder);
    }
    let ended: Vec<_> = result.captures_iter(text).collect();
    let crash = expression!(r"(?m)^error: test failed, to rerun pass `([^`\n]*)`\n\nCaused by:\n  ([^\n]*)$");
    let mut crashes = TestCounts::default();
    for captures in crash.captures_iter(text) {
        let mut case = TestCase::broken(format!("the test binary of `{}`", &captures[1]));
        case.message = Some(captures[2].replace("/workspace/", ""));
        builder.push(case);
        crashes.add(TestOutcome::Errored);
    }
    let mut counts = TestCounts::default();
    for captures in &ended {
        counts.add_all(TestCounts {
            passed: number(captures, "passed"),
            failed: number(captures, "failed"),
            skipped: number(captures, "ignored"),
            errored: 0,
        });
    }
    counts.add_all(crashes);
    counts.errored += builds_broken(text);
    // A binary that started and has no result was ended early; a crashed one is named.
    let finished = ended.len() as u64 + crashes.errored >= begun as u64;
    Some(builder.finish(ReportSource::Output, ReportFormat::CargoTest, Some(counts), finished))
}

/// The output of each test binary, with the crate and the file that it is made of: names are unique in one only.
/// cargo prints the headers to its standard error, so they can be missing, or be mixed with the tests' output; then
/// the tests have no groups.
fn sections(text: &str) -> Vec<(Option<String>, &str)> {
    let header = expression!(
        r"(?m)^ +(?:Running (?:unittests )?(?P<path>\S+) \([^)\n]*?(?P<crate>[^/\\)\n]+?)-[0-9a-f]{16}(?:\.\w+)?\)|Doc-tests (?P<docs>\S+))$"
    );
    let running = expression!(r"(?m)^running \d+ tests?$");
    let headers: Vec<_> = header.captures_iter(text).collect();
    let starts: Vec<usize> =
        headers.iter().filter_map(|found| found.get(0)).map(|whole| whole.start()).collect();
    let first = starts.first().copied().unwrap_or(text.len());
    let ends = starts.iter().copied().skip(1).chain([text.len()]);
    let mut found = vec![(None, &text[..first])];
    let mut is_orderly = true;
    let mut seen: HashMap<String, u32> = HashMap::new();
    for ((captures, start), end) in headers.iter().zip(&starts).zip(ends) {
        let section = &text[*start..end];
        is_orderly &= running.is_match(section);
        let group = match (captures.name("docs"), captures.name("path"), captures.name("crate")) {
            (Some(docs), _, _) => format!("{} doc tests", docs.as_str()),
            (None, Some(path), Some(name)) => format!("{} {}", name.as_str(), path.as_str()),
            (None, _, _) => continue,
        };
        // Two crates of a workspace can have targets of the same name.
        let times = seen.entry(group.clone()).or_insert(0_u32);
        *times += 1;
        let group = if *times == 1 { group } else { format!("{group}, no. {times}") };
        found.push((Some(group), section));
    }
    is_orderly &= !running.is_match(&text[..first]) || headers.is_empty();
    if is_orderly { found } else { vec![(None, text)] }
}

/// The tests of one binary.
fn results(text: &str, group: Option<&str>, builder: &mut ReportBuilder) {
    let line = expression!(
        r"(?m)^test (?P<name>\S.*?) \.\.\. (?P<said>ok|FAILED|ignored)(?:, (?P<why>[^\n]*))?(?: <[\d.]+s>)?$"
    );
    for captures in line.captures_iter(text) {
        let outcome = match &captures["said"] {
            "ok" => TestOutcome::Passed,
            "FAILED" => TestOutcome::Failed,
            _ => TestOutcome::Skipped,
        };
        let mut case = TestCase::new(own_name(&captures["name"]), outcome);
        case.message = captures.name("why").map(|why| why.as_str().to_owned());
        case.group = group.map(str::to_owned);
        builder.push(case);
    }
    details(text, group, builder);
}

/// Removes what is not part of the name: the expected panic, and the line of a doc test, which can change.
fn own_name(name: &str) -> String {
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    expression!(r" \(line \d+\)(?: - (?:compile|compile fail|should panic))?$")
        .replace(name, "")
        .trim_end_matches(" -")
        .to_owned()
}

fn builds_broken(text: &str) -> u64 {
    expression!(r"(?m)^error: could not compile `[^`\n]*`").captures_iter(text).count() as u64
}

fn broken_builds(text: &str, builder: &mut ReportBuilder) {
    let broken = expression!(r"(?m)^error: could not compile (`[^`\n]*`(?: \([^)\n]*\))?)");
    let error = expression!(r"(?m)^(error(?:\[E\d+\])?: [^\n]*)\n +--> ([^\n:]+):(\d+):\d+$");
    let first = error.captures(text);
    for captures in broken.captures_iter(text) {
        let mut case = TestCase::broken(format!("build of {}", &captures[1]));
        if let Some(first) = &first {
            case.message = Some(first[1].to_owned());
            case.location = Some(TestLocation { file: first[2].to_owned(), line: first[3].parse().ok() });
        }
        builder.push(case);
    }
}

/// `---- name stdout ----` and the panic below it.
fn details(text: &str, group: Option<&str>, builder: &mut ReportBuilder) {
    let header = expression!(r"(?m)^---- (\S.*?) std(?:out|err) ----$");
    let end = expression!(r"(?m)^failures:$");
    for (captures, block) in blocks(header, text) {
        let name = own_name(&captures[1]);
        if !builder.has_in(&name, group) {
            continue;
        }
        let block = &block[..end.find(block).map_or(block.len(), |end| end.start())];
        let mut case = TestCase::new(name, TestOutcome::Failed);
        case.group = group.map(str::to_owned);
        panic_of(block, &mut case);
        builder.detail(case);
    }
}

/// The message and the location of the panic in a test's output.
fn panic_of(block: &str, case: &mut TestCase) {
    let panicked = expression!(r"panicked at (?:'(?:[^\n]*)', )?([^\n:]+):(\d+)(?::\d+)?:?\n?");
    let Some(captures) = panicked.captures(block) else {
        case.message = take_first_lines(block);
        return;
    };
    let (whole, file) = (captures.get(0).map_or(0, |whole| whole.end()), captures[1].trim().to_owned());
    let message = before(before(&block[whole..], "stack backtrace:"), "\nnote: ");
    case.message = take_first_lines(message.strip_prefix("note: ").map_or(message, |_| ""));
    case.frame = Some(format!("panicked at {file}:{}", &captures[2]));
    case.location = Some(TestLocation { file, line: captures[2].parse().ok() });
}

/// libtest's own lines around the output of the one test that nextest runs.
fn is_harness(line: &str) -> bool {
    let line = line.trim_start();
    line.contains("───")
        || ["running ", "failures:", "test ", "---- "].iter().any(|word| line.starts_with(word))
        || (line.starts_with("PASS [") || line.starts_with("FAIL ["))
}

/// cargo-nextest: a line for each test, and a summary.
pub(in crate::testing) fn nextest(text: &str) -> Option<TestReport> {
    let starting = expression!(r"(?m)^\s+Starting \d+ tests? across \d+ binar");
    let mut builder = ReportBuilder::default();
    broken_builds(text, &mut builder);
    let invoked = starting.is_match(text) || text.contains("--message-format json-render-diagnostics");
    if !invoked {
        return None;
    }
    let line = expression!(
        r"(?m)^ {2,}(?:TRY \d+ )?(?P<said>PASS|FLAKY(?: \d+/\d+)?|LEAK|SLOW|FAIL|ABORT|SIG[A-Z]+|TIMEOUT|TMT|TERMINATING|SKIP|XFAIL|FL\+LK)(?: \+ [A-Z]+)? \[[^\]\n]*\]\s+(?:\([^)\n]*\)\s+)?(?P<name>\S[^\n]*)$"
    );
    let flaky =
        expression!(r"(?m)^ {2,}(?:FLAKY(?: \d+/\d+)?|FL\+LK) \[[^\]\n]*\]\s+(?:\([^)\n]*\)\s+)?(\S[^\n]*)$");
    let retry = expression!(r"(?m)^ {2,}TRY (\d+) PASS \[[^\]\n]*\]\s+(?:\([^)\n]*\)\s+)?(\S[^\n]*)$");
    // Tests that the runner itself ran again until they passed, as it says.
    let retried: HashSet<String> = flaky
        .captures_iter(text)
        .map(|captures| captures[1].trim().to_owned())
        .chain(retry.captures_iter(text).filter(|c| &c[1] != "1").map(|c| c[2].trim().to_owned()))
        .collect();
    for (captures, output) in blocks(line, text) {
        let is_retried = retried.contains(captures["name"].trim());
        let outcome = match &captures["said"] {
            _ if is_retried => TestOutcome::Passed,
            "PASS" | "LEAK" => TestOutcome::Passed,
            "SKIP" => TestOutcome::Skipped,
            // It is still running.
            "SLOW" | "TERMINATING" => continue,
            "FAIL" => TestOutcome::Failed,
            _ => TestOutcome::Errored,
        };
        let mut case = TestCase::new(captures["name"].trim(), outcome);
        case.retried = is_retried;
        if case.is_red() {
            let block: String = output
                .lines()
                .skip(1)
                .take_while(|line| line.is_empty() || line.starts_with("    ") || line.contains("───"))
                .filter(|line| !is_harness(line))
                .take(200)
                .map(|line| format!("{}\n", line.trim_start()))
                .collect();
            panic_of(&block, &mut case);
            // The summary names it again, without its output.
            case.message = case.message.filter(|_| block.contains("panicked at") || !block.trim().is_empty());
        }
        builder.push(case);
    }
    let summary =
        expression!(r"(?m)^\s+Summary \[[^\]\n]*\]\s+(?P<run>\d+)(?:/\d+)? tests? run: (?P<rest>[^\n]*)$");
    let summary_line = summary.captures_iter(text).last();
    let mut counts = TestCounts { errored: builds_broken(text), ..TestCounts::default() };
    if let Some(summary_line) = &summary_line {
        let part = expression!(r"(\d+) (passed|failed|timed out|exec failed|skipped)");
        for captures in part.captures_iter(&summary_line["rest"]) {
            let n = captures[1].parse().unwrap_or(0);
            match &captures[2] {
                "passed" => counts.passed += n,
                "failed" => counts.failed += n,
                "skipped" => counts.skipped += n,
                _ => counts.errored += n,
            }
        }
    }
    let finished = summary_line.is_some() || counts.errored > 0;
    let counts = finished.then_some(counts);
    Some(builder.finish(ReportSource::Output, ReportFormat::Nextest, counts, finished))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_one_name_in_two_targets_are_two_tests() {
        let binary = |path: &str, hash: char, outcome: &str| {
            let hash = hash.to_string().repeat(16);
            format!(
                "     Running {path} (target/debug/deps/it-{hash})\n\nrunning 1 test\ntest works ... {outcome}\n\n\
                 test result: {outcome}. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\n"
            )
        };
        let text = binary("tests/it.rs", 'a', "ok") + &binary("tests/it.rs", 'b', "FAILED");
        let report = cargo(&text).unwrap();
        let cases: Vec<(String, TestOutcome)> =
            report.cases.iter().map(|case| (case.id(), case.outcome)).collect();
        assert_eq!(
            cases,
            [
                ("works (it tests/it.rs)".to_owned(), TestOutcome::Passed),
                ("works (it tests/it.rs, no. 2)".to_owned(), TestOutcome::Failed),
            ]
        );
    }
}
