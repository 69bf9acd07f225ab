//! The outcome of tests by name in a run of the suite.

use serde::{Deserialize, Serialize};

use super::Instance;
use crate::domain::{ExitStatus, TestOutcome, TestRun};

/// The verdict on an instance: the tests that do not have the required outcome. If there are none, the issue
/// is solved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceVerdict {
    /// FAIL_TO_PASS that still fail.
    pub still_failing: Vec<String>,
    /// PASS_TO_PASS that no longer pass.
    pub newly_failing: Vec<String>,
    /// How the run ended.
    pub ending: String,
}

impl InstanceVerdict {
    /// Whether the issue is solved.
    pub fn is_solved(&self) -> bool {
        self.still_failing.is_empty() && self.newly_failing.is_empty()
    }
}

/// Judges a run by the instance's tests.
pub fn judge_run(instance: &Instance, run: &TestRun) -> InstanceVerdict {
    let not_passed = |names: &[String]| names.iter().filter(|name| !passed(run, name)).cloned().collect();
    InstanceVerdict {
        still_failing: not_passed(&instance.fail_to_pass),
        newly_failing: not_passed(&instance.pass_to_pass),
        ending: run.result.ending.describe(),
    }
}

/// Whether the test passed. If the run does not say so, it did not.
pub(super) fn passed(run: &TestRun, name: &str) -> bool {
    match run.result.ending {
        ExitStatus::Exited { .. } => {}
        ExitStatus::Signalled { .. }
        | ExitStatus::TimedOut
        | ExitStatus::OutOfMemory
        | ExitStatus::DiskFull { .. }
        | ExitStatus::ProcessLimit => return false,
    }
    let report = &run.report;
    if let Some(case) = report.case(name) {
        return case.outcome == TestOutcome::Passed;
    }
    // A file or a class includes the tests in it.
    let mut inside =
        report.cases.iter().filter(|case| case.name != name && covers(name, &case.name)).peekable();
    if inside.peek().is_some() {
        return inside.all(|case| !case.is_red());
    }
    if report.names_all() {
        return false;
    }
    let failed = run.failed();
    match run.exited_successfully() {
        true => true,
        // A suite that fails without naming a test did not reach the tests.
        false => {
            !failed.is_empty()
                && !run.may_miss_failed_tests()
                && !failed.iter().any(|test| covers(&test.0, name))
        }
    }
}

/// Whether a failure's name includes the test: its own name, or that of its file, class or module.
fn covers(failed: &str, name: &str) -> bool {
    name.strip_prefix(failed)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('['))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{BoundedOutput, ProcessOutput, ReportSource, TestCase, TestCounts, TestReport};

    fn run(ending: ExitStatus, failed: &[&str]) -> TestRun {
        TestRun {
            command: "t".into(),
            selection: None,
            result: ProcessOutput { ending, output: BoundedOutput::default(), duration: Duration::ZERO },
            report: TestReport::naming_failed(failed.iter().copied()),
        }
    }

    fn instance() -> Instance {
        Instance {
            instance_id: "x".into(),
            repo: "x".into(),
            base_commit: "a".repeat(40).parse().unwrap(),
            problem_statement: "x".into(),
            test_patch: String::new(),
            fail_to_pass: vec!["t/a.py::one".into()],
            pass_to_pass: vec!["t/a.py::two".into(), "t/b.py::three[1]".into()],
        }
    }

    #[test]
    fn test_counts_only_if_the_run_reports_that_it_passed() {
        let judged = |ending, failed: &[&str]| judge_run(&instance(), &run(ending, failed));
        assert!(judged(ExitStatus::Exited { code: 0 }, &[]).is_solved());
        assert!(judged(ExitStatus::Exited { code: 1 }, &["t/z.py::other"]).is_solved());
        assert_eq!(judged(ExitStatus::Exited { code: 1 }, &["t/a.py::one"]).still_failing, ["t/a.py::one"]);
        let file = judged(ExitStatus::Exited { code: 1 }, &["t/a.py", "t/b.py::three"]);
        assert_eq!(file.newly_failing, ["t/a.py::two", "t/b.py::three[1]"]);
        for run in [
            judged(ExitStatus::Exited { code: 2 }, &[]),
            judged(ExitStatus::TimedOut, &["t/z.py::other"]),
            judged(ExitStatus::Signalled { signal: 11 }, &[]),
        ] {
            assert_eq!((run.still_failing.len(), run.newly_failing.len()), (1, 2), "{run:?}");
        }
        let mut cut = run(ExitStatus::Exited { code: 1 }, &["t/z.py::other"]);
        cut.result.output.omitted_bytes = 1;
        assert!(!judge_run(&instance(), &cut).is_solved());
    }

    #[test]
    fn complete_report_decides_each_test() {
        use TestOutcome::{Failed, Passed, Skipped};
        let report = |cases: &[(&str, TestOutcome)]| {
            let cases: Vec<TestCase> =
                cases.iter().map(|(name, outcome)| TestCase::new(*name, *outcome)).collect();
            let mut counts = TestCounts::default();
            cases.iter().for_each(|case| counts.add(case.outcome));
            let source = ReportSource::File;
            TestReport { source, counts: Some(counts), finished: true, cases, ..TestReport::default() }
        };
        let code = |code| ExitStatus::Exited { code };
        let with = |code, cases| TestRun { report: report(cases), ..run(code, &[]) };
        let green = with(code(0), &[("t/a.py::one", Passed), ("t/b.py::three[1]", Passed)]);
        assert_eq!(
            judge_run(&instance(), &green).newly_failing,
            ["t/a.py::two"],
            "a test that is gone passed"
        );
        let skipped = with(code(0), &[("t/a.py::one", Skipped), ("t/a.py::two", Passed)]);
        assert!(!passed(&skipped, "t/a.py::one"));
        let red = with(code(1), &[("t/a.py::one", Passed), ("t/a.py::two", Failed)]);
        assert!(passed(&red, "t/a.py::one") && !passed(&red, "t/a.py::two") && !passed(&red, "t/a.py"));
        assert!(passed(&green, "t/a.py") && !passed(&green, "t/c.py"));
    }
}
