//! How texts show money, time, counts and runs of the suite.

use std::time::Duration;

use super::escape::{code_span, cut, visible};
use crate::domain::{ExitStatus, FailedTest, Spend, TestRun};

/// Names of tests that are listed; more are counted.
const TESTS_LISTED_MAX: usize = 20;
/// Longest name of a test.
const TEST_NAME_CHARS_MAX: usize = 200;
/// Lines of a failing run's output that are shown, from its end.
const OUTPUT_LINES_MAX: usize = 120;
/// Characters of them.
const OUTPUT_CHARS_MAX: usize = 12_000;

/// `$1.23`; amounts below one dollar have more digits.
pub(super) fn dollars(usd: Option<f64>) -> String {
    match usd {
        None => "cost unknown (no price known: tokens only)".to_owned(),
        Some(usd) if usd >= 1.0 || usd == 0.0 => format!("${usd:.2}"),
        Some(usd) => format!("${usd:.4}"),
    }
}

/// `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let grouped: Vec<&str> = {
        let first = digits.len() % 3;
        let (head, tail) = digits.split_at(first);
        let groups = tail.as_bytes().chunks(3).map(|group| std::str::from_utf8(group).unwrap_or_default());
        (!head.is_empty()).then_some(head).into_iter().chain(groups).collect()
    };
    grouped.join(",")
}

/// `42 s`, `4 min 12 s`, `1 h 5 min`.
pub(super) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) if duration < Duration::from_secs(10) => format!("{:.1} s", duration.as_secs_f64()),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

/// What was spent, in a line.
pub(super) fn spend(spend: &Spend) -> String {
    let usage = spend.usage;
    let tokens = match usage.total() {
        0 => "no tokens".to_owned(),
        total => format!(
            "{} tokens ({} out, {} from the cache)",
            thousands(total),
            thousands(usage.output_tokens),
            thousands(usage.cache_read_tokens)
        ),
    };
    format!(
        "{}, {}, {tokens}, {}",
        plural(spend.turns.into(), "turn", "turns"),
        plural(spend.tool_calls.into(), "tool call", "tool calls"),
        dollars(spend.usd)
    )
}

/// How a run went, for a table's cell.
pub(super) fn run_in_cell(run: &TestRun) -> String {
    let sign = match run.result.ending {
        ExitStatus::Exited { code: 0 } if !run.report.is_red() => "✅ passes",
        ExitStatus::Exited { .. } => "❌ fails",
        // Neither: a run that hit a limit says nothing about the tests.
        ExitStatus::Signalled { .. }
        | ExitStatus::TimedOut
        | ExitStatus::OutOfMemory
        | ExitStatus::DiskFull { .. }
        | ExitStatus::ProcessLimit => "⚠ no result",
    };
    let failed = match run.failed().len() as u64 {
        0 => String::new(),
        count => format!(", {} named", plural(count, "failing test", "failing tests")),
    };
    let cut = if run.result.output.is_truncated() { ", output cut" } else { "" };
    format!("{sign} ({}, {}{failed}{cut})", run.result.ending.describe(), time(run.result.duration))
}

/// How many failing tests a run names, and whether names may be missing.
pub(super) fn failing_count(run: &TestRun) -> String {
    match (run.failed().len() as u64, run.may_miss_failed_tests()) {
        (0, false) if run.is_green() => "0".to_owned(),
        (0, false) => "none named".to_owned(),
        (0, true) => "none named in the output that was kept".to_owned(),
        (count, false) => thousands(count),
        (count, true) => format!("{} or more: output cut", thousands(count)),
    }
}

/// Names of tests as a list, in code.
pub(super) fn test_list(tests: &[FailedTest]) -> String {
    let mut lines: Vec<String> = tests
        .iter()
        .take(TESTS_LISTED_MAX)
        .map(|test| format!("- {}", code_span(&cut(&visible(&test.0), TEST_NAME_CHARS_MAX))))
        .collect();
    let more = tests.len().saturating_sub(TESTS_LISTED_MAX) as u64;
    if more > 0 {
        lines.push(format!("- … and {} more", thousands(more)));
    }
    lines.join("\n")
}

/// The end of a run's output, where runners report failures.
pub(super) fn output_tail(run: &TestRun) -> String {
    let output = &run.result.output;
    let text = visible(&output.to_text());
    let shown = tail(&text, OUTPUT_LINES_MAX, OUTPUT_CHARS_MAX);
    if !output.is_truncated() || shown == text.trim_end() {
        return shown;
    }
    // The output's own note about the omitted bytes is not among its last lines.
    format!("[… {} bytes of this output were not kept …]\n{shown}", thousands(output.omitted_bytes))
}

/// The last lines of `text`, with a note of how many are left out before them.
pub(super) fn tail(text: &str, lines_max: usize, chars_max: usize) -> String {
    let text = text.trim_end();
    let lines: Vec<&str> = text.lines().collect();
    let mut chars = 0;
    let mut first = lines.len();
    for (index, line) in lines.iter().enumerate().rev().take(lines_max) {
        chars += line.chars().count() + 1;
        if chars > chars_max {
            break;
        }
        first = index;
    }
    match (first, lines.last()) {
        (0, _) => text.to_owned(),
        // One line that is longer than the limit: show its end.
        (first, Some(last)) if first == lines.len() => {
            let end: String = last.chars().skip(last.chars().count().saturating_sub(chars_max)).collect();
            format!("[… the beginning is left out …]\n{end}")
        }
        (first, _) => {
            let left_out = plural(first as u64, "line", "lines");
            format!("[… {left_out} left out …]\n{}", lines[first..].join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BoundedOutput, ProcessOutput, TestReport, WritableMount};

    #[test]
    fn numbers_dollars_and_times_are_formatted_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [Some(0.0), Some(0.01234), Some(12.345), None].map(dollars),
            ["$0.00", "$0.0123", "$12.35", "cost unknown (no price known: tokens only)"]
        );
        let times = [300, 12_000, 252_000, 3_900_000].map(|ms| time(Duration::from_millis(ms)));
        assert_eq!(times, ["0.3 s", "12 s", "4 min 12 s", "1 h 5 min"]);
    }

    fn run(ending: ExitStatus, failed: &[&str], output: BoundedOutput) -> TestRun {
        TestRun {
            command: "t".into(),
            result: ProcessOutput { ending, output, duration: Duration::from_secs(12) },
            selection: None,
            report: TestReport::naming_failed(failed.iter().copied()),
        }
    }

    #[test]
    fn run_that_hit_a_limit_neither_passes_nor_fails() {
        let endings = [
            ExitStatus::Exited { code: 0 },
            ExitStatus::Exited { code: 1 },
            ExitStatus::Signalled { signal: 11 },
            ExitStatus::TimedOut,
            ExitStatus::OutOfMemory,
            ExitStatus::DiskFull { place: WritableMount::Home },
            ExitStatus::ProcessLimit,
        ];
        let cells: Vec<String> =
            endings.map(|ending| run_in_cell(&run(ending, &[], BoundedOutput::default()))).into();
        insta::assert_snapshot!(cells.join("\n"), @r"
        ✅ passes (exit code 0, 12 s)
        ❌ fails (exit code 1, 12 s)
        ⚠ no result (killed by signal 11, 12 s)
        ⚠ no result (timed out, 12 s)
        ⚠ no result (killed: out of memory, 12 s)
        ⚠ no result (disk full: the home directory had no room left, 12 s)
        ⚠ no result (process limit reached: a process or thread was refused, 12 s)
        ");
    }

    #[test]
    fn truncated_output_is_marked_wherever_its_end_is_shown() {
        let lines = |from: u32| (from..from + 500).map(|n| format!("line {n}\n")).collect::<String>();
        let output = BoundedOutput { head: lines(0), omitted_bytes: 1_234_567, tail: lines(9_000) };
        let cut = run(ExitStatus::Exited { code: 1 }, &["a"], output);
        let shown = output_tail(&cut);
        assert!(shown.starts_with("[… 1,234,567 bytes of this output were not kept …]\n[… "), "{shown}");
        assert!(shown.ends_with("line 9499"), "{shown}");
        assert_eq!(run_in_cell(&cut), "❌ fails (exit code 1, 12 s, 1 failing test named, output cut)");
        assert_eq!(failing_count(&cut), "1 or more: output cut");
        let short = BoundedOutput { head: "a\n".into(), omitted_bytes: 5, tail: "b\n".into() };
        assert_eq!(output_tail(&run(ExitStatus::TimedOut, &[], short)), "a\n\n[… 5 bytes left out …]\nb");
    }

    #[test]
    fn tail_keeps_whole_lines_within_both_limits() {
        assert_eq!(tail("a\nb\nc\n", 2, 100), "[… 1 line left out …]\nb\nc");
        assert_eq!(tail("a\nbbbb\nc", 10, 4), "[… 2 lines left out …]\nc");
        assert_eq!(tail("abcdefgh", 10, 3), "[… the beginning is left out …]\nfgh");
        assert_eq!(tail("a\nb", 10, 100), "a\nb");
    }
}
