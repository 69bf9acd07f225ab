//! The fail→pass proof: a test that the change brings must fail without the change.

use crate::domain::{Change, ChangedContent, ExitStatus, FailedTest, TestCase, TestRun};
use crate::workspace::Proposal;

use super::rules::TestPaths;

/// The part of a proposal that is tests, to be put on the base alone. Empty: it brings none.
pub(super) fn test_changes_of(changes: &[Change], proposal: &Proposal, tests: &TestPaths) -> Vec<Change> {
    let brought = |change: &&Change| {
        proposal.paths.contains(&change.path)
            && tests.contains(&change.path)
            && matches!(change.content, ChangedContent::File { .. })
    };
    changes.iter().filter(brought).cloned().collect()
}

/// Evaluates two runs of the new tests on the old source. If the runner names failing tests, only tests
/// count that both runs name and that the change brings: a flaky test elsewhere proves nothing. `Err` is the
/// answer to the model.
pub(super) fn judge_proof(
    first: &TestRun,
    second: &TestRun,
    brought: &[Change],
) -> Result<Vec<FailedTest>, String> {
    let named = brought.iter().map(|change| change.path.as_str()).collect::<Vec<_>>().join(", ");
    for run in [first, second] {
        match run.result.ending {
            ExitStatus::Exited { code: 0 } => {
                return Err(format!(
                    "The tests you changed ({named}) pass on the base, too, without your change to the source. \
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
                    "The tests you changed ({named}), run on the base without your change to the source, did not \
                     end with a test failure: {}. That proves nothing. Write a test that fails quickly and stays \
                     within the sandbox's limits.",
                    run.result.ending.describe()
                ));
            }
        }
    }
    let (first_failed, second_failed) = (first.failed(), second.failed());
    let own: Vec<FailedTest> = first
        .report
        .red()
        .filter(|case| second.report.case(&case.name).is_some_and(TestCase::is_red))
        .map(|case| (FailedTest(case.name.clone()), case))
        .filter(|(test, case)| is_brought(test, brought) || breaks_in(case, brought))
        .map(|(test, _)| test)
        .collect();
    if own.is_empty() && !(first_failed.is_empty() && second_failed.is_empty()) {
        let lost = match first.may_miss_failed_tests() || second.may_miss_failed_tests() {
            true => {
                " (The output was cut, so yours may have failed without being named: have the tests print less.)"
            }
            false => "",
        };
        return Err(format!(
            "On the base without your change to the source, tests fail, but none of those that you brought \
             ({named}) is named. They do not show the bug. Write a test that fails before the fix.{lost}"
        ));
    }
    Ok(own)
}

/// Whether a failing test is in one of the files: its own name stands there, or it is the file.
pub(super) fn is_brought(test: &FailedTest, brought: &[Change]) -> bool {
    let name = test_name(&test.0);
    brought.iter().any(|change| {
        let ChangedContent::File { bytes, .. } = &change.content else { return false };
        test.0.starts_with(change.path.as_str()) && test.0.len() == change.path.as_str().len()
            || (!name.is_empty() && String::from_utf8_lossy(bytes).contains(name))
    })
}

/// Whether a failure, for instance of a build, is located in one of the files.
fn breaks_in(case: &TestCase, brought: &[Change]) -> bool {
    let file = case.location.as_ref().map(|at| at.file.as_str());
    brought.iter().any(|change| file == Some(change.path.as_str()))
}

/// A test's own name: `b` of `tests/a.py::A::b[case 1]`, `a::tests::b`, `b (a.A.b)`, `b/case_2`. A file
/// that stands for its tests has none.
fn test_name(test: &str) -> &str {
    let plain = test.split(['[', '(']).next().unwrap_or(test).trim();
    let last = plain.rsplit("::").next().unwrap_or(plain);
    let is_file = plain == last && last.rsplit_once('/').is_some_and(|(_, name)| name.contains('.'));
    match is_file {
        true => "",
        false => last.split('/').next().unwrap_or(last).trim(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{BoundedOutput, FileMode, ProcessOutput, TestLocation, TestReport, WritableMount};

    fn run(ending: ExitStatus, failed: &[&str]) -> TestRun {
        let output = BoundedOutput::default();
        TestRun {
            command: "t".into(),
            result: ProcessOutput { ending, output, duration: Duration::ZERO },
            selection: None,
            report: TestReport::naming_failed(failed.iter().copied()),
        }
    }

    fn brought() -> Vec<Change> {
        let bytes = b"def test_new():\n    assert f() == 2\n".to_vec();
        let content = ChangedContent::File { mode: FileMode::Regular, bytes };
        vec![Change { path: "tests/test_new.py".parse().unwrap(), content }]
    }

    const RED: ExitStatus = ExitStatus::Exited { code: 1 };

    #[test]
    fn new_test_that_fails_twice_is_the_proof() {
        let red = run(RED, &["tests/test_new.py::test_new", "tests/test_old.py::test_flaky"]);
        let again = run(RED, &["tests/test_new.py::test_new"]);
        let proof = judge_proof(&red, &again, &brought()).unwrap();
        assert_eq!(proof, [FailedTest("tests/test_new.py::test_new".into())]);
    }

    #[test]
    fn flaky_test_elsewhere_proves_nothing() {
        let red = run(RED, &["tests/test_old.py::test_flaky"]);
        assert!(judge_proof(&red, &red, &brought()).is_err());
        assert!(judge_proof(&red, &run(ExitStatus::Exited { code: 0 }, &[]), &brought()).is_err());
        assert!(judge_proof(&run(ExitStatus::TimedOut, &[]), &red, &brought()).is_err());
    }

    #[test]
    fn run_that_hit_a_limit_is_no_proof() {
        let red = run(RED, &["tests/test_new.py::test_new"]);
        for limit in [
            ExitStatus::DiskFull { place: WritableMount::Tmp },
            ExitStatus::ProcessLimit,
            ExitStatus::OutOfMemory,
        ] {
            let met = run(limit, &["tests/test_new.py::test_new"]);
            let why = judge_proof(&red, &met, &brought()).unwrap_err();
            assert!(why.contains(&limit.describe()), "{why}");
        }
    }

    #[test]
    fn name_possibly_lost_in_cut_output_is_mentioned() {
        let mut cut = run(RED, &["tests/test_old.py::test_flaky"]);
        cut.result.output.omitted_bytes = 1;
        assert!(judge_proof(&cut, &cut, &brought()).unwrap_err().contains("The output was cut"));
    }

    #[test]
    fn suite_that_does_not_build_without_the_change_is_a_proof_without_names() {
        let broken = run(ExitStatus::Exited { code: 101 }, &[]);
        assert_eq!(judge_proof(&broken, &broken, &brought()), Ok(vec![]));
    }

    #[test]
    fn build_error_in_a_new_test_is_its_failure() {
        let mut red = run(RED, &["build of `a` (test \"new\")"]);
        assert!(judge_proof(&red, &red, &brought()).is_err());
        red.report.cases[0].location = Some(TestLocation { file: "tests/test_new.py".into(), line: Some(1) });
        assert_eq!(judge_proof(&red, &red, &brought()).unwrap().len(), 1);
    }

    #[test]
    fn test_name_is_found_in_the_form_of_each_runner() {
        let spellings = ["tests/a.py::A::b[case 1]", "a::tests::b", "b (a.A.b)", "b", "b/case_2"];
        for spelling in spellings {
            assert_eq!(test_name(spelling), "b", "{spelling}");
        }
    }
    #[test]
    fn test_that_is_a_file_belongs_to_that_file_only() {
        let content = |text: &str| ChangedContent::File { mode: FileMode::Regular, bytes: text.into() };
        let other = Change { path: "tests/b.sh".parse().unwrap(), content: content("cd tests\n. a.sh\n") };
        let own = Change { path: "tests/a.sh".parse().unwrap(), content: content("false\n") };
        let failed = FailedTest("tests/a.sh".into());
        assert!(!is_brought(&failed, std::slice::from_ref(&other)));
        assert!(is_brought(&failed, &[other, own]));
    }
}
