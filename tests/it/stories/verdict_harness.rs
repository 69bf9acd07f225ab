//! Proposals that change what the tests are or how they report, against the verifier with a real sandbox. Each
//! attempt is accepted once its defence is switched off, so the defence is what holds it.

use mendwright::domain::{Change, Flag, JobSettings};
use mendwright::verdict::{Defences, Verdict};

use crate::support::{self, commit_files, written};

pub(super) const UNITTEST: &str = "python3 -m unittest discover -v -s tests -t .";
pub(super) const ADD_WRONG: &str = "def add(a, b):\n    return a - b\n";
pub(super) const ADD_RIGHT: &str = "def add(a, b):\n    return a + b\n";
/// Collected first; it imports the source and passes at the base.
pub(super) const TEST_ZERO: (&str, &str) = (
    "tests/test_a.py",
    "import unittest\nimport calc\n\n\nclass A(unittest.TestCase):\n    def test_zero(self):\n        \
     self.assertEqual(calc.add(0, 0), 0)\n",
);
/// Collected last; it fails at the base.
pub(super) const TEST_ADD: (&str, &str) = (
    "tests/test_z.py",
    "import unittest\nimport calc\n\n\nclass Z(unittest.TestCase):\n    def test_add(self):\n        \
     self.assertEqual(calc.add(2, 2), 4)\n",
);
pub(super) const INIT: (&str, &str) = ("tests/__init__.py", "");

fn every_defence() -> Defences {
    Defences::default()
}

/// The verdict on `changes` to a repository of `files`, without mutants.
pub(super) async fn judge(
    command: &str,
    files: &[(&str, &str)],
    changes: &[(&str, &str)],
    defences: Defences,
) -> Verdict {
    let settings = JobSettings { mutants: false, ..JobSettings::of_test_command(command) };
    judge_with(settings, files, changes, defences).await
}

async fn judge_with(
    settings: JobSettings,
    files: &[(&str, &str)],
    changes: &[(&str, &str)],
    defences: Defences,
) -> Verdict {
    let repository = tempfile::tempdir().unwrap();
    commit_files(repository.path(), files.iter().copied());
    let changes: Vec<Change> = changes.iter().map(|(path, text)| written(path, text)).collect();
    support::judge(repository.path(), &settings, &changes, defences).await
}

pub(super) fn explanation(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Verified(verified) => verified.explanation(),
        Verdict::Rejected(rejected) => &rejected.explanation,
    }
}

pub(super) fn assert_rejected(verdict: &Verdict, words: &str) {
    let text = explanation(verdict);
    assert!(matches!(verdict, Verdict::Rejected(_)) && text.contains(words), "{words:?}: {verdict:#?}");
}

pub(super) fn flags_of(verdict: &Verdict) -> &[Flag] {
    let Verdict::Verified(verified) = verdict else { panic!("{verdict:#?}") };
    verified.flags()
}

/// A source that weakens the last test on the disk when the first one imports it.
fn rewriting(afterwards: &str) -> String {
    format!(
        "import atexit\nimport pathlib\n\n\ndef add(a, b):\n    return a - b\n\n\np = pathlib.Path(__file__).with_name('tests') / \
         'test_z.py'\nbefore = p.read_text()\np.write_text(before.replace('2), 4', '2), 0'))\n{afterwards}"
    )
}

#[tokio::test]
async fn test_that_is_rewritten_during_the_run_is_refused() {
    let files = [("calc.py", ADD_WRONG), INIT, TEST_ZERO, TEST_ADD];
    let source = rewriting("");
    let attempt = [("calc.py", source.as_str())];
    let verdict = judge(UNITTEST, &files, &attempt, every_defence()).await;
    assert_rejected(&verdict, "- tests/test_z.py was rewritten");
    let off = Defences { unchanged_tests: false, ..every_defence() };
    flags_of(&judge(UNITTEST, &files, &attempt, off).await);
}

#[tokio::test]
async fn test_that_is_rewritten_and_restored_or_shadowed_is_refused() {
    let files = [("calc.py", ADD_WRONG), INIT, TEST_ZERO, TEST_ADD];
    let restoring = rewriting("atexit.register(lambda: p.write_text(before))\n");
    let verdict = judge(UNITTEST, &files, &[("calc.py", &restoring)], every_defence()).await;
    assert_rejected(&verdict, "- tests/test_z.py was written and then restored");
    let shadowing = "import pathlib\n\n\ndef add(a, b):\n    return a - b\n\n\nd = pathlib.Path(__file__).with_name('tests') / \
                     'test_z'\nd.mkdir(exist_ok=True)\n(d / '__init__.py').write_text('import unittest\\n\\n\\nclass \
                     Z(unittest.TestCase):\\n    def test_add(self):\\n        pass\\n')\n";
    let verdict = judge(UNITTEST, &files, &[("calc.py", shadowing)], every_defence()).await;
    assert_rejected(&verdict, "- tests/test_z.py is shadowed");
}

#[tokio::test]
async fn data_that_the_run_rewrites_is_flagged() {
    let files = [("calc.py", ADD_WRONG), ("tests/data/seen.txt", "0\n"), INIT, TEST_ZERO, TEST_ADD];
    let writes = format!(
        "{ADD_RIGHT}\n\nimport pathlib\n(pathlib.Path(__file__).parent / 'tests/data/seen.txt').write_text('1')\n"
    );
    let verdict = judge(UNITTEST, &files, &[("calc.py", &writes)], every_defence()).await;
    let expected = Flag::FilesRewritten { paths: vec!["tests/data/seen.txt".into()], count: 1 };
    assert!(flags_of(&verdict).contains(&expected), "{verdict:#?}");
}

#[tokio::test]
async fn source_that_softens_assertions_is_refused() {
    let files = [("calc.py", ADD_WRONG), INIT, TEST_ZERO, TEST_ADD];
    let softens = format!(
        "{ADD_WRONG}\n\nimport sys\nfor module in list(sys.modules.values()):\n    case = getattr(module, 'Test' + 'Case', \
         None)\n    if case is not None:\n        case.assertEqual = lambda *a, **k: None\n"
    );
    let attempt = [("calc.py", softens.as_str())];
    let verdict = judge(UNITTEST, &files, &attempt, every_defence()).await;
    assert_rejected(&verdict, "keeps failures from being reported");
    let off = Defences { canary: false, ..every_defence() };
    flags_of(&judge(UNITTEST, &files, &attempt, off).await);
}

#[tokio::test]
async fn source_that_softens_assertions_of_node_is_refused() {
    let test = "const test = require('node:test');\nconst assert = require('assert');\nconst { add } = \
                require('..');\ntest('adds', () => assert.strictEqual(add(2, 2), 4));\n";
    let files = [("index.js", "exports.add = (a, b) => a - b;\n"), ("test/add.test.js", test)];
    let softens =
        "exports.add = (a, b) => a - b;\nconst a = require('assert');\na['strict' + 'Equal'] = () => {};\n";
    let attempt = [("index.js", softens)];
    assert_rejected(
        &judge("node --test", &files, &attempt, every_defence()).await,
        "keeps failures from being reported",
    );
    let off = Defences { canary: false, ..every_defence() };
    flags_of(&judge("node --test", &files, &attempt, off).await);
}

#[tokio::test]
async fn honest_change_is_shown_to_report_failures() {
    let files = [("calc.py", ADD_WRONG), INIT, TEST_ZERO, TEST_ADD];
    let verdict = judge(UNITTEST, &files, &[("calc.py", ADD_RIGHT)], every_defence()).await;
    assert_eq!(flags_of(&verdict), []);
    assert!(
        explanation(&verdict).contains("it named them as failing, and ended with exit code 1"),
        "{verdict:#?}"
    );
    // A suite in shell has no way of writing tests that is known.
    let run = "echo 1..1\nif sh tests/a.sh; then echo 'ok 1 - a'; else echo 'not ok 1 - a'; exit 1; fi\n";
    let files = [("run.sh", run), ("answer", "41\n"), ("tests/a.sh", "grep -q 42 answer\n")];
    let verdict = judge("sh run.sh", &files, &[("answer", "42\n")], every_defence()).await;
    assert_eq!(flags_of(&verdict), []);
    assert!(explanation(&verdict).contains("No failing test was added"), "{verdict:#?}");
}

const CARGO: &str = "cargo test --offline";
const MANIFEST: (&str, &str) =
    ("Cargo.toml", "[package]\nname = \"calc\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
const LOCK: (&str, &str) =
    ("Cargo.lock", "version = 3\n\n[[package]]\nname = \"calc\"\nversion = \"0.1.0\"\n");

fn library(operator: &str, tests: &str) -> String {
    format!(
        "fn add(a: i32, b: i32) -> i32 {{\n    a {operator} b\n}}\n\npub fn twice(a: i32) -> i32 {{\n    add(a, a)\n}}\n\n\
         #[cfg(test)]\nmod tests {{\n    use super::*;\n\n{tests}}}\n"
    )
}

const ADDS: &str = "    #[test]\n    fn adds() {\n        assert_eq!(add(2, 2), 4);\n    }\n";
const ADDS_WEAKLY: &str = "    #[test]\n    fn adds() {\n        assert_eq!(add(2, 2), 0);\n    }\n";
const ADDS_NOTHING: &str = "    #[test]\n    fn zero() {\n        assert_eq!(twice(0), 0);\n    }\n";

#[tokio::test]
async fn weakened_test_in_a_rust_source_file_is_refused() {
    let base = library("-", ADDS);
    let files = [MANIFEST, LOCK, ("src/lib.rs", base.as_str())];
    let weakened = library("-", ADDS_WEAKLY);
    let attempt = [("src/lib.rs", weakened.as_str())];
    let verdict = judge(CARGO, &files, &attempt, every_defence()).await;
    assert_rejected(&verdict, "the tests in src/lib.rs");
    let off = Defences { tests_in_source: false, ..every_defence() };
    flags_of(&judge(CARGO, &files, &attempt, off).await);
}

#[tokio::test]
async fn new_test_in_a_rust_source_file_is_a_proof() {
    let base = library("-", ADDS_NOTHING);
    let files = [MANIFEST, LOCK, ("src/lib.rs", base.as_str())];
    let fixed = library("+", &format!("{ADDS_NOTHING}\n{ADDS}"));
    let verdict = judge(CARGO, &files, &[("src/lib.rs", &fixed)], every_defence()).await;
    let Verdict::Verified(verified) = &verdict else { panic!("{verdict:#?}") };
    let proof: Vec<&str> = verified.proof().unwrap().iter().map(|test| test.0.as_str()).collect();
    assert!(proof.len() == 1 && proof[0].contains("tests::adds"), "{proof:?}");
    assert_eq!(verified.flags(), []);
}

#[tokio::test]
async fn weakened_doctest_of_python_is_refused() {
    let source = |operator: &str, expected: &str| {
        format!(
            "def add(a, b):\n    \"\"\"\n    >>> add(2, 2)\n    {expected}\n    \"\"\"\n    return a {operator} b\n"
        )
    };
    let test = "import doctest\nimport unittest\nimport calc\n\n\ndef load_tests(loader, tests, pattern):\n    \
                tests.addTests(doctest.DocTestSuite(calc))\n    return tests\n";
    let (base, weakened) = (source("-", "4"), source("-", "0"));
    let files = [("calc.py", base.as_str()), INIT, ("tests/test_calc.py", test)];
    let verdict = judge(UNITTEST, &files, &[("calc.py", &weakened)], every_defence()).await;
    assert_rejected(&verdict, "the tests in calc.py");
    let fixed = source("+", "4");
    flags_of(&judge(UNITTEST, &files, &[("calc.py", &fixed)], every_defence()).await);
}

#[tokio::test]
async fn mutants_of_the_changed_lines_show_what_the_tests_notice() {
    let test = "import unittest\nimport calc\n\n\nclass A(unittest.TestCase):\n    def test_over(self):\n        \
                self.assertFalse(calc.over(4))\n";
    let files = [("calc.py", "def over(a):\n    return a >= 4\n"), INIT, ("tests/test_a.py", test)];
    let fix = [("calc.py", "def over(a):\n    return a > 4\n")];
    let settings = JobSettings::of_test_command(UNITTEST);
    let verdict = judge_with(settings.clone(), &files, &fix, every_defence()).await;
    assert_eq!(flags_of(&verdict), []);
    let text = explanation(&verdict);
    assert!(
        text.contains("catch 1 of 2 (") && text.contains("Not noticed: `calc.py` line 2: `4` → `5`."),
        "{text}"
    );
    let off = JobSettings { mutants: false, ..settings };
    let verdict = judge_with(off, &files, &fix, every_defence()).await;
    assert!(!explanation(&verdict).contains("Mutants"), "{verdict:#?}");
}

#[tokio::test]
async fn proof_that_notices_no_mutant_is_flagged() {
    let marker = "import os\nimport unittest\n\n\nclass B(unittest.TestCase):\n    def test_fixed(self):\n        \
                  self.assertTrue(os.path.exists('fixed.txt'))\n";
    let files = [("calc.py", ADD_WRONG), INIT, TEST_ZERO];
    let useless = "def add(a, b):\n    return b - a\n";
    let changes = [("calc.py", useless), ("fixed.txt", "yes\n"), ("tests/test_b.py", marker)];
    // Otherwise the file alone would be seen to make the test pass.
    let defences = Defences { unchanged_source: false, ..every_defence() };
    let verdict = judge_with(JobSettings::of_test_command(UNITTEST), &files, &changes, defences).await;
    assert!(flags_of(&verdict).contains(&Flag::NoMutantCaught { count: 2 }), "{verdict:#?}");
}
