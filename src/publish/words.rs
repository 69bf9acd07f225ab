//! Small words that several texts share: money, time, counts, runs of the suite.

use std::time::Duration;

use super::evidence::Evidence;
use super::neutralise::{code_span, cut, visible};
use crate::domain::{FailedTest, Spend, TestRun};

/// Names of tests that are listed before "and N more".
const TESTS_LISTED_MAX: usize = 20;
/// Longest name of a test.
const TEST_NAME_CHARS_MAX: usize = 200;
/// Lines of a failing run's output that are shown from its end.
const OUTPUT_LINES_MAX: usize = 120;
/// Characters of them.
const OUTPUT_CHARS_MAX: usize = 12_000;

/// `$1.23`, with more digits for less than a dollar.
pub(super) fn dollars(usd: Option<f64>) -> String {
    match usd {
        None => "unknown (the model has no known price)".to_owned(),
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
    let sign = if run.is_green() { "✅ passes" } else { "❌ fails" };
    let failed = match run.failed.len() as u64 {
        0 => String::new(),
        count => format!(", {} named", plural(count, "failing test", "failing tests")),
    };
    format!("{sign} ({}, {}{failed})", run.result.ending.describe(), time(run.result.duration))
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

/// The end of a run's output: failures are told last.
pub(super) fn output_tail(run: &TestRun) -> String {
    tail(&visible(&run.result.output.to_text()), OUTPUT_LINES_MAX, OUTPUT_CHARS_MAX)
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
        // One line that is longer than everything: its end.
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

/// The last line of every text: who wrote it, from what.
pub(super) fn provenance(evidence: &Evidence) -> String {
    let job = evidence.job();
    let attempt = if job.generation > 1 { format!(", attempt {}", job.generation) } else { String::new() };
    let page = evidence.job_page.as_ref().map_or_else(String::new, |page| format!(" · [transcript]({page})"));
    format!("<sub>Mendwright · job `{}`{attempt}{page}</sub>", job.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [Some(0.0), Some(0.01234), Some(12.345), None].map(dollars),
            ["$0.00", "$0.0123", "$12.35", "unknown (the model has no known price)"]
        );
        let times = [300, 12_000, 252_000, 3_900_000].map(|ms| time(Duration::from_millis(ms)));
        assert_eq!(times, ["0.3 s", "12 s", "4 min 12 s", "1 h 5 min"]);
    }

    #[test]
    fn the_end_of_an_output_is_kept_whole_lines_at_a_time() {
        assert_eq!(tail("a\nb\nc\n", 2, 100), "[… 1 line left out …]\nb\nc");
        assert_eq!(tail("a\nbbbb\nc", 10, 4), "[… 2 lines left out …]\nc");
        assert_eq!(tail("abcdefgh", 10, 3), "[… the beginning is left out …]\nfgh");
        assert_eq!(tail("a\nb", 10, 100), "a\nb");
    }
}
