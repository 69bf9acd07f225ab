//! What a run says of its tests, one by one: read from a file that the runner wrote, or from what it
//! printed. Whoever wrote it may lie, so it is bounded, and it can only ever take away from what the
//! exit code says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most tests that a report keeps; more are counted. Suites of more are rare, and each costs some
/// hundred bytes in every run of a transcript.
pub const CASES_MAX: usize = 10_000;
/// Longest name of a test, in characters.
pub const NAME_CHARS_MAX: usize = 300;
/// Longest message of a test, in characters.
pub const MESSAGE_CHARS_MAX: usize = 600;
/// Longest frame, and longest path of a location, in characters.
pub const FRAME_CHARS_MAX: usize = 300;
/// Most tests that keep message, place and frame; of more, the outcome is kept.
pub const DETAILED_MAX: usize = 200;
/// Most remarks of a report.
pub const REMARKS_MAX: usize = 20;

/// What came of one test. The order is that of telling: where a name occurs twice, the greater counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// It passed.
    Passed,
    /// It was not run, or was expected to fail and did.
    Skipped,
    /// What it asserts does not hold.
    Failed,
    /// It broke before or beside its assertions: collection, compilation, set-up, a crash.
    Errored,
}

/// Where something in the sources is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestLocation {
    /// The file, relative to the repository's root where that can be told.
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
    /// Its name, as its runner tells tests apart.
    pub name: String,
    /// What came of it.
    pub outcome: TestOutcome,
    /// Why, in the runner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where the test, or its failure, is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<TestLocation>,
    /// The line of the traceback that tells most: the last one in the repository's own files.
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

/// How many tests came to what.
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

    /// Those that were run.
    pub fn ran(self) -> u64 {
        self.passed.saturating_add(self.red())
    }

    /// Those that ran and did not pass.
    pub fn red(self) -> u64 {
        self.failed.saturating_add(self.errored)
    }

    /// One more.
    pub fn add(&mut self, outcome: TestOutcome) {
        let count = match outcome {
            TestOutcome::Passed => &mut self.passed,
            TestOutcome::Failed => &mut self.failed,
            TestOutcome::Errored => &mut self.errored,
            TestOutcome::Skipped => &mut self.skipped,
        };
        *count = count.saturating_add(1);
    }

    /// As many more.
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
        let told: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        if told.is_empty() { "no test".to_owned() } else { told.join(", ") }
    }
}

/// Whose words a report is in.
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
    /// As people call it.
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
    /// There is none: nothing but the exit code is known.
    #[default]
    ExitCode,
    /// What the command printed; a test can print, too.
    Output,
    /// A file that the runner was asked to write, at a path of a random name.
    File,
}

/// What a run says of its tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestReport {
    /// Where it was read from.
    pub source: ReportSource,
    /// Whose words it is in; several where a command runs several runners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<ReportFormat>,
    /// How many tests there were, where the runner says so or names each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<TestCounts>,
    /// Whether its end was seen: a runner that was ended early leaves it unfinished.
    #[serde(default)]
    pub finished: bool,
    /// The tests that are named, by name, each once. Not necessarily all: see `counts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<TestCase>,
    /// Named tests that were left out here for their number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// What is odd about it, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl TestReport {
    /// Nothing but the names of tests that failed.
    pub fn naming_failed(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let failed = |name: _| TestCase::new(name, TestOutcome::Failed);
        Self { cases: names.into_iter().map(failed).collect(), ..Self::default() }
    }

    /// Whether there is anything but an exit code.
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

    /// Whether every test that was counted is named, so that one that is not named was not there.
    pub fn names_all(&self) -> bool {
        let named = self.cases.len() as u64;
        self.finished && self.left_out == 0 && self.counts.is_some_and(|counts| counts.total() <= named)
    }

    /// Why a run with exit code 0 cannot be taken for one that passed, if so: its report was broken
    /// off, names a test that did not pass, or holds none that ran.
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

    /// One remark more.
    pub fn add_remark(&mut self, words: impl Into<String>) {
        if self.remarks.len() < REMARKS_MAX {
            self.remarks.push(words.into());
        }
    }

    /// From which words, in words: `pytest, from a report file`.
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
    /// One more test, cut to bounds. A name that was there already keeps its greater outcome.
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

    /// More about a test that was named before, or is named hereby.
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

    /// Whether a test of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.cases.contains_key(name)
    }

    /// How many were pushed.
    pub fn counted(&self) -> TestCounts {
        self.counted
    }

    /// The report. `counts`: what the runner itself counted, where it did; else what was pushed.
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
