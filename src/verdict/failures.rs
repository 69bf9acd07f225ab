//! What failed in a run, in words for the model and for people. Pure functions.

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{FailedTest, TestRun};

/// What failed in a run, as the beginning of a sentence.
pub(super) fn describe_failure(run: &TestRun) -> String {
    if let Some(why) = run.report.contradicts_success().filter(|_| run.exited_successfully()) {
        return format!(
            "`{}` ended with exit code 0, but {why}. That is not a suite that passes.",
            run.command
        );
    }
    let advice = run.result.ending.advice().map(|advice| format!(" {advice}")).unwrap_or_default();
    let failed = run.failed();
    let failing = if failed.is_empty() { String::new() } else { format!(" Failing:{}", names(&failed)) };
    let lost = match run.may_miss_failed_tests() {
        true => "\nIts output was cut: tests may have failed that are not named.",
        false => "",
    };
    format!(
        "`{}` ended with {}, not with exit code 0.{advice}{failing}{lost}",
        run.command,
        run.result.ending.describe(),
    )
}

/// As many names as a flag keeps.
pub(super) fn first_names(tests: &[FailedTest]) -> Vec<String> {
    tests.iter().take(FLAG_NAMES_MAX).map(|test| test.0.clone()).collect()
}

/// The tests' names, a line each, the first of them.
pub(super) fn names(tests: &[FailedTest]) -> String {
    const NAMED_MAX: usize = 20;
    let named: String = tests.iter().take(NAMED_MAX).map(|test| format!("\n- {}", test.0)).collect();
    match tests.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named}\n- and {more} more"),
    }
}
