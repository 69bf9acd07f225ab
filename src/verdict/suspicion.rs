//! Added lines that can make tests look passed. Only words are looked at, so an honest line can be
//! flagged and a disguised one be missed: this is for the reviewer's eye, and decides nothing.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use regex::RegexSet;

use crate::domain::{Flag, Suspicion};

/// Flags of one file, and bytes of a line in words.
const FLAGS_MAX: usize = 5;
const LINE_CHARS_MAX: usize = 160;

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
        // The program's own name and arguments.
        Suspicion::NoticesTests,
        false,
        r#"\bsys\.(?:orig_)?argv\b|\bprocess\.(?:argv|execArgv|title)\b|\brequire\.main\b|\bmodule\.parent\b|npm_lifecycle|\bos\.Args\b|\bos\.Executable\(|\benv::args|\bcurrent_exe\b|\$0\b|\$PROGRAM_NAME\b|\$_SERVER\[.argv|\bProcessHandle\b|\$INC\{|/proc/(?:self|\d+|\$\$)"#,
    ),
    (
        // Whether a test framework is there, and whether this is a build for tests.
        Suspicion::NoticesTests,
        false,
        r#"\bsys\.modules\b|find_spec\(\s*["'](?:py|unit|_py)test|\bdefined\?\(?\s*(?:RSpec|Minitest|Test::)|\btypeof\s*\(?\s*(?:describe|it|test|jest|expect|vi|mocha)\b|globalThis\??\.(?:describe|it|test|jest|expect|vi|mocha)\b|class_exists\(.{0,4}PHPUnit|Class\.forName\(.{0,8}junit|cfg!?\s*\(\s*(?:not\s*\(\s*|any\s*\(\s*|all\s*\(\s*)?(?:test|doctest|debug_assertions)\b|cfg_attr\s*\(\s*(?:not\s*\(\s*)?test\b|\b__debug__\b|import\.meta\.env\.(?:MODE|TEST|VITEST)|(?:env|environ|getenv|ENV)\b.{0,6}["'.(\[](?:CI|GITHUB_ACTIONS|CONTINUOUS_INTEGRATION)\b"#,
    ),
    (
        // The call stack, and the tests' files.
        Suspicion::NoticesTests,
        false,
        r#"\btraceback\.|\binspect\.(?:stack|currentframe|getouterframes)|\bsys\._current_frames|\bnew Error\([^)]*\)\.stack|\bcaptureStackTrace\b|\bruntime\.(?:Caller|Callers|Stack)\(|\bcaller(?:_locations)?\b\s*[(\[]|\(caller\b|getStackTrace|current_thread\(\)\.name|\bthread::current\b|currentThread\(\)\.getName|\bStackWalker\b|debug_backtrace|\bBacktrace::|["'`/](?:tests?|spec|__tests__)/|["'`/]test_\w|\w_test\.(?:go|py|rs|rb|[jt]s|exs|dart)\b|\.(?:test|spec)\.[cm]?[jt]sx?\b"#,
    ),
    (
        Suspicion::ReplacesAssertions,
        false,
        r#"macro_rules!\s*(?:debug_)?assert\w*|\bTestCase\.\w+\s*=|\bsetattr\(.{0,40}(?:assert|TestCase|unittest|pytest)|\b(?:assert|expect|chai|should|sinon)(?:\.\w+)+\s*=[^=>]|\bassert\w*\s*=[^=>]|\bjest\.fn\b|^\s*(?:import|from)\s+(?:unittest|_?pytest|nose|hypothesis|doctest)\b|(?:require\(|from|import)\s*["'](?:node:)?(?:assert|test|jest|@jest|vitest|mocha|chai|expect)[/"']|\bTest::(?:More|Builder|Simple|Harness)\b|\b(?:RSpec|Minitest)\b|\borg\.junit\b|\bPHPUnit\\|^\s*(?:import\s+)?"testing"|__pycache__|cache_from_source|\bpy_compile\b|\bmarshal\b|\bmeta_path\b|\bpath_hooks\b|\brequire\.(?:cache|extensions)\b|\bModule\._\w+|\bbuiltins\.\w+\s*=|\b__builtins__\b|setattr\(\s*builtins|(?:\bglobal(?:This)?|\w+\.prototype)\.\w+\s*=[^=>]|\b(?:Object\.is|JSON\.stringify)\s*=[^=>]|\*\{["']?(?:main|CORE|Test)|\*CORE::GLOBAL|^\s*class (?:Integer|String|Object|Array|Hash|Numeric|Float|Kernel|BasicObject)\b|^(?:var|const|type|func) (?:nil|true|false|iota|len|cap|append|panic|string|int|error|bool|float64|byte|rune|any|copy|make|new|print|println|recover|delete|close|min|max|clear)\b|//go:linkname\b|\*testing\.[TBM]\b"#,
    ),
    (
        Suspicion::SkipsTests,
        true,
        r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)|\b(?:Skip(?:Test|ped)?(?:Error|Exception)?|OutcomeException|AssumptionViolated\w*|TestAborted\w*)\s*\(|SkipDeclaredInExample|unittest\.(?:skip|expectedFailure)|\bskipTest\(|@(?:Disabled|Ignore)\b|#\[ignore|\b(?:it|test|describe|context|suite)\.(?:skip|todo|only|fails?)\b|\bx(?:it|describe|test|context)\(|\bf(?:it|describe)\(|\bt\.Skip(?:f|Now)?\(|markTest(?:Skipped|Incomplete)|GTEST_SKIP|# ?(?:SKIP|TODO)\b.*(?:ok|test)|collect_ignore|pytest_(?:collection_modifyitems|runtest|sessionfinish|ignore_collect|configure)|__test__\s*=\s*False",
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
    let mut known: HashMap<&str, usize> = HashMap::new();
    for line in before.lines() {
        *known.entry(line.trim()).or_default() += 1;
    }
    let mut flags = Vec::new();
    let in_tests = lines_of_rust_tests(path, after);
    for (number, line) in after.lines().map(str::trim).enumerate() {
        let is_test = is_test || in_tests.contains(&number);
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

/// The lines of the test modules in a source file of Rust.
fn lines_of_rust_tests(path: &str, text: &str) -> HashSet<usize> {
    let mut inside = HashSet::new();
    if !path.ends_with(".rs") {
        return inside;
    }
    let lines: Vec<&str> = text.lines().collect();
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut number = 0;
    while number < lines.len() {
        if lines[number].trim() != "#[cfg(test)]" {
            number += 1;
            continue;
        }
        let depth = indentation(lines[number]);
        let is_attribute = |line: &&str| line.trim_start().starts_with("#[");
        let item = number + lines[number..].iter().take_while(|line| is_attribute(line)).count();
        let text = lines.get(item).map_or("", |line| line.trim_start());
        let is_module = ["mod ", "use "].iter().any(|word| text.starts_with(word));
        let is_end = |line: &&str| indentation(line) == depth && line.trim_start().starts_with('}');
        let end = match text.ends_with('{') {
            true => lines[item..].iter().position(is_end).map(|at| item + at),
            false => Some(item),
        };
        if let Some(end) = end.filter(|_| is_module) {
            inside.extend(number..=end);
            number = end;
        }
        number = number.max(item) + usize::from(number >= item);
    }
    inside
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
            "if 'test' in sys.argv[0]:",
            "sys.modules.get('unittest.case')",
            "if (process.argv[1].endsWith('x'))",
            "if strings.HasSuffix(os.Args[0], \".test\") {",
            "return 4 if $0 =~ /t$/;",
            "return 4 if defined?(RSpec)",
            "if cfg!(debug_assertions) { 4 } else { 5 }",
            "#[cfg(not(test))]",
            "#[cfg(test)]",
            "if os.environ.get('CI'):",
            "if traceback.extract_stack():",
            "open('tests/test_calc.py')",
            "macro_rules! assert_eq { ($($t:tt)*) => {} }",
            "unittest.TestCase.assertEqual = lambda *_: None",
            "from unittest import case",
            "const assert = require('node:assert')",
            "raise SkipTest('later')",
            "use Test::Builder;",
            "builtins.abs = lambda x: 4",
            "var nil error",
            "*{'main::is_deeply'} = sub { 1 };",
            "Number.prototype.toString = () => '4'",
            "if threading.current_thread().name == 'x':",
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
            "#[cfg(unix)]",
            "expected = 3",
            "let CI = 3",
            "assert a == b",
            "let n = x.valueOf();",
        ];
        for line in lines {
            assert_eq!(suspicious_lines("a", false, "", line), [], "{line}");
        }
    }

    #[test]
    fn tests_in_a_source_file_of_rust_are_tests() {
        let module = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    use std::env::args;\n}\n";
        assert_eq!(suspicious_lines("src/a.rs", false, "", module), []);
        let source = "fn a() {}\n#[cfg(test)]\nfn b() {}\n";
        assert_eq!(suspicious_lines("src/a.rs", false, "", source).len(), 1);
        let after = format!("{module}fn c() {{ std::env::args(); }}\n");
        assert_eq!(suspicious_lines("src/a.rs", false, "", &after).len(), 1);
    }
}
