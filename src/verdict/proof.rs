//! The fail→pass proof: tests that are unknown or pass at the base, fail with the proposal's tests alone on the
//! base's source, and pass with all of the proposal. The runs decide by the tests' names, never by files. Pure
//! functions.

use crate::domain::{ExitStatus, FailedTest, TestCase, TestOutcome, TestRun};

/// The runs that a proof is judged by.
pub(super) struct ProofRuns<'r> {
    /// The suite at the base, before any change.
    pub(super) base: &'r TestRun,
    /// The proposal's tests on the base's source, twice.
    pub(super) first: &'r TestRun,
    pub(super) second: &'r TestRun,
    /// The whole proposal.
    pub(super) proposal: &'r TestRun,
    /// The paths of the proposal's tests, for the explanation.
    pub(super) paths: String,
}

impl ProofRuns<'_> {
    /// The tests that prove the change. Empty: the suite does not pass with the new tests alone, and no test is named.
    /// `Err` is the answer to the model.
    pub(super) fn judge(&self) -> Result<Vec<FailedTest>, String> {
        let paths = &self.paths;
        for run in [self.first, self.second] {
            match run.result.ending {
                ExitStatus::Exited { .. } if !run.is_red() => {
                    return Err(format!(
                        "The tests you changed ({paths}) pass on the base, too, without your change to the source. \
                         They do not show the bug. Write a test that fails before the fix, every time."
                    ));
                }
                ExitStatus::Exited { .. } => {}
                ExitStatus::Signalled { .. }
                | ExitStatus::TimedOut
                | ExitStatus::OutOfMemory
                | ExitStatus::DiskFull { .. }
                | ExitStatus::ProcessLimit => {
                    return Err(format!(
                        "The tests you changed ({paths}), run on the base without your change to the source, did not \
                         end with a test failure: {}. That proves nothing. Write a test that fails quickly and stays \
                         within the sandbox's limits.",
                        run.result.ending.describe()
                    ));
                }
            }
        }
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for case in self.first.report.red() {
            let title = self.first.report.title(case);
            match self.why_not(case) {
                None => own.push(FailedTest(title)),
                Some(why) => others.push(format!("\n- {title}: {why}")),
            }
        }
        let is_named = self.second.report.red().next().is_some() || !others.is_empty();
        if !own.is_empty() || !is_named {
            return Ok(own);
        }
        const LISTED_MAX: usize = 20;
        let more = others.len().saturating_sub(LISTED_MAX);
        others.truncate(LISTED_MAX);
        if more > 0 {
            others.push(format!("\n- and {more} more"));
        }
        let lost = match self.first.may_miss_failed_tests() || self.second.may_miss_failed_tests() {
            true => {
                "\n(The output was cut, so yours may have failed without being named: have the tests print less.)"
            }
            false => "",
        };
        Err(format!(
            "On the base without your change to the source, none of the tests that you brought ({paths}) fails and \
             then passes with your change. They do not show the bug. Write a test that fails before the fix. What \
             failed there, and why it does not count:{}{lost}",
            others.concat()
        ))
    }

    /// Why a test that failed in the first run proves nothing.
    fn why_not(&self, case: &TestCase) -> Option<&'static str> {
        if !self.second.report.same(case).is_some_and(TestCase::is_red) {
            return Some("it did not fail when it was run again");
        }
        if self.base.report.same(case).is_some_and(TestCase::is_red) {
            return Some("it fails at the base without your tests, too");
        }
        let report = &self.proposal.report;
        match report.same(case).map(|case| case.outcome) {
            Some(TestOutcome::Passed) => None,
            Some(TestOutcome::Skipped) => Some("it is skipped with your change"),
            Some(TestOutcome::Failed | TestOutcome::Errored) => Some("it fails with your change, too"),
            // A file that could not be loaded, or built, without the change: with it, its tests have names.
            None if case.stands_for_tests || !report.names_all() => None,
            None => Some("it is not there with your change"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{
        BoundedOutput, ProcessOutput, ReportBuilder, ReportFormat, ReportSource, TestReport, WritableMount,
    };

    use TestOutcome::{Failed, Passed, Skipped};

    fn run(ending: ExitStatus, cases: &[(&str, TestOutcome)]) -> TestRun {
        let mut builder = ReportBuilder::default();
        for (name, outcome) in cases {
            builder.push(TestCase::new(*name, *outcome));
        }
        let counts = builder.counted();
        let report = match cases {
            [] => TestReport::default(),
            _ => builder.finish(ReportSource::Output, ReportFormat::Tap, Some(counts), true),
        };
        let output = BoundedOutput::default();
        let result = ProcessOutput { ending, output, duration: Duration::ZERO };
        TestRun { command: "t".into(), result, selection: None, report }
    }

    const RED: ExitStatus = ExitStatus::Exited { code: 1 };
    const GREEN: ExitStatus = ExitStatus::Exited { code: 0 };

    fn judge(
        base: &TestRun,
        first: &TestRun,
        second: &TestRun,
        proposal: &TestRun,
    ) -> Result<Vec<String>, String> {
        let runs = ProofRuns { base, first, second, proposal, paths: "tests/new".into() };
        runs.judge().map(|tests| tests.into_iter().map(|test| test.0).collect())
    }

    #[test]
    fn test_that_fails_twice_without_the_change_and_passes_with_it_is_the_proof() {
        let base = run(GREEN, &[("old", Passed)]);
        let red = run(RED, &[("new", Failed), ("old", Passed)]);
        let proposal = run(GREEN, &[("new", Passed), ("old", Passed)]);
        assert_eq!(judge(&base, &red, &red, &proposal), Ok(vec!["new".into()]));
        // A test of the base that was changed, whatever its file is called.
        let changed = run(RED, &[("old", Failed)]);
        assert_eq!(judge(&base, &changed, &changed, &proposal), Ok(vec!["old".into()]));
    }

    #[test]
    fn each_test_that_proves_nothing_is_listed_with_the_reason() {
        let base = run(RED, &[("network", Failed), ("old", Passed)]);
        let first = run(
            RED,
            &[("flaky", Failed), ("gone", Failed), ("network", Failed), ("off", Failed), ("wrong", Failed)],
        );
        let second = run(RED, &[("gone", Failed), ("network", Failed), ("off", Failed), ("wrong", Failed)]);
        let proposal =
            run(RED, &[("flaky", Passed), ("network", Failed), ("off", Skipped), ("wrong", Failed)]);
        let why = judge(&base, &first, &second, &proposal).unwrap_err();
        insta::assert_snapshot!(why.split_once("count:\n").unwrap().1, @r"
        - flaky: it did not fail when it was run again
        - gone: it is not there with your change
        - network: it fails at the base without your tests, too
        - off: it is skipped with your change
        - wrong: it fails with your change, too
        ");
    }

    #[test]
    fn tests_that_pass_on_the_base_or_hit_a_limit_prove_nothing() {
        let base = run(GREEN, &[("old", Passed)]);
        let (red, green) = (run(RED, &[("new", Failed)]), run(GREEN, &[("new", Passed)]));
        assert!(judge(&base, &red, &green, &green).unwrap_err().contains("pass on the base, too"));
        for limit in [
            ExitStatus::TimedOut,
            ExitStatus::DiskFull { place: WritableMount::Tmp },
            ExitStatus::ProcessLimit,
            ExitStatus::OutOfMemory,
        ] {
            let why = judge(&base, &red, &run(limit, &[("new", Failed)]), &green).unwrap_err();
            assert!(why.contains(&limit.describe()), "{why}");
        }
        // A command that hides failures.
        let hidden = run(GREEN, &[("new", Failed)]);
        assert_eq!(judge(&base, &hidden, &hidden, &green), Ok(vec!["new".into()]));
    }

    #[test]
    fn file_that_cannot_be_loaded_without_the_change_is_a_proof() {
        let base = run(GREEN, &[("old", Passed)]);
        let mut red = run(RED, &[("tags.test.js", Failed), ("old", Passed)]);
        let proposal = run(GREEN, &[("old", Passed), ("splits", Passed)]);
        assert!(judge(&base, &red, &red, &proposal).is_err());
        red.report.cases[1].stands_for_tests = true;
        assert_eq!(judge(&base, &red, &red, &proposal), Ok(vec!["tags.test.js".into()]));
    }

    #[test]
    fn suite_that_does_not_build_without_the_change_is_a_proof_without_names() {
        let broken = run(ExitStatus::Exited { code: 101 }, &[]);
        let green = run(GREEN, &[]);
        assert_eq!(judge(&green, &broken, &broken, &green), Ok(vec![]));
    }

    #[test]
    fn name_possibly_lost_in_cut_output_is_mentioned() {
        let base = run(RED, &[("old", Failed)]);
        let mut cut = base.clone();
        cut.result.output.omitted_bytes = 1;
        assert!(judge(&base, &cut, &cut, &base).unwrap_err().contains("The output was cut"));
    }
}
