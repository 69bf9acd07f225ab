//! A suite that is red for more than the issue: what a proposal must show where some tests fail before
//! and after. Nothing that passed may fail, be skipped or be gone; what still fails must have failed
//! before. Rests on the report, not on the exit code alone, so it asks more of the report than a green
//! run does. Pure decisions.

use std::collections::BTreeSet;

use crate::domain::{ExitStatus, TestCase, TestOutcome, TestRun};

/// A run that is no worse than the base's in anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beside {
    /// Tests that failed at the base, and pass.
    pub fixed: BTreeSet<String>,
    /// Tests that failed at the base, and still do. At least one.
    pub still: BTreeSet<String>,
}

/// Compares a run that is not green with the base's. `None` where the base's run leaves nothing to
/// compare with: it was green, met a limit, or named no test that failed. `Err` is why it is not as good,
/// in words for the model and for people.
pub(super) fn beside(base: &TestRun, run: &TestRun) -> Option<Result<Beside, String>> {
    let before = names(base, TestCase::is_red);
    let comparable = matches!(base.result.ending, ExitStatus::Exited { code } if code != 0)
        && base.selection.is_none()
        && base.report.finished
        && !base.may_miss_failed_tests()
        && !before.is_empty();
    comparable.then(|| compared(base, &before, run))
}

fn compared(base: &TestRun, before: &BTreeSet<String>, run: &TestRun) -> Result<Beside, String> {
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
    Ok(Beside { fixed, still: now })
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
        beside(&base(), run).unwrap().unwrap_err()
    }

    #[test]
    fn what_failed_before_may_go_on_failing_and_is_named() {
        let after = run(1, &[("issue", Passed), ("old", Failed), ("ok", Passed), ("off", Skipped)], File);
        let found = beside(&base(), &after).unwrap().unwrap();
        assert_eq!((found.fixed, found.still), (["issue".into()].into(), ["old".into()].into()));
        let same = beside(&base(), &base()).unwrap().unwrap();
        assert_eq!((same.fixed.len(), same.still.len()), (0, 2));
    }

    #[test]
    fn nothing_that_passed_may_fail_be_skipped_or_be_gone() {
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
    fn a_run_that_tells_less_or_ends_otherwise_is_not_compared() {
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
    fn where_passing_tests_are_not_named_their_number_must_do() {
        let counted = |passed: u64, failed: &[(&str, TestOutcome)]| {
            let mut run = run(1, failed, Output);
            run.report.counts.as_mut().unwrap().passed = passed;
            run
        };
        let base = counted(5, &[("issue", Failed), ("old", Failed)]);
        assert!(beside(&base, &counted(6, &[("old", Failed)])).unwrap().is_ok());
        let fewer = beside(&base, &counted(5, &[("old", Failed)])).unwrap().unwrap_err();
        assert_eq!(fewer, "Fewer tests pass than at the base.");
    }

    #[test]
    fn a_base_that_was_green_or_names_nothing_leaves_nothing_to_compare() {
        assert_eq!(beside(&run(0, &[("ok", Passed)], File), &base()), None);
        assert_eq!(beside(&run(1, &[("ok", Passed)], File), &base()), None);
    }
}
