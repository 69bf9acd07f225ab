//! The failing tests' names, read from what test runners print. Used to tell people and the model
//! what failed; the verdict itself rests on the exit code.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::domain::FailedTest;

/// Most names kept from one run.
const FAILED_TESTS_MAX: usize = 500;

/// Longest name kept, in characters.
const NAME_CHARS_MAX: usize = 300;

/// One line form of one runner; group 1 is the test's name.
struct Form {
    runner: &'static str,
    line: &'static str,
}

/// Each runner's own words for a failed test, one a line.
const FORMS: &[Form] = &[
    // pytest's short summary: `FAILED tests/test_a.py::test_b - assert 1 == 2`
    Form {
        runner: "pytest",
        line: r"^(?:FAILED|ERROR) ([^\s:]+\.py(?:::[^\s]+(?: [^\s-][^\s]*)*)?)(?: - .*)?$",
    },
    // unittest's headers: `FAIL: test_b (tests.test_a.TestA.test_b)`
    Form { runner: "unittest", line: r"^(?:FAIL|ERROR): (\S+ \([\w.]+\))" },
    // libtest: `test module::name ... FAILED`
    Form { runner: "cargo test", line: r"^test (.+?)(?: - should panic)? \.\.\. FAILED" },
    // nextest: `        FAIL [   0.003s] (1/5) crate::binary module::name`
    Form {
        runner: "nextest",
        line: r"^\s+(?:FAIL|ABORT|SIGABRT|SIGSEGV|TIMEOUT) \[[^\]]*\]\s+(?:\([^)]*\)\s+)?(\S.*)$",
    },
    // go test: `    --- FAIL: TestA/case (0.00s)`
    Form { runner: "go test", line: r"^\s*--- FAIL: (\S+)" },
    // TAP: `not ok 3 - parses` (a TODO is expected to fail)
    Form { runner: "TAP", line: r"^\s*not ok \d+(?: -)? ([^#]+?)(?:\s+#\s*time=.*)?$" },
];

static COMPILED: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    let compile = |form: &Form| (form.runner, Regex::new(form.line).expect("the forms above are valid"));
    FORMS.iter().map(compile).collect()
});

/// The failed tests that `output` names, sorted, without duplicates.
pub fn failed_tests(output: &str) -> Vec<FailedTest> {
    let mut names = BTreeSet::new();
    for line in output.lines() {
        // Escape sequences of colours stand before and within the words we look for.
        let plain = strip_escapes(line);
        for (_, form) in COMPILED.iter() {
            if let Some(name) = form.captures(&plain).and_then(|captures| captures.get(1)) {
                names.insert(name.as_str().trim().chars().take(NAME_CHARS_MAX).collect::<String>());
            }
        }
        if names.len() >= FAILED_TESTS_MAX {
            break;
        }
    }
    names.into_iter().map(FailedTest).collect()
}

fn strip_escapes(line: &str) -> std::borrow::Cow<'_, str> {
    static ESCAPE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("\u{1b}\\[[0-9;]*[A-Za-z]").expect("a valid expression"));
    ESCAPE.replace_all(line, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(output: &str) -> Vec<String> {
        failed_tests(output).into_iter().map(|test| test.0).collect()
    }

    #[test]
    fn each_runner_s_words_for_a_failure_are_understood() {
        let output = "\
test parse::tests::empty ... FAILED
test parse::tests::full ... ok
test bench - should panic ... FAILED
FAILED tests/test_a.py::test_b[case 1] - assert 1 == 2
ERROR tests/test_broken.py - SyntaxError
FAIL: test_sum (test_math.TestMath.test_sum)
ERROR: test_io (test_io.TestIo)
    --- FAIL: TestA/case_2 (0.00s)
not ok 3 - parses a list
ok 4 - prints
not ok 5 - later # TODO not yet
        FAIL [   0.003s] (1/5) crate::it module::name
\u{1b}[31mFAILED\u{1b}[0m tests/test_c.py::test_d - boom
";
        insta::assert_snapshot!(names(output).join("\n"), @r"
        TestA/case_2
        bench
        crate::it module::name
        parse::tests::empty
        parses a list
        test_io (test_io.TestIo)
        test_sum (test_math.TestMath.test_sum)
        tests/test_a.py::test_b[case 1]
        tests/test_broken.py
        tests/test_c.py::test_d
        ");
    }

    #[test]
    fn ordinary_lines_name_no_test() {
        assert_eq!(names("FAILED (failures=1)\nERROR 42\nFAILED\ntest result: FAILED. 1 passed\n"), [""; 0]);
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let output: String = (0..10_000).map(|n| format!("test t{n} ... FAILED\n")).collect();
        assert_eq!(names(&output).len(), FAILED_TESTS_MAX);
    }
}
