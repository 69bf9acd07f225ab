//! What a verdict rests on, and what it is.

use crate::domain::{Sha, TestRun};
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
}

impl Default for Defences {
    fn default() -> Self {
        Self {
            places: true,
            named_tests: true,
            unchanged_source: true,
            touched_files: true,
            unchanged_tests: true,
            tests_in_source: true,
            canary: true,
        }
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
