//! Which files are tests' files: those in the usual places, and those in which a test stands that a report names.
//! Pure functions. Each file is read once, whatever the number of names.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{LazyLock, OnceLock};

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

use super::rules::TestPaths;
use crate::domain::{RepoPath, TestReport};

/// Bytes of names that are looked for; of more, the rest is left out.
const NAMES_BYTES_MAX: usize = 1 << 20;
/// A shorter name stands everywhere.
const NAME_BYTES_MIN: usize = 2;
/// Characters before a title in which a command is looked for.
const COMMAND_CHARS_MAX: usize = 60;
/// Shorter texts in quotes are no titles.
const TITLE_BYTES_MIN: usize = 4;
/// Words of a title at which its last part can begin.
const TITLE_WORDS_MAX: usize = 50;
/// A file over this many bytes is not read.
const FILE_BYTES_MAX: usize = 2 << 20;

/// What declares a test by a title in quotes: the called function, or the last parts of its path.
const CALLS: &[&str] = &[
    "test", "it", "describe", "suite", "specify", "context", "scenario", "feature", "example", "each",
    "only", "skip", "subtest", "step", "bench", "rule", "xit", "fit", "should",
];
/// What stands before the name of a function.
const DECLARATIONS: &[&str] =
    &["def", "fn", "func", "function", "sub", "void", "fun", "proc", "method", "class"];

/// Recognises tests' files by path and content.
pub(super) struct TestFiles<'a> {
    places: &'a TestPaths,
    /// Paths that stand in the tests' names, or group them.
    paths: HashSet<String>,
    names: HashSet<String>,
    /// Finds the names; made for the first file that is read.
    finder: OnceLock<Option<AhoCorasick>>,
}

impl<'a> TestFiles<'a> {
    /// The usual places, and what the tests of these reports say.
    pub(super) fn of(places: &'a TestPaths, reports: &[&TestReport]) -> Self {
        let (mut paths, mut names, mut bytes) = (HashSet::new(), HashSet::new(), 0);
        for case in reports.iter().flat_map(|report| &report.cases) {
            let file = case.file_in_name();
            paths.extend(file.contains('.').then(|| file.to_owned()));
            paths.extend(case.group.clone());
            for name in own_names(&case.name).filter(|name| name.len() >= NAME_BYTES_MIN) {
                if bytes < NAMES_BYTES_MAX && names.insert(name.to_owned()) {
                    bytes += name.len();
                }
            }
        }
        Self { places, paths, names, finder: OnceLock::new() }
    }

    /// Whether the file at `path` is a tests' file. One that is source as well is none: its tests are parts of it.
    pub(super) fn contains(&self, path: &RepoPath, content: &[u8]) -> bool {
        self.places.contains(path)
            || (self.holds_tests(path, content)
                && !is_source_as_well(path.as_str(), &String::from_utf8_lossy(content)))
    }

    /// Whether a test stands in the file at `path`, whatever else does.
    pub(super) fn holds_tests(&self, path: &RepoPath, content: &[u8]) -> bool {
        if self.places.contains(path) {
            return true;
        }
        content.len() <= FILE_BYTES_MAX
            && (self.paths.contains(path.as_str()) || self.declares(&String::from_utf8_lossy(content)))
    }

    /// Whether a test of these names is declared in a file's content.
    pub(super) fn declares_in(&self, content: &[u8]) -> bool {
        content.len() <= FILE_BYTES_MAX && self.declares(&String::from_utf8_lossy(content))
    }

    /// Whether a test of these names is declared in the text.
    fn declares(&self, text: &str) -> bool {
        let build = || AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&self.names).ok();
        let Some(finder) = self.finder.get_or_init(build) else { return false };
        finder.find_iter(text).any(|found| is_declared(&text[..found.start()], &text[found.end()..]))
    }
}

/// Whether a file that holds no test looks like one that tests use: by its name, or by the test framework in it.
pub(super) fn is_support_of_tests(path: &RepoPath, content: &[u8]) -> bool {
    static NAME: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)(?:^|/)(?:t|(?:unit)?tests?|testutils?|testkit|testlib|(?:test|spec)s?[-_]?(?:util|help|support|lib|kit|case|base)\w*)(?:/|\.\w+$)")
            .expect("a valid expression")
    });
    static FRAMEWORK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"(?m)^\s*(?:import|from)\s+(?:unittest|_?pytest|nose|hypothesis)\b|(?:require\(|from\s|import\s)\s*["'](?:node:test|chai|jest|@jest|vitest|expect)\b|^\s*(?:import\s+)?"testing"\s*$|\bTest::(?:More|Builder|Simple|Most|Deep)\b|^\s*require ["'](?:rspec|minitest|test/unit)|^import (?:static )?(?:org\.(?:junit|testng|assertj|hamcrest)|kotlin\.test)\b|\bPHPUnit\\"#,
        )
        .expect("a valid expression")
    });
    NAME.is_match(path.as_str()) || FRAMEWORK.is_match(&String::from_utf8_lossy(content))
}

/// Whether `parent`, a file of Rust, declares the file at `path` as a module that only tests have.
pub(super) fn is_test_module_of(path: &RepoPath, parent: &str) -> bool {
    let stem = path.as_str().strip_suffix("/mod.rs").or_else(|| path.as_str().strip_suffix(".rs"));
    let Some(name) = stem.map(|stem| stem.rsplit('/').next().unwrap_or(stem)) else { return false };
    let mut is_for_tests = false;
    for line in parent.lines().map(str::trim) {
        let item = line.strip_prefix("#[cfg(test)]").map_or(line, str::trim_start);
        is_for_tests |= item.len() < line.len();
        let module = item.trim_start_matches("pub ").trim_start_matches("pub(crate) ").strip_prefix("mod ");
        if is_for_tests && module.and_then(|rest| rest.strip_suffix(';')) == Some(name) {
            return true;
        }
        is_for_tests &= item.is_empty() || line.starts_with("#[");
    }
    false
}

/// Where a text declares the test of this name: the bytes of its own name. If nothing declares it, a text in
/// quotes that is the name, or its end after those of the groups around it. `None` if there are several.
pub(super) fn declaration(text: &str, name: &str) -> Option<Range<usize>> {
    let names: HashSet<&str> = own_names(name).filter(|name| name.len() >= NAME_BYTES_MIN).collect();
    let places = |name: &'_ str| -> Vec<Range<usize>> {
        text.match_indices(name).map(|(start, found)| start..start + found.len()).collect()
    };
    let declared = names.iter().flat_map(|name| places(name));
    let declared = declared.filter(|at| is_declared(&text[..at.start], &text[at.end..]));
    let is_quoted = |at: &Range<usize>| {
        let quote = text[..at.start].chars().next_back().filter(|c| ['"', '\'', '`'].contains(c));
        quote.is_some_and(|quote| text[at.end..].starts_with(quote))
    };
    let title = name.rsplit("::").next().unwrap_or(name);
    let ends = title.match_indices(' ').map(|(at, _)| &title[at + 1..]).take(TITLE_WORDS_MAX);
    // One name can lie in another: `a` in `a_b`.
    let mut declared: Vec<Range<usize>> = declared.collect();
    declared.sort_by_key(|at| (at.start, at.end));
    declared.dedup_by_key(|at| at.start);
    if declared.len() > 1 {
        return None;
    }
    declared.pop().or_else(|| {
        let ends = [title].into_iter().chain(ends).filter(|end| end.len() >= TITLE_BYTES_MIN);
        ends.map(|end| places(end).into_iter().filter(is_quoted).collect::<Vec<_>>())
            .find(|found| !found.is_empty())
            .filter(|found| found.len() == 1)
            .and_then(|mut found| found.pop())
    })
}

/// A test's own name in a source: `b` of `tests/a.py::A::b[case 1]`, `a::tests::b`, `b (a.A.b)`, `a > b`, `org.A.b`.
fn own_names(name: &str) -> impl Iterator<Item = &str> {
    let title = name.rsplit(" > ").next().unwrap_or(name);
    let plain = title.split(" (").next().unwrap_or(title);
    let function = plain.rsplit("::").next().unwrap_or(plain);
    let function = function.split('[').next().unwrap_or(function).trim();
    let function = function_of_nextest(name).unwrap_or(function);
    let method = (!function.contains(' ')).then(|| function.rsplit(['.', '/']).next().unwrap_or(function));
    let titles = if name.contains("::") { [function, function] } else { [title, plain] };
    titles.into_iter().chain([method.unwrap_or(function)])
}

/// The function in nextest's name of a test that stands in no module: `b` of `a::it b`. Names of crates are lower-case,
/// others are not: `A::B works`.
fn function_of_nextest(name: &str) -> Option<&str> {
    let (binary, function) = name.split_once(' ')?;
    let is_lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-:/".contains(c);
    let is_binary = binary.contains("::") && binary.chars().all(is_lower);
    (is_binary && function.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some(function)
}

/// Whether what stands around a name makes it a test's: a title that is given to a test function, or a function.
fn is_declared(before: &str, after: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let last = before.chars().next_back();
    if let Some(quote) = last.filter(|c| ['"', '\'', '`'].contains(c)) {
        let before = before[..before.len() - 1].trim_end();
        // bats: `@test "name"`. Ruby: `it "name"`.
        let near: Vec<char> =
            before.chars().rev().take(COMMAND_CHARS_MAX).take_while(|c| *c != '\n').collect();
        let line: String = near.into_iter().rev().collect();
        let line = line.trim_start();
        let is_command = line == "@test" || CALLS.contains(&line);
        let Some(call) = before.strip_suffix('(') else { return is_command && after.starts_with(quote) };
        let call = call.trim_end();
        let start = call
            .rfind(|c| !is_word(c))
            .map_or(0, |at| at + call[at..].chars().next().map_or(1, char::len_utf8));
        return after.starts_with(quote) && call[start..].split('.').any(|part| CALLS.contains(&part));
    }
    if last.is_none_or(|c| c != ' ') || after.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
    {
        return false;
    }
    let word = before.trim_end().rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    DECLARATIONS.contains(&word)
}

/// Whether a file with tests has the source in it, too: their language puts them there, or it defines something else.
fn is_source_as_well(path: &str, text: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let lines = || text.lines();
    match extension {
        "rs" | "zig" | "d" | "nim" => true,
        "js" | "jsx" | "ts" | "tsx" | "mjs" | "cjs" | "mts" | "cts" => {
            text.contains("import.meta.vitest")
                || lines().any(|line| {
                    ["export ", "module.exports", "exports."].iter().any(|word| line.starts_with(word))
                })
        }
        "py" => lines().any(|line| {
            let name = |word: &str| line.strip_prefix(word).map(str::to_lowercase);
            let is_test =
                |name: String| ["test", "_", "set", "tear"].iter().any(|word| name.starts_with(word));
            name("def ").is_some_and(|name| !is_test(name))
                || name("class ").is_some_and(|name| !name.contains("test") && !name.contains("case"))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{TestCase, TestOutcome};

    fn is_test(names: &[&str], path: &str, text: &str) -> bool {
        let cases = names.iter().map(|name| TestCase::new(*name, TestOutcome::Passed)).collect();
        let report = TestReport { cases, ..TestReport::default() };
        TestFiles::of(&TestPaths::with(&[]), &[&report]).contains(&path.parse().unwrap(), text.as_bytes())
    }

    #[test]
    fn file_in_which_a_named_test_stands_is_a_test_file() {
        assert!(is_test(
            &["adds"],
            "check.js",
            "const test = require('node:test');\ntest('adds', () => {});\n"
        ));
        assert!(is_test(
            &["sum > adds up"],
            "x.mjs",
            "describe('sum', () => { it.only(\"adds up\", f); });\n"
        ));
        assert!(is_test(
            &["test_add (suite.T.test_add)"],
            "suite.py",
            "class T(TestCase):\n    def test_add(self):\n"
        ));
        assert!(is_test(&["suite.py::test_add[1]"], "suite.py", "def test_add(x):\n    pass\n"));
        assert!(is_test(&["adds"], "checks.bats", "@test \"adds\" {\n}\n"));
        assert!(is_test(&["org.Sums.adds"], "Sums.java", "  @Test void adds() {}\n"));
    }

    #[test]
    fn function_of_a_test_is_found_by_nextest_name() {
        let text = "#[test]\nfn adds() {}\n";
        for name in ["calc::it adds", "calc::bin/sum-up adds", "calc tests::adds"] {
            assert_eq!(declaration(text, name), Some(11..15), "{name}");
        }
        assert_eq!(declaration("def works\nend\n", "Calc::Sum works"), None);
    }

    #[test]
    fn what_tests_use_is_recognised_by_name_and_framework() {
        let is = |path: &str, text: &str| is_support_of_tests(&path.parse().unwrap(), text.as_bytes());
        for path in ["internal/testutil/check.go", "t/lib/Check.pm", "src/test_helpers.py", "Tests/x.swift"] {
            assert!(is(path, ""), "{path}");
        }
        assert!(is("check.go", "package a\nimport (\n\t\"testing\"\n)\n"));
        assert!(
            is("checkutil.py", "import unittest\n") && is("same.js", "const { expect } = require('chai');\n")
        );
        for (path, text) in [
            ("src/testimony.py", ""),
            ("lib/a.js", "const assert = require('assert');\n"),
            ("src/latest.rs", ""),
        ] {
            assert!(!is(path, text), "{path}");
        }
    }

    #[test]
    fn module_for_tests_is_declared_in_another_file() {
        let is = |path: &str, parent: &str| is_test_module_of(&path.parse().unwrap(), parent);
        assert!(is("src/checks.rs", "fn a() {}\n#[cfg(test)]\nmod checks;\n"));
        assert!(is("src/checks/mod.rs", "#[cfg(test)]\n#[allow(x)]\npub mod checks;\n"));
        assert!(is("src/checks.rs", "#[cfg(test)] mod checks;\n"));
        assert!(!is("src/checks.rs", "#[cfg(test)]\nmod tests {}\nmod checks;\n"));
        assert!(!is("src/checks.py", "#[cfg(test)]\nmod checks;\n"));
    }

    #[test]
    fn source_in_which_a_name_only_occurs_is_none() {
        assert!(!is_test(&["adds"], "calc.js", "// it adds\nthrow new Error('adds');\n"));
        assert!(!is_test(&["adds"], "calc.js", "test('adds', f);\nmodule.exports = { add };\n"));
        assert!(!is_test(&["tests::adds"], "src/lib.rs", "fn adds() {}\n"));
        assert!(!is_test(
            &["calc.py::test_add"],
            "calc.py",
            "def add(a, b):\n    pass\n\ndef test_add():\n    pass\n"
        ));
        assert!(!is_test(&["adds"], "calc.js", "test('adds more', f);\n"));
        assert!(!is_test(&[], "calc.js", "test('adds', f);\n"));
    }
}
