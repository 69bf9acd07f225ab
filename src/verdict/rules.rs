//! The protected paths, and the paths that count as tests.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::path_kinds::{is_code, tests_are_parsed};
use crate::domain::{JobSettings, RepoPath};
use crate::testing::format_of_command;

/// Paths that decide what runs with secrets, who reviews, or how agents behave. GitHub refuses
/// `.github/workflows` from an App without that permission; it is refused here first.
const PROTECTED: &[&str] = &[
    ".github/**",
    "**/CODEOWNERS",
    "**/AGENTS.md",
    "**/CLAUDE.md",
    "**/GEMINI.md",
    "**/.cursorrules",
    ".cursor/**",
    ".claude/**",
    "**/.gitmodules",
    "**/.gitattributes",
    ".gitlab-ci.yml",
    ".circleci/**",
    ".travis.yml",
    "azure-pipelines.yml",
    "Jenkinsfile",
    ".devcontainer/**",
];

/// Where common frameworks look for tests.
const TESTS: &[&str] = &[
    "**/tests/**",
    "**/test/**",
    "**/testing/**",
    "**/__tests__/**",
    "**/spec/**",
    "**/specs/**",
    "**/testdata/**",
    "**/test_*.py",
    "**/*_test.py",
    "**/tests.py",
    "**/conftest.py",
    "**/*_test.go",
    "**/*.test.{js,jsx,ts,tsx,mjs,cjs}",
    "**/*.spec.{js,jsx,ts,tsx,mjs,cjs}",
    "**/*_spec.rb",
    "**/*_test.rb",
    "**/*Test.{java,kt,php}",
    "**/*Tests.{java,kt,cs}",
    "**/*_test.{c,cc,cpp,rs}",
    "**/test_*.{c,cc,cpp,sh}",
    "**/tests.rs",
    "**/t/**/*.t",
    // For runners that name no test, and for what lies beside tests.
    "**/{test,tests}.{js,mjs,cjs,ts,rb,pl,lua,exs,dart,jl,nim}",
    "**/*{-,_}test.{js,jsx,ts,tsx,mjs,cjs,exs,dart,lua,swift,jl,clj,cljs,erl}",
    "**/test-*.{js,ts,mjs,cjs}",
    "**/*.{bats,cy.js,cy.ts,cy.jsx,cy.tsx,feature,snap}",
    "**/{__snapshots__,e2e,fixtures}/**",
    "**/*Test.{cs,scala,swift,groovy}",
    "**/*Tests.{swift,scala}",
    "**/*Spec.{scala,kt,groovy,hs,java}",
];

fn set(globs: impl Iterator<Item = impl AsRef<str>>) -> GlobSet {
    set_of(&[], globs)
}

/// `names`: globs in which `*` stands for a part of one name only.
fn set_of(names: &[&str], globs: impl Iterator<Item = impl AsRef<str>>) -> GlobSet {
    let mut builder = GlobSetBuilder::new();
    for name in names {
        if let Ok(glob) = GlobBuilder::new(name).literal_separator(true).build() {
            builder.add(glob);
        }
    }
    for glob in globs {
        // A repository's own globs were checked when its configuration was read.
        if let Ok(glob) = Glob::new(glob.as_ref()) {
            builder.add(glob);
        }
    }
    builder.build().unwrap_or_else(|_| GlobSet::empty())
}

/// The first path that a proposal may not touch, if there is one. Letter case does not count: some
/// file systems, and GitHub for CODEOWNERS, ignore it.
pub fn forbidden_path<'a>(settings: &JobSettings, paths: &'a [RepoPath]) -> Option<&'a RepoPath> {
    let extra = settings.protected_paths.iter().map(String::as_str);
    let protected = set(PROTECTED.iter().copied().chain(extra).map(str::to_lowercase));
    paths.iter().find(|path| protected.is_match(path.as_str().to_lowercase()))
}

/// Recognises test files.
pub struct TestPaths(GlobSet);

impl TestPaths {
    pub(super) fn new(settings: &JobSettings) -> Self {
        Self::with(&settings.test_paths)
    }

    /// The usual places, and a repository's own globs.
    pub fn with(extra: &[String]) -> Self {
        Self(set_of(TESTS, extra.iter()))
    }

    /// Whether a path is a test's.
    pub fn contains(&self, path: &RepoPath) -> bool {
        self.0.is_match(path.as_str())
    }
}

/// Directories that hold tests in one repository, and a part of the source in another.
const AMBIGUOUS: &[&str] = &["test", "testing", "spec", "specs", "fixtures", "e2e"];

/// Whether only the name of a directory below another one makes a file a test's: `shop/spec/parser.py`.
pub(super) fn is_ambiguous_place(settings: &JobSettings, path: &RepoPath) -> bool {
    let parts: Vec<&str> = path.parts().collect();
    let [top, directories @ .., name] = parts.as_slice() else { return false };
    // A command of a tool can be called so.
    let is_called_test = name.split('.').next().is_some_and(|stem| matches!(stem, "test" | "tests"));
    let is_test_directory = |name: &&str| {
        AMBIGUOUS.contains(name) || matches!(*name, "tests" | "__tests__" | "testdata" | "__snapshots__")
    };
    let by_name = name.parse::<RepoPath>().is_ok_and(|name| TestPaths::new(settings).contains(&name));
    let below_tests = directories.iter().any(|name| is_test_directory(name) && !AMBIGUOUS.contains(name));
    !is_test_directory(top)
        && !below_tests
        && (is_called_test || !by_name && directories.iter().any(|name| AMBIGUOUS.contains(name)))
}

/// Files that decide how tests are collected and run, and hardly ever anything else.
const HARNESS: &[&str] = &[
    "**/conftest.py",
    "**/pytest.ini",
    "**/tox.ini",
    "**/setup.cfg",
    "**/sitecustomize.py",
    "**/usercustomize.py",
    "{pytest,unittest,_pytest,pluggy}.py",
    "{pytest,unittest,_pytest,pluggy}/**",
    "**/{jest,vitest,karma}.{config,conf}.*",
    "**/.mocharc*",
    "**/.rspec",
    "**/phpunit.xml*",
    "**/nextest.toml",
    "**/.cargo/config*",
    "**/{Makefile,makefile,GNUmakefile,justfile,noxfile.py,package.json}",
    "**/{CTestTestfile.cmake,CTestCustom.cmake,.proverc,.phpunit.xml}",
];

/// Programs that read source files which are named to them, besides test runners.
const CHECKERS: &[&str] = &[
    "biome",
    "black",
    "cat",
    "clang-format",
    "coverage",
    "eslint",
    "flake8",
    "gofmt",
    "grep",
    "isort",
    "ls",
    "mypy",
    "phpstan",
    "prettier",
    "pylint",
    "pyright",
    "rubocop",
    "ruff",
    "rustfmt",
    "shellcheck",
    "standard",
    "test",
    "tsc",
    "xo",
];
/// What runs another program.
const LAUNCHERS: &[&str] =
    &["env", "exec", "time", "nice", "timeout", "npx", "bunx", "xvfb-run", "poetry", "uv", "run"];

/// Whether the test command may run the file at `path`. `extensions`: of the source that the tests are about. Such a file
/// can also be read by a checker, or by a runner for the tests in it.
pub(super) fn is_program_of_command(
    settings: &JobSettings,
    path: &RepoPath,
    extensions: Option<&[&str]>,
) -> bool {
    let is_source = path.as_str().rsplit_once('.').is_some_and(|(_, extension)| {
        extensions.map_or_else(|| is_code(extension), |known| known.contains(&extension))
    });
    let names_it = |word: &str| word.trim_start_matches("./").trim_matches(['"', '\'']) == path.as_str();
    settings.test_command.split([';', '&', '|', '(', ')', '\n']).any(|command| {
        let words: Vec<&str> = command.split_whitespace().collect();
        // Assignments, launchers and their numbers.
        let is_before = |word: &&&str| {
            word.contains('=') || LAUNCHERS.contains(word) || word.chars().all(|c| c.is_ascii_digit())
        };
        let start = words.iter().take_while(is_before).count();
        let program = words.get(start).map_or("", |word| word.rsplit('/').next().unwrap_or(word));
        // A runner that is given source for the tests in it: these are put back by themselves.
        let is_runner = tests_are_parsed(path) && format_of_command(command, None).is_some();
        let reads_only = is_runner
            || CHECKERS.contains(&program)
            || words.iter().skip(start).any(|word| matches!(*word, "-m" | "--check"));
        let is_named =
            |word: &&str| names_it(word) || word.split_once('=').is_some_and(|(_, value)| names_it(value));
        words.iter().any(is_named) && !(is_source && reads_only)
    })
}

/// Whether a path decides how tests are collected and run.
pub(super) fn is_harness(path: &RepoPath) -> bool {
    set(HARNESS.iter().copied()).is_match(path.as_str())
}

#[cfg(test)]
pub(super) fn settings_for_tests() -> JobSettings {
    JobSettings {
        protected_paths: vec!["deploy/**".into()],
        test_paths: vec!["checks/**".into()],
        ..JobSettings::of_test_command("true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powerful_paths_are_protected_in_any_spelling() {
        let settings = settings_for_tests();
        let forbidden = [
            ".github/workflows/ci.yml",
            ".GitHub/workflows/ci.yml",
            "CODEOWNERS",
            "docs/codeowners",
            "AGENTS.md",
            "sub/CLAUDE.md",
            ".gitmodules",
            "deploy/prod.sh",
            "Deploy/prod.sh",
            ".github/agent-fix.yml",
        ];
        for path in forbidden {
            let paths = ["src/a.rs".parse().unwrap(), path.parse().unwrap()];
            let found = forbidden_path(&settings, &paths).map(RepoPath::as_str);
            assert_eq!(found, Some(path), "{path}");
        }
        let harmless = ["src/github/mod.rs".parse().unwrap(), "docs/agents.md.txt".parse().unwrap()];
        assert_eq!(forbidden_path(&settings, &harmless), None);
    }

    #[test]
    fn what_decides_how_tests_run_is_recognised() {
        let is = |path: &str| is_harness(&path.parse().unwrap());
        assert!(is("conftest.py") && is("pytest.ini") && is("web/vitest.config.ts"));
        assert!(!is("tests/test_new.py") && !is("src/lib.rs"));
        let settings = JobSettings::of_test_command("sh ./run.sh --all");
        let runs = |settings: &JobSettings, path: &str| {
            is_program_of_command(settings, &path.parse().unwrap(), Some(&["py"]))
        };
        assert!(runs(&settings, "run.sh") && !runs(&settings, "lib.sh"));
        let checked = JobSettings::of_test_command("python3 -m py_compile calc.py && python3 check.py");
        assert!(runs(&checked, "check.py") && !runs(&checked, "calc.py"));
        for command in [
            "python3 -u check.py",
            "PYTHONPATH=src ./check.py",
            "python3.12 check.py",
            "timeout 60 ./check.py",
            "tsx check.py",
        ] {
            assert!(runs(&JobSettings::of_test_command(command), "check.py"), "{command}");
        }
        let javascript = JobSettings::of_test_command("node --test calc.js");
        assert!(is_program_of_command(&javascript, &"calc.js".parse().unwrap(), Some(&["js"])));
        for command in [
            "pytest -q calc.py tests",
            "ruff check calc.py",
            "python3 -m doctest -v calc.py",
            "mypy calc.py && true",
        ] {
            assert!(!runs(&JobSettings::of_test_command(command), "calc.py"), "{command}");
        }
    }

    #[test]
    fn directory_below_another_is_ambiguous() {
        let is = |path: &str| is_ambiguous_place(&settings_for_tests(), &path.parse().unwrap());
        assert!(is("shop/spec/parser.py") && is("src/testing/mod.rs") && is("lib/commands/test.js"));
        for path in
            ["spec/helper.rb", "src/test_a/b.py", "src/testing/test_a.py", "pkg/tests/spec/a.py", "a.py"]
        {
            assert!(!is(path), "{path}");
        }
    }

    #[test]
    fn test_files_are_recognised_by_path_and_name() {
        let tests = TestPaths::new(&settings_for_tests());
        for path in
            ["tests/it.rs", "pkg/test_x.py", "a/b_test.go", "web/x.test.tsx", "checks/x", "src/tests.rs"]
        {
            assert!(tests.contains(&path.parse().unwrap()), "{path}");
        }
        for path in [
            "src/latest.rs",
            "src/contest/mod.rs",
            "attestation.py",
            "test-runner/src/index.js",
            "test_bench/core.py",
        ] {
            assert!(!tests.contains(&path.parse().unwrap()), "{path}");
        }
    }
}
