//! The tool results, in full. They are numbered from 1 through the whole conversation, in the order in which
//! the model received them: "result 7" means the same in a shortened result, in a handle and to
//! `read_result`. Rebuilt from the transcript.

use std::sync::Arc;

/// The most of a result that the model is shown at once, in characters: some 8,000 tokens.
pub const SHOWN_CHARS_MAX: usize = 30_000;
/// Space for the line that says what is missing.
const NOTE_CHARS_MAX: usize = 300;
/// Longest line, in characters; a longer one counts as several, so that every part of it can be
/// asked for.
const LINE_CHARS_MAX: usize = 2_000;
/// The most that is kept of one result that was cut, in bytes: a command's whole bounded output
/// twice over.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The most that is kept of all results that were cut, in bytes. The transcript carries it.
const KEPT_TOTAL_BYTES_MAX: usize = 8 << 20;

/// All results so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Results {
    /// Result `n` is at `n - 1`.
    texts: Vec<Arc<str>>,
    /// Full texts of results that the model has not been given yet.
    ahead: Vec<(u32, Arc<str>)>,
    /// Bytes of full texts kept.
    kept_bytes: usize,
}

/// A result as the model is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownResult {
    /// What the model is shown.
    pub text: String,
    /// The full text, if the model is shown less.
    pub kept: Option<String>,
}

/// Lines of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultWindow {
    /// The lines.
    pub text: String,
    /// Number of the first line, from 1.
    pub first_line: usize,
    /// Number of the last line; less than `first_line` if there is none.
    pub last_line: usize,
    /// How many lines the result has.
    pub lines_total: usize,
}

impl Results {
    /// The number of the next result.
    pub fn next_number(&self) -> u32 {
        u32::try_from(self.texts.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The full text of a result, as far as it was kept.
    pub fn get(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.texts.get(index).map(|text| &**text)
    }

    /// Keeps the full text of a result of which the model will be given less.
    pub fn keep(&mut self, number: u32, text: &str) {
        // A worker that crashed before the result was recorded keeps it again.
        if let Some(at) = self.ahead.iter().position(|(ahead, _)| *ahead == number) {
            let (_, old) = self.ahead.swap_remove(at);
            self.kept_bytes = self.kept_bytes.saturating_sub(old.len());
        }
        self.kept_bytes = self.kept_bytes.saturating_add(text.len());
        self.ahead.push((number, text.into()));
    }

    /// Notes that the model was given the next result.
    pub fn give(&mut self, shown: &str) {
        let number = self.next_number();
        let full = self.ahead.iter().position(|(ahead, _)| *ahead == number);
        let text = full.map_or_else(|| shown.into(), |at| self.ahead.swap_remove(at).1);
        self.texts.push(text);
    }

    /// The part of result `number` that the model is shown, and the text that is kept. A tool that shortens
    /// its own answer gives the whole as `full`; `text` then says how to read it.
    pub fn show(&self, number: u32, text: String, full: Option<String>) -> ShownResult {
        let room = KEPT_TOTAL_BYTES_MAX.saturating_sub(self.kept_bytes);
        let is_long = text.chars().count() > SHOWN_CHARS_MAX;
        match (is_long, full) {
            (false, None) => ShownResult { text, kept: None },
            (false, Some(full)) => match full.len() <= room {
                true => ShownResult { text, kept: Some(bounded(full)) },
                false => {
                    let text = format!("{text}\n[The whole of it was not kept: {NO_ROOM}]");
                    ShownResult { text, kept: None }
                }
            },
            (true, full) => {
                let whole = bounded(full.unwrap_or(text));
                let keep = whole.len() <= room;
                ShownResult { text: shortened(&whole, keep.then_some(number)), kept: keep.then_some(whole) }
            }
        }
    }
}

const NO_ROOM: &str =
    "the results of this job that were cut have used up their room. Ask for less at a time.";

/// Lines `first_line` and following of `text`, at most `lines_max` and at most what is shown at once.
pub fn window(text: &str, first_line: usize, lines_max: usize) -> ResultWindow {
    let lines = lines_of(text);
    let first = first_line.max(1);
    let (mut shown, mut chars, mut last) = (String::new(), 0, first - 1);
    for line in lines.iter().skip(first - 1).take(lines_max) {
        chars += line.chars().count() + 1;
        if chars > SHOWN_CHARS_MAX - NOTE_CHARS_MAX {
            break;
        }
        shown.push_str(line);
        shown.push('\n');
        last += 1;
    }
    ResultWindow { text: shown, first_line: first, last_line: last, lines_total: lines.len() }
}

/// The text's lines. A line that is too long is split.
fn lines_of(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    for mut line in text.lines() {
        while let Some((cut, _)) = line.char_indices().nth(LINE_CHARS_MAX) {
            let (piece, rest) = line.split_at(cut);
            lines.push(piece);
            line = rest;
        }
        lines.push(line);
    }
    lines
}

/// Head and tail of a long text, in whole lines. The line between them says what is missing and, with the
/// result's `number`, how to read it.
fn shortened(text: &str, number: Option<u32>) -> String {
    let lines = lines_of(text);
    let half = (SHOWN_CHARS_MAX - NOTE_CHARS_MAX) / 2;
    let fitting = |lines: &mut dyn Iterator<Item = &&str>| {
        let mut chars = 0;
        lines
            .take_while(|line| {
                chars += line.chars().count() + 1;
                chars <= half
            })
            .count()
    };
    let head = fitting(&mut lines.iter());
    let tail = fitting(&mut lines[head..].iter().rev());
    let (from, to) = (head + 1, lines.len() - tail);
    let how = match number {
        Some(number) => {
            format!("read them with read_result {{\"result\": {number}, \"first_line\": {from}}}")
        }
        None => format!("and not kept: {NO_ROOM}"),
    };
    let missing = format!("[… lines {from} to {to} of {} are left out; {how} …]", lines.len());
    [&lines[..head], &[missing.as_str()], &lines[to..]].concat().join("\n")
}

/// Cuts a text to the bound of one result: head and tail.
fn bounded(text: String) -> String {
    if text.len() <= KEPT_BYTES_MAX {
        return text;
    }
    let half = KEPT_BYTES_MAX / 2;
    let (head, tail) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
    format!("{}\n[… {} bytes were not kept …]\n{}", &text[..head], tail - head, &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(texts: &[&str]) -> Results {
        let mut results = Results::default();
        texts.iter().for_each(|text| results.give(text));
        results
    }

    fn numbered(lines: usize) -> String {
        (1..=lines).map(|line| format!("line {line} of the output\n")).collect()
    }

    /// Everything that the model can read of a result, window by window.
    fn all_of(text: &str) -> String {
        let (mut read, mut next) = (String::new(), 1);
        loop {
            let window = window(text, next, usize::MAX);
            assert!(window.text.chars().count() <= SHOWN_CHARS_MAX);
            read.push_str(&window.text);
            if window.last_line == window.lines_total {
                return read;
            }
            assert!(window.last_line >= next, "nothing was shown of line {next}");
            next = window.last_line + 1;
        }
    }

    #[test]
    fn long_result_keeps_head_and_tail_and_says_how_to_read_the_rest() {
        let results = given(&["a", "b"]);
        let text = numbered(5_000);
        let shown = results.show(3, text.clone(), None);
        assert!(shown.text.chars().count() <= SHOWN_CHARS_MAX, "{}", shown.text.len());
        let note: Vec<&str> = shown.text.lines().filter(|line| line.contains('…')).collect();
        insta::assert_snapshot!(note.join("\n"), @r#"[… lines 651 to 4382 of 5000 are left out; read them with read_result {"result": 3, "first_line": 651} …]"#);
        assert!(shown.text.starts_with("line 1 of") && shown.text.ends_with("line 5000 of the output"));
        let kept = shown.kept.unwrap();
        assert_eq!(all_of(&kept), text);
        assert_eq!(window(&kept, 651, 2).text, "line 651 of the output\nline 652 of the output\n");
    }

    #[test]
    fn short_result_is_unchanged_and_can_be_read_again() {
        let mut results = given(&["a"]);
        let shown = results.show(2, "b\n".into(), None);
        assert_eq!(shown, ShownResult { text: "b\n".into(), kept: None });
        results.give(&shown.text);
        assert_eq!((results.get(1), results.get(2), results.next_number()), (Some("a"), Some("b\n"), 3));
        assert_eq!((results.get(0), results.get(3)), (None, None));
    }

    #[test]
    fn every_part_of_a_very_long_line_can_be_read() {
        let text = "é".repeat(70_000);
        let shown = given(&[]).show(1, text.clone(), None);
        assert!(shown.text.chars().count() <= SHOWN_CHARS_MAX);
        assert_eq!(all_of(&shown.kept.unwrap()).replace('\n', ""), text);
    }

    #[test]
    fn result_kept_before_a_crash_counts_once() {
        let mut results = given(&["a"]);
        results.keep(2, "first try");
        results.keep(2, "full text");
        assert_eq!(results.kept_bytes, "full text".len());
        results.give("full…");
        results.give("c");
        assert_eq!((results.get(2), results.get(3)), (Some("full text"), Some("c")));
    }

    #[test]
    fn kept_results_are_bounded_each_and_in_total() {
        let mut results = Results::default();
        let huge = "x".repeat(3 << 20);
        for number in 1..=20 {
            let shown = results.show(number, huge.clone(), None);
            if let Some(kept) = &shown.kept {
                assert!(kept.len() < KEPT_BYTES_MAX + 100, "{}", kept.len());
                assert!(kept.contains("2097152 bytes were not kept"));
                results.keep(number, kept);
            } else {
                assert!(shown.text.contains("are left out; and not kept: the results"), "{number}");
            }
            results.give(&shown.text);
        }
        assert!(results.kept_bytes <= KEPT_TOTAL_BYTES_MAX);
        let own = results.show(21, "End of the output".into(), Some(huge));
        insta::assert_snapshot!(own.text, @r"
        End of the output
        [The whole of it was not kept: the results of this job that were cut have used up their room. Ask for less at a time.]
        ");
        assert_eq!(own.kept, None);
    }
}
