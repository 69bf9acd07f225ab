//! What the readers share: lines without colours, and the frame of a traceback that tells most.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use crate::domain::TestLocation;

/// Where a sandbox has the repository.
const ROOT: &str = "/workspace/";
/// Lines of one message that are looked through for a frame.
const MESSAGE_LINES_MAX: usize = 2_000;

/// A regular expression that is compiled once.
macro_rules! expression {
    ($pattern:expr) => {{
        static COMPILED: std::sync::LazyLock<regex::Regex> =
            std::sync::LazyLock::new(|| regex::Regex::new($pattern).expect("a valid expression"));
        &*COMPILED
    }};
}
pub(super) use expression;

/// The text without the escape sequences of colours, which stand before and within the words that are
/// looked for, and without carriage returns.
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

/// Which end of a traceback is next to the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Innermost {
    /// Python.
    Last,
    /// Nearly everybody else.
    First,
}

/// The frame next to the fault that is in the repository's own files, and where it is.
pub(super) fn frame(traceback: &str, innermost: Innermost) -> Option<(String, TestLocation)> {
    let place = expression!(
        r#"(?:File "([^"]+)", line (\d+))|((?:file://)?[\w./@+~-]*[\w-]\.[A-Za-z]\w{0,4}):(\d+)|\(([\w$-]+\.(?:java|kt|scala|groovy)):(\d+)\)"#
    );
    let mut found = None;
    for line in traceback.lines().take(MESSAGE_LINES_MAX) {
        let Some(captures) = place.captures(line) else { continue };
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

/// Whether a frame is in somebody else's code.
fn is_foreign(text: &str) -> bool {
    const OTHERS: &[&str] = &[
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
    OTHERS.iter().any(|other| text.contains(other))
}

/// The first lines of a text that say something, joined; enough for a message.
pub(super) fn gist(text: &str) -> Option<String> {
    let told: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).take(6).collect();
    (!told.is_empty()).then(|| told.join("\n"))
}

/// As much of a text as one failure may take up, so that many failures cost no more than they are
/// long.
pub(super) fn window(text: &str) -> &str {
    const BYTES_MAX: usize = 16 << 10;
    &text[..text.floor_char_boundary(BYTES_MAX.min(text.len()))]
}

/// The number that a capture holds.
pub(super) fn number(captures: &regex::Captures<'_>, group: &str) -> u64 {
    captures.name(group).and_then(|found| found.as_str().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_nearest_to_the_fault_in_the_repository_s_own_files_is_told() {
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
