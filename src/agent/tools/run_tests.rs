//! `run_tests`: the suite or a part of it, and what changed since the suite's last run.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, names, parse_arguments, repo_path, spec_of};
use crate::domain::{ExitStatus, FailedTest, TestCase, TestRun, ToolSpec, TranscriptEvent};
use crate::sandbox::CallError;
use crate::testing::{Selection, run_selected, run_suite};

/// How much of a run's output the model is shown, in characters, counted from its end: runners
/// print what matters last.
const OUTPUT_CHARS_MAX: usize = 12_000;
/// The same, if the report has the message of each failing test.
const OUTPUT_CHARS_BESIDE_REPORT_MAX: usize = 2_500;
/// Failing tests that are shown with message and frame.
const DETAILED_MAX: usize = 10;
/// Remarks on a report that are shown.
const REMARKS_MAX: usize = 3;

pub(super) struct RunTestsTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Run the tests of this file or directory only.
    #[serde(default)]
    path: Option<String>,
    /// Run the tests of this name only, as an earlier run named it.
    #[serde(default)]
    name: Option<String>,
}

#[async_trait]
impl Tool for RunTestsTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("run_tests", include_str!("../prompts/tools/run_tests.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { path, name } = parse_arguments(arguments)?;
        let path = path.filter(|path| !path.is_empty()).map(|path| repo_path(&path)).transpose()?;
        let name = name.filter(|name| !name.trim().is_empty());
        let run = match (&path, &name) {
            (None, None) => run_suite(context.toolbox, context.settings).await?,
            _ => run_selected(context.toolbox, context.settings, &Selection { path, name }).await?,
        };
        let before = context.last_run.as_ref();
        let (shown, full) = (describe_run(&run, before), described(&run, before, usize::MAX));
        let answer = match shown == full {
            true => ToolAnswer::Text(shown),
            false => {
                let number = context.results.next_number();
                let how = format!("[All of it: read_result {{\"result\": {number}}}]");
                ToolAnswer::Part { shown: format!("{}\n{how}", shown.trim_end()), full }
            }
        };
        context.events.push(TranscriptEvent::AgentTestRun { run: run.clone() });
        if run.selection.is_none() {
            context.last_run = Some(run);
        }
        Ok(answer)
    }
}

/// Describes a run for the model: exit status, counts, failing tests compared with the previous run, and the
/// end of the output.
pub fn describe_run(run: &TestRun, before: Option<&TestRun>) -> String {
    let has_messages =
        run.report.red().next().is_some() && run.report.red().all(|case| case.message.is_some());
    let output_chars_max = match has_messages || run.is_green() {
        true => OUTPUT_CHARS_BESIDE_REPORT_MAX,
        false => OUTPUT_CHARS_MAX,
    };
    described(run, before, output_chars_max)
}

fn described(run: &TestRun, before: Option<&TestRun>, output_chars_max: usize) -> String {
    let seconds = run.result.duration.as_secs_f64();
    let of = run.selection.as_ref().map(|part| format!(", only {part}")).unwrap_or_default();
    let mut text = format!("`{}`{of}: {} after {seconds:.1} s.\n", run.command, run.result.ending.describe());
    if let Some(advice) = run.result.ending.advice() {
        text.push_str(&format!("This run says nothing of the tests. {advice}\n"));
    }
    if let Some(counts) = run.report.counts {
        text.push_str(&format!("Tests: {} ({}).\n", counts.describe(), run.report.origin()));
    }
    if let Some(why) = run.report.contradicts_success().filter(|_| run.exited_successfully()) {
        text.push_str(&format!("This does not count as passed: {why}.\n"));
    }
    for remark in run.report.remarks.iter().filter(|_| run.report.is_known()).take(REMARKS_MAX) {
        text.push_str(&format!("Note: {remark}.\n"));
    }
    let change = Change::between(run, before);
    let newly_title = match before {
        Some(before) if before.may_miss_failed_tests() => "Failing, and not named last time",
        Some(_) => "Newly failing",
        None => "Failing",
    };
    let mut shown = 0;
    for (title, cases) in [(newly_title, &change.newly), ("Still failing", &change.still)] {
        if !cases.is_empty() {
            text.push_str(&format!("{title} ({}):\n{}", cases.len(), describe_failures(cases, &mut shown)));
        }
    }
    for (title, tests) in [("No longer failing", &change.passing), ("No longer there", &change.gone)] {
        if !tests.is_empty() {
            text.push_str(&format!("{title} ({}):\n{}", tests.len(), names(tests)));
        }
    }
    if run.selection.is_some() && run.exited_successfully() {
        text.push_str("Run the whole suite before you finish.\n");
    }
    if run.result.output.is_truncated() {
        text.push_str(&cut_note(run));
    }
    let output = run.result.output.to_text();
    let skip = output.chars().count().saturating_sub(output_chars_max);
    let shown: String = output.chars().skip(skip).collect();
    match (skip, shown.trim().is_empty()) {
        (_, true) => text.push_str("It printed nothing."),
        (0, false) => text.push_str(&format!("Output:\n{shown}")),
        (skip, false) => text.push_str(&format!("End of the output ({skip} characters before it):\n{shown}")),
    }
    text
}

/// The differences from the previous run.
struct Change<'a> {
    newly: Vec<&'a TestCase>,
    still: Vec<&'a TestCase>,
    passing: Vec<FailedTest>,
    gone: Vec<FailedTest>,
}

impl<'a> Change<'a> {
    fn between(run: &'a TestRun, before: Option<&TestRun>) -> Self {
        let was_failing = before.map(TestRun::failed).unwrap_or_default();
        let failed_before = |name: &str| was_failing.iter().any(|test| test.0 == name);
        let (still, newly) = run.report.red().partition(|case| failed_before(&case.name));
        let is_red = |name: &str| run.report.case(name).is_some_and(TestCase::is_red);
        let not_red: Vec<&FailedTest> = was_failing.iter().filter(|test| !is_red(&test.0)).collect();
        let (mut passing, mut gone) = (Vec::new(), Vec::new());
        match run.result.ending {
            // A failure may be named in the part of the output that was not kept, so no test counts as
            // passed.
            ExitStatus::Exited { .. } if run.may_miss_failed_tests() => {}
            ExitStatus::Exited { .. } => {
                for test in not_red {
                    match run.report.case(&test.0) {
                        Some(_) => passing.push(test.clone()),
                        // A run of a part of the suite names only the tests of that part.
                        None if run.selection.is_some() => {}
                        None if run.report.names_all() => gone.push(test.clone()),
                        None => passing.push(test.clone()),
                    }
                }
            }
            // A run that was cut off says nothing about the tests that it did not reach.
            ExitStatus::Signalled { .. }
            | ExitStatus::TimedOut
            | ExitStatus::OutOfMemory
            | ExitStatus::DiskFull { .. }
            | ExitStatus::ProcessLimit => {}
        }
        Self { newly, still, passing, gone }
    }
}

/// Lists failing tests, the first of them with location and reason.
fn describe_failures(cases: &[&TestCase], shown: &mut usize) -> String {
    let mut text = String::new();
    let mut plain = Vec::new();
    for case in cases {
        let has_more = case.message.is_some() || case.frame.is_some() || case.location.is_some();
        if *shown >= DETAILED_MAX || !has_more {
            plain.push(FailedTest(case.name.clone()));
            continue;
        }
        *shown += 1;
        text.push_str(&format!("- {}\n", case.name));
        match (&case.frame, &case.location) {
            (Some(frame), Some(at)) if !frame.contains(&at.describe()) => {
                text.push_str(&format!("    at {}: {frame}\n", at.describe()));
            }
            (Some(frame), _) => text.push_str(&format!("    {frame}\n")),
            (None, Some(at)) => text.push_str(&format!("    at {}\n", at.describe())),
            (None, None) => {}
        }
        for line in case.message.iter().flat_map(|message| message.lines()) {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text.push_str(&names(&plain));
    text
}

/// Says that a part of the output was not kept, what that means, and how to see it.
fn cut_note(run: &TestRun) -> String {
    let is_none_named = run.report.red().next().is_none();
    let names = match (run.may_miss_failed_tests(), is_none_named) {
        (true, true) => " No failing test is named in what was kept; that does not mean that there is none.",
        (true, false) => " More tests may have failed than are named above.",
        (false, _) => "",
    };
    format!(
        "The output is cut: {} bytes between its beginning and its end were not kept.{names} To see them, have the \
         tests print less (remove output that you added, or print only where it matters) and run them again.\n",
        run.result.output.omitted_bytes
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{BoundedOutput, ProcessOutput, TestReport};

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

    #[test]
    fn run_is_compared_with_the_previous_run() {
        let before = run(ExitStatus::Exited { code: 101 }, &["a", "b"], "");
        let after = run(ExitStatus::Exited { code: 101 }, &["b", "c"], "thread 'c' panicked\n");
        insta::assert_snapshot!(describe_run(&after, Some(&before)), @r"
        `cargo test`: exit code 101 after 1.2 s.
        Newly failing (1):
        - c
        Still failing (1):
        - b
        No longer failing (1):
        - a
        Output:
        thread 'c' panicked
        ");
    }

    #[test]
    fn run_that_was_cut_off_makes_no_test_pass() {
        let before = run(ExitStatus::Exited { code: 101 }, &["a"], "");
        let text = describe_run(&run(ExitStatus::TimedOut, &[], ""), Some(&before));
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
        insta::assert_snapshot!(describe_run(&cut(&["b"]), Some(&before)), @r"
        `cargo test`: exit code 101 after 1.2 s.
        Newly failing (1):
        - b
        The output is cut: 7000000 bytes between its beginning and its end were not kept. More tests may have failed than are named above. To see them, have the tests print less (remove output that you added, or print only where it matters) and run them again.
        Output:
        running 900 tests

        [… 7000000 bytes left out …]
        test result: FAILED
        ");
        let text = describe_run(&cut(&[]), Some(&before));
        assert!(
            text.contains(
                "No failing test is named in what was kept; that does not mean that there is none."
            )
        );
        let text = describe_run(&run(ExitStatus::Exited { code: 101 }, &["a"], ""), Some(&cut(&[])));
        assert!(text.contains("Failing, and not named last time (1):\n- a"), "{text}");
    }

    #[test]
    fn limit_that_was_hit_is_named_with_advice() {
        let text = describe_run(&run(ExitStatus::ProcessLimit, &[], "cannot fork\n"), None);
        insta::assert_snapshot!(text, @r"
        `cargo test`: process limit reached: a process or thread was refused after 1.2 s.
        This run says nothing of the tests. Start fewer processes and threads at the same time (fewer parallel workers), or ask the operator to allow sandboxes more.
        Output:
        cannot fork
        ");
    }
}
