//! `read_file`: a window of a text file, with line numbers.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::super::results::SHOWN_CHARS_MAX;
use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::CallError;
use crate::sandbox::protocol::{FileWindow, ReadFile};

const LINES_DEFAULT: u64 = 400;
const LINES_MAX: u64 = 1_000;
/// Space for the line above the file's own lines.
const HEADER_CHARS_MAX: usize = 4_500;

pub(super) struct ReadFileTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Path relative to the repository's root.
    path: String,
    /// First line wanted, from 1. Default 1.
    first_line: Option<u64>,
    /// How many lines, at most 1000. Default 400.
    lines: Option<u64>,
}

#[async_trait]
impl Tool for ReadFileTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("read_file", include_str!("../prompts/tools/read_file.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let request = ReadFile {
            path: arguments.path,
            first_line: arguments.first_line.unwrap_or(1).max(1),
            lines_max: arguments.lines.unwrap_or(LINES_DEFAULT).clamp(1, LINES_MAX),
        };
        let window = context.toolbox.read_file(&request).await?;
        Ok(ToolAnswer::Text(rendered(&request.path, &window)))
    }
}

/// The lines with their numbers, as many as are shown at once, and where to go on.
fn rendered(path: &str, window: &FileWindow) -> String {
    if window.lines_total == 0 {
        return format!("{path}: empty\n");
    }
    let (mut numbered, mut chars, mut last) = (String::new(), 0, window.first_line.saturating_sub(1));
    for (number, line) in (window.first_line..).zip(window.text.lines()) {
        let line = format!("{number:>6}\t{line}\n");
        chars += line.chars().count();
        if chars > SHOWN_CHARS_MAX - HEADER_CHARS_MAX {
            break;
        }
        numbered.push_str(&line);
        last = number;
    }
    let go_on = match last < window.first_line + window.lines_shown.saturating_sub(1) {
        true => format!("; go on with first_line {}", last + 1),
        false => String::new(),
    };
    let not_text = match window.text.contains('\u{fffd}') {
        true => " Bytes that are not UTF-8 are shown as \u{fffd}; an edit elsewhere in the file keeps them.",
        false => "",
    };
    format!(
        "{path}: lines {}-{last} of {}{go_on}.{not_text}\n{numbered}",
        window.first_line, window.lines_total
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: String, lines_total: u64) -> FileWindow {
        FileWindow { lines_shown: text.lines().count() as u64, text, first_line: 1, lines_total }
    }

    #[test]
    fn long_window_is_shown_from_its_beginning_without_a_hole() {
        let text: String = (1..=1_000).map(|line| format!("{line} {}\n", "x".repeat(60))).collect();
        let shown = rendered("a.py", &window(text, 2_000));
        let header = shown.lines().next().unwrap();
        let last = shown.lines().count() as u64 - 1;
        assert_eq!(header, format!("a.py: lines 1-{last} of 2000; go on with first_line {}.", last + 1));
        assert!(shown.chars().count() <= SHOWN_CHARS_MAX && last > 300, "{last}");
        let numbers =
            shown.lines().skip(1).map(|line| line.split('\t').next().unwrap().trim().parse::<u64>().unwrap());
        assert!(numbers.eq(1..=last));
    }

    #[test]
    fn bytes_that_are_not_text_are_reported() {
        let shown = rendered("a.c", &window("caf\u{fffd}\n".to_owned(), 1));
        assert!(shown.starts_with("a.c: lines 1-1 of 1. Bytes that are not UTF-8 are shown as"), "{shown}");
        assert_eq!(rendered("b.c", &window(String::new(), 0)), "b.c: empty\n");
    }
}
