//! Compares two runs of the suite: what became of the base's tests. Pure functions.

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{Flag, ReportSource, TestCase, TestOutcome, TestReport, TestRun};

/// Why a passing run of the proposal is not accepted in view of the base's run, for the model and for
/// people. The tests that fail at the base must exist and pass. A run that reports less than the base's was
/// ended early, or faked.
pub(super) fn rejection(base: &TestRun, run: &TestRun) -> Option<String> {
    if base.report.is_known() && !run.report.is_known() {
        return Some(format!(
            "The base's run reports its tests ({}), and this run with exit code 0 reports none: something ends the \
             run before the runner is done.",
            base.report.origin()
        ));
    }
    if base.report.source == ReportSource::File && run.report.source != ReportSource::File {
        return Some(
            "The base's run wrote a report file, and this run with exit code 0 wrote none: something ends the run \
             before the runner is done, or keeps it from reporting."
                .to_owned(),
        );
    }
    let not_passed: Vec<String> = base
        .report
        .red()
        .filter_map(|case| {
            not_passed(case, &run.report).map(|how| format!("\n- {}: {how}", base.report.title(case)))
        })
        .take(FLAG_NAMES_MAX)
        .collect();
    if !not_passed.is_empty() {
        return Some(format!(
            "Tests that fail at the base must be there, run and pass. These do not:{}\nFix the source, and leave \
             those tests as they are.",
            not_passed.join("")
        ));
    }
    // Files and builds that could not run must have tests that run now.
    let stands_for_tests = base.report.red().any(|case| case.stands_for_tests);
    let is_new = |case: &&TestCase| {
        case.outcome == TestOutcome::Passed
            && base.report.same(case).is_none_or(|before| before.outcome != TestOutcome::Passed)
    };
    let is_skipped_now =
        |case: &TestCase| case.outcome == TestOutcome::Skipped && base.report.same(case).is_none();
    if stands_for_tests
        && run.report.names_all()
        && run.report.cases.iter().any(is_skipped_now)
        && !run.report.cases.iter().any(|case| is_new(&case))
    {
        return Some(
            "What could not run at the base runs now, but no test passes that did not pass at the base. Tests that are \
             skipped show nothing."
                .to_owned(),
        );
    }
    // If the runner does not name passing tests, their number must suffice.
    let failed = base.report.red().count() as u64;
    match (base.report.counts, run.report.counts) {
        (Some(before), Some(after))
            if !run.report.names_all() && failed > 0 && after.ran() < before.ran().max(failed) =>
        {
            Some(format!(
                "Fewer tests were run than at the base ({}, not {}), where some failed: those must be there, run and \
                 pass.",
                after.ran(),
                before.ran()
            ))
        }
        _ => None,
    }
}

/// How a test of the base, which must pass, does not. A file or build whose tests could not run may be gone: when
/// they run, they are named in its place.
pub(super) fn not_passed(test: &TestCase, run: &TestReport) -> Option<&'static str> {
    match run.same(test).map(|case| case.outcome) {
        Some(TestOutcome::Passed) => None,
        Some(TestOutcome::Skipped) => Some("skipped"),
        Some(TestOutcome::Failed | TestOutcome::Errored) => Some("still failing"),
        None if run.names_all() && !test.stands_for_tests => Some("no longer there"),
        None => None,
    }
}

/// What became of the base's tests.
pub(super) fn flags(base: &TestReport, run: &TestReport) -> Vec<Flag> {
    let mut flags = Vec::new();
    let (mut skipped, mut gone) = (Vec::new(), Vec::new());
    let known =
        base.cases.iter().filter(|case| case.outcome != TestOutcome::Skipped && !case.stands_for_tests);
    for case in known {
        match run.same(case).map(|now| now.outcome) {
            Some(TestOutcome::Skipped) => skipped.push(base.title(case)),
            Some(TestOutcome::Passed | TestOutcome::Failed | TestOutcome::Errored) => {}
            None if run.names_all() => gone.push(base.title(case)),
            None => {}
        }
    }
    if !gone.is_empty() {
        let (names, count) = first(gone);
        flags.push(Flag::TestsGone { names, count });
    }
    if !skipped.is_empty() {
        let (names, count) = first(skipped);
        flags.push(Flag::TestsSkipped { names, count });
    }
    // `node --test` names a file in which no test ran as one that passes.
    let stands_in = base.red().filter(|case| case.stands_for_tests);
    let still = stands_in.filter(|case| run.same(case).is_some_and(|now| now.outcome == TestOutcome::Passed));
    flags.extend(still.take(FLAG_NAMES_MAX).map(|case| Flag::ReportDoubtful {
        why: format!(
            "{} could not run at the base, and passes now without naming a test in it",
            base.title(case)
        ),
    }));
    let new =
        run.cases.iter().filter(|case| case.outcome == TestOutcome::Skipped && base.same(case).is_none());
    let (names, count) = first(new.map(|case| run.title(case)).collect());
    if count > 0 {
        flags.push(Flag::NewTestsSkipped { names, count });
    }
    let retried = run.cases.iter().filter(|case| case.retried).map(|case| run.title(case));
    let retried: Vec<String> = retried.take(FLAG_NAMES_MAX).collect();
    if !retried.is_empty() {
        flags.push(Flag::Flaky { names: retried });
    }
    if let (Some(before), Some(after)) = (base.counts, run.counts)
        && after.ran() < before.ran()
    {
        flags.push(Flag::FewerTests { before: before.ran(), after: after.ran() });
    }
    // The base's run has it too, so it is not new.
    for why in run.remarks.iter().filter(|why| why.contains("contradict") || why.contains("report file")) {
        let stem = |why: &str| why.split(':').next().unwrap_or_default().to_owned();
        if !base.remarks.iter().any(|known| stem(known) == stem(why)) {
            flags.push(Flag::ReportDoubtful { why: why.clone() });
        }
    }
    flags
}

/// As many names as a flag keeps, and how many there are.
pub(super) fn first(mut names: Vec<String>) -> (Vec<String>, u64) {
    let count = names.len() as u64;
    names.truncate(FLAG_NAMES_MAX);
    (names, count)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{BoundedOutput, ExitStatus, ProcessOutput, ReportBuilder, ReportFormat, TestCase};

    fn run(code: i32, cases: &[(&str, TestOutcome)], source: ReportSource) -> TestRun {
        let mut builder = ReportBuilder::default();
        for (name, outcome) in cases {
            builder.push(TestCase::new(*name, *outcome));
        }
        let counts = builder.counted();
        let report = match source {
            ExitCode => TestReport::default(),
            source => builder.finish(source, ReportFormat::Junit, Some(counts), true),
        };
        let ending = ExitStatus::Exited { code };
        let result = ProcessOutput { ending, output: BoundedOutput::default(), duration: Duration::ZERO };
        TestRun { command: "t".into(), selection: None, result, report }
    }

    use ReportSource::{ExitCode, File, Output};
    use TestOutcome::{Errored, Failed, Passed, Skipped};

    #[test]
    fn failing_tests_of_the_base_must_exist_and_pass() {
        let base = run(1, &[("a", Failed), ("b", Passed)], File);
        assert_eq!(rejection(&base, &run(0, &[("a", Passed), ("b", Passed)], File)), None);
        for (cases, how) in [
            (&[("b", Passed)][..], "a: no longer there"),
            (&[("a", Skipped), ("b", Passed)][..], "a: skipped"),
            (&[("a2", Passed), ("b", Passed)][..], "a: no longer there"),
        ] {
            assert!(rejection(&base, &run(0, cases, File)).unwrap().contains(how));
        }
        // A module that could not be imported stands for tests that are named differently.
        let mut broken = run(1, &[("test_a.py", Errored)], File);
        broken.report.cases[0].stands_for_tests = true;
        assert_eq!(rejection(&broken, &run(0, &[("test_a.py::a", Passed)], File)), None);
        let skipped = run(0, &[("test_a.py::a", Skipped)], File);
        assert!(rejection(&broken, &skipped).unwrap().contains("no test passes that did not pass"));
        let new = Flag::NewTestsSkipped { names: vec!["test_a.py::a".into()], count: 1 };
        assert!(flags(&broken.report, &skipped.report).contains(&new));
        // A test whose fixture broke is a test.
        let errored = run(1, &[("a", Errored), ("b", Passed)], File);
        let why = rejection(&errored, &run(0, &[("b", Passed)], File)).unwrap();
        assert!(why.contains("a: no longer there"), "{why}");
    }

    #[test]
    fn run_that_reports_less_than_the_base_is_rejected() {
        let base = run(1, &[("a", Failed)], File);
        assert!(rejection(&base, &run(0, &[("a", Passed)], Output)).unwrap().contains("wrote none"));
        assert!(rejection(&base, &run(0, &[], ExitCode)).unwrap().contains("reports none"));
        let silent = run(1, &[], ExitCode);
        assert_eq!(rejection(&silent, &run(0, &[], ExitCode)), None);
        // pytest without a file names no test that passes.
        let mut short = run(0, &[], Output);
        short.report.counts = Some(crate::domain::TestCounts { passed: 1, ..Default::default() });
        let mut before = run(1, &[("a", Failed)], Output);
        before.report.counts = Some(crate::domain::TestCounts { passed: 2, failed: 1, ..Default::default() });
        assert!(
            rejection(&before, &short).unwrap().contains("Fewer tests were run than at the base (1, not 3)")
        );
    }

    #[test]
    fn changes_to_tests_of_the_base_are_flagged() {
        let base = run(0, &[("a", Passed), ("b", Passed), ("c", Passed)], File).report;
        let mut after = run(0, &[("a", Passed), ("c", Skipped)], File).report;
        after.add_remark("the report file and the output contradict each other: x");
        let told: Vec<String> = flags(&base, &after).iter().map(Flag::describe).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        tests of the base are no longer there: b
        tests that ran at the base are skipped now: c
        fewer tests were run than at the base: 1, not 3
        the test report is suspicious: the report file and the output contradict each other: x
        ");
        assert_eq!(flags(&base, &base), []);
        let mut retried = base.clone();
        retried.cases[1].retried = true;
        assert_eq!(flags(&base, &retried), [Flag::Flaky { names: vec!["b".into()] }]);
    }
}
