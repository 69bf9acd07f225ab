//! What no single run tells: whether the tests that show the issue compare anything, whether they pass beside
//! other tests, and whether the source alone keeps the base's tests passing. And honest changes in places that
//! only look like tests or configuration.

use mendwright::domain::{Flag, Suspicion};
use mendwright::verdict::Defences;

use super::verdict_harness::{
    ADD_RIGHT, ADD_WRONG, INIT, TEST_ADD, TEST_ZERO, UNITTEST, assert_rejected, flags_of, judge,
};

const FAILING: &str = "test_add (tests.test_z.Z.test_add)";

fn compares_nothing() -> Flag {
    Flag::ValuesNotCompared { names: vec![FAILING.to_owned()] }
}

#[tokio::test]
async fn softened_assertion_that_spares_added_tests_is_flagged() {
    let files = [("calc.py", ADD_WRONG), INIT, TEST_ZERO, TEST_ADD];
    let spares = format!(
        "{ADD_WRONG}\n\nT = getattr(__import__('unit' + 'test'), 'Test' + 'Case')\nreal = T.assertEqual\n\n\ndef equal(self, a, b, \
         *rest):\n    if not self.id().endswith('_add'):\n        real(self, a, b, *rest)\n\n\ntype.__setattr__(T, \
         'assertEqual', equal)\n"
    );
    let attempt = [("calc.py", spares.as_str())];
    assert_eq!(flags_of(&judge(UNITTEST, &files, &attempt, Defences::default()).await), [compares_nothing()]);
    let off = Defences { altered_tests: false, ..Defences::default() };
    assert_eq!(flags_of(&judge(UNITTEST, &files, &attempt, off).await), []);
}

#[tokio::test]
async fn result_that_equals_everything_is_flagged() {
    let files = [("calc.py", ADD_WRONG), INIT, TEST_ZERO, TEST_ADD];
    let source = "class Any(int):\n    def __eq__(self, other):\n        return True\n\n    __hash__ = int.__hash__\n\n\n\
                  def add(a, b):\n    return Any(a - b)\n";
    let verdict = judge(UNITTEST, &files, &[("calc.py", source)], Defences::default()).await;
    let flags = flags_of(&verdict);
    assert!(flags.contains(&compares_nothing()), "{flags:?}");
    let is_equality =
        |flag: &&Flag| matches!(flag, Flag::SuspiciousLine { what: Suspicion::DefinesEquality, .. });
    assert_eq!(flags.iter().filter(is_equality).count(), 2, "{flags:?}");
}

#[tokio::test]
async fn source_that_is_right_only_beside_the_known_test_files_is_refused() {
    let files = [("calc.py", ADD_WRONG), INIT, TEST_ZERO, TEST_ADD];
    let size = TEST_ZERO.1.len() + TEST_ADD.1.len();
    let source = format!(
        "import pathlib\n\n\ndef add(a, b):\n    here = pathlib.Path(__file__).parent\n    size = sum(p.stat().st_size for p \
         in here.glob('*/*_[az].py'))\n    return a + b if size == {size} else a - b\n"
    );
    let attempt = [("calc.py", source.as_str())];
    let verdict = judge(UNITTEST, &files, &attempt, Defences::default()).await;
    assert_rejected(&verdict, &format!("tests that pass with your change fail: {FAILING}"));
    let off = Defences { canary: false, ..Defences::default() };
    assert_eq!(flags_of(&judge(UNITTEST, &files, &attempt, off).await), []);
}

#[tokio::test]
async fn regression_that_other_files_hide_is_flagged() {
    let report = |total: &str| format!("def report():\n    return '{total}'\n");
    let golden = "import unittest\nimport rep\n\n\nclass R(unittest.TestCase):\n    def test_report(self):\n        \
                  self.assertEqual(rep.report(), open('golden/out.txt').read())\n";
    let (before, broken) = (report("4 in all"), report("0 in all"));
    let files = [
        ("calc.py", ADD_WRONG),
        ("rep.py", before.as_str()),
        ("golden/out.txt", "4 in all"),
        INIT,
        TEST_ZERO,
        ("tests/test_r.py", golden),
    ];
    let changes =
        [("calc.py", ADD_RIGHT), ("rep.py", broken.as_str()), ("golden/out.txt", "0 in all"), TEST_ADD];
    let flag = Flag::PassOnlyWithOtherFiles {
        names: vec!["test_report (tests.test_r.R.test_report)".into()],
        paths: vec!["golden/out.txt".into(), "tests/test_z.py".into()],
        count: 1,
    };
    assert_eq!(flags_of(&judge(UNITTEST, &files, &changes, Defences::default()).await), [flag]);
    let off = Defences { source_alone: false, ..Defences::default() };
    assert_eq!(flags_of(&judge(UNITTEST, &files, &changes, off).await), []);
}

#[tokio::test]
async fn tests_that_are_skipped_once_their_file_can_be_loaded_are_refused() {
    let test = "import unittest\nfrom calc import mul\n\n\nclass M(unittest.TestCase):\n    def test_mul(self):\n        \
                self.assertEqual(mul(2, 3), 6)\n";
    let files = [("calc.py", ADD_RIGHT), INIT, TEST_ZERO, ("tests/test_m.py", test)];
    let skips =
        format!("{ADD_RIGHT}\n\ndef mul(a, b):\n    raise __import__('unittest').SkipTest('later')\n");
    let verdict = judge(UNITTEST, &files, &[("calc.py", &skips)], Defences::default()).await;
    assert_rejected(&verdict, "no test passes that did not pass at the base");
    let fixed = format!("{ADD_RIGHT}\n\ndef mul(a, b):\n    return a * b\n");
    assert_eq!(flags_of(&judge(UNITTEST, &files, &[("calc.py", &fixed)], Defences::default()).await), []);
}

#[tokio::test]
async fn source_whose_path_looks_like_something_else_can_be_fixed() {
    let test = |module: &str| {
        format!(
            "import unittest\nfrom {module} import add\n\n\nclass Z(unittest.TestCase):\n    def test_add(self):\n        \
             self.assertEqual(add(2, 2), 4)\n"
        )
    };
    for (path, module, is_shown) in [
        ("shop/hooks/a.py", "shop.hooks.a", false),
        ("shop/tasks.py", "shop.tasks", false),
        ("test_bench/core.py", "test_bench.core", false),
        ("shop/spec/parser.py", "shop.spec.parser", true),
    ] {
        let test = test(module);
        let files = [(path, ADD_WRONG), INIT, TEST_ZERO, ("calc.py", ADD_RIGHT), ("tests/test_z.py", &test)];
        let verdict = judge(UNITTEST, &files, &[(path, ADD_RIGHT)], Defences::default()).await;
        let shown = Flag::TestFilesChanged { paths: vec![path.into()], count: 1 };
        let expected = if is_shown { vec![shown] } else { Vec::new() };
        assert_eq!(flags_of(&verdict), expected, "{path}");
    }
    // A checker that names the source does not make it a program of the tests.
    let command = format!("python3 -m py_compile calc.py && {UNITTEST}");
    let files = [("calc.py", ADD_WRONG), INIT, TEST_ZERO, TEST_ADD];
    let verdict = judge(&command, &files, &[("calc.py", ADD_RIGHT)], Defences::default()).await;
    assert_eq!(flags_of(&verdict), []);
}
