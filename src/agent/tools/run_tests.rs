//! `run_tests`: the suite, and what changed since its last run.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Hands, Tool, names, parsed, spec_of};
use crate::domain::{Ending, FailedTest, TestRun, ToolSpec, TranscriptEvent};
use crate::sandbox::CallError;
use crate::verdict::run_suite;

/// How much of a run's output the model is shown, in characters, counted from its end: runners
/// print what matters last.
const OUTPUT_CHARS_MAX: usize = 12_000;

pub(super) struct RunTestsTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {}

#[async_trait]
impl Tool for RunTestsTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("run_tests", include_str!("../prompts/tools/run_tests.md"))
    }

    async fn call(&self, arguments: Value, hands: &mut Hands<'_>) -> Result<Answer, CallError> {
        let Arguments {} = parsed(arguments)?;
        let run = run_suite(hands.toolbox, hands.settings).await?;
        let before = hands.last_run.as_ref();
        let (shown, full) = (describe_run(&run, before), described(&run, before, usize::MAX));
        let answer = match shown == full {
            true => Answer::Text(shown),
            false => {
                let number = hands.results.next_number();
                let how = format!("[All of it: read_result {{\"result\": {number}}}]");
                Answer::Part { shown: format!("{}\n{how}", shown.trim_end()), full }
            }
        };
        hands.events.push(TranscriptEvent::AgentTestRun { run: run.clone() });
        hands.last_run = Some(run);
        Ok(answer)
    }
}

/// A run in words for the model: ending, failing tests against the run before, end of the output.
pub fn describe_run(run: &TestRun, before: Option<&TestRun>) -> String {
    described(run, before, OUTPUT_CHARS_MAX)
}

fn described(run: &TestRun, before: Option<&TestRun>, output_chars_max: usize) -> String {
    let seconds = run.result.duration.as_secs_f64();
    let mut text = format!("`{}`: {} after {seconds:.1} s.\n", run.command, run.result.ending.describe());
    if let Some(advice) = run.result.ending.advice() {
        text.push_str(&format!("This run says nothing of the tests. {advice}\n"));
    }
    let was_failing: &[FailedTest] = before.map_or(&[], |before| &before.failed);
    let (still, newly): (Vec<_>, Vec<_>) =
        run.failed.iter().cloned().partition(|test| was_failing.contains(test));
    let passing_now: Vec<FailedTest> = match run.result.ending {
        // Nor does one whose failures may be named in what was not kept.
        Ending::Exited { .. } if run.names_may_be_lost() => Vec::new(),
        Ending::Exited { .. } => {
            was_failing.iter().filter(|test| !run.failed.contains(test)).cloned().collect()
        }
        // A run that was cut off, or starved, says nothing of the tests it did not reach.
        Ending::Signalled { .. }
        | Ending::TimedOut
        | Ending::OutOfMemory
        | Ending::DiskFull { .. }
        | Ending::ProcessLimit => Vec::new(),
    };
    let newly_title = match before {
        Some(before) if before.names_may_be_lost() => "Failing, and not named last time",
        Some(_) => "Newly failing",
        None => "Failing",
    };
    for (title, tests) in [(newly_title, newly), ("Still failing", still), ("No longer failing", passing_now)]
    {
        if !tests.is_empty() {
            text.push_str(&format!("{title} ({}):\n{}", tests.len(), names(&tests)));
        }
    }
    if run.result.output.is_cut() {
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

/// That a part of the output is nowhere to be had, what that means, and how to see it after all.
fn cut_note(run: &TestRun) -> String {
    let names = match (run.names_may_be_lost(), run.failed.is_empty()) {
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
    use crate::domain::{BoundedOutput, CommandResult};

    fn run(ending: Ending, failed: &[&str], output: &str) -> TestRun {
        TestRun {
            command: "cargo test".into(),
            result: CommandResult {
                ending,
                output: BoundedOutput { head: output.into(), ..BoundedOutput::default() },
                duration: Duration::from_millis(1234),
            },
            failed: failed.iter().map(|name| FailedTest((*name).to_owned())).collect(),
        }
    }

    #[test]
    fn the_model_is_shown_what_changed_since_the_last_run() {
        let before = run(Ending::Exited { code: 101 }, &["a", "b"], "");
        let after = run(Ending::Exited { code: 101 }, &["b", "c"], "thread 'c' panicked\n");
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
    fn a_run_that_was_cut_off_makes_no_test_pass() {
        let before = run(Ending::Exited { code: 101 }, &["a"], "");
        let text = describe_run(&run(Ending::TimedOut, &[], ""), Some(&before));
        insta::assert_snapshot!(text, @r"
        `cargo test`: timed out after 1.2 s.
        This run says nothing of the tests. Find what hangs or is slow; if it needs longer, the repository's `timeout_minutes:` must say so.
        It printed nothing.
        ");
    }

    #[test]
    fn names_lost_in_output_that_was_cut_do_not_pass_for_tests_that_pass() {
        let cut = |failed: &[&str]| {
            let mut run = run(Ending::Exited { code: 101 }, failed, "running 900 tests\n");
            run.result.output.omitted_bytes = 7_000_000;
            run.result.output.tail = "test result: FAILED\n".into();
            run
        };
        let before = run(Ending::Exited { code: 101 }, &["a"], "");
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
        let text = describe_run(&run(Ending::Exited { code: 101 }, &["a"], ""), Some(&cut(&[])));
        assert!(text.contains("Failing, and not named last time (1):\n- a"), "{text}");
    }

    #[test]
    fn a_limit_that_was_hit_is_told_with_what_to_do() {
        let text = describe_run(&run(Ending::ProcessLimit, &[], "cannot fork\n"), None);
        insta::assert_snapshot!(text, @r"
        `cargo test`: process limit reached: a process or thread was refused after 1.2 s.
        This run says nothing of the tests. Have it start fewer processes and threads at the same time (fewer parallel workers), or have the operator allow sandboxes more.
        Output:
        cannot fork
        ");
    }
}
