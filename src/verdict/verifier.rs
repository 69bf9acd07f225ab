//! What a verdict rests on, and what it is.

use crate::domain::{ReportBuilder, ReportFormat, ReportSource, Sha, TestCase, TestReport, TestRun};
use crate::setup::Environment;

use super::Verified;

/// Everything a verdict rests on, besides the proposal itself.
pub struct Verifier<'a> {
    /// Starts the fresh sandboxes, with the rules of the base branch.
    pub environment: &'a Environment,
    /// The suite's run before any change.
    pub baseline: &'a TestRun,
    /// The defences that are on.
    pub defences: Defences,
}

/// The defences against proposals that only look right. All are on in the product; a test switches one off to
/// see that a case depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defences {
    /// Protected paths may not be touched.
    pub protected_paths: bool,
    /// What a report says of the tests counts beside the exit code.
    pub reports: bool,
    /// Tests of one name in two crates, targets or files are two tests.
    pub groups: bool,
    /// Existing tests are run as the base has them, too.
    pub base_tests: bool,
    /// A change to a suite that passes must bring a test that fails without it.
    pub proof: bool,
    /// A proposal that has a setup of its own is run with the base's, too.
    pub base_setup: bool,
    /// Tests that are gone or skipped are shown.
    pub compared_tests: bool,
    /// Added lines that can make tests look passed are shown.
    pub suspicious_lines: bool,
    /// Other tracked files that the run changed are shown.
    pub rewritten_files: bool,
    /// New files may not lie where the repository ignores them or its setup makes them.
    pub places: bool,
    /// A file in which a named test stands is a test, wherever it lies.
    pub named_tests: bool,
    /// What the proposal changes besides the source must not be what makes the tests pass.
    pub unchanged_source: bool,
    /// Every other file that the proposal touches is shown.
    pub touched_files: bool,
    /// A run in which tests on the disk were changed does not count.
    pub unchanged_tests: bool,
    /// Tests in source files are put back as the base has them.
    pub tests_in_source: bool,
    /// A test that must fail is added to the proposal, and must be reported as failing.
    pub canary: bool,
    /// The base's tests must pass with the source of the proposal alone.
    pub source_alone: bool,
    /// The tests that show the issue must fail with other values in them.
    pub altered_tests: bool,
}

impl Default for Defences {
    fn default() -> Self {
        Self {
            protected_paths: true,
            reports: true,
            groups: true,
            base_tests: true,
            proof: true,
            base_setup: true,
            compared_tests: true,
            suspicious_lines: true,
            rewritten_files: true,
            places: true,
            named_tests: true,
            unchanged_source: true,
            touched_files: true,
            unchanged_tests: true,
            tests_in_source: true,
            canary: true,
            source_alone: true,
            altered_tests: true,
        }
    }
}

impl Defences {
    /// A run as far as the defences look at it.
    pub fn seen(&self, run: TestRun) -> TestRun {
        let mut run = run;
        if !self.groups {
            let mut cases = ReportBuilder::default();
            for case in std::mem::take(&mut run.report.cases) {
                cases.push(TestCase { group: None, ..case });
            }
            run.report.cases = cases.finish(ReportSource::Output, ReportFormat::Tap, None, true).cases;
        }
        if !self.reports {
            run.report = TestReport { changed_files: run.report.changed_files, ..TestReport::default() };
        }
        run
    }
}

/// The verdict.
#[derive(Debug)]
pub enum Verdict {
    /// It may be published.
    Verified(Box<Verified>),
    /// It may not; the explanation goes back to the model.
    Rejected(Box<Rejected>),
}

/// A proposal that may not be published.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// The tree that was judged.
    pub tree: Sha,
    /// Why not, in words for the model and for people.
    pub explanation: String,
    /// The run, if there was one.
    pub run: Option<TestRun>,
    /// Whether a rule forbids the proposal, whatever its tests do.
    pub refused: bool,
}

impl<'a> Verifier<'a> {
    /// A verifier with every defence on.
    pub fn new(environment: &'a Environment, baseline: &'a TestRun) -> Self {
        Self { environment, baseline, defences: Defences::default() }
    }
}
