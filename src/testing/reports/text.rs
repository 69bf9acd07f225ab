//! Helpers of the readers: expressions, blocks of lines, and the frame of a traceback that says most.
//!
//! A test can print anything, so a reader's work must be in proportion to the length of its input. The
//! functions here count the bytes that they examine, and a test limits every reader to a multiple of its
//! input. A reader must therefore cut a text into blocks that do not overlap, and examine each once.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::LazyLock;

use regex::{Captures, Match, Regex};

use crate::domain::TestLocation;
use crate::domain::report::NAME_CHARS_MAX;

/// The path of the repository in a sandbox.
const ROOT: &str = "/workspace/";
/// Lines of one message that are searched for a frame.
const MESSAGE_LINES_MAX: usize = 2_000;
/// Longest block that is read for one failure, in bytes.
const BLOCK_BYTES_MAX: usize = 16 << 10;

thread_local! {
    static EXAMINED_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// Counts bytes that a reader on this thread looked at.
fn examined(bytes: usize) {
    EXAMINED_BYTES.set(EXAMINED_BYTES.get().saturating_add(bytes as u64));
}

/// How many bytes readers on this thread looked at so far.
#[cfg(test)]
pub(super) fn examined_bytes() -> u64 {
    EXAMINED_BYTES.get()
}

/// A regular expression that is compiled once, and counts what it reads.
macro_rules! expression {
    ($pattern:expr) => {{
        static COMPILED: std::sync::LazyLock<$crate::testing::reports::text::Expression> =
            std::sync::LazyLock::new(|| $crate::testing::reports::text::Expression::new($pattern));
        &*COMPILED
    }};
}
pub(super) use expression;

/// A regular expression.
pub(super) struct Expression(Regex);

impl Expression {
    pub(super) fn new(pattern: &str) -> Self {
        Self(Regex::new(pattern).expect("a valid expression"))
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.find(text).is_some()
    }

    pub(super) fn find<'t>(&self, text: &'t str) -> Option<Match<'t>> {
        let found = self.0.find(text);
        examined(found.map_or(text.len(), |found| found.end()));
        found
    }

    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        let found = self.0.captures(text);
        examined(found.as_ref().map_or(text.len(), end_of));
        found
    }

    pub(super) fn captures_iter<'t>(&self, text: &'t str) -> impl Iterator<Item = Captures<'t>> {
        let (mut found, mut from) = (self.0.captures_iter(text), 0);
        std::iter::from_fn(move || {
            let next = found.next();
            let to = next.as_ref().map_or(text.len(), end_of);
            examined(to - from);
            from = to;
            next
        })
    }

    pub(super) fn replace<'t>(&self, text: &'t str, by: &str) -> Cow<'t, str> {
        examined(text.len());
        self.0.replace(text, by)
    }
}

fn end_of(captures: &Captures<'_>) -> usize {
    captures.get(0).map_or(0, |whole| whole.end())
}

/// Each match with the text between it and the next one, cut to what is read for one failure.
pub(super) fn blocks<'t>(header: &Expression, text: &'t str) -> Vec<(Captures<'t>, &'t str)> {
    let headers: Vec<Captures<'t>> = header.captures_iter(text).collect();
    let begins: Vec<usize> =
        headers.iter().filter_map(|captures| captures.get(0)).map(|whole| whole.start()).collect();
    let ends = begins.into_iter().skip(1).chain([text.len()]);
    headers
        .into_iter()
        .zip(ends)
        .map(|(captures, end)| {
            let block = &text[end_of(&captures)..end];
            let block = &block[..block.floor_char_boundary(BLOCK_BYTES_MAX.min(block.len()))];
            (captures, block)
        })
        .collect()
}

/// The part of a block before `end`, or all of it.
pub(super) fn before<'t>(block: &'t str, end: &str) -> &'t str {
    let part = &block[..block.find(end).unwrap_or(block.len())];
    examined(part.len());
    part
}

/// The first lines of a failure, gathered one by one.
pub(super) struct Block {
    pub(super) text: String,
    lines_left: usize,
}

impl Block {
    pub(super) fn with_lines_max(lines_max: usize) -> Self {
        Self { text: String::new(), lines_left: lines_max }
    }

    /// One more line, unless there are enough.
    pub(super) fn push(&mut self, line: &str) {
        let room = BLOCK_BYTES_MAX.saturating_sub(self.text.len());
        if self.lines_left == 0 || room == 0 {
            return;
        }
        self.lines_left -= 1;
        let line = &line[..line.floor_char_boundary(room.min(line.len()))];
        examined(line.len());
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// The name of a test by its file and titles, joined. No longer than a report keeps.
pub(super) fn joined<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    // A character has at most four bytes.
    const BYTES_MAX: usize = 4 * NAME_CHARS_MAX;
    let mut name = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            name.push_str(" > ");
        }
        let room = BYTES_MAX.saturating_sub(name.len());
        name.push_str(&part[..part.floor_char_boundary(room.min(part.len()))]);
        if room < part.len() {
            break;
        }
    }
    examined(name.len());
    name
}

/// Removes the escape sequences of colours and carriage returns, which can be anywhere in a line.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    static ESCAPE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]|\r").expect("a valid expression"));
    ESCAPE.replace_all(text, "")
}

/// A path as the repository has it.
pub(super) fn relative(path: &str) -> &str {
    let path = path.strip_prefix("file://").unwrap_or(path);
    path.strip_prefix(ROOT).or_else(|| path.strip_prefix("./")).unwrap_or(path)
}

/// Whether a name is that of a file with an extension.
pub(super) fn is_file(name: &str) -> bool {
    let extension =
        name.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map(|(_, extension)| extension);
    extension
        .is_some_and(|extension| extension.len() <= 4 && extension.bytes().all(|b| b.is_ascii_alphanumeric()))
        && !name.contains(' ')
}

/// Which end of a traceback is nearest to the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Innermost {
    /// Python.
    Last,
    /// Most others.
    First,
}

/// The frame nearest to the fault in the repository's own files, and its location.
pub(super) fn frame(traceback: &str, innermost: Innermost) -> Option<(String, TestLocation)> {
    let location = expression!(
        r#"(?:File "([^"]+)", line (\d+))|((?:file://)?[\w./@+~-]*[\w-]\.[A-Za-z]\w{0,4}):(\d+)|\(([\w$-]+\.(?:java|kt|scala|groovy)):(\d+)\)"#
    );
    let mut found = None;
    for line in traceback.lines().take(MESSAGE_LINES_MAX) {
        let Some(captures) = location.captures(line) else { continue };
        let pick = |file: usize, number: usize| {
            Some((captures.get(file)?.as_str(), captures.get(number)?.as_str().parse().ok()?))
        };
        let Some((file, number)) = pick(1, 2).or_else(|| pick(3, 4)).or_else(|| pick(5, 6)) else { continue };
        if is_foreign(line) || is_foreign(file) {
            continue;
        }
        let location = TestLocation { file: relative(file).to_owned(), line: Some(number) };
        found = Some((line.trim().replace(ROOT, ""), location));
        if innermost == Innermost::First {
            break;
        }
    }
    found
}

/// Whether a frame is in code of a library.
fn is_foreign(text: &str) -> bool {
    const LIBRARIES: &[&str] = &[
        "site-packages/",
        "dist-packages/",
        "node_modules/",
        "node:",
        "/rustc/",
        ".cargo/registry",
        "/usr/lib/",
        "/usr/share/",
        "/usr/local/lib/",
        "/vendor/",
        "/gems/",
        "/lib/python",
        "org.junit.",
        "java.base/",
        "jdk.internal.",
        "sun.reflect.",
        "org.apache.maven.",
        "/src/testing/testing.go",
        "/src/runtime/",
        "importlib",
    ];
    LIBRARIES.iter().any(|library| text.contains(library))
}

/// The first lines of a text that are not blank, joined: enough for a message.
pub(super) fn take_first_lines(text: &str) -> Option<String> {
    const LINES_MAX: usize = 6;
    let lines = text.lines().inspect(|line| examined(line.len() + 1)).map(str::trim_end);
    let first: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).take(LINES_MAX).collect();
    (!first.is_empty()).then(|| first.join("\n"))
}

/// The number that a capture holds.
pub(super) fn number(captures: &Captures<'_>, group: &str) -> u64 {
    captures.name(group).and_then(|found| found.as_str().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_the_innermost_one_in_files_of_the_repository() {
        let python = "Traceback:\n  File \"/workspace/test_a.py\", line 8, in test_a\n  File \"/workspace/a.py\", line \
                      3, in f\n  File \"/usr/lib/python3.11/json/x.py\", line 1, in g\nValueError: boom\n";
        let (line, at) = frame(python, Innermost::Last).unwrap();
        assert_eq!((line.as_str(), at.describe().as_str()), ("File \"a.py\", line 3, in f", "a.py:3"));
        let node = "Error: x\n    at new Promise (<anonymous>)\n    at f (node:internal/x.js:1:2)\n    at \
                    TestContext.<anonymous> (/workspace/test/more.test.js:4:32)\n    at g (/workspace/b.js:1:1)\n";
        assert_eq!(frame(node, Innermost::First).unwrap().1.describe(), "test/more.test.js:4");
        let java = "java.lang.AssertionError: sum\n\tat org.junit.Assert.fail(Assert.java:89)\n\tat \
                    TryTest.isWrong(TryTest.java:5)\n";
        assert_eq!(frame(java, Innermost::First).unwrap().1.describe(), "TryTest.java:5");
        assert_eq!(frame("nothing to see\n", Innermost::First), None);
    }
}
