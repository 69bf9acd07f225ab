//! What a run reports about each test, from a file that the runner wrote or from its output. The report may lie, so it
//! is bounded, and it can only make a result worse than its exit code, never better.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

mod builder;

pub use builder::ReportBuilder;

use super::RewrittenFile;

/// Most tests that a run in memory names, so that runs of large suites can be compared; more are counted.
pub const NAMES_MAX: usize = 200_000;
/// Most bytes of all names of a run in memory.
pub const NAMES_BYTES_MAX: usize = 48 << 20;
/// Most tests that a recorded report names, those that did not pass first: each costs some hundred bytes in every run
/// of a transcript.
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
    /// Where the name counts, if the runner reuses names: the crate and target, or the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The result.
    pub outcome: TestOutcome,
    /// Whether it is no test, but a file, a build or a fixture whose tests could not run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stands_for_tests: bool,
    /// Whether it failed first, and the runner itself ran it again until it passed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retried: bool,
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
    /// The file that its name begins with, in runners that name it: `tests/a.py` of `tests/a.py::b`.
    pub fn file_in_name(&self) -> &str {
        let first = self.name.split("::").next().unwrap_or(&self.name);
        first.split(" > ").next().unwrap_or(first)
    }

    /// A test without details.
    pub fn new(name: impl Into<String>, outcome: TestOutcome) -> Self {
        Self {
            name: name.into(),
            group: None,
            outcome,
            stands_for_tests: false,
            retried: false,
            message: None,
            location: None,
            frame: None,
        }
    }

    /// A file, a build or a fixture whose tests could not run.
    pub fn broken(name: impl Into<String>) -> Self {
        Self { stands_for_tests: true, ..Self::new(name, TestOutcome::Errored) }
    }

    /// The name, with its group if it has one: unique in a report.
    pub fn id(&self) -> String {
        match &self.group {
            Some(group) => format!("{} ({group})", self.name),
            None => self.name.clone(),
        }
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
    /// The named tests, each once, sorted by name and group. Not necessarily all: see `counts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "recorded")]
    pub cases: Vec<TestCase>,
    /// How often the report named a test that it had named before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated: u64,
    /// Named tests that were left out because there are too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Remarks for people about what is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Tracked files that the run changed, as the sandbox found them afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed_files: Vec<RewrittenFile>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Records at most [`CASES_MAX`] tests: those that did not pass, then the first others.
fn recorded<S: Serializer>(cases: &[TestCase], serializer: S) -> Result<S::Ok, S::Error> {
    let red = cases.iter().filter(|case| case.is_red()).count();
    let mut others = CASES_MAX.saturating_sub(red);
    let mut failing = CASES_MAX;
    let kept = cases.iter().filter(|case| {
        let room = if case.is_red() { &mut failing } else { &mut others };
        let is_kept = *room > 0;
        *room = room.saturating_sub(1);
        is_kept
    });
    serializer.collect_seq(kept)
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

    /// The test with this name; of several in different groups, the one with the worst outcome.
    pub fn case(&self, name: &str) -> Option<&TestCase> {
        self.named(name).iter().max_by_key(|case| case.outcome)
    }

    /// The tests with this name, in all groups.
    fn named(&self, name: &str) -> &[TestCase] {
        let from = self.cases.partition_point(|case| case.name.as_str() < name);
        let length = self.cases[from..].partition_point(|case| case.name == name);
        &self.cases[from..from + length]
    }

    /// The test of another run of the suite in this one. Groups are compared if both runs have them.
    pub fn same(&self, other: &TestCase) -> Option<&TestCase> {
        let named = self.named(&other.name);
        let exact = named.iter().find(|case| case.group == other.group);
        let without_groups = || {
            let is_grouped = other.group.is_some() && named.iter().any(|case| case.group.is_some());
            named.iter().filter(|_| !is_grouped).max_by_key(|case| case.outcome)
        };
        exact.or_else(without_groups)
    }

    /// A test's name for people: with its group where the name alone is ambiguous.
    pub fn title(&self, case: &TestCase) -> String {
        let is_ambiguous = self.named(&case.name).iter().any(|other| other.group != case.group);
        if is_ambiguous { case.id() } else { case.name.clone() }
    }

    /// Whether it names or counts a test that ran and did not pass.
    pub fn is_red(&self) -> bool {
        self.red().next().is_some() || self.counts.is_some_and(|counts| counts.red() > 0)
    }

    /// Whether every counted test is named, so that a test that is not named does not exist.
    pub fn names_all(&self) -> bool {
        let named = (self.cases.len() as u64).saturating_add(self.repeated);
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
        if self.is_red() {
            let counted = self.counts.map_or(0, TestCounts::red).max(self.red().count() as u64);
            let tests = if counted == 1 { "1 test" } else { &format!("{counted} tests") };
            return Some(format!("its own report has {tests} that did not pass{}", self.first_red()));
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

    /// The first red tests by name, as the end of a sentence.
    fn first_red(&self) -> String {
        const NAMED_MAX: usize = 5;
        let names: Vec<String> = self.red().take(NAMED_MAX).map(|case| self.title(case)).collect();
        if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
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

#[cfg(test)]
mod tests {
    use super::*;

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
