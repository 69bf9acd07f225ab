//! What the model reads of runs.

use std::time::Duration;

use super::*;
use crate::domain::{
    BoundedOutput, ExitStatus, ProcessOutput, ReportBuilder, ReportFormat, ReportSource, TestOutcome,
    TestReport,
};

fn run(ending: ExitStatus, failed: &[&str], output: &str) -> TestRun {
    TestRun {
        command: "cargo test".into(),
        result: ProcessOutput {
            ending,
            output: BoundedOutput { head: output.into(), ..BoundedOutput::default() },
            duration: Duration::from_millis(1234),
        },
        selection: None,
        report: TestReport::naming_failed(failed.iter().copied()),
    }
}

fn after_run(last: &TestRun) -> Earlier<'_> {
    Earlier { base: None, last: Some(last) }
}

fn reported(cases: &[(&str, TestOutcome, Option<&str>)], output: &str) -> TestRun {
    let mut builder = ReportBuilder::default();
    for (name, outcome, message) in cases {
        let mut case = TestCase::new(*name, *outcome);
        case.message = message.map(str::to_owned);
        builder.push(case);
    }
    let is_red = cases.iter().any(|(_, outcome, _)| *outcome == TestOutcome::Failed);
    let code = i32::from(is_red);
    let mut run = run(ExitStatus::Exited { code }, &[], output);
    let counts = builder.counted();
    run.report = builder.finish(ReportSource::Output, ReportFormat::Pytest, Some(counts), true);
    run
}

#[test]
fn failures_are_distinguished_by_when_they_began() {
    use TestOutcome::{Failed, Passed};
    let missing = Some("fixture 'benchmark' not found");
    let base = reported(
        &[
            ("fixed", Failed, Some("assert 1 == 2")),
            ("b1", Failed, missing),
            ("b2", Failed, missing),
            ("b3", Failed, missing),
            ("b4", Failed, missing),
            ("lost", Passed, None),
            ("kept", Passed, None),
        ],
        "",
    );
    let last = reported(
        &[
            ("fixed", Failed, Some("assert 1 == 2")),
            ("b1", Failed, missing),
            ("b2", Failed, missing),
            ("b3", Failed, missing),
            ("b4", Failed, missing),
            ("lost", Passed, None),
            ("kept", Failed, Some("broken")),
        ],
        "",
    );
    let now = reported(
        &[
            ("fixed", Passed, None),
            ("b1", Failed, missing),
            ("b2", Failed, missing),
            ("b3", Failed, missing),
            ("b4", Failed, missing),
            ("kept", Failed, Some("broken")),
            ("added", Passed, None),
        ],
        "....F...F..s  [100%]\n\u{1b}[31mFAILED kept\u{1b}[0m\n",
    );
    let text = describe_run(&now, Earlier { base: Some(&base), last: Some(&last) });
    insta::assert_snapshot!(text, @r"
    `cargo test`: exit code 1 after 1.2 s.
    Tests: 2 passed, 5 failed (pytest, as printed).
    Now passing (1):
    - fixed
    No longer there (1):
    - lost
    Still failing, and not at the base (1):
    - kept
        broken
    Still failing, as at the base (4):
    - 4: fixture 'benchmark' not found (b1, b2, b3 and 1 more)
    New, not in the suite at the base (1, 0 of them failing):
    - added
    Output:
    FAILED kept
    ");
    assert_eq!(has_new_tests(&now, &base), Some(true));
    assert_eq!(has_new_tests(&base, &base), Some(false));
}

#[test]
fn selection_without_effect_is_reported() {
    use TestOutcome::Passed;
    let all: Vec<(&str, TestOutcome, Option<&str>)> =
        ["a", "b", "c", "d"].iter().map(|name| (*name, Passed, None)).collect();
    let base = reported(&all, "");
    let mut part = reported(&all, "");
    part.selection = Some("tests/a.py".to_owned());
    assert!(describe_run(&part, Earlier::base(&base)).contains("The selection had no effect"));
    let mut part = reported(&all[..1], "");
    part.selection = Some("tests/a.py".to_owned());
    assert!(!describe_run(&part, Earlier::base(&base)).contains("no effect"));
}

#[test]
fn output_is_shown_without_what_is_made_for_terminals() {
    let output = "\u{1b}[1mstart\u{1b}[0m\n10%\r20%\rdone\r\ntests/a.py ........s.F. [ 50%]\n.........\nend";
    assert_eq!(readable(output, true), "start\ndone\nend");
    assert_eq!(readable(output, false), "start\ndone\ntests/a.py ........s.F. [ 50%]\n.........\nend");
    assert_eq!(readable("...\n", true), "...\n");
}

#[test]
fn run_is_compared_with_the_previous_run() {
    let before = run(ExitStatus::Exited { code: 101 }, &["a", "b"], "");
    let after = run(ExitStatus::Exited { code: 101 }, &["b", "c"], "thread 'c' panicked\n");
    insta::assert_snapshot!(describe_run(&after, after_run(&before)), @r"
    `cargo test`: exit code 101 after 1.2 s.
    Now passing (1):
    - a
    Newly failing (1):
    - c
    Still failing (1):
    - b
    Output:
    thread 'c' panicked
    ");
}

#[test]
fn run_that_was_cut_off_makes_no_test_pass() {
    let before = run(ExitStatus::Exited { code: 101 }, &["a"], "");
    let text = describe_run(&run(ExitStatus::TimedOut, &[], ""), after_run(&before));
    insta::assert_snapshot!(text, @r"
    `cargo test`: timed out after 1.2 s.
    This run says nothing of the tests. Find out what hangs or is slow. If it needs longer, raise the repository's `timeout_minutes:`.
    It printed nothing.
    ");
}

#[test]
fn names_lost_in_cut_output_do_not_count_as_passing() {
    let cut = |failed: &[&str]| {
        let mut run = run(ExitStatus::Exited { code: 101 }, failed, "running 900 tests\n");
        run.result.output.omitted_bytes = 7_000_000;
        run.result.output.tail = "test result: FAILED\n".into();
        run
    };
    let before = run(ExitStatus::Exited { code: 101 }, &["a"], "");
    insta::assert_snapshot!(describe_run(&cut(&["b"]), after_run(&before)), @r"
    `cargo test`: exit code 101 after 1.2 s.
    Newly failing (1):
    - b
    The output is cut: 7000000 bytes between its beginning and its end were not kept. More tests may have failed than are named above. To see them, have the tests print less (remove output that you added, or print only where it matters) and run them again.
    Output:
    running 900 tests

    [… 7000000 bytes left out …]
    test result: FAILED
    ");
    let text = describe_run(&cut(&[]), after_run(&before));
    assert!(
        text.contains("No failing test is named in what was kept; that does not mean that there is none.")
    );
    let text = describe_run(&run(ExitStatus::Exited { code: 101 }, &["a"], ""), after_run(&cut(&[])));
    assert!(text.contains("Failing, and not named last time (1):\n- a"), "{text}");
}

#[test]
fn limit_that_was_hit_is_named_with_advice() {
    let text = describe_run(&run(ExitStatus::ProcessLimit, &[], "cannot fork\n"), Earlier::default());
    insta::assert_snapshot!(text, @r"
    `cargo test`: process limit reached: a process or thread was refused after 1.2 s.
    This run says nothing of the tests. Start fewer processes and threads at the same time (fewer parallel workers), or ask the operator to allow sandboxes more.
    Output:
    cannot fork
    ");
}
