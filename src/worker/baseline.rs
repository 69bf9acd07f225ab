//! The run of the suite before any change, and what it shows: whether tests ran, and whether a change can be measured
//! against it.

use std::sync::LazyLock;

use regex::Regex;

use crate::config::REPOSITORY_FILE;
use crate::domain::{ExitStatus, FailedTest, JobSettings, TestCounts, TestRun};
use crate::sandbox::Toolbox;
use crate::setup::lacking;
use crate::testing::{SuiteError, format_of_command, run_suite_of_tree};

/// Of this many tests that pass, one file that cannot be loaded is accepted without trying another plan.
const PASSED_PER_BROKEN_FILE: u64 = 20;

/// What a run of the suite at the base shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BaselineQuality {
    /// Its tests ran, and some passed, or a person wrote the test command and it exits with 0.
    Good {
        /// Tests that passed.
        passed: u64,
    },
    /// A change can be measured against it, but another plan may show more.
    Partial {
        /// Tests that passed.
        passed: u64,
        /// What is wrong with it.
        why: String,
    },
    /// It shows nothing about the repository's code.
    Unusable {
        /// Why, with the end of its output and what to do.
        why: String,
    },
}

impl BaselineQuality {
    /// What another plan must exceed to be preferred; `None`: nothing can be measured against this one.
    pub(super) fn rank(&self) -> Option<(bool, u64)> {
        match self {
            Self::Good { passed } => Some((true, *passed)),
            Self::Partial { passed, .. } => Some((false, *passed)),
            Self::Unusable { .. } => None,
        }
    }

    /// Why another plan may be better; `None`: it is good.
    pub(super) fn why_not_good(&self) -> Option<&str> {
        match self {
            Self::Good { .. } => None,
            Self::Partial { why, .. } | Self::Unusable { why } => Some(why),
        }
    }
}

/// Judges a run of the suite at the base. A base is red only if a test that failed is named or counted: a suite that
/// cannot start fails too, and no change would fix it. The exit code alone counts only for a test command that a
/// person wrote, and whose runner reports nothing.
pub(super) fn quality_of(run: &TestRun, settings: &JobSettings) -> BaselineQuality {
    let unusable = |why: &str| BaselineQuality::Unusable { why: explained(run, why) };
    let code = match run.result.ending {
        ExitStatus::Exited { code } => code,
        ExitStatus::Signalled { .. }
        | ExitStatus::TimedOut
        | ExitStatus::OutOfMemory
        | ExitStatus::DiskFull { .. }
        | ExitStatus::ProcessLimit => {
            let why = format!("did not end by itself at the base: {}", run.result.ending.explain());
            return unusable(&why);
        }
    };
    let report = &run.report;
    let counts = report.counts.unwrap_or_else(|| counted(run));
    let broken = report.red().filter(|case| case.stands_for_tests).count() as u64;
    let failed = counts.red().max(report.red().count() as u64).saturating_sub(broken);
    match (code, report.is_known()) {
        (126 | 127, _) if counts.ran() == 0 => unusable("could not be started in the sandbox"),
        (0, false) if settings.test_command_detected => {
            if let Some(passed) = passed_in_words(&run.result.output.to_text()) {
                return BaselineQuality::Good { passed };
            }
            let why = "it passes, and nothing shows that a test ran".to_owned();
            BaselineQuality::Partial { passed: 0, why }
        }
        (0, false) => BaselineQuality::Good { passed: 0 },
        (_, false)
            if settings.test_command_detected
                || settings.setup_left_out.is_some()
                || reports_tests(settings) =>
        {
            unusable("fails without naming a test that fails")
        }
        (_, false) => {
            let why = "only its exit code is known".to_owned();
            BaselineQuality::Partial { passed: 0, why }
        }
        // pytest's own codes: 4 wrong usage, 5 no tests collected (docs.pytest.org, "Exit codes").
        (_, true) if counts.ran() == 0 => unusable("ran no test"),
        (_, true) if counts.passed == 0 && failed == 0 => {
            unusable("could not load or build any of its tests, and names none that failed")
        }
        (1.., true) if failed == 0 && broken == 0 => {
            unusable("fails although every test that it names passes, so a change cannot make it pass")
        }
        (_, true) if counts.passed == 0 => {
            BaselineQuality::Partial { passed: 0, why: "no test passes".to_owned() }
        }
        (_, true) if broken.saturating_mul(PASSED_PER_BROKEN_FILE) > counts.passed => {
            let files = if broken == 1 { "1 test file" } else { &format!("{broken} test files") };
            BaselineQuality::Partial { passed: counts.passed, why: format!("{files} could not be loaded") }
        }
        (_, true) => BaselineQuality::Good { passed: counts.passed },
    }
}

/// How many tests passed, as a runner that is not known here says in a line: `29 passed, 0 failed`, `12 tests passed`,
/// `46 tests, 0 failed`, `PASS: 7  FAIL: 0`. This only decides whether another plan is tried, so it may be wrong. `None`: it says nothing.
fn passed_in_words(output: &str) -> Option<u64> {
    static PASSED: LazyLock<Regex> = LazyLock::new(|| {
        let counted = r"\b(\d+)\s+(?:tests?\s+)?(?:passed|passing|ok)\b";
        let none_failed = r"\b(\d+)\s+tests?\b[^\n]*\b0\s+fail";
        let label_first = r"\bpass(?:ed|es)?\s*[:=]\s*(\d+)";
        Regex::new(&format!("(?im){counted}|{none_failed}|{label_first}")).expect("a pattern of ours")
    });
    let output = anstream::adapter::strip_str(output).to_string();
    let numbers = PASSED.captures_iter(&output).filter_map(|found| {
        let number = (1..=3).find_map(|group| found.get(group))?;
        number.as_str().parse::<u64>().ok()
    });
    Some(numbers.fold(0, u64::saturating_add)).filter(|passed| *passed > 0)
}

/// Whether the runner is known to report what it runs, so that a run without a report never reached its tests.
fn reports_tests(settings: &JobSettings) -> bool {
    format_of_command(&settings.test_command, None).is_some()
}

/// The named tests, counted, for a report that has no counts.
fn counted(run: &TestRun) -> TestCounts {
    let mut counts = TestCounts::default();
    run.report.cases.iter().for_each(|case| counts.add(case.outcome));
    counts
}

/// Why a run is unusable, with its output and what to do.
fn explained(run: &TestRun, why: &str) -> String {
    let output = run.result.output.to_text();
    let missing = lacking(&output);
    let ended = match run.result.ending {
        ExitStatus::Exited { code } if code != 0 => format!(" (exit code {code})"),
        _ => String::new(),
    };
    let mut text = format!("the test command `{}` {why}{ended}:\n{}", run.command, output.trim_end());
    if !missing.is_empty() {
        text.push_str(&format!("\n{missing}"));
    }
    text.push_str(&format!(
        "\nWrite into `{REPOSITORY_FILE}` how the tests are run (`test:`), what they need (`setup:`) and how long \
         they take (`timeout_minutes:`)."
    ));
    text
}

/// Repeats a failed run, and notes what is flaky: a suite that fails once and passes once is flaky and counts as
/// green, so that a change must still bring its proof.
pub(super) async fn repeated_if_red(
    first: TestRun,
    toolbox: &Toolbox,
    settings: &JobSettings,
) -> Result<(TestRun, Option<String>), SuiteError> {
    if first.is_green() {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{
        BoundedOutput, ProcessOutput, ReportBuilder, ReportFormat, ReportSource, TestCase, TestOutcome,
        TestReport,
    };

    fn run(code: i32, cases: &[TestCase]) -> TestRun {
        let report = match cases {
            [] => TestReport::default(),
            cases => {
                let mut builder = ReportBuilder::default();
                cases.iter().cloned().for_each(|case| builder.push(case));
                let counts = builder.counted();
                builder.finish(ReportSource::File, ReportFormat::Junit, Some(counts), true)
            }
        };
        with_report(code, report)
    }

    fn with_report(code: i32, report: TestReport) -> TestRun {
        TestRun {
            command: "run-tests".to_owned(),
            selection: None,
            report,
            result: ProcessOutput {
                ending: ExitStatus::Exited { code },
                output: BoundedOutput { head: "what it printed".to_owned(), ..BoundedOutput::default() },
                duration: Duration::from_secs(1),
            },
        }
    }

    fn described(run: &TestRun, detected: bool) -> String {
        let settings =
            JobSettings { test_command_detected: detected, ..JobSettings::of_test_command("run-tests") };
        match quality_of(run, &settings) {
            BaselineQuality::Good { passed } => format!("good: {passed} passed"),
            BaselineQuality::Partial { passed, why } => format!("partial: {passed} passed, {why}"),
            BaselineQuality::Unusable { why } => {
                format!("unusable: {}", why.lines().next().unwrap_or_default())
            }
        }
    }

    #[test]
    fn counts_in_words_are_read() {
        for (output, passed) in [
            ("29 passed, 0 failed, 0 errored\n3 passed, 0 failed", Some(32)),
            ("All 12 tests passed", Some(12)),
            ("102 tests conducted, 0 failed", Some(102)),
            ("0 passed", None),
            ("passed", None),
            ("", None),
        ] {
            assert_eq!(passed_in_words(output), passed, "{output}");
        }
    }

    #[test]
    fn base_is_red_only_if_a_test_that_failed_is_named() {
        let passed = |name: &str| TestCase::new(name, TestOutcome::Passed);
        let failed = TestCase::new("fails", TestOutcome::Failed);
        let skipped = TestCase::new("skipped", TestOutcome::Skipped);
        let broken = TestCase::broken("tests/a.py");
        let many: Vec<TestCase> = (0..20).map(|n| passed(&n.to_string())).collect();
        let of = |code, cases: &[TestCase]| described(&run(code, cases), true);
        let lines = [
            of(0, &[passed("a")]),
            of(1, &[passed("a"), failed.clone()]),
            of(1, std::slice::from_ref(&failed)),
            of(2, &[passed("a"), broken.clone()]),
            of(2, &[many.as_slice(), std::slice::from_ref(&broken)].concat()),
            of(2, &[broken]),
            of(0, &[skipped]),
            of(1, &[passed("a")]),
            of(0, &[]),
            of(1, &[]),
            of(127, &[]),
            described(&run(1, &[]), false),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        good: 1 passed
        good: 1 passed
        partial: 0 passed, no test passes
        partial: 1 passed, 1 test file could not be loaded
        good: 20 passed
        unusable: the test command `run-tests` could not load or build any of its tests, and names none that failed (exit code 2):
        unusable: the test command `run-tests` ran no test:
        unusable: the test command `run-tests` fails although every test that it names passes, so a change cannot make it pass (exit code 1):
        partial: 0 passed, it passes, and nothing shows that a test ran
        unusable: the test command `run-tests` fails without naming a test that fails (exit code 1):
        unusable: the test command `run-tests` could not be started in the sandbox (exit code 127):
        partial: 0 passed, only its exit code is known
        ");
    }
}
