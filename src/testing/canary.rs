//! A failing test in the spelling of each runner, put into an existing test file: it shows whether the run
//! reports a test that fails. A table; nothing is run here.

use crate::domain::{JobSettings, RepoPath, ReportFormat};

use super::recognition::recognise;
use super::runners::Runner;

/// A test file with tests in it that must fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryTests {
    /// The file's content, with the tests.
    pub content: String,
    /// The tests' names, or parts of them.
    pub names: Vec<String>,
    /// How a report names them.
    pub naming: CanaryNaming,
}

/// How a report names added tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryNaming {
    /// A test's name contains one of the names.
    Within,
    /// The same, or the report names only the file.
    OrFile,
    /// The test's name is one of the names.
    Exact,
}

impl CanaryTests {
    /// Whether a report's test `test` is the added one called `name`, in the file at `path`.
    pub fn is_named(&self, test: &str, name: &str, path: &RepoPath) -> bool {
        match self.naming {
            CanaryNaming::Within => test.contains(name),
            CanaryNaming::OrFile => test.contains(name) || test.contains(path.as_str()),
            CanaryNaming::Exact => test == name,
        }
    }
}

/// How the tests of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Pytest,
    Unittest,
    NodeTest,
    Jest,
    Vitest,
    Mocha,
    Go,
    Rust,
    Rspec,
    Phpunit,
    Junit,
    Prove,
    /// A program of its own, whose exit code is the result.
    Main,
}

/// Adds tests that must fail to the test file `content` at `path`. `formats` are those of the base's report.
/// `token` makes the names: lower-case letters that nobody can guess. `None`: it is not known how tests are
/// written there.
pub fn canary(
    settings: &JobSettings,
    package_json: Option<&[u8]>,
    formats: &[ReportFormat],
    path: &RepoPath,
    content: &str,
    token: &str,
) -> Option<CanaryTests> {
    let runner = recognise(&settings.test_command, package_json).map(|found| found.runner);
    let style = style(runner, formats, path.as_str(), content)?;
    let capital = capitalised(token);
    let (code, names): (String, Vec<String>) = match style {
        Style::Pytest => (
            format!(
                "\n\ndef test_{token}_plain():\n    assert [1] == [2]\n{}",
                python_class(token, &capital)
            ),
            endings(token, &["_plain", "_equal", "_true"]),
        ),
        Style::Unittest => (python_class(token, &capital), endings(token, &["_equal", "_true"])),
        Style::NodeTest => {
            let (test, assert, imports) = node_imports(token, content, path.as_str());
            (
                format!("\n{imports}{}", assertions(&test, &assert, token)),
                endings(token, &["_strict", "_deep", "_ok"]),
            )
        }
        Style::Jest => (
            format!(
                "\ntest('{token}_be', () => {{ expect(1).toBe(2); }});\ntest('{token}_equal', () => {{ \
                 expect([1]).toEqual([2]); }});\n"
            ),
            endings(token, &["_be", "_equal"]),
        ),
        Style::Vitest => (
            format!(
                "\nimport {{ test as test_{token}, expect as expect_{token} }} from 'vitest';\ntest_{token}('{token}_be', \
                 () => {{ expect_{token}(1).toBe(2); }});\ntest_{token}('{token}_equal', () => {{ \
                 expect_{token}([1]).toEqual([2]); }});\n"
            ),
            endings(token, &["_be", "_equal"]),
        ),
        Style::Mocha => {
            let (_, assert, imports) = node_imports(token, content, path.as_str());
            let imports: String = imports.lines().filter(|line| line.contains("assert")).collect();
            let mut code = format!("\n{imports}\n{}", assertions("it", &assert, token));
            let mut names = endings(token, &["_strict", "_deep", "_ok"]);
            if content.contains("chai") && content.contains("expect(") {
                code.push_str(&format!("it('{token}_expect', () => {{ expect(1).to.equal(2); }});\n"));
                names.push(format!("{token}_expect"));
            }
            (code, names)
        }
        Style::Go => go(token, &capital, content),
        Style::Rust => (
            format!(
                "\n#[cfg(test)]\nmod {token} {{\n    #[test]\n    fn {token}_equal() {{\n        assert_eq!(1, 2);\n    \
                 }}\n\n    #[test]\n    fn {token}_true() {{\n        assert!([1] == [2]);\n    }}\n}}\n"
            ),
            endings(token, &["_equal", "_true"]),
        ),
        Style::Rspec => (
            format!(
                "\nRSpec.describe '{token}' do\n  it '{token}_eq' do\n    expect(1).to eq(2)\n  end\n\n  it '{token}_be' do\n    \
                 expect(false).to be(true)\n  end\nend\n"
            ),
            endings(token, &["_eq", "_be"]),
        ),
        Style::Phpunit => (
            format!(
                "\n    public function test{capital}Same(): void\n    {{\n        $this->assertSame(1, 2);\n    }}\n\n    public \
                 function test{capital}True(): void\n    {{\n        $this->assertTrue(false);\n    }}\n"
            ),
            endings(&capital, &["Same", "True"]),
        ),
        Style::Junit => junit(&capital, content, path.as_str().ends_with(".kt")),
        // The test is named as the program is, by custom as its file.
        Style::Main => (
            "\n#undef main\nint main(void)\n{\n    return 1;\n}\n".to_owned(),
            path.as_str()
                .rsplit('/')
                .next()
                .and_then(|name| name.split('.').next())
                .map(str::to_owned)
                .into_iter()
                .collect(),
        ),
        Style::Prove => (
            format!("Test::More::is(1, 2, '{token}_is');\nTest::More::ok(0, '{token}_ok');\n"),
            endings(token, &["_is", "_ok"]),
        ),
    };
    let at = position(style, content)?;
    let (before, after) = content.split_at(at);
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let is_main = style == Style::Main;
    let start = if is_main { format!("#define main original_{token}\n") } else { String::new() };
    let content = format!("{start}{before}{gap}{code}{after}");
    let naming = match style {
        Style::Prove => CanaryNaming::OrFile,
        Style::Main => CanaryNaming::Exact,
        _ => CanaryNaming::Within,
    };
    Some(CanaryTests { content, names, naming })
}

fn style(runner: Option<Runner>, formats: &[ReportFormat], path: &str, content: &str) -> Option<Style> {
    let (_, extension) = path.rsplit_once('.')?;
    let is = |wanted: Runner, format: ReportFormat| runner == Some(wanted) || formats.contains(&format);
    match extension {
        "py" if is(Runner::Unittest, ReportFormat::Unittest) => Some(Style::Unittest),
        "py" => Some(Style::Pytest),
        "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" => {
            if content.contains("node:test") || is(Runner::Node, ReportFormat::NodeTest) {
                Some(Style::NodeTest)
            } else if content.contains("'vitest'") || content.contains("\"vitest\"") {
                Some(Style::Vitest)
            } else if is(Runner::Jest, ReportFormat::Jest) || is(Runner::Vitest, ReportFormat::Vitest) {
                Some(Style::Jest)
            } else if is(Runner::Mocha, ReportFormat::Mocha) {
                Some(Style::Mocha)
            } else {
                None
            }
        }
        "rs" => Some(Style::Rust),
        "go" if path.ends_with("_test.go") => Some(Style::Go),
        "rb" if path.ends_with("_spec.rb") => Some(Style::Rspec),
        "php" if content.contains("TestCase") => Some(Style::Phpunit),
        "java" | "kt" if content.contains("org.junit") => Some(Style::Junit),
        "t" if content.contains("Test::More") => Some(Style::Prove),
        "c" | "cc" | "cpp" | "cxx" if is(Runner::Ctest, ReportFormat::Ctest) && content.contains("main(") => {
            Some(Style::Main)
        }
        _ => None,
    }
}

/// Where the tests are put: the end, or before what ends the class or the run.
fn position(style: Style, content: &str) -> Option<usize> {
    let line =
        |word: &str| content.match_indices(word).map(|(at, _)| at).find(|at| is_line_start(content, *at));
    match style {
        Style::Pytest | Style::Unittest => Some(line("if __name__").unwrap_or(content.len())),
        Style::Prove => Some(line("done_testing").or_else(|| line("__END__")).unwrap_or(content.len())),
        Style::Phpunit | Style::Junit => content.rfind('}'),
        Style::NodeTest
        | Style::Jest
        | Style::Vitest
        | Style::Mocha
        | Style::Go
        | Style::Rust
        | Style::Rspec
        | Style::Main => Some(content.len()),
    }
}

fn is_line_start(content: &str, at: usize) -> bool {
    at == 0 || content.as_bytes()[at - 1] == b'\n'
}

fn endings(stem: &str, endings: &[&str]) -> Vec<String> {
    endings.iter().map(|ending| format!("{stem}{ending}")).collect()
}

fn capitalised(token: &str) -> String {
    let mut letters = token.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn python_class(token: &str, capital: &str) -> String {
    format!(
        "\n\nimport unittest as unittest_{token}\n\n\nclass {capital}Test(unittest_{token}.TestCase):\n    def \
         test_{token}_equal(self):\n        self.assertEqual(1, 2)\n\n    def test_{token}_true(self):\n        \
         self.assertTrue(False)\n\n\n"
    )
}

/// The names of the test function and of the assertions, and the lines that import them.
fn node_imports(token: &str, content: &str, path: &str) -> (String, String, String) {
    let is_import = |line: &str| {
        line.starts_with("import ") || line.starts_with("import{") || line.starts_with("export ")
    };
    let is_module = path.ends_with(".mjs") || (!path.ends_with(".cjs") && content.lines().any(is_import));
    let (test, assert) = (format!("test_{token}"), format!("assert_{token}"));
    let imports = match is_module {
        true => format!("import {test} from 'node:test';\nimport {assert} from 'node:assert';\n"),
        false => format!("const {test} = require('node:test');\nconst {assert} = require('node:assert');\n"),
    };
    (test, assert, imports)
}

fn assertions(test: &str, assert: &str, token: &str) -> String {
    format!(
        "{test}('{token}_strict', () => {{ {assert}.strictEqual(1, 2); }});\n{test}('{token}_deep', () => {{ \
         {assert}.deepStrictEqual([1], [2]); }});\n{test}('{token}_ok', () => {{ {assert}.ok(false); }});\n"
    )
}

fn go(token: &str, capital: &str, content: &str) -> (String, Vec<String>) {
    let mut code = format!("\nfunc Test{capital}Plain(t *testing.T) {{\n\tt.Errorf(\"{token}\")\n}}\n");
    let mut names = vec![format!("Test{capital}Plain")];
    for (package, name) in [("assert", "Assert"), ("require", "Require")] {
        if content.contains(&format!("testify/{package}\"")) && content.contains(&format!("{package}.")) {
            code.push_str(&format!(
                "\nfunc Test{capital}{name}(t *testing.T) {{\n\t{package}.Equal(t, 1, 2)\n}}\n"
            ));
            names.push(format!("Test{capital}{name}"));
        }
    }
    (code, names)
}

fn junit(capital: &str, content: &str, is_kotlin: bool) -> (String, Vec<String>) {
    let (annotation, assertions) = match content.contains("org.junit.jupiter") {
        true => ("org.junit.jupiter.api.Test", "org.junit.jupiter.api.Assertions"),
        false => ("org.junit.Test", "org.junit.Assert"),
    };
    let method = if is_kotlin { "fun" } else { "public void" };
    let end = if is_kotlin { "" } else { ";" };
    let test = |name: &str, assertion: &str| {
        format!(
            "\n    @{annotation}\n    {method} test{capital}{name}() {{\n        {assertions}.{assertion}{end}\n    }}\n"
        )
    };
    let code = format!("{}{}", test("Equal", "assertEquals(1, 2)"), test("True", "assertTrue(false)"));
    (code, endings(&format!("test{capital}"), &["Equal", "True"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(command: &str, path: &str, content: &str) -> Option<CanaryTests> {
        let settings = JobSettings::of_test_command(command);
        canary(&settings, None, &[], &path.parse().unwrap(), content, "abcd")
    }

    #[test]
    fn failing_tests_are_written_in_the_spelling_of_the_file() {
        let cases = [
            ("pytest", "tests/test_a.py", "def test_a(): pass\n", "assert [1] == [2]", "abcd_plain"),
            ("python -m unittest", "tests/test_a.py", "", "self.assertEqual(1, 2)", "abcd_equal"),
            ("node --test", "a.test.js", "", "assert_abcd.strictEqual(1, 2)", "abcd_strict"),
            ("sh t.sh", "a.test.mjs", "import test from 'node:test';\n", "from 'node:assert'", "abcd_ok"),
            ("jest", "a.test.js", "", "expect(1).toBe(2)", "abcd_be"),
            ("vitest", "a.test.ts", "import { it } from 'vitest'\n", "expect_abcd(1).toBe(2)", "abcd_be"),
            ("vitest", "a.test.ts", "", "expect(1).toBe(2)", "abcd_equal"),
            (
                "mocha",
                "test/a.js",
                "const { expect } = require('chai')\nexpect(1)\n",
                "to.equal(2)",
                "abcd_expect",
            ),
            ("go test ./...", "a_test.go", "package a\n", "t.Errorf(", "TestAbcdPlain"),
            ("cargo test", "src/lib.rs", "fn a() {}\n", "assert_eq!(1, 2)", "abcd_equal"),
            ("cargo nextest run", "tests/a.rs", "", "assert!([1] == [2])", "abcd_true"),
            ("rspec", "spec/a_spec.rb", "", "expect(1).to eq(2)", "abcd_eq"),
            ("phpunit", "ATest.php", "class ATest extends TestCase {\n}\n", "assertSame(1, 2)", "AbcdSame"),
            (
                "mvn test",
                "ATest.java",
                "import org.junit.Test;\nclass A {\n}\n",
                "org.junit.Assert.",
                "testAbcdEqual",
            ),
            (
                "gradle test",
                "ATest.kt",
                "import org.junit.jupiter.api.Test\nclass A {\n}\n",
                "fun ",
                "testAbcdTrue",
            ),
            ("prove -l", "t/a.t", "use Test::More;\n", "Test::More::is(1, 2", "abcd_is"),
        ];
        for (command, path, content, code, name) in cases {
            let canary = added(command, path, content).unwrap_or_else(|| panic!("{command}"));
            assert!(canary.content.contains(code), "{command}: {}", canary.content);
            assert!(canary.names.iter().any(|known| known == name), "{command}: {:?}", canary.names);
            let by_file = canary.is_named(path, name, &path.parse().unwrap());
            assert_eq!(by_file, command == "prove -l", "{command}");
            let all = ["abcd", "Abcd"];
            assert!(
                canary.names.iter().all(|name| all.iter().any(|token| name.contains(token))),
                "{command}"
            );
        }
        for (command, path) in
            [("ctest", "tests/a.c"), ("make check", "tests/a.sh"), ("sh t.sh", "test/a.js")]
        {
            assert_eq!(added(command, path, ""), None, "{path}");
        }
    }

    #[test]
    fn program_that_is_a_test_fails_in_a_main_function_of_its_own() {
        let canary = added("ctest", "tests/sums.c", "int main(void)\n{\n    return 0;\n}\n").unwrap();
        assert_eq!(canary.names, ["sums"]);
        insta::assert_snapshot!(canary.content, @r"
        #define main original_abcd
        int main(void)
        {
            return 0;
        }

        #undef main
        int main(void)
        {
            return 1;
        }
        ");
    }

    #[test]
    fn failing_tests_stand_before_what_ends_the_file() {
        let python = "import unittest\n\nif __name__ == '__main__':\n    unittest.main()\n";
        let content = added("python -m unittest", "test_a.py", python).unwrap().content;
        assert!(content.ends_with("if __name__ == '__main__':\n    unittest.main()\n"), "{content}");
        let perl = added("prove", "t/a.t", "use Test::More;\nok(1);\ndone_testing;\n").unwrap().content;
        assert!(perl.ends_with("'abcd_ok');\ndone_testing;\n"), "{perl}");
        let java =
            added("mvn test", "A.java", "import org.junit.Test;\nclass A {\n    void a() {}\n}\n").unwrap();
        assert!(java.content.ends_with("    }\n}\n"), "{}", java.content);
    }
}
