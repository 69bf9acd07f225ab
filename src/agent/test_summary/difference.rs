//! What is different from earlier runs of the suite.

use std::collections::HashSet;

use super::Earlier;
use crate::domain::{ExitStatus, FailedTest, TestCase, TestRun};

/// The differences from earlier runs.
pub(super) struct RunDifference<'a> {
    pub(super) newly: Vec<&'a TestCase>,
    /// Failing as in the last run, and not at the base.
    pub(super) since: Vec<&'a TestCase>,
    pub(super) as_at_base: Vec<&'a TestCase>,
    pub(super) passing: Vec<FailedTest>,
    pub(super) gone: Vec<FailedTest>,
    pub(super) new: Vec<&'a TestCase>,
}

impl<'a> RunDifference<'a> {
    pub(super) fn between(run: &'a TestRun, earlier: Earlier<'_>) -> Self {
        let failed_of =
            |run: Option<&TestRun>| -> Vec<FailedTest> { run.map(TestRun::failed).unwrap_or_default() };
        let (at_base, last) = (failed_of(earlier.base), failed_of(earlier.last.or(earlier.base)));
        let [at_base_names, last_names] = [&at_base, &last].map(|tests| names_of(tests));
        let (mut newly, mut since, mut as_at_base) = (Vec::new(), Vec::new(), Vec::new());
        for case in run.report.red() {
            let name = case.name.as_str();
            match (last_names.contains(name), earlier.base.is_none() || at_base_names.contains(name)) {
                (false, _) => newly.push(case),
                (true, false) => since.push(case),
                (true, true) => as_at_base.push(case),
            }
        }
        let (passing, gone) = no_longer_failing(run, &last, earlier.last.or(earlier.base));
        let new = earlier.base.map(|base| new_cases(run, base)).unwrap_or_default();
        Self { newly, since, as_at_base, passing, gone, new }
    }
}

fn names_of(tests: &[FailedTest]) -> HashSet<&str> {
    tests.iter().map(|test| test.0.as_str()).collect()
}

/// Of the tests that failed: those that pass now, and those that are gone, with the ones that passed.
fn no_longer_failing(
    run: &TestRun,
    failed: &[FailedTest],
    last: Option<&TestRun>,
) -> (Vec<FailedTest>, Vec<FailedTest>) {
    let (mut passing, mut gone) = (Vec::new(), Vec::new());
    let ended = matches!(run.result.ending, ExitStatus::Exited { .. });
    // A run that was cut off says nothing about the tests that it did not reach, and a failure may be named in the
    // part of the output that was not kept.
    if !ended || run.may_miss_failed_tests() {
        return (passing, gone);
    }
    let names_all = run.report.names_all();
    for test in failed {
        match run.report.case(&test.0) {
            Some(case) if case.is_red() => {}
            Some(_) => passing.push(test.clone()),
            // A run of a part of the suite names only the tests of that part.
            None if run.selection.is_some() => {}
            None if names_all => gone.push(test.clone()),
            None => passing.push(test.clone()),
        }
    }
    if let Some(last) = last.filter(|last| run.selection.is_none() && names_all && last.report.names_all()) {
        let here: HashSet<&str> = run.report.cases.iter().map(|case| case.name.as_str()).collect();
        let lost =
            last.report.cases.iter().filter(|case| !case.is_red() && !here.contains(case.name.as_str()));
        gone.extend(lost.map(|case| FailedTest(case.name.clone())));
    }
    (passing, gone)
}

/// The tests that the suite at the base did not have.
fn new_cases<'a>(run: &'a TestRun, base: &TestRun) -> Vec<&'a TestCase> {
    if !base.report.names_all() || base.report.cases.is_empty() {
        return Vec::new();
    }
    let known: HashSet<&str> = base.report.cases.iter().map(|case| case.name.as_str()).collect();
    run.report.cases.iter().filter(|case| !known.contains(case.name.as_str())).collect()
}

/// Whether the run has a test that the suite at the base did not have, or fails where that did not. `None`: the
/// reports do not name every test.
pub fn has_new_tests(run: &TestRun, base: &TestRun) -> Option<bool> {
    let is_certain = run.report.names_all() && base.report.names_all() && !base.report.cases.is_empty();
    let failed = base.failed();
    let failed = names_of(&failed);
    let has_other_failures = || run.report.red().any(|case| !failed.contains(case.name.as_str()));
    is_certain.then(|| !new_cases(run, base).is_empty() || has_other_failures())
}
