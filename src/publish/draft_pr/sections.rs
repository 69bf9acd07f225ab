//! The evidence of a verdict, for the pull request and the check run.

use super::super::escape::{code_cell, code_span, cut, quoted, visible};
use super::super::evidence::Evidence;
use super::super::format::{failing_count, run_in_cell, test_list};
use crate::domain::{FailedTest, Flag, TestRun};
use crate::verdict::Verified;

/// Longest explanation of the verdict.
const EXPLANATION_CHARS_MAX: usize = 4_000;
/// Longest command that is shown whole.
const COMMAND_CHARS_MAX: usize = 200;
/// Flags that are listed, and the longest.
const FLAGS_LISTED_MAX: usize = 20;
const FLAG_CHARS_MAX: usize = 600;

/// The suite before and after, with the verdict's explanation cut to one `share`th of its usual length.
pub(in crate::publish) fn what_was_run(evidence: &Evidence, verified: &Verified, share: usize) -> String {
    let base = evidence.base.as_ref().map(|base| format!("`{}`", base.sha.short()));
    let before = evidence.baseline.as_ref().map_or_else(|| "not run".to_owned(), run_in_cell);
    let after = verified.run();
    let failing = |run: Option<&TestRun>| run.map_or_else(|| "?".to_owned(), failing_count);
    let table = format!(
        "| | Before: base {} | After: tree `{}` |\n|---|---|---|\n\
         | {} | {before} | {} |\n| Failing tests | {} | {} |",
        base.as_deref().unwrap_or("unknown"),
        verified.tree().short(),
        code_cell(&cut(&after.command, COMMAND_CHARS_MAX)),
        run_in_cell(after),
        failing(evidence.baseline.as_ref()),
        failing(Some(after)),
    );
    let explanation = quoted(&cut(verified.explanation(), EXPLANATION_CHARS_MAX / share));
    let fixed = no_longer_failing(evidence.baseline.as_ref(), after);
    format!(
        "### Evidence\n\n{table}\n\nThe run on the right is the verdict: Mendwright ran it itself, in a fresh \
         sandbox with exactly this branch's tree.\n\n{explanation}{fixed}"
    )
}

/// The tests that failed before and do not fail now.
fn no_longer_failing(baseline: Option<&TestRun>, after: &TestRun) -> String {
    let fixed: Vec<FailedTest> = baseline
        .map(|run| run.failed().into_iter().filter(|test| !after.failed().contains(test)).collect())
        .unwrap_or_default();
    if fixed.is_empty() {
        return String::new();
    }
    format!("\n\nFailed before and no longer fail:\n\n{}", test_list(&fixed))
}

/// What a reviewer must look at first. Names, paths and lines are foreign, so they are shown as code.
pub(in crate::publish) fn flags(flags: &[Flag]) -> Option<String> {
    let lines: Vec<String> = flags.iter().take(FLAGS_LISTED_MAX).map(flag_item).collect();
    let more = flags.len().saturating_sub(FLAGS_LISTED_MAX);
    let rest = if more > 0 { format!("\n- … and {more} more") } else { String::new() };
    let text = format!(
        "**Check these by hand.** Honest changes do this too, but a fake fix would have to.\n\n{}{rest}",
        lines.join("\n")
    );
    let quoted: String = text.lines().map(|line| format!("\n> {line}").trim_end().to_owned()).collect();
    (!flags.is_empty()).then(|| format!("> [!WARNING]{quoted}"))
}

/// One flag. Other files that a proposal touches have a line each, with the reason.
fn flag_item(flag: &Flag) -> String {
    let code = |text: &str| code_span(&cut(&visible(text), FLAG_CHARS_MAX));
    let Flag::AlsoTouches { files, count } = flag else { return format!("- {}", code(&flag.describe())) };
    let more = count.saturating_sub(files.len() as u64);
    let lines = files.iter().map(|file| format!("\n  - {}: {}", code(&file.path), file.kind.describe()));
    let rest = if more > 0 { format!("\n  - … and {more} more") } else { String::new() };
    format!("- other files are changed:{}{rest}", lines.collect::<String>())
}

/// The tests that prove the fix.
pub(in crate::publish) fn proof(tests: &[FailedTest]) -> Option<String> {
    (!tests.is_empty()).then(|| {
        format!(
            "### Proof\n\nNew or changed tests that **fail on the base and pass here**:\n\n{}",
            test_list(tests)
        )
    })
}
