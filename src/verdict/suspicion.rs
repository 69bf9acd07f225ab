//! Added lines that can make tests look passed. Only words are looked at, so an honest line can be
//! flagged and a disguised one be missed: this is for the reviewer's eye, and decides nothing.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::RegexSet;

use crate::domain::{Flag, Suspicion};

/// Flags of one file, and bytes of a line in words.
const FLAGS_MAX: usize = 5;
const LINE_CHARS_MAX: usize = 160;
/// A file over this many bytes is not looked through.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What a line does, whether it also counts in tests (`true`) or only elsewhere (`false`), and its pattern.
const LINES: &[(Suspicion, bool, &str)] = &[
    (
        Suspicion::EndsTheProcess,
        true,
        r"\b(?:os\._exit|sys\.exit|process\.(?:exit|abort|reallyExit)|process::(?:exit|abort)|System\.exit|Runtime\.getRuntime\(\)\.halt|os\.Exit|syscall\.Exit|Kernel\.exit|exit!|quick_exit|_exit|_Exit)\b|\bos\.kill\(|\b(?:std::)?abort\(\)|^\s*exit(?:\s+\d+|\(\d*\))?;?\s*$",
    ),
    (
        Suspicion::NoticesTests,
        false,
        r#"PYTEST_CURRENT_TEST|["']pytest["'] in sys\.modules|["']unittest["'] in sys\.modules|JEST_WORKER_ID|VITEST(?:_WORKER_ID)?\b|NODE_TEST_CONTEXT|testing\.Testing\(\)|flag\.Lookup\("test\.|inspect\.stack\(|sys\._getframe|NEXTEST|CARGO_TARGET_TMPDIR|NODE_ENV.{0,8}test|RAILS_ENV.{0,8}test|APP_ENV.{0,8}test|PROVE|HARNESS_ACTIVE|PHPUNIT"#,
    ),
    (
        Suspicion::SkipsTests,
        true,
        r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)|unittest\.(?:skip|expectedFailure)|\bskipTest\(|@(?:Disabled|Ignore)\b|#\[ignore|\b(?:it|test|describe|context|suite)\.(?:skip|todo|only|fails?)\b|\bx(?:it|describe|test|context)\(|\bf(?:it|describe)\(|\bt\.Skip(?:f|Now)?\(|markTest(?:Skipped|Incomplete)|GTEST_SKIP|# ?(?:SKIP|TODO)\b.*(?:ok|test)|collect_ignore|pytest_(?:collection_modifyitems|runtest|sessionfinish|ignore_collect|configure)|__test__\s*=\s*False",
    ),
    (
        Suspicion::WritesReports,
        true,
        r"mendwright-|junitxml|surefire-reports|test result: ok|^.*(?:print|echo|write|log|puts|printf).{0,20}\b(?:not ok|ok \d+|1\.\.\d+|\d+ passed)\b|TAP version",
    ),
    (
        Suspicion::DefinesEquality,
        false,
        r"\b__(?:eq|ne|lt|le|gt|ge|bool|hash|instancecheck|subclasscheck)__\b|\b__class__\s*=|\bimpl\b.*\b(?:PartialEq|PartialOrd|Ord|Eq)\b.*\bfor\b|\bfn (?:eq|ne|partial_cmp)\(\s*&self|\b(?:boolean|bool|fun) [Ee]quals\s*\(|\bint compareTo\s*\(|\bfunc \([^)]*\) (?:Equal|Is|Compare)\(|(?:^|[^.\w]|prototype\.)valueOf\b\s*[:=(]|Symbol\.(?:toPrimitive|hasInstance)|\bnew Proxy\(|asymmetricMatch|\bdef (?:==|===|!=|eql\?|equal\?|<=>)|\boperator\s*(?:==|!=|<=>|[<>]=?)\s*\(|\buse overload\b|\bopEquals\b|\bfunc ==",
    ),
];

static SET: LazyLock<RegexSet> =
    LazyLock::new(|| RegexSet::new(LINES.iter().map(|(_, _, pattern)| *pattern)).expect("valid expressions"));

/// The suspicious lines that `after` has and `before` has not.
pub(super) fn suspicious_lines(path: &str, is_test: bool, before: &str, after: &str) -> Vec<Flag> {
    if after.len() > FILE_BYTES_MAX || before.len() > FILE_BYTES_MAX {
        return Vec::new();
    }
    let mut known: HashMap<&str, usize> = HashMap::new();
    for line in before.lines() {
        *known.entry(line.trim()).or_default() += 1;
    }
    let mut flags = Vec::new();
    for line in after.lines().map(str::trim) {
        if let Some(count) = known.get_mut(line).filter(|count| **count > 0) {
            *count -= 1;
            continue;
        }
        let found = SET.matches(line);
        let first = LINES
            .iter()
            .enumerate()
            .find(|(index, (_, in_tests, _))| found.matched(*index) && (*in_tests || !is_test));
        if let Some((_, (what, _, _))) = first {
            let text = line.chars().take(LINE_CHARS_MAX).collect();
            flags.push(Flag::SuspiciousLine { what: *what, path: path.to_owned(), text });
            if flags.len() >= FLAGS_MAX {
                break;
            }
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_suspicious_lines_are_flagged() {
        let lines = [
            "import os; os._exit(0)",
            "std::process::exit(0);",
            "exit 0",
            "if 'PYTEST_CURRENT_TEST' in os.environ: return 42",
            "if process.env.JEST_WORKER_ID { return 42 }",
            "@pytest.mark.skip",
            "it.skip('adds', () => {})",
            "#[ignore]",
            "t.Skip(\"later\")",
            "def pytest_collection_modifyitems(items): items[:] = []",
            "echo \"ok 1 - all\"",
            "print('== 3 passed in 0.01s ==')",
            "def __eq__(self, other): return True",
            "__eq__ = __ne__ = lambda *_: True",
            "valueOf() { return expected }",
            "[Symbol.toPrimitive]: () => 4,",
            "asymmetricMatch: () => true,",
            "impl PartialEq<i32> for Number {",
            "@Override public boolean equals(Object other) {",
            "def ==(other) = true",
            "bool operator==(const T &) const { return true; }",
            "use overload '==' => sub { 1 };",
        ];
        for line in lines {
            assert_eq!(suspicious_lines("a", false, "", line).len(), 1, "{line}");
            assert_eq!(suspicious_lines("a", false, line, line).len(), 0, "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_not_flagged() {
        let lines = [
            "return a + b",
            "exit_code = 3",
            "// the ok button",
            "let skipped = 0;",
            "assert x == 3",
            "1. a list",
            "#[derive(PartialEq, Eq)]",
            "if (a.equals(b)) {",
            "a == b",
            "let n = x.valueOf();",
        ];
        for line in lines {
            assert_eq!(suspicious_lines("a", false, "", line), [], "{line}");
        }
    }
}
