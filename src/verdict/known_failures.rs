//! A suite with failures that the issue is not about: what a proposal must show if some tests fail before
//! and after. No test that passed may fail, be skipped or be gone, and each failure must have been there
//! before. This rests on the report, not only on the exit code, so it requires a more complete report than a
//! passing run does. Pure functions.

use std::collections::BTreeSet;

use crate::domain::{ExitStatus, TestCase, TestOutcome, TestRun};

/// A run that is nowhere worse than the base's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownFailures {
    /// Tests that failed at the base, and pass.
    pub fixed: BTreeSet<String>,
    /// Tests that failed at the base, and still fail. At least one.
    pub still: BTreeSet<String>,
}

/// Compares a failing run with the base's. `None` if the base's run cannot be compared: it passed, hit a
/// limit, or named no failing test. `Err` says why the run is worse, for the model and for people.
pub(super) fn compare_with_base(base: &TestRun, run: &TestRun) -> Option<Result<KnownFailures, String>> {
    let before = names(base, TestCase::is_red);
    let comparable = matches!(base.result.ending, ExitStatus::Exited { code } if code != 0)
        && base.selection.is_none()
        && base.report.finished
        && !base.may_miss_failed_tests()
        && !before.is_empty();
    comparable.then(|| check_against_base(base, &before, run))
}

fn check_against_base(
    base: &TestRun,
    before: &BTreeSet<String>,
    run: &TestRun,
) -> Result<KnownFailures, String> {
    if run.selection.is_some() || run.result.ending != base.result.ending {
        return Err(format!("At the base it ended with {}.", base.result.ending.describe()));
    }
    let tells_less = run.report.source != base.report.source
        || (base.report.names_all() && !run.report.names_all())
        || !run.report.finished
        || run.may_miss_failed_tests();
    if tells_less {
        return Err(
            "It tells less of its tests than the base's run did, so what fails cannot be told from what \
                    failed before."
                .to_owned(),
        );
    }
    let now = names(run, TestCase::is_red);
    let new: Vec<&String> = now.difference(before).collect();
    if !new.is_empty() {
        return Err(format!("These did not fail at the base:{}", listed(&new)));
    }
    let passes = |name: &&String| match run.report.case(name) {
        Some(case) => case.outcome == TestOutcome::Passed,
        None => !run.report.names_all(),
    };
    let passed = names(base, |case| case.outcome == TestOutcome::Passed);
    let fixed: BTreeSet<String> = before.difference(&now).cloned().collect();
    let lost: Vec<&String> = passed.iter().chain(&fixed).filter(|name| !passes(name)).collect();
    if !lost.is_empty() {
        return Err(format!("These are there at the base, and are skipped or gone:{}", listed(&lost)));
    }
    match (base.report.counts, run.report.counts) {
        (Some(before), Some(after)) if after.passed >= before.passed + fixed.len() as u64 => {}
        (Some(_), Some(_)) => return Err("Fewer tests pass than at the base.".to_owned()),
        (None, _) | (_, None) => return Err("Its tests are not counted.".to_owned()),
    }
    if now.is_empty() {
        return Err("No test is named that fails.".to_owned());
    }
    Ok(KnownFailures { fixed, still: now })
}

fn names(run: &TestRun, wanted: impl Fn(&TestCase) -> bool) -> BTreeSet<String> {
    run.report.cases.iter().filter(|case| wanted(case)).map(|case| case.name.clone()).collect()
}

fn listed(names: &[&String]) -> String {
    const NAMED_MAX: usize = 20;
    let named: String = names.iter().take(NAMED_MAX).map(|name| format!("\n- {name}")).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named}\n- and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{BoundedOutput, ProcessOutput, ReportBuilder, ReportFormat, ReportSource};

    fn run(code: i32, cases: &[(&str, TestOutcome)], source: ReportSource) -> TestRun {
        let mut builder = ReportBuilder::default();
        for (name, outcome) in cases {
            builder.push(TestCase::new(*name, *outcome));
        }
        let counts = builder.counted();
        let report = builder.finish(source, ReportFormat::Junit, Some(counts), true);
        let ending = ExitStatus::Exited { code };
        let result = ProcessOutput { ending, output: BoundedOutput::default(), duration: Duration::ZERO };
        TestRun { command: "t".into(), selection: None, result, report }
    }

    use ReportSource::{File, Output};
    use TestOutcome::{Errored, Failed, Passed, Skipped};

    fn base() -> TestRun {
        run(1, &[("issue", Failed), ("old", Failed), ("ok", Passed), ("off", Skipped)], File)
    }

    fn told(run: &TestRun) -> String {
        compare_with_base(&base(), run).unwrap().unwrap_err()
    }

    #[test]
    fn earlier_failures_may_remain_and_are_named() {
        let after = run(1, &[("issue", Passed), ("old", Failed), ("ok", Passed), ("off", Skipped)], File);
        let found = compare_with_base(&base(), &after).unwrap().unwrap();
        assert_eq!((found.fixed, found.still), (["issue".into()].into(), ["old".into()].into()));
        let same = compare_with_base(&base(), &base()).unwrap().unwrap();
        assert_eq!((same.fixed.len(), same.still.len()), (0, 2));
    }

    #[test]
    fn passed_tests_must_not_fail_be_skipped_or_be_gone() {
        let with = |cases: &[(&str, TestOutcome)]| told(&run(1, cases, File));
        let new = with(&[("issue", Passed), ("old", Failed), ("ok", Failed)]);
        assert_eq!(new, "These did not fail at the base:\n- ok");
        let brought = with(&[("issue", Passed), ("old", Failed), ("ok", Passed), ("new", Errored)]);
        assert!(brought.contains("- new"), "{brought}");
        for cases in [
            &[("issue", Passed), ("old", Failed), ("ok", Skipped)][..],
            &[("issue", Passed), ("old", Failed)],
        ] {
            assert_eq!(with(cases), "These are there at the base, and are skipped or gone:\n- ok");
        }
        let gone = with(&[("old", Failed), ("ok", Passed)]);
        assert!(gone.contains("gone:\n- issue"), "{gone}");
    }

    #[test]
    fn run_that_reports_less_or_ends_differently_is_rejected() {
        let cases = [("issue", Passed), ("old", Failed), ("ok", Passed)];
        assert!(told(&run(1, &cases, Output)).contains("tells less"));
        assert!(told(&run(2, &cases, File)).contains("ended with exit code 1"));
        let mut broken_off = run(1, &cases, File);
        broken_off.report.finished = false;
        assert!(told(&broken_off).contains("tells less"));
        let mut limit = run(1, &cases, File);
        limit.result.ending = ExitStatus::OutOfMemory;
        assert!(told(&limit).contains("exit code 1"));
    }

    #[test]
    fn unnamed_passing_tests_are_compared_by_number() {
        let counted = |passed: u64, failed: &[(&str, TestOutcome)]| {
            let mut run = run(1, failed, Output);
            run.report.counts.as_mut().unwrap().passed = passed;
            run
        };
        let base = counted(5, &[("issue", Failed), ("old", Failed)]);
        assert!(compare_with_base(&base, &counted(6, &[("old", Failed)])).unwrap().is_ok());
        let fewer = compare_with_base(&base, &counted(5, &[("old", Failed)])).unwrap().unwrap_err();
        assert_eq!(fewer, "Fewer tests pass than at the base.");
    }

    #[test]
    fn base_that_passed_or_names_nothing_is_not_compared() {
        assert_eq!(compare_with_base(&run(0, &[("ok", Passed)], File), &base()), None);
        assert_eq!(compare_with_base(&run(1, &[("ok", Passed)], File), &base()), None);
    }
}
