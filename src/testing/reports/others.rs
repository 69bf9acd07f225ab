//! What RSpec, PHPUnit, CTest, prove and Maven print, and the JSON that RSpec writes.

use std::collections::HashMap;

use serde::Deserialize;

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestLocation, TestOutcome, TestReport,
};

use super::text::{Innermost, expression, frame, gist, number, relative};

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
pub(super) fn rspec_json(text: &str) -> Option<TestReport> {
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
        case.message = example.pending_message;
        if let Some(exception) = example.exception.filter(|_| case.outcome == TestOutcome::Failed) {
            case.message = exception.message.and_then(|message| gist(&message));
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
        builder.push(case);
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
    for captures in loading.captures_iter(text) {
        let mut case = TestCase::new(relative(&captures[1]), TestOutcome::Errored);
        let rest = captures.get(0).map_or("", |whole| &text[whole.end()..]);
        case.message = gist(rest.split("\n# ").next().unwrap_or(rest));
        case.location = Some(TestLocation { file: relative(&captures[1]).to_owned(), line: None });
        builder.push(case);
    }
}

/// RSpec. It names only what failed.
pub(super) fn rspec(text: &str) -> Option<TestReport> {
    let summary = expression!(
        r"(?m)^(?P<all>\d+) examples?, (?P<failed>\d+) failures?(?:, (?P<pending>\d+) pending)?(?:, (?P<errors>\d+) errors? occurred outside of examples)?$"
    );
    let told = summary.captures_iter(text).last()?;
    let mut builder = ReportBuilder::default();
    outside_of_examples(text, &mut builder);
    let failed = expression!(r"(?m)^rspec (\S+?)(?::(\d+)|\[[\d:,]+\])(?: # (.*))?$");
    for captures in failed.captures_iter(text) {
        let name = captures.get(3).map_or(&captures[1], |name| name.as_str().trim()).to_owned();
        let mut case = TestCase::new(name.clone(), TestOutcome::Failed);
        let line = captures.get(2).and_then(|line| line.as_str().parse().ok());
        case.location = Some(TestLocation { file: relative(&captures[1]).to_owned(), line });
        // So many are shown with details; each costs a look through the whole output.
        let header = (builder.counted().failed < 50).then(|| text.lines()).and_then(|mut lines| {
            lines.position(|line| {
                line.trim_start()
                    .split_once(") ")
                    .is_some_and(|(n, rest)| n.parse::<u32>().is_ok() && rest == name)
            })
        });
        if let Some(header) = header {
            let block: Vec<&str> =
                text.lines().skip(header + 1).skip_while(|l| l.is_empty()).take(40).map(str::trim).collect();
            let said: Vec<&str> = block.iter().take_while(|line| !line.starts_with("# ")).copied().collect();
            case.message = gist(&said.join("\n"));
            let stack: Vec<&str> = block.iter().filter(|line| line.starts_with("# ")).copied().collect();
            case.frame = frame(&stack.join("\n"), Innermost::First).map(|(line, _)| line);
        }
        builder.push(case);
    }
    let (all, failed, pending) = (number(&told, "all"), number(&told, "failed"), number(&told, "pending"));
    let counts = TestCounts {
        passed: all.saturating_sub(failed + pending),
        failed,
        skipped: pending,
        errored: number(&told, "errors"),
    };
    Some(builder.finish(ReportSource::Output, ReportFormat::Rspec, Some(counts), true))
}

/// PHPUnit. It names only what did not pass.
pub(super) fn phpunit(text: &str) -> Option<TestReport> {
    if !expression!(r"(?m)^PHPUnit \d+\.").is_match(text) {
        return None;
    }
    let ok = expression!(r"(?m)^OK \((?P<tests>\d+) tests?, ").captures_iter(text).last();
    let summary =
        expression!(r"(?m)^Tests: (?P<tests>\d+), Assertions: \d+[^\n]*\.$").captures_iter(text).last();
    let none = text.lines().any(|line| line == "No tests executed!");
    let mut counts = TestCounts::default();
    if let Some(told) = summary.as_ref().or(ok.as_ref()) {
        let part = expression!(r"(Errors|Failures|Skipped|Incomplete): (\d+)");
        for captures in part.captures_iter(&told[0]) {
            let n = captures[2].parse().unwrap_or(0);
            match &captures[1] {
                "Errors" => counts.errored += n,
                "Failures" => counts.failed += n,
                _ => counts.skipped += n,
            }
        }
        counts.passed = number(told, "tests").saturating_sub(counts.total());
    }
    let finished = summary.is_some() || ok.is_some() || none;
    let section =
        expression!(r"(?m)^There (?:was|were) \d+ (error|failure|risky|warning|incomplete|skipped)[^\n]*:$");
    let header = expression!(r"(?m)^\d+\) (\S+?)(?: with data set (.+?)(?: \(.*\))?)?$");
    let mut builder = ReportBuilder::default();
    let sections: Vec<_> = section.captures_iter(text).collect();
    for (index, captures) in sections.iter().enumerate() {
        let outcome = match &captures[1] {
            "error" => TestOutcome::Errored,
            "failure" => TestOutcome::Failed,
            _ => continue,
        };
        let from = captures.get(0).map_or(0, |whole| whole.end());
        let to = sections.get(index + 1).and_then(|next| next.get(0)).map_or(text.len(), |next| next.start());
        let within = &text[from..to];
        let headers: Vec<_> = header.captures_iter(within).collect();
        for (index, captures) in headers.iter().enumerate() {
            let from = captures.get(0).map_or(0, |whole| whole.end());
            let next = headers.get(index + 1).and_then(|next| next.get(0));
            let block = &within[from..next.map_or(within.len(), |next| next.start())];
            let block = block.split("\n--\n").next().unwrap_or(block);
            let name = match captures.get(2) {
                Some(data) => format!("{} with data set {}", &captures[1], data.as_str()),
                None => captures[1].to_owned(),
            };
            let mut case = TestCase::new(name, outcome);
            case.message = gist(block.split("\n\n/").next().unwrap_or(block));
            if let Some((line, at)) = frame(block, Innermost::First) {
                case.frame = Some(line);
                case.location = Some(at);
            }
            builder.push(case);
        }
    }
    Some(builder.finish(ReportSource::Output, ReportFormat::Phpunit, finished.then_some(counts), finished))
}

/// CTest: a line for each test.
pub(super) fn ctest(text: &str) -> Option<TestReport> {
    let line = expression!(
        r"(?m)^ *\d+/\d+ (?:Test|MemCheck) +#\d+: (?P<name>\S.*?) \.*(?: +|\*\*\*)(?P<said>Passed|Failed|Skipped|Not Run(?: \(Disabled\))?|Timeout|Exception: \w+|Exception)[^\n]*$"
    );
    let summary = expression!(r"(?m)^\d+% tests passed, (?P<failed>\d+) tests? failed out of (?P<all>\d+)$");
    let told = summary.captures_iter(text).last();
    let none = text.lines().any(|line| line == "No tests were found!!!");
    if told.is_none() && !line.is_match(text) && !none {
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
    Some(builder.finish(ReportSource::Output, ReportFormat::Ctest, Some(counts), told.is_some() || none))
}

/// Perl's prove: files, and with `-v` what each says.
pub(super) fn prove(text: &str) -> Option<TestReport> {
    let files = expression!(r"(?m)^Files=(?P<files>\d+), Tests=(?P<tests>\d+),");
    let told = files.captures_iter(text).last();
    let line = expression!(r"(?m)^(\S+\.t) \.+ ?(ok|skipped(?:: [^\n]*)?|[^\n]*)$");
    if told.is_none() && !line.is_match(text) {
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
        case.message = gist(&captures[5]).map(|message| message.trim().to_owned());
        builder.push(case);
    }
    for captures in line.captures_iter(text) {
        let outcome = match &captures[2] {
            "ok" => TestOutcome::Passed,
            said if said.starts_with("skipped") => TestOutcome::Skipped,
            // What became of it is told in the summary, or below its own lines with `-v`.
            _ if builder.has(&captures[1]) => continue,
            _ if told.is_some() => TestOutcome::Passed,
            _ => continue,
        };
        if !builder.has(&captures[1]) {
            builder.push(TestCase::new(&captures[1], outcome));
        }
    }
    let counts = builder.counted();
    let finished = told.is_some() && expression!(r"(?m)^Result: (?:PASS|FAIL|NOTESTS)$").is_match(text);
    let mut report = builder.finish(ReportSource::Output, ReportFormat::Prove, Some(counts), finished);
    if let Some(told) = told {
        report.add_remark(format!(
            "{} assertions in {} files",
            number(&told, "tests"),
            number(&told, "files")
        ));
    }
    Some(report)
}

/// Maven's Surefire. It names only what did not pass.
pub(super) fn maven(text: &str) -> Option<TestReport> {
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
    for captures in line.captures_iter(text) {
        let outcome = if &captures["said"] == "ERROR" { TestOutcome::Errored } else { TestOutcome::Failed };
        let rest = captures.get(0).map_or("", |whole| &text[whole.end()..]);
        let block = rest.split("\n\n").next().unwrap_or(rest);
        let name = match captures["name"].strip_suffix(')').and_then(|name| name.split_once('(')) {
            // Older ones: `method(Class)`.
            Some((method, class)) => format!("{class}.{method}"),
            None => captures["name"].to_owned(),
        };
        let mut case = TestCase::new(name, outcome);
        let said: Vec<&str> =
            block.lines().take_while(|line| !line.trim_start().starts_with("at ")).collect();
        case.message = gist(&said.join("\n"));
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
            let mut case = TestCase::new(&captures[1], TestOutcome::Errored);
            case.message = Some("the virtual machine ended before the tests did".to_owned());
            builder.push(case);
            counts.errored += 1;
        }
    }
    let compile = expression!(r"(?m)^\[ERROR\] COMPILATION ERROR");
    if compile.is_match(text) {
        let error = expression!(r"(?m)^\[ERROR\] (\S+\.(?:java|kt|scala)):\[(\d+),\d+\] ([^\n]*)$");
        let mut case = TestCase::new("compilation", TestOutcome::Errored);
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
