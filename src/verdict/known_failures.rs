//! A suite with failures that the issue is not about: what a proposal must show if some tests fail before
//! and after. No test that passed may fail, be skipped or be gone, and each failure must have been there
//! before. This rests on the report, not only on the exit code, so it requires a more complete report than a
//! passing run does. Pure functions.

use std::collections::BTreeSet;

use crate::domain::{ExitStatus, TestCase, TestOutcome, TestRun};

use super::compare::not_passed;

/// A run that is nowhere worse than the base's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownFailures {
    /// Tests that failed at the base, and pass.
    pub fixed: BTreeSet<String>,
    /// Tests that failed at the base, and still fail. At least one.
    pub still: BTreeSet<String>,
}

/// Compares a failing run with the base's. `None` if the base's run cannot be compared: it passed, hit a
/// limit, or named no failing test. `Err` says why the run is worse, for the model and for people. The exit code of
/// the base decides nothing: a command may end with 0 although tests fail, and the report says which.
pub(super) fn compare_with_base(base: &TestRun, run: &TestRun) -> Option<Result<KnownFailures, String>> {
    let comparable = matches!(base.result.ending, ExitStatus::Exited { .. })
        && base.selection.is_none()
        && base.report.finished
        && !base.may_miss_failed_tests()
        && base.report.red().next().is_some();
    comparable.then(|| check_against_base(base, run))
}

/// Whether the run ended as one with failures does at the base: with 0 only if the base did, too. Some runners exit
/// with the number of failures.
fn ends_as_at_the_base(base: ExitStatus, run: ExitStatus) -> Result<(), String> {
    // Shells use 126 and more for commands that cannot be started, and for signals.
    const RUNNERS_CODE_MAX: i32 = 125;
    match (base, run) {
        (ExitStatus::Exited { code: before }, ExitStatus::Exited { code: 0 }) if before != 0 => Err(
            "Its exit code is 0 although its report names tests that do not pass; at the base it is not. The exit \
             code and the report contradict each other."
                .to_owned(),
        ),
        (ExitStatus::Exited { code: before }, ExitStatus::Exited { code: after })
            if before == after || (before != 0 && after <= RUNNERS_CODE_MAX) =>
        {
            Ok(())
        }
        (
            ExitStatus::Exited { .. }
            | ExitStatus::Signalled { .. }
            | ExitStatus::TimedOut
            | ExitStatus::OutOfMemory
            | ExitStatus::DiskFull { .. }
            | ExitStatus::ProcessLimit,
            _,
        ) => Err(format!("At the base it ended with {}.", base.describe())),
    }
}

fn check_against_base(base: &TestRun, run: &TestRun) -> Result<KnownFailures, String> {
    if run.selection.is_some() {
        return Err("Only a part of the suite was run.".to_owned());
    }
    ends_as_at_the_base(base.result.ending, run.result.ending)?;
    let tells_less = run.report.source != base.report.source
        || (base.report.names_all() && !run.report.names_all() && run.report.left_out == 0)
        || !run.report.finished
        || run.may_miss_failed_tests();
    if tells_less {
        return Err(
            "It tells less of its tests than the base's run did, so what fails cannot be told from what \
                    failed before."
                .to_owned(),
        );
    }
    let new = newly_red(base, run);
    if !new.is_empty() {
        let names: Vec<String> = new.iter().map(|case| run.report.title(case)).collect();
        return Err(format!("These did not fail at the base:{}", listed(&names)));
    }
    let (fixed, still): (Vec<&TestCase>, Vec<&TestCase>) =
        base.report.red().partition(|case| !run.report.same(case).is_some_and(TestCase::is_red));
    let passed = base.report.cases.iter().filter(|case| case.outcome == TestOutcome::Passed);
    let lost: Vec<String> = passed
        .chain(fixed.iter().copied())
        .filter(|case| not_passed(case, &run.report).is_some())
        .map(|case| base.report.title(case))
        .collect();
    if !lost.is_empty() {
        return Err(format!("These are there at the base, and are skipped or gone:{}", listed(&lost)));
    }
    let fixed_tests = fixed.iter().filter(|case| !case.stands_for_tests).count() as u64;
    match (base.report.counts, run.report.counts) {
        (Some(before), Some(after)) if after.passed >= before.passed + fixed_tests => {}
        (Some(_), Some(_)) => return Err("Fewer tests pass than at the base.".to_owned()),
        (None, _) | (_, None) => return Err("Its tests are not counted.".to_owned()),
    }
    if still.is_empty() {
        return Err("No test is named that fails.".to_owned());
    }
    let ids = |cases: Vec<&TestCase>| cases.into_iter().map(|case| base.report.title(case)).collect();
    Ok(KnownFailures { fixed: ids(fixed), still: ids(still) })
}

/// The tests that do not pass, and did not fail at the base.
pub(super) fn newly_red<'r>(base: &TestRun, run: &'r TestRun) -> Vec<&'r TestCase> {
    let failed_before = |case: &&TestCase| base.report.same(case).is_some_and(TestCase::is_red);
    run.report.red().filter(|case| !failed_before(case)).collect()
}

fn listed(names: &[String]) -> String {
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
        let with_old = [("issue", Passed), ("old", Failed), ("ok", Passed), ("off", Skipped)];
        assert!(told(&run(1, &cases, Output)).contains("tells less"));
        // Runners exit with other codes, too, and mocha with the number of failures; but never with 0.
        assert!(told(&run(130, &cases, File)).contains("ended with exit code 1"));
        assert!(told(&run(0, &with_old, File)).contains("contradict each other"));
        assert!(compare_with_base(&base(), &run(2, &with_old, File)).unwrap().is_ok());
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
    fn exit_code_0_beside_known_failures_counts_as_at_the_base() {
        let hides = |cases: &[(&str, TestOutcome)]| run(0, cases, File);
        let base = hides(&[("issue", Failed), ("old", Failed), ("ok", Passed)]);
        let compared = |cases: &[(&str, TestOutcome)]| compare_with_base(&base, &hides(cases)).unwrap();
        let fixed = compared(&[("issue", Passed), ("old", Failed), ("ok", Passed)]).unwrap();
        assert_eq!(fixed.still, ["old".into()].into());
        let broken = compared(&[("issue", Passed), ("old", Failed), ("ok", Errored)]).unwrap_err();
        assert_eq!(broken, "These did not fail at the base:\n- ok");
    }

    #[test]
    fn file_that_runs_now_is_replaced_by_its_tests() {
        let mut base = base();
        base.report.cases.push(TestCase::broken("z.py"));
        base.report.counts.as_mut().unwrap().errored += 1;
        let after =
            [("issue", Passed), ("old", Failed), ("ok", Passed), ("off", Skipped), ("z.py::a", Passed)];
        let found = compare_with_base(&base, &run(1, &after, File)).unwrap().unwrap();
        assert_eq!(found.fixed, ["issue".into(), "z.py".into()].into());
    }

    #[test]
    fn tests_of_one_name_in_two_groups_do_not_hide_each_other() {
        let suite = |one: TestOutcome, two: TestOutcome| {
            let mut suite = run(1, &[("works", one), ("x", Failed)], File);
            let group = |case: TestCase, group: &str| TestCase { group: Some(group.into()), ..case };
            suite.report.cases[0] = group(suite.report.cases[0].clone(), "shapes");
            suite.report.cases.insert(1, group(TestCase::new("works", two), "units"));
            suite.report.counts.as_mut().unwrap().add(two);
            suite
        };
        let swapped = compare_with_base(&suite(Failed, Passed), &suite(Passed, Failed)).unwrap();
        assert_eq!(swapped.unwrap_err(), "These did not fail at the base:\n- works (units)");
    }

    #[test]
    fn base_that_passed_or_names_nothing_is_not_compared() {
        assert_eq!(compare_with_base(&run(0, &[("ok", Passed)], File), &base()), None);
        assert_eq!(compare_with_base(&run(1, &[("ok", Passed)], File), &base()), None);
    }
}
