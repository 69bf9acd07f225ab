//! The run of the suite before any change, and whether it says anything.

use crate::domain::{ExitStatus, FailedTest, JobSettings, TestRun};
use crate::sandbox::Toolbox;
use crate::testing::{SuiteError, run_suite_of_tree};

/// Runs the suite at the base, with a note on what is flaky there. A failed run is repeated: a suite that
/// fails once and passes once is flaky and counts as green, so that a change must still bring its proof.
pub(super) async fn first_runs(
    toolbox: &Toolbox,
    settings: &JobSettings,
) -> Result<(TestRun, Option<String>), SuiteError> {
    let first = run_suite_of_tree(toolbox, settings).await?;
    if first.is_green() || reason_unusable(&first).is_some() {
        return Ok((first, None));
    }
    let second = run_suite_of_tree(toolbox, settings).await?;
    if second.is_green() {
        let flaky = first.failed().iter().map(|test| test.0.clone()).collect();
        return Ok((second, Some(flaky_note(flaky))));
    }
    if second.may_miss_failed_tests() {
        // A test that is not named this time may have failed nevertheless.
        return Ok((second, None));
    }
    let second_failed = second.failed();
    let is_flaky = |test: &&FailedTest| !second_failed.contains(test);
    let flaky: Vec<String> = first.failed().iter().filter(is_flaky).map(|test| test.0.clone()).collect();
    let note = (!flaky.is_empty()).then(|| flaky_note(flaky));
    Ok((second, note))
}

fn flaky_note(tests: Vec<String>) -> String {
    let names = if tests.is_empty() { "not named".to_owned() } else { tests.join(", ") };
    format!("flaky at the base (failed once, passed once): {names}")
}

/// Why a baseline run says nothing about the repository, if it does not.
pub(super) fn reason_unusable(baseline: &TestRun) -> Option<String> {
    let command = &baseline.command;
    let advice = "Write into `.github/agent-fix.yml` how the tests are run (`test:`), what they need (`setup:`) \
                  and how long they take (`timeout_minutes:`).";
    match baseline.result.ending {
        ExitStatus::Exited { code: 126 | 127 } => Some(format!(
            "the test command `{command}` could not be started in the sandbox:\n{}\n{advice}",
            baseline.result.output.to_text()
        )),
        // pytest's own codes: 4 wrong usage, 5 no tests collected (docs.pytest.org, "Exit codes").
        ExitStatus::Exited { code: 4 | 5 } if command.contains("pytest") => Some(format!(
            "the test command `{command}` found no tests to run:\n{}\n{advice}",
            baseline.result.output.to_text()
        )),
        ExitStatus::Exited { .. } => None,
        ExitStatus::Signalled { .. }
        | ExitStatus::TimedOut
        | ExitStatus::OutOfMemory
        | ExitStatus::DiskFull { .. }
        | ExitStatus::ProcessLimit => Some(format!(
            "the test command `{command}` did not end by itself at the base: {} {advice}",
            baseline.result.ending.explain()
        )),
    }
}
