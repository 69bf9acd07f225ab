//! What a run reports about each test, from a file that the runner wrote or from its output. The report may lie, so it
//! is bounded, and it can only make a result worse than its exit code, never better.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most tests that a report keeps; more are counted. Larger suites are rare, and each test costs some hundred bytes in
/// every run of a transcript.
pub const CASES_MAX: usize = 10_000;
/// Longest name of a test, in characters.
pub const NAME_CHARS_MAX: usize = 300;
/// Longest message of a test, in characters.
pub const MESSAGE_CHARS_MAX: usize = 600;
/// Longest frame, and longest path of a location, in characters.
pub const FRAME_CHARS_MAX: usize = 300;
/// Most tests that keep message, location and frame; of more, only the outcome is kept.
pub const DETAILED_MAX: usize = 200;
/// Most remarks of a report.
pub const REMARKS_MAX: usize = 20;

/// The outcome of one test. If a name occurs twice, the greater outcome counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// It passed.
    Passed,
    /// It was not run, or it was expected to fail and did.
    Skipped,
    /// An assertion failed.
    Failed,
    /// It broke outside its assertions: collection, compilation, setup, a crash.
    Errored,
}

/// A location in the sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestLocation {
    /// The file, relative to the repository's root if possible.
    pub file: String,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl TestLocation {
    /// `file:line`.
    pub fn describe(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCase {
    /// Its name, by which the runner identifies it.
    pub name: String,
    /// The result.
    pub outcome: TestOutcome,
    /// The runner's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The location of the test or its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<TestLocation>,
    /// The most useful line of the traceback: the last one in the repository's own files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
}

impl TestCase {
    /// A test without details.
    pub fn new(name: impl Into<String>, outcome: TestOutcome) -> Self {
        Self { name: name.into(), outcome, message: None, location: None, frame: None }
    }

    /// Whether it ran and did not pass.
    pub fn is_red(&self) -> bool {
        match self.outcome {
            TestOutcome::Failed | TestOutcome::Errored => true,
            TestOutcome::Passed | TestOutcome::Skipped => false,
        }
    }
}

/// The number of tests by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCounts {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Errored.
    pub errored: u64,
    /// Skipped.
    pub skipped: u64,
}

impl TestCounts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.ran().saturating_add(self.skipped)
    }

    /// Those that ran.
    pub fn ran(self) -> u64 {
        self.passed.saturating_add(self.red())
    }

    /// Those that ran and did not pass.
    pub fn red(self) -> u64 {
        self.failed.saturating_add(self.errored)
    }

    /// Counts one more.
    pub fn add(&mut self, outcome: TestOutcome) {
        let count = match outcome {
            TestOutcome::Passed => &mut self.passed,
            TestOutcome::Failed => &mut self.failed,
            TestOutcome::Errored => &mut self.errored,
            TestOutcome::Skipped => &mut self.skipped,
        };
        *count = count.saturating_add(1);
    }

    /// Adds other counts.
    pub fn add_all(&mut self, more: Self) {
        self.passed = self.passed.saturating_add(more.passed);
        self.failed = self.failed.saturating_add(more.failed);
        self.errored = self.errored.saturating_add(more.errored);
        self.skipped = self.skipped.saturating_add(more.skipped);
    }

    /// `3 passed, 1 failed, 2 skipped`.
    pub fn describe(self) -> String {
        let parts = [
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.errored, "errored"),
            (self.skipped, "skipped"),
        ];
        let texts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        if texts.is_empty() { "no test".to_owned() } else { texts.join(", ") }
    }
}

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportFormat {
    /// pytest's own output.
    Pytest,
    /// Python's unittest.
    Unittest,
    /// Rust's libtest, as `cargo test` runs it.
    CargoTest,
    /// cargo-nextest.
    Nextest,
    /// `go test`, plain or `-json`.
    GoTest,
    /// Node's own runner, `spec`.
    NodeTest,
    /// Jest.
    Jest,
    /// Mocha, `spec`.
    Mocha,
    /// Vitest.
    Vitest,
    /// The Test Anything Protocol.
    Tap,
    /// JUnit's XML, which many runners write.
    Junit,
    /// RSpec.
    Rspec,
    /// PHPUnit.
    Phpunit,
    /// CTest.
    Ctest,
    /// Perl's prove.
    Prove,
    /// Maven's Surefire.
    Maven,
}

impl ReportFormat {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pytest => "pytest",
            Self::Unittest => "unittest",
            Self::CargoTest => "cargo test",
            Self::Nextest => "cargo nextest",
            Self::GoTest => "go test",
            Self::NodeTest => "node --test",
            Self::Jest => "Jest",
            Self::Mocha => "Mocha",
            Self::Vitest => "Vitest",
            Self::Tap => "TAP",
            Self::Junit => "JUnit XML",
            Self::Rspec => "RSpec",
            Self::Phpunit => "PHPUnit",
            Self::Ctest => "CTest",
            Self::Prove => "prove",
            Self::Maven => "Maven",
        }
    }
}

/// Where a report was read from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportSource {
    /// There is none: only the exit code is known.
    #[default]
    ExitCode,
    /// The command's output; tests can print, too.
    Output,
    /// A file that the runner was asked to write, at a random path.
    File,
}

/// What a run reports about its tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestReport {
    /// Where it was read from.
    pub source: ReportSource,
    /// Its formats; several if a command runs several runners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<ReportFormat>,
    /// The number of tests, if the runner counts or names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<TestCounts>,
    /// Whether the report is complete: a runner that was ended early leaves it unfinished.
    #[serde(default)]
    pub finished: bool,
    /// The named tests, each once, sorted by name. Not necessarily all: see `counts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<TestCase>,
    /// Named tests that were left out because there are too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Remarks for people about what is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl TestReport {
    /// A report that only names the failed tests.
    pub fn naming_failed(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let failed = |name: _| TestCase::new(name, TestOutcome::Failed);
        Self { cases: names.into_iter().map(failed).collect(), ..Self::default() }
    }

    /// Whether more than the exit code is known.
    pub fn is_known(&self) -> bool {
        self.source != ReportSource::ExitCode
    }

    /// The names of the tests that ran and did not pass.
    pub fn red(&self) -> impl Iterator<Item = &TestCase> {
        self.cases.iter().filter(|case| case.is_red())
    }

    /// The test with this name.
    pub fn case(&self, name: &str) -> Option<&TestCase> {
        let at = self.cases.binary_search_by(|case| case.name.as_str().cmp(name)).ok()?;
        self.cases.get(at)
    }

    /// Whether every counted test is named, so that a test that is not named does not exist.
    pub fn names_all(&self) -> bool {
        let named = self.cases.len() as u64;
        self.finished && self.left_out == 0 && self.counts.is_some_and(|counts| counts.total() <= named)
    }

    /// Why a run with exit code 0 did not pass, if so: its report is incomplete, names a test that did not pass, or has no
    /// test that ran.
    pub fn contradicts_success(&self) -> Option<String> {
        if !self.is_known() {
            return None;
        }
        if !self.finished {
            return Some("its report breaks off before its end: the run was ended early".to_owned());
        }
        let counts = self.counts?;
        if counts.ran() == 0 {
            return Some(match counts.skipped {
                0 => "no test was run".to_owned(),
                skipped => format!("no test was run: all {skipped} were skipped"),
            });
        }
        None
    }

    /// Adds a remark.
    pub fn add_remark(&mut self, words: impl Into<String>) {
        if self.remarks.len() < REMARKS_MAX {
            self.remarks.push(words.into());
        }
    }

    /// Where the report comes from, for people: `pytest, from a report file`.
    pub fn origin(&self) -> String {
        let names: Vec<&str> = self.formats.iter().map(|format| format.name()).collect();
        match self.source {
            ReportSource::ExitCode => "exit code only".to_owned(),
            ReportSource::Output => format!("{}, as printed", names.join(" and ")),
            ReportSource::File => format!("{}, from a report file", names.join(" and ")),
        }
    }
}

/// Gathers tests into a report, within its bounds.
#[derive(Debug, Default)]
pub struct ReportBuilder {
    cases: BTreeMap<String, TestCase>,
    counted: TestCounts,
    detailed: usize,
    left_out: u64,
}

impl ReportBuilder {
    /// Adds a test, cut to the bounds. A name that exists already keeps its greater outcome.
    pub fn push(&mut self, case: TestCase) {
        let name: String = clean(&case.name, NAME_CHARS_MAX);
        if name.is_empty() {
            return;
        }
        self.counted.add(case.outcome);
        match self.cases.get(&name) {
            Some(known) if known.outcome > case.outcome => return,
            Some(known) if known.outcome == case.outcome && known.message.is_some() => return,
            Some(_) => {}
            None if self.cases.len() >= CASES_MAX => {
                self.left_out += 1;
                return;
            }
            None => {}
        }
        let case = self.detailed_case(name.clone(), case);
        self.cases.insert(name, case);
    }

    /// Adds details of a test, and the test if it is new.
    pub fn detail(&mut self, case: TestCase) {
        let name = clean(&case.name, NAME_CHARS_MAX);
        if !self.cases.contains_key(&name) {
            return self.push(case);
        }
        let detailed = self.detailed_case(name.clone(), case);
        if let Some(known) = self.cases.get_mut(&name) {
            known.message = known.message.take().or(detailed.message);
            known.location = known.location.take().or(detailed.location);
            known.frame = known.frame.take().or(detailed.frame);
        }
    }

    fn detailed_case(&mut self, name: String, case: TestCase) -> TestCase {
        let is_detailed = case.message.is_some() || case.location.is_some() || case.frame.is_some();
        if !is_detailed || self.detailed >= DETAILED_MAX {
            return TestCase::new(name, case.outcome);
        }
        self.detailed += 1;
        TestCase {
            name,
            outcome: case.outcome,
            message: case.message.map(|text| cut(text.trim(), MESSAGE_CHARS_MAX)).filter(|m| !m.is_empty()),
            location: case
                .location
                .map(|at| TestLocation { file: clean(&at.file, FRAME_CHARS_MAX), line: at.line }),
            frame: case.frame.map(|text| clean(&text, FRAME_CHARS_MAX)).filter(|frame| !frame.is_empty()),
        }
    }

    /// Whether the report has a test with this name.
    pub fn has(&self, name: &str) -> bool {
        self.cases.contains_key(name)
    }

    /// The number of added tests.
    pub fn counted(&self) -> TestCounts {
        self.counted
    }

    /// The report. `counts` are the runner's own; without them, the added tests are counted.
    pub fn finish(
        self,
        source: ReportSource,
        format: ReportFormat,
        counts: Option<TestCounts>,
        finished: bool,
    ) -> TestReport {
        TestReport {
            source,
            formats: vec![format],
            counts,
            finished,
            cases: self.cases.into_values().collect(),
            left_out: self.left_out,
            remarks: Vec::new(),
        }
    }
}

/// One line, without control characters, cut.
fn clean(text: &str, chars_max: usize) -> String {
    let line = text.trim().replace(['\n', '\r', '\t'], " ");
    let printable: String = line.chars().filter(|c| !c.is_control()).collect();
    cut(printable.trim(), chars_max)
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_bounded_in_all_it_keeps() {
        let mut builder = ReportBuilder::default();
        for n in 0..CASES_MAX + 5 {
            let mut case = TestCase::new(format!("{n} {}", "x".repeat(1_000)), TestOutcome::Failed);
            case.message = Some("m".repeat(10_000));
            builder.push(case);
        }
        let counts = builder.counted();
        let report = builder.finish(ReportSource::Output, ReportFormat::Tap, Some(counts), true);
        assert_eq!((report.cases.len(), report.left_out, counts.failed), (CASES_MAX, 5, 10_005));
        assert_eq!(report.cases.iter().filter(|case| case.message.is_some()).count(), DETAILED_MAX);
        assert!(report.cases.iter().all(|case| case.name.chars().count() <= NAME_CHARS_MAX));
        assert!(!report.names_all());
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.len() < CASES_MAX * (NAME_CHARS_MAX + 50) + DETAILED_MAX * (MESSAGE_CHARS_MAX + 50));
    }

    #[test]
    fn a_name_that_occurs_twice_keeps_the_worse_outcome() {
        let mut builder = ReportBuilder::default();
        for outcome in [TestOutcome::Passed, TestOutcome::Failed, TestOutcome::Passed] {
            builder.push(TestCase::new("a\n", outcome));
        }
        let report = builder.finish(ReportSource::File, ReportFormat::Junit, None, true);
        assert_eq!(report.cases, [TestCase::new("a", TestOutcome::Failed)]);
        assert!(report.case("a").is_some() && report.case("b").is_none());
    }

    #[test]
    fn success_is_contradicted_by_a_report_without_an_end_or_without_a_test() {
        let counts = |passed, skipped| Some(TestCounts { passed, skipped, ..TestCounts::default() });
        let report = |counts, finished| TestReport {
            source: ReportSource::Output,
            counts,
            finished,
            ..TestReport::default()
        };
        assert_eq!(report(counts(1, 0), true).contradicts_success(), None);
        assert_eq!(report(None, true).contradicts_success(), None);
        assert_eq!(TestReport::default().contradicts_success(), None);
        assert!(report(counts(1, 0), false).contradicts_success().unwrap().contains("ended early"));
        assert_eq!(report(counts(0, 0), true).contradicts_success().unwrap(), "no test was run");
        assert!(report(counts(0, 2), true).contradicts_success().unwrap().contains("all 2 were skipped"));
    }
}
