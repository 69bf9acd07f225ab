//! What Node's runner (`spec`), Jest, Mocha and Vitest print, and the JSON that Jest and Vitest write.

use std::collections::HashMap;

use serde::Deserialize;

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestOutcome, TestReport,
};

use super::text::{Block, Innermost, blocks, expression, frame, is_file, joined, relative, take_first_lines};

/// Suites within suites.
const DEPTH_MAX: usize = 64;
/// Lines of one failure.
const BLOCK_LINES_MAX: usize = 120;

/// The JSON of `jest --json` and of Vitest's `json` reporter, which has the same shape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    num_total_tests: u64,
    test_results: Vec<WrittenFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenFile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    assertion_results: Vec<WrittenTest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenTest {
    #[serde(default)]
    ancestor_titles: Vec<String>,
    title: String,
    status: String,
    #[serde(default)]
    failure_messages: Option<Vec<String>>,
    /// How often Jest ran it.
    #[serde(default)]
    invocations: Option<u64>,
}

impl WrittenTest {
    /// Whether the runner ran it again until it passed: Jest counts that, and Vitest keeps the failures.
    fn is_retried(&self) -> bool {
        let failed_before = self.failure_messages.as_ref().is_some_and(|messages| !messages.is_empty());
        self.status == "passed" && (failed_before || self.invocations.is_some_and(|times| times > 1))
    }
}

/// Reads the JSON of Jest or Vitest. `None`: it is neither.
pub(super) fn json(text: &str, format: ReportFormat) -> Option<TestReport> {
    let written: Written = serde_json::from_str(text).ok()?;
    let mut builder = ReportBuilder::default();
    let mut tests = 0_u64;
    for file in written.test_results {
        let path = relative(&file.name).to_owned();
        for test in &file.assertion_results {
            tests += 1;
            let outcome = match test.status.as_str() {
                "passed" => TestOutcome::Passed,
                "failed" => TestOutcome::Failed,
                // pending, skipped, todo, disabled
                _ => TestOutcome::Skipped,
            };
            let titles = test.ancestor_titles.iter().chain([&test.title]).map(String::as_str);
            let mut case = TestCase::new(within(&path, titles), outcome);
            case.retried = test.is_retried();
            let output = test.failure_messages.as_deref().unwrap_or_default().join("\n");
            if case.is_red() {
                add_details(&output, &mut case);
            }
            builder.push_another(case);
        }
        if file.status == "failed" && !file.assertion_results.iter().any(|test| test.status == "failed") {
            let mut case = TestCase::broken(path);
            add_details(&file.message, &mut case);
            builder.push(case);
        }
    }
    let counts = builder.counted();
    Some(builder.finish(ReportSource::File, format, Some(counts), tests >= written.num_total_tests))
}

/// A test's name by its file and titles.
fn within<'a>(file: &'a str, titles: impl Iterator<Item = &'a str>) -> String {
    joined(std::iter::once(file).chain(titles))
}

/// The message before the stack, and the frame in it.
fn add_details(output: &str, case: &mut TestCase) {
    let message: Vec<&str> = output
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("at ") && !line.starts_with("❯ "))
        .filter(|line| !line.starts_with("● "))
        .take(BLOCK_LINES_MAX)
        .collect();
    case.message = take_first_lines(&message.join("\n"));
    let stack: Vec<&str> = output
        .lines()
        .filter(|line| line.trim_start().starts_with("at ") || line.trim_start().starts_with("❯ "))
        .collect();
    let found = frame(&stack.join("\n"), Innermost::First).or_else(|| frame(output, Innermost::First));
    if let Some((line, at)) = found {
        case.frame = Some(line);
        case.location = Some(at);
    }
}

/// The counts of a summary like `2 failed | 2 passed | 1 skipped (5)`, `1 failed, 3 passed, 4 total`.
fn counts_of(line: &str) -> TestCounts {
    let part = expression!(r"(\d+) (passed|failed|skipped|pending|todo)\b");
    let mut counts = TestCounts::default();
    for captures in part.captures_iter(line) {
        let n = captures[1].parse().unwrap_or(0);
        match &captures[2] {
            "passed" => counts.passed += n,
            "failed" => counts.failed += n,
            _ => counts.skipped += n,
        }
    }
    counts
}

/// Jest, plain or verbose. Without `--verbose` it names only what failed.
pub(in crate::testing) fn jest(text: &str) -> Option<TestReport> {
    let file_line = expression!(r"^(PASS|FAIL) (?:\S+ )?(\S+\.\w+)(?: \([\d.]+ m?s\))?$");
    let summary = expression!(r"(?m)^Tests: +([^\n]*\d+ total)$").captures_iter(text).last();
    let suites = expression!(r"(?m)^Test Suites: +(?:(\d+) failed)?[^\n]*total$").captures_iter(text).last();
    if suites.is_none() && !text.lines().any(|line| file_line.is_match(line)) {
        return None;
    }
    let mark = expression!(r"^( +)(✓|✕|○|✎)(?: skipped| todo)? (\S.*?)(?: \([\d.]+ m?s\))?$");
    let title = expression!(r"^( {2,})([^\s●✓✕○✎].*)$");
    let mut builder = ReportBuilder::default();
    let (mut file, mut titles) = (String::new(), Vec::<(usize, String)>::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(captures) = file_line.captures(line) {
            file = relative(&captures[2]).to_owned();
            titles.clear();
        } else if let Some(captures) = mark.captures(line) {
            let outcome = match &captures[2] {
                "✓" => TestOutcome::Passed,
                "✕" => TestOutcome::Failed,
                _ => TestOutcome::Skipped,
            };
            titles.retain(|(indent, _)| *indent < captures[1].len());
            let path = titles.iter().map(|(_, title)| title.as_str()).chain([&captures[3]]);
            builder.push(TestCase::new(within(&file, path), outcome));
        } else if let Some(told) = line.strip_prefix("  ● ") {
            let mut block = Block::with_lines_max(BLOCK_LINES_MAX);
            while let Some(next) = lines.next_if(|next| {
                !next.starts_with("  ● ") && !file_line.is_match(next) && !next.starts_with("Test Suites:")
            }) {
                block.push(next);
            }
            if told.trim() == "Test suite failed to run" {
                let mut case = TestCase::broken(file.clone());
                add_details(&block.text, &mut case);
                builder.push(case);
            } else if !file.is_empty() {
                let mut case = TestCase::new(within(&file, told.split(" › ")), TestOutcome::Failed);
                add_details(&block.text, &mut case);
                builder.detail(case);
            }
        } else if let Some(captures) = title.captures(line) {
            titles.retain(|(indent, _)| *indent < captures[1].len());
            if titles.len() < DEPTH_MAX {
                titles.push((captures[1].len(), captures[2].to_owned()));
            }
        } else if line.is_empty() {
            titles.clear();
        }
    }
    let counts = summary.as_ref().map(|captures| {
        let mut counts = counts_of(&captures[1]);
        // A file that does not run is no test; it is red all the same.
        let errored = builder.counted().errored;
        counts.errored += errored;
        counts
    });
    let finished = suites.is_some() && counts.is_some();
    Some(builder.finish(ReportSource::Output, ReportFormat::Jest, counts, finished))
}

/// Vitest, `default` or `verbose`. By default it names only what did not pass.
pub(in crate::testing) fn vitest(text: &str) -> Option<TestReport> {
    let run = expression!(r"(?m)^ +(?:RUN|DEV) +v\d+\.");
    if !run.is_match(text) {
        return None;
    }
    let verbose = expression!(r"^ +(✓|×|↓) (?:\|\S+\| )?(\S+\.\w+ > .*?)(?: \d+m?s)?$");
    let failed = expression!(r"^ FAIL +(?:\|\S+\| )?(\S+\.\w+)(?: > (.*)| \[ .* \])?$");
    let mut builder = ReportBuilder::default();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(captures) = verbose.captures(line) {
            let outcome = match &captures[1] {
                "✓" => TestOutcome::Passed,
                "×" => TestOutcome::Failed,
                _ => TestOutcome::Skipped,
            };
            builder.push(TestCase::new(&captures[2], outcome));
        } else if let Some(captures) = failed.captures(line) {
            let mut block = Block::with_lines_max(BLOCK_LINES_MAX);
            while let Some(next) = lines.next_if(|next| !next.starts_with('⎯') && !next.starts_with(" FAIL "))
            {
                block.push(next);
            }
            let (name, outcome) = match captures.get(2) {
                Some(path) => (format!("{} > {}", &captures[1], path.as_str()), TestOutcome::Failed),
                None => (captures[1].to_owned(), TestOutcome::Errored),
            };
            let mut case = TestCase::new(name, outcome);
            case.stands_for_tests = outcome == TestOutcome::Errored;
            add_details(&block.text, &mut case);
            builder.detail(case);
        }
    }
    let summary = expression!(r"(?m)^ +Tests +([^\n]*\(\d+\)|no tests)$").captures_iter(text).last();
    let files = expression!(r"(?m)^ +Test Files +[^\n]*\(\d+\)$").is_match(text);
    let counts = summary.as_ref().map(|captures| {
        let mut counts = counts_of(&captures[1]);
        counts.errored += builder.counted().errored;
        counts
    });
    let finished = files && counts.is_some();
    Some(builder.finish(ReportSource::Output, ReportFormat::Vitest, counts, finished))
}

/// Mocha's `spec`: every test by its titles.
pub(in crate::testing) fn mocha(text: &str) -> Option<TestReport> {
    let passing = expression!(r"(?m)^  (\d+) passing \([\d.]+\w+\)$").captures_iter(text).last();
    let passing = passing?;
    let end = passing.get(0).map_or(text.len(), |whole| whole.start());
    let number = |name: &str| -> u64 {
        text[end..]
            .lines()
            .take(5)
            .find_map(|line| line.strip_prefix("  ")?.strip_suffix(name)?.trim().parse().ok())
            .unwrap_or(0)
    };
    let mark = expression!(r"^( {2,})(?:(✔|✓|-)|(\d+)\)) (\S.*?)(?: \(\d+ms\))?$");
    let title = expression!(r"^( {2,})(\S.*)$");
    let mut builder = ReportBuilder::default();
    let mut titles: Vec<(usize, String)> = Vec::new();
    let mut failures: HashMap<String, String> = HashMap::new();
    for line in text[..end].lines() {
        if let Some(captures) = mark.captures(line) {
            titles.retain(|(indent, _)| *indent < captures[1].len());
            let path = titles.iter().map(|(_, title)| title.as_str()).chain([&captures[4]]);
            let name = joined(path);
            let outcome = match (captures.get(2).map(|mark| mark.as_str()), captures.get(3)) {
                (Some("-"), _) => TestOutcome::Skipped,
                (Some(_), _) => TestOutcome::Passed,
                (None, Some(n)) => {
                    failures.entry(n.as_str().to_owned()).or_insert_with(|| name.clone());
                    // "before each" hook for "x"
                    let in_hook = captures[4].contains("\" hook");
                    if in_hook { TestOutcome::Errored } else { TestOutcome::Failed }
                }
                (None, None) => continue,
            };
            let stands_for_tests = outcome == TestOutcome::Errored;
            builder.push_another(TestCase { stands_for_tests, ..TestCase::new(name, outcome) });
        } else if let Some(captures) = title.captures(line) {
            titles.retain(|(indent, _)| *indent < captures[1].len());
            if titles.len() < DEPTH_MAX {
                titles.push((captures[1].len(), captures[2].to_owned()));
            }
        }
    }
    let header = expression!(r"(?m)^  (\d+)\) [^\n]*\n(?: {5,}[^\n]*\n)*? {5,}[^\n]*:\n");
    let next = expression!(r"(?m)^  \d+\) ");
    for (captures, block) in blocks(header, &text[end..]) {
        let whole = captures.get(0).map_or("", |whole| whole.as_str());
        let block = &block[..next.find(block).map_or(block.len(), |next| next.start())];
        let Some(name) = failures.get(&captures[1]) else {
            // A reporter that prints a dot for each test names failing ones here only.
            if failures.is_empty() {
                let mut case = named_in_list(whole);
                add_details(block, &mut case);
                builder.push_another(case);
            }
            continue;
        };
        let mut case = TestCase::new(name.clone(), TestOutcome::Failed);
        add_details(block, &mut case);
        builder.detail(case);
    }
    let counts = TestCounts {
        passed: passing[1].parse().unwrap_or(0),
        failed: number(" failing"),
        skipped: number(" pending"),
        errored: 0,
    };
    // Pending and failed tests are counted below the passed ones; an empty line ends the counts.
    let finished = text[end..].lines().skip(1).take(3).any(str::is_empty);
    Some(builder.finish(ReportSource::Output, ReportFormat::Mocha, Some(counts), finished))
}

/// The test that a heading in Mocha's list of failures names: its titles, one below the other.
fn named_in_list(heading: &str) -> TestCase {
    let lines = heading.lines().map(str::trim);
    let titles = lines.filter_map(|line| {
        let title = line.split_once(") ").filter(|(number, _)| number.parse::<u64>().is_ok());
        let title = title.map_or(line, |(_, title)| title);
        let title = title.strip_suffix(':').unwrap_or(title);
        (!title.is_empty()).then_some(title)
    });
    let name = joined(titles);
    let in_hook = name.contains("\" hook");
    let outcome = if in_hook { TestOutcome::Errored } else { TestOutcome::Failed };
    TestCase { stands_for_tests: in_hook, ..TestCase::new(name, outcome) }
}

/// Node's own runner, `spec`.
pub(in crate::testing) fn node(text: &str) -> Option<TestReport> {
    let total = expression!(r"(?m)^ℹ (tests|pass|fail|cancelled|skipped|todo) (\d+)$");
    let line = expression!(r"^( *)(▶|✔|✖|﹣|⚠) (\S.*?)(?: \([\d.]+m?s\))?(?: # ?(SKIP|TODO|\S.*))?$");
    let finished = text.lines().any(|line| line.starts_with("ℹ duration_ms "));
    let begun = text.lines().any(|text| line.captures(text).is_some_and(|c| c[1].is_empty()));
    if !finished && !begun {
        return None;
    }
    let body = text.split("\n✖ failing tests:").next().unwrap_or(text);
    let mut builder = ReportBuilder::default();
    let mut titles: Vec<(usize, String)> = Vec::new();
    let mut lines = body.lines().peekable();
    while let Some(text) = lines.next() {
        let Some(captures) = line.captures(text) else { continue };
        let indent = captures[1].len();
        let own = relative(&captures[3]).to_owned();
        let closes = titles.last().is_some_and(|(at, title)| *at == indent && *title == own);
        titles.retain(|(at, _)| *at < indent);
        if closes {
            continue;
        }
        if &captures[2] == "▶" {
            if titles.len() < DEPTH_MAX {
                titles.push((indent, own));
            }
            continue;
        }
        let path = titles.iter().map(|(_, title)| title.as_str()).chain([own.as_str()]);
        let name = joined(path);
        let is_todo = captures.get(4).is_some_and(|why| why.as_str().starts_with("TODO"));
        let outcome = match &captures[2] {
            _ if is_todo => TestOutcome::Skipped,
            "✔" => TestOutcome::Passed,
            "✖" => TestOutcome::Failed,
            _ => TestOutcome::Skipped,
        };
        let mut case = TestCase::new(name, outcome);
        if case.is_red() {
            let mut block = Block::with_lines_max(BLOCK_LINES_MAX);
            while let Some(next) = lines.next_if(|next| !line.is_match(next) && !next.starts_with('ℹ')) {
                block.push(next);
            }
            add_details(&block.text, &mut case);
        }
        case.stands_for_tests = case.is_red() && titles.is_empty() && is_file(&own);
        builder.push_another(case);
    }
    let mut counts = TestCounts::default();
    for captures in total.captures_iter(text) {
        let n = captures[2].parse().unwrap_or(0);
        match &captures[1] {
            "pass" => counts.passed = n,
            "fail" => counts.failed = n,
            "cancelled" => counts.errored = n,
            "skipped" | "todo" => counts.skipped += n,
            _ => {}
        }
    }
    let counts = finished.then_some(counts);
    Some(builder.finish(ReportSource::Output, ReportFormat::NodeTest, counts, finished))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_that_passed_when_it_was_run_again_is_known() {
        let written = |more: &str| {
            format!(
                r#"{{"numTotalTests":1,"testResults":[{{"name":"a.js","status":"passed","assertionResults":[{{"title":"a","status":"passed",{more}}}]}}]}}"#
            )
        };
        for (more, is_retried) in [
            // Vitest keeps the failures of the first runs, and Jest counts the runs.
            (r#""failureMessages":["AssertionError: expected 1 to be 2"]"#, true),
            (r#""failureMessages":[],"invocations":2"#, true),
            (r#""failureMessages":[],"invocations":1"#, false),
            (r#""failureMessages":[]"#, false),
        ] {
            let report = json(&written(more), ReportFormat::Vitest).unwrap();
            assert_eq!(report.cases[0].retried, is_retried, "{more}");
            assert_eq!(report.cases[0].outcome, TestOutcome::Passed, "{more}");
        }
    }
}
