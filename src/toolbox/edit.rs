//! Replaces exact text in one file. All edits are made or none. If a text does not match, or matches more than
//! once, the error explains it, so that the next attempt can succeed.

use std::io::Read;
use std::ops::Range;

use crate::files::explain;
use crate::fuzzy_match::nearest_lines;
use crate::tree::Tree;
use mendwright_protocol::{Edit, EditFile};

/// Largest file that can be edited.
const FILE_BYTES_MAX: u64 = 5 << 20;
/// Lines shown around a change.
const CONTEXT_LINES: usize = 3;
/// Lines of a change that are shown at its beginning and at its end. Who wrote it knows the rest.
const CHANGED_LINES_SHOWN: usize = 3;
/// Most text of an excerpt.
const EXCERPT_BYTES_MAX: usize = 16 << 10;
/// Line numbers named when text is not unique.
const PLACES_NAMED_MAX: usize = 10;

/// A file that was edited.
pub struct Done {
    /// The changed lines with three lines around them.
    pub excerpt: String,
    /// Its content.
    pub before: Vec<u8>,
    /// Its content now.
    pub after: Vec<u8>,
}

/// Makes the edits.
pub fn edit(tree: &Tree, request: &EditFile) -> Result<Done, String> {
    let path = &request.path;
    let open = tree.open_file(path).map_err(|e| explain(tree, path, e))?;
    if open.bytes > FILE_BYTES_MAX {
        return Err(format!(
            "'{path}' has {} bytes, over the {FILE_BYTES_MAX} that can be edited",
            open.bytes
        ));
    }
    let mut content = Vec::new();
    open.file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(|e| format!("'{path}': {e}"))?;
    let before = content.clone();
    let (content, changed) = apply(path, content, &request.edits)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "'{path}' would have {} bytes, over the {FILE_BYTES_MAX} allowed",
            content.len()
        ));
    }
    tree.write_file(path, &content)?;
    Ok(Done { excerpt: excerpt(&content, &changed), before, after: content })
}

/// The edited content, and the byte ranges in it that are new.
fn apply(path: &str, mut content: Vec<u8>, edits: &[Edit]) -> Result<(Vec<u8>, Vec<Range<usize>>), String> {
    if edits.is_empty() {
        return Err("no edits were given".to_owned());
    }
    let crlf = has_only_crlf(&content);
    let mut changed: Vec<Range<usize>> = Vec::new();
    insert(path, &mut content, edits, crlf, &mut changed)?;
    for (number, edit) in (1..).zip(edits).filter(|(_, edit)| edit.after_line.is_none()) {
        let which = if edits.len() == 1 { String::new() } else { format!("edit {number}: ") };
        let [old, new] = [&edit.old, &edit.new].map(|text| if crlf { to_crlf(text) } else { text.clone() });
        if old.is_empty() {
            return Err(format!("{which}the old text is empty; to create or replace a file, write it"));
        }
        if old == new {
            return Err(format!("{which}old and new text are the same; nothing would change"));
        }
        let at = find_once(&content, old.as_bytes()).map_err(|found| {
            let why = match found {
                Found::Never => nearest_lines(&String::from_utf8_lossy(&content), &edit.old),
                Found::Often(places) => not_unique(&content, &places),
            };
            let done = if number > 1 { "; no edit was made" } else { "" };
            format!("{which}in '{path}', {why}{done}")
        })?;
        content.splice(at..at + old.len(), new.bytes());
        remember(&mut changed, at, old.len(), new.len());
    }
    Ok((content, changed))
}

/// Makes the insertions, from the last line on, so that every number means a line of the file as it was.
fn insert(
    path: &str,
    content: &mut Vec<u8>,
    edits: &[Edit],
    crlf: bool,
    changed: &mut Vec<Range<usize>>,
) -> Result<(), String> {
    let mut insertions: Vec<(u64, &Edit)> =
        edits.iter().filter_map(|edit| edit.after_line.map(|line| (line, edit))).collect();
    insertions.sort_by_key(|(line, _)| *line);
    let total = content.split_inclusive(|byte| *byte == b'\n').count() as u64;
    for (line, edit) in insertions.into_iter().rev() {
        if !edit.old.is_empty() {
            return Err("an edit has either `old` or `after_line`; no edit was made".to_owned());
        }
        if line > total {
            return Err(format!(
                "'{path}' has {total} lines, so nothing comes after line {line}; no edit was made"
            ));
        }
        let skipped = usize::try_from(line).unwrap_or(usize::MAX);
        let at: usize = content.split_inclusive(|byte| *byte == b'\n').take(skipped).map(<[u8]>::len).sum();
        let end = if crlf { "\r\n" } else { "\n" };
        let mut new = if crlf { to_crlf(&edit.new) } else { edit.new.clone() };
        if !new.ends_with('\n') {
            new.push_str(end);
        }
        if at > 0 && content[at - 1] != b'\n' {
            new.insert_str(0, end);
        }
        content.splice(at..at, new.bytes());
        remember(changed, at, 0, new.len());
    }
    Ok(())
}

enum Found {
    Never,
    Often(Vec<usize>),
}

fn find_once(content: &[u8], old: &[u8]) -> Result<usize, Found> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(at) = find(&content[from..], old) {
        places.push(from + at);
        from += at + 1;
        if places.len() > 1_000 {
            break;
        }
    }
    match places.as_slice() {
        [] => Err(Found::Never),
        [at] => Ok(*at),
        _ => Err(Found::Often(places)),
    }
}

fn find(content: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, rest) = wanted.split_first()?;
    let mut from = 0;
    while let Some(at) = content[from..].iter().position(|byte| byte == first) {
        let at = from + at;
        if content[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn not_unique(content: &[u8], places: &[usize]) -> String {
    let lines: Vec<String> =
        places.iter().take(PLACES_NAMED_MAX).map(|at| line_of(content, *at).to_string()).collect();
    let more = if places.len() > PLACES_NAMED_MAX { ", …" } else { "" };
    let often = if places.len() > 1_000 { "more than 1,000".to_owned() } else { places.len().to_string() };
    format!(
        "the old text occurs {often} times, at lines {}{more}; take in lines around it until it is unique",
        lines.join(", ")
    )
}

fn line_of(content: &[u8], at: usize) -> usize {
    content[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// A file in which every line ends in CR LF. Text without CRs must match it, too.
fn has_only_crlf(content: &[u8]) -> bool {
    let mut previous = 0;
    let mut seen = false;
    for byte in content {
        if *byte == b'\n' {
            if previous != b'\r' {
                return false;
            }
            seen = true;
        }
        previous = *byte;
    }
    seen
}

fn to_crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// Updates the ranges of new text when later edits move or overlap them.
fn remember(changed: &mut Vec<Range<usize>>, at: usize, old: usize, new: usize) {
    let moved = |position: usize| if position >= at + old { position - old + new } else { position.min(at) };
    for range in changed.iter_mut() {
        *range = moved(range.start)..moved(range.end).max(moved(range.start));
    }
    changed.push(at..at + new);
    changed.sort_by_key(|range| range.start);
}

fn excerpt(content: &[u8], changed: &[Range<usize>]) -> String {
    let text = String::from_utf8_lossy(content);
    let lines: Vec<&str> = text.lines().collect();
    let width = lines.len().to_string().len();
    let mut shown = String::new();
    let mut next = 0;
    for range in changed {
        let first = line_of(content, range.start).saturating_sub(1 + CONTEXT_LINES);
        let end = content[range.clone()].strip_suffix(b"\n").map_or(range.end, |_| range.end - 1);
        let last = (line_of(content, end) + CONTEXT_LINES).min(lines.len());
        if first > next && !shown.is_empty() {
            shown.push_str("…\n");
        }
        let from = first.max(next).min(last);
        let hidden = line_of(content, range.start) + CHANGED_LINES_SHOWN
            ..(line_of(content, end) + 1).saturating_sub(CHANGED_LINES_SHOWN);
        for (number, line) in (from + 1..).zip(&lines[from..last]) {
            if hidden.len() > 1 && hidden.contains(&number) {
                if number == hidden.start {
                    shown.push_str(&format!("… ({} lines as you wrote them)\n", hidden.len()));
                }
                continue;
            }
            let line = format!("{number:>width$}  {line}\n");
            if shown.len() + line.len() > EXCERPT_BYTES_MAX {
                shown.push_str("… (the rest of the change is not shown)\n");
                return shown;
            }
            shown.push_str(&line);
        }
        next = next.max(last);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(pairs: &[(&str, &str)]) -> Vec<Edit> {
        let edit = |old: &str, new: &str| Edit { old: old.to_owned(), new: new.to_owned(), after_line: None };
        pairs.iter().map(|(old, new)| edit(old, new)).collect()
    }

    fn applied(content: &str, pairs: &[(&str, &str)]) -> Result<String, String> {
        apply("f", content.as_bytes().to_vec(), &edits(pairs)).map(|(c, _)| String::from_utf8(c).unwrap())
    }

    #[test]
    fn edits_apply_in_order_or_not_at_all() {
        assert_eq!(applied("one two", &[("one", "1"), ("1 two", "3")]).unwrap(), "3");
        let refused = applied("one two", &[("one", "1"), ("three", "3")]).unwrap_err();
        assert!(refused.starts_with("edit 2: in 'f', the old text does not occur"), "{refused}");
        assert!(refused.ends_with("; no edit was made"), "{refused}");
    }

    #[test]
    fn text_that_is_not_unique_is_named_by_line() {
        let refused = applied("a\nb\na\n", &[("a", "c")]).unwrap_err();
        assert_eq!(
            refused,
            "in 'f', the old text occurs 2 times, at lines 1, 3; take in lines around it until it is unique"
        );
        // Overlapping matches count as two.
        assert!(applied("aaa", &[("aa", "b")]).unwrap_err().contains("occurs 2 times"));
    }

    #[test]
    fn line_ends_of_the_file_win() {
        assert_eq!(applied("a\r\nb\r\nc\r\n", &[("a\nb", "a\nx\nb")]).unwrap(), "a\r\nx\r\nb\r\nc\r\n");
        assert_eq!(applied("a\nb\n", &[("a\nb", "c\nd")]).unwrap(), "c\nd\n");
    }

    #[test]
    fn bytes_that_are_not_text_survive() {
        let (content, _) = apply("f", b"\xff old \xfe".to_vec(), &edits(&[("old", "new")])).unwrap();
        assert_eq!(content, b"\xff new \xfe");
    }

    fn inserted(content: &str, lines: &[(u64, &str)]) -> Result<String, String> {
        let edit = |(line, new): &(u64, &str)| Edit {
            old: String::new(),
            new: (*new).to_owned(),
            after_line: Some(*line),
        };
        let edits: Vec<Edit> = lines.iter().map(edit).collect();
        apply("f", content.as_bytes().to_vec(), &edits).map(|(c, _)| String::from_utf8(c).unwrap())
    }

    #[test]
    fn lines_are_inserted_after_lines_of_the_file_as_it_was() {
        assert_eq!(
            inserted("a\nb\nc\n", &[(1, "x"), (3, "y\nz\n"), (0, "w")]).unwrap(),
            "w\na\nx\nb\nc\ny\nz\n"
        );
        assert_eq!(inserted("a\r\nb\r\n", &[(1, "x\ny")]).unwrap(), "a\r\nx\r\ny\r\nb\r\n");
        assert_eq!(inserted("a", &[(1, "b")]).unwrap(), "a\nb\n");
        assert_eq!(inserted("", &[(0, "b")]).unwrap(), "b\n");
        let refused = inserted("a\n", &[(2, "b")]).unwrap_err();
        assert_eq!(refused, "'f' has 1 lines, so nothing comes after line 2; no edit was made");
        let mut both = edits(&[("a", "b")]);
        both[0].after_line = Some(1);
        assert!(apply("f", b"a\n".to_vec(), &both).unwrap_err().starts_with("an edit has either"));
    }

    #[test]
    fn the_excerpt_leaves_out_the_middle_of_what_was_just_written() {
        let new: String = (1..=20).map(|n| format!("new {n}\n")).collect();
        let (content, changed) = apply("f", b"a\nb\nc\n".to_vec(), &edits(&[("b\n", &new)])).unwrap();
        let expected = " 1  a\n 2  new 1\n 3  new 2\n 4  new 3\n… (14 lines as you wrote them)\n19  new 18\n20  new 19\n\
                        21  new 20\n22  c\n";
        assert_eq!(excerpt(&content, &changed), expected);
    }

    #[test]
    fn the_excerpt_shows_each_change_with_three_lines_around() {
        let text: String = (1..=30).map(|n| format!("line {n};\n")).collect();
        let pairs = edits(&[("line 20;\n", "twenty\n"), ("line 2;", "two;\nand a half")]);
        let (content, changed) = apply("f", text.into_bytes(), &pairs).unwrap();
        let shown = excerpt(&content, &changed);
        let expected = " 1  line 1;\n 2  two;\n 3  and a half\n 4  line 3;\n 5  line 4;\n 6  line 5;\n…\n\
                        18  line 17;\n19  line 18;\n20  line 19;\n21  twenty\n22  line 21;\n23  line 22;\n24  line 23;\n";
        assert_eq!(shown, expected);
    }
}
