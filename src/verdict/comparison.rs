//! A run of the proposal, compared with the base's.

use std::borrow::Cow;

use super::compare::{not_passed, rejection};
use super::failures::describe_failure;
use super::known_failures::{KnownFailures, compare_with_base};
use crate::domain::{TestCase, TestRun};

/// A run compared with the base's.
pub(super) enum Comparison {
    /// All of it passes.
    Green,
    /// The base failed, and the remaining failures are the base's.
    KnownFailures(KnownFailures),
}

/// The run of the base that a judgement compares with.
pub(super) struct Reference<'a> {
    /// The run.
    pub(super) baseline: Cow<'a, TestRun>,
    /// Whether it was made to go on after its first failure. Then so are those that are compared with it.
    pub(super) to_the_end: bool,
}

impl Reference<'_> {
    /// Compares a run with the base's. `Err` says why it does not suffice, as the end of a sentence.
    pub(super) fn compare(&self, run: &TestRun) -> Result<Comparison, String> {
        if run.is_green() || self.ends_as_the_base(run) {
            return rejection(&self.baseline, run).map_or(Ok(Comparison::Green), Err);
        }
        match compare_with_base(&self.baseline, run) {
            Some(Ok(known)) => Ok(Comparison::KnownFailures(known)),
            Some(Err(why)) => Err(format!("{}\n{why}", describe_failure(run))),
            None => Err(describe_failure(run)),
        }
    }

    /// Whether both runs pass, but for a last line that is not recognised in either: another version of the runner
    /// may write it otherwise. The run must name what the base's run names.
    fn ends_as_the_base(&self, run: &TestRun) -> bool {
        let passes = |run: &TestRun| {
            run.exited_successfully() && run.report.is_known() && !run.report.finished && !run.report.is_red()
        };
        let is_there = |case: &TestCase| run.report.same(case).is_some_and(|now| now.outcome == case.outcome);
        let names_some = !self.baseline.report.cases.is_empty();
        names_some && passes(&self.baseline) && passes(run) && self.baseline.report.cases.iter().all(is_there)
    }

    /// The base's tests that fail there and pass in `run`, by their titles at the base. A file or a build that
    /// could not run, and now does, is one of them.
    pub(super) fn fixed_by(&self, run: &TestRun) -> Vec<String> {
        if !run.report.finished && run.report.is_known() {
            return Vec::new();
        }
        let is_fixed = |case: &&TestCase| {
            let is_there = run.report.same(case).is_some() || run.is_green();
            not_passed(case, &run.report).is_none() && (is_there || run.report.names_all())
        };
        self.baseline.report.red().filter(is_fixed).map(|case| self.baseline.report.title(case)).collect()
    }
}

impl Comparison {
    /// Whether everything that the other run fixes is fixed here too.
    pub(super) fn fixes_all_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Green, _) => true,
            (Self::KnownFailures(_), Self::Green) => false,
            (Self::KnownFailures(own), Self::KnownFailures(theirs)) => own.fixed.is_superset(&theirs.fixed),
        }
    }

    /// Whether the run is compared by names, and every test that failed at the base still fails.
    pub(super) fn fixes_nothing(&self) -> bool {
        match self {
            Self::Green => false,
            Self::KnownFailures(known) => known.fixed.is_empty(),
        }
    }
}
