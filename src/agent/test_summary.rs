//! What the model reads of a test run: how it ended, what changed, and what of its output is not said by that.

use std::collections::BTreeMap;

mod difference;
#[cfg(test)]
mod tests;

use crate::domain::{FailedTest, TestCase, TestRun};

use difference::RunDifference;
pub use difference::has_new_tests;

/// How much of a run's output is shown, in characters, counted from its end: runners print what matters last.
const OUTPUT_CHARS_MAX: usize = 8_000;
/// The same, if the report has the message of each failing test.
const OUTPUT_CHARS_BESIDE_REPORT_MAX: usize = 800;
/// The same, if nothing failed.
const OUTPUT_CHARS_GREEN_MAX: usize = 400;
/// Failing tests that are shown with message and frame.
const DETAILED_MAX: usize = 10;
/// Tests that fail as at the base and are shown so, too: the issue's own may be among them.
const DETAILED_OF_BASE_MAX: usize = 3;
/// Groups of tests that fail as at the base.
const GROUPS_MAX: usize = 8;
/// Names in one group.
const NAMES_IN_GROUP_MAX: usize = 3;
/// The part of a message that tells one cause from another, in characters.
const CAUSE_CHARS_MAX: usize = 160;
/// Names in one list.
const NAMED_MAX: usize = 30;
/// Names of new tests: who wrote them knows them.
const NEW_NAMED_MAX: usize = 8;
/// Remarks on a report that are shown.
const REMARKS_MAX: usize = 3;

/// The runs that a run is compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Earlier<'a> {
    /// The suite at the base.
    pub base: Option<&'a TestRun>,
    /// The last run of the whole suite. It may be that of the base.
    pub last: Option<&'a TestRun>,
}

impl<'a> Earlier<'a> {
    /// With the suite at the base only.
    pub fn base(run: &'a TestRun) -> Self {
        Self { base: Some(run), last: Some(run) }
    }
}

/// Describes a run for the model.
pub fn describe_run(run: &TestRun, earlier: Earlier<'_>) -> String {
    let has_messages =
        run.report.red().next().is_some() && run.report.red().all(|case| case.message.is_some());
    let output_chars_max = match (run.is_green() && run.report.is_known(), has_messages) {
        (true, _) => OUTPUT_CHARS_GREEN_MAX,
        (false, true) => OUTPUT_CHARS_BESIDE_REPORT_MAX,
        (false, false) => OUTPUT_CHARS_MAX,
    };
    described(run, earlier, output_chars_max)
}

/// The same with all of the output.
pub fn describe_run_in_full(run: &TestRun, earlier: Earlier<'_>) -> String {
    described(run, earlier, usize::MAX)
}

fn described(run: &TestRun, earlier: Earlier<'_>, output_chars_max: usize) -> String {
    let seconds = run.result.duration.as_secs_f64();
    let of = run.selection.as_ref().map(|part| format!(", only {part}")).unwrap_or_default();
    let mut text = format!("`{}`{of}: {} after {seconds:.1} s.\n", run.command, run.result.ending.describe());
    if let Some(advice) = run.result.ending.advice() {
        text.push_str(&format!("This run says nothing of the tests. {advice}\n"));
    }
    if let Some(counts) = run.report.counts {
        text.push_str(&format!("Tests: {} ({}).\n", counts.describe(), run.report.origin()));
    }
    if ran_everything(run, earlier) {
        text.push_str("The selection had no effect: as many tests ran as in the whole suite.\n");
    }
    if let Some(why) = run.report.contradicts_success().filter(|_| run.exited_successfully()) {
        text.push_str(&format!("This does not count as passed: {why}.\n"));
    }
    for remark in run.report.remarks.iter().filter(|_| run.report.is_known()).take(REMARKS_MAX) {
        text.push_str(&format!("Note: {remark}.\n"));
    }
    text.push_str(&describe_change(run, earlier));
    if run.selection.is_some() && run.exited_successfully() {
        text.push_str("Run the whole suite before you finish.\n");
    }
    if run.result.output.is_truncated() {
        text.push_str(&cut_note(run));
    }
    text.push_str(&end_of_output(run, output_chars_max));
    text
}

/// Whether a run of a part ran as many tests as the whole suite does.
fn ran_everything(run: &TestRun, earlier: Earlier<'_>) -> bool {
    const FEW: u64 = 3;
    let counted = |run: &TestRun| run.report.counts.map(|counts| counts.ran()).filter(|ran| *ran > FEW);
    let whole = earlier.last.or(earlier.base).and_then(counted);
    run.selection.is_some() && whole.is_some() && counted(run) == whole
}

fn describe_change(run: &TestRun, earlier: Earlier<'_>) -> String {
    let mut text = String::new();
    let change = RunDifference::between(run, earlier);
    for (title, tests) in [("Now passing", &change.passing), ("No longer there", &change.gone)] {
        if !tests.is_empty() {
            text.push_str(&format!("{title} ({}):\n{}", tests.len(), list(tests, NAMED_MAX)));
        }
    }
    let newly_title = match earlier.last {
        Some(last) if last.may_miss_failed_tests() => "Failing, and not named last time",
        Some(_) => "Newly failing",
        None => "Failing",
    };
    let mut shown = 0;
    for (title, cases) in
        [(newly_title, &change.newly), ("Still failing, and not at the base", &change.since)]
    {
        if !cases.is_empty() {
            text.push_str(&format!("{title} ({}):\n{}", cases.len(), describe_failures(cases, &mut shown)));
        }
    }
    if !change.as_at_base.is_empty() {
        let as_where = if earlier.base.is_some() { ", as at the base" } else { "" };
        text.push_str(&format!("Still failing{as_where} ({}):\n", change.as_at_base.len()));
        text.push_str(&match change.as_at_base.len() <= DETAILED_OF_BASE_MAX {
            true => describe_failures(&change.as_at_base, &mut shown),
            false => describe_groups(&change.as_at_base),
        });
    }
    if !change.new.is_empty() {
        let failing = change.new.iter().filter(|case| case.is_red()).count();
        let names: Vec<FailedTest> = change.new.iter().map(|case| FailedTest(case.name.clone())).collect();
        text.push_str(&format!(
            "New, not in the suite at the base ({}, {failing} of them failing):\n{}",
            names.len(),
            list(&names, NEW_NAMED_MAX)
        ));
    }
    text
}

/// Lists failing tests, the first of them with location and reason.
fn describe_failures(cases: &[&TestCase], shown: &mut usize) -> String {
    let mut text = String::new();
    let mut plain = Vec::new();
    for case in cases {
        let has_more = case.message.is_some() || case.frame.is_some() || case.location.is_some();
        if *shown >= DETAILED_MAX || !has_more {
            plain.push(*case);
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
    let (names_alone, others): (Vec<&TestCase>, Vec<&TestCase>) =
        plain.into_iter().partition(|case| case.message.is_none());
    let names_alone: Vec<FailedTest> =
        names_alone.into_iter().map(|case| FailedTest(case.name.clone())).collect();
    text.push_str(&list(&names_alone, NAMED_MAX));
    text.push_str(&describe_groups(&others));
    text
}

/// Lists failing tests by their cause, which is the first line of their message, most tests first.
fn describe_groups(cases: &[&TestCase]) -> String {
    let cause = |case: &TestCase| -> String {
        let line =
            case.message.as_deref().and_then(|message| message.lines().find(|line| !line.trim().is_empty()));
        line.unwrap_or("no message").trim().chars().take(CAUSE_CHARS_MAX).collect()
    };
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for case in cases {
        groups.entry(cause(case)).or_default().push(&case.name);
    }
    let mut groups: Vec<(String, Vec<&str>)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    let line = |(cause, names): &(String, Vec<&str>)| {
        let named = names.iter().take(NAMES_IN_GROUP_MAX).copied().collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMES_IN_GROUP_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("- {}: {cause} ({named}{more})\n", names.len())
    };
    let mut text: String = groups.iter().take(GROUPS_MAX).map(line).collect();
    let rest: usize = groups.iter().skip(GROUPS_MAX).map(|(_, names)| names.len()).sum();
    if rest > 0 {
        text.push_str(&format!("- and {rest} more, for other reasons\n"));
    }
    text
}

/// The first of the names, a line each.
fn list(tests: &[FailedTest], listed_max: usize) -> String {
    let mut lines: String = tests.iter().take(listed_max).map(|test| format!("- {}\n", test.0)).collect();
    if tests.len() > listed_max {
        lines.push_str(&format!("- and {} more\n", tests.len() - listed_max));
    }
    lines
}

fn end_of_output(run: &TestRun, chars_max: usize) -> String {
    let output = readable(&run.result.output.to_text(), run.report.is_known());
    let skip = output.chars().count().saturating_sub(chars_max);
    let shown: String = output.chars().skip(skip).collect();
    match (skip, shown.trim().is_empty()) {
        (_, true) => "It printed nothing.".to_owned(),
        (0, false) => format!("Output:\n{shown}"),
        (skip, false) => format!("End of the output ({skip} characters before it):\n{shown}"),
    }
}

/// Output without what is made for terminals: colours, lines that were overwritten, and, where a report says what
/// passed, rows of dots.
pub fn readable(output: &str, is_reported: bool) -> String {
    let line = |line: &str| {
        let text = line.trim_end_matches('\r');
        let last = anstream::adapter::strip_str(text.rsplit('\r').next().unwrap_or(text)).to_string();
        let is_dots = is_reported && is_row_of_dots(&last);
        (!is_dots).then(|| format!("{last}\n"))
    };
    let lines: String = output.lines().filter_map(line).collect();
    if output.ends_with('\n') { lines } else { lines.trim_end_matches('\n').to_owned() }
}

/// `....s..F  [ 40%]`, as many runners print it.
fn is_row_of_dots(line: &str) -> bool {
    const LETTERS_MIN: usize = 8;
    let line = line.trim();
    let row = line.rsplit_once('[').filter(|(_, end)| end.ends_with("%]")).map_or(line, |(row, _)| row);
    let row = row.trim_end();
    let row = row.rsplit_once(' ').filter(|(file, _)| !file.contains(' ')).map_or(row, |(_, row)| row);
    row.len() >= LETTERS_MIN && row.starts_with('.') && row.chars().all(|c| ".sxXFEfpPRuU,*!".contains(c))
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
