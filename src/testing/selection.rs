//! A part of the suite, and the arguments that make a runner run it alone.

use super::runner_call::{RunnerCall, SelectedCommand, TestCommand};
use crate::domain::RepoPath;

/// A part of the suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Tests of this file, or below this directory.
    pub path: Option<RepoPath>,
    /// The test of this name, as reports name it, or a part of its name.
    pub name: Option<String>,
}

impl Selection {
    /// For people and the model.
    pub fn describe(&self) -> String {
        match (&self.path, &self.name) {
            (Some(path), Some(name)) => format!("{name} in {path}"),
            (Some(path), None) => path.to_string(),
            (None, Some(name)) => name.clone(),
            (None, None) => "nothing".to_owned(),
        }
    }

    /// The command that runs this only. `Err`: it cannot be run alone, and why, for the model.
    pub(super) fn command(&self, test: &TestCommand<'_>) -> Result<SelectedCommand, String> {
        let name = self.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        if name.is_some_and(|name| name.starts_with('-') || name.contains(['\0', '\n']) || name.len() > 1_000)
        {
            return Err("That is not a test's name.".to_owned());
        }
        if self.path.is_none() && name.is_none() {
            return Err("Give a path, a name, or neither for the whole suite.".to_owned());
        }
        let call = RunnerCall::of(test).ok_or_else(|| {
            format!("`{}` is no single call of a known runner. Run the whole suite.", test.command)
        })?;
        let path = match (&self.path, &call.directory) {
            (Some(path), Some(directory)) => {
                let within =
                    path.as_str().strip_prefix(directory.as_str()).and_then(|rest| rest.strip_prefix('/'));
                Some(
                    within
                        .ok_or_else(|| format!("The suite runs in `{directory}`: give a path below it."))?,
                )
            }
            (path, None) => path.as_ref().map(RepoPath::as_str),
            (None, Some(_)) => None,
        };
        let row = call.runner.row();
        let arguments = (row.select)(&call.invocation, path, name).unwrap_or_else(|| {
            let (what, instead) = match path {
                Some(_) => ("path", "Give a name, or neither for the whole suite."),
                None => ("name", "Run the whole suite."),
            };
            Err(format!("{} does not take a {what}. {instead}", row.name))
        })?;
        Ok(call.with_arguments(arguments, path.is_some()))
    }
}

/// What the model may select of a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selectable {
    /// A file or directory.
    pub path: bool,
    /// A test's name.
    pub name: bool,
}

impl Selectable {
    /// Of the suite that `command` runs. `package_json` says what `npm test` runs.
    pub fn of(command: &str, package_json: Option<&[u8]>) -> Self {
        let Some(call) = RunnerCall::of(&TestCommand { command, package_json }) else {
            return Self { path: false, name: false };
        };
        // A path that every runner with files takes, in some language.
        let files = ["tests/a.py", "tests/a.rs", "src/test/java/ATest.java", "a.test.js"];
        let select = |path: Option<&str>, name: Option<&str>| {
            matches!((call.runner.row().select)(&call.invocation, path, name), Some(Ok(_)))
        };
        Self { path: files.iter().any(|file| select(Some(file), None)), name: select(None, Some("test_a")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(command: &str, package: Option<&str>, path: Option<&str>, name: Option<&str>) -> String {
        let selection =
            Selection { path: path.map(|path| path.parse().unwrap()), name: name.map(str::to_owned) };
        let test = TestCommand { command, package_json: package.map(str::as_bytes) };
        match selection.command(&test) {
            Err(why) => format!("! {why}"),
            Ok(SelectedCommand { command, arguments }) => format!("{command}   [{}]", arguments.join("] [")),
        }
    }

    #[test]
    fn selection_is_translated_for_each_runner() {
        let translated =
            |command: &str, path: Option<&str>, name: Option<&str>| selected(command, None, path, name);
        let lines = [
            translated("pytest", None, Some("tests/test_a.py::A::test_b[c d]")),
            translated("pytest", Some("tests/test_a.py"), Some("A::test_b[c]")),
            translated("pytest", None, Some("a or b")),
            translated("cargo test", None, Some("parse::tests::empty")),
            translated("cargo test", Some("tests/it/main.rs"), Some("a")),
            translated("cargo test", Some("Cargo.toml"), None),
            translated("cargo nextest run", None, Some("sample::more is_right")),
            translated("go test ./...", None, Some("example.org/a/b::TestTable/B case")),
            translated("go test -race ./...", Some("a/b/c_test.go"), None),
            translated("node --test", None, Some("division > by zero")),
            translated("jest", Some("a.test.js"), Some("a.test.js > sum > a+b")),
            translated("vitest run", None, Some("a.test.js > adds")),
            translated("rspec", Some("spec/a_spec.rb"), None),
            translated("phpunit", None, Some("ATest::testB with data set #0")),
            translated("ctest", None, Some("is wrong")),
            translated("ctest", Some("tests/a.c"), None),
            translated("python -m unittest", None, Some("test_a (m.A.test_a)")),
            translated("python -m unittest discover -v", Some("tests/test_a.py"), None),
            translated("mvn test", None, Some("org.example.ATest.adds")),
            translated("mvn test", Some("src/test/java/org/example/ATest.java"), None),
            translated("gradle test", None, Some("ATest.adds")),
            translated("npx ava", Some("test/a.js"), Some("adds")),
            translated("make check", Some("tests/a.c"), None),
            translated("pytest", None, None),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        pytest "$@"   [tests/test_a.py::A::test_b[c d]]
        pytest "$@"   [tests/test_a.py] [-k] [test_b]
        ! Name a test function, or give the whole name as the report has it.
        cargo test "$@"   [parse::tests::empty]
        cargo test "$@"   [--test] [it] [a]
        ! cargo takes files below `tests/` and `src/` of a package. Otherwise give the test's name, for instance `module::tests`.
        cargo nextest run "$@"   [is_right]
        go test ./... "$@"   [-run] [^TestTable$/^B case$]
        go test -race "$@"   [./a/b]
        node --test "$@"   [--test-name-pattern=by zero]
        jest "$@"   [-t] [a\+b] [--runTestsByPath] [a.test.js]
        vitest run "$@"   [-t] [adds]
        rspec "$@"   [spec/a_spec.rb]
        phpunit "$@"   [--filter] [ATest::testB\b]
        ctest "$@"   [-R] [^is wrong$]
        ! CTest does not take a path. Give a name, or neither for the whole suite.
        python -m unittest "$@"   [-k] [m.A.test_a]
        python -m unittest discover -v "$@"   [-p] [test_a.py]
        mvn test "$@"   [-Dtest=org.example.ATest#adds] [-DfailIfNoTests=false]
        mvn test "$@"   [-Dtest=ATest] [-DfailIfNoTests=false]
        gradle test "$@"   [--tests] [ATest.adds]
        npx ava "$@"   [--match=*adds*] [test/a.js]
        ! `make check` is no single call of a known runner. Run the whole suite.
        ! Give a path, a name, or neither for the whole suite.
        "#);
    }

    #[test]
    fn selection_replaces_the_paths_of_the_command_and_keeps_all_else() {
        let translated = |command: &str, path: &str| selected(command, None, Some(path), None);
        let lines = [
            translated("PATH=\"$PWD/.venv/bin:$PATH\" python3 -m pytest -q", "tests/test_a.py"),
            translated("pytest -q -n 4 -p no:cacheprovider tests docs", "tests/test_a.py"),
            translated("coverage run -m pytest tests | tee log", "tests/test_a.py"),
            translated("cd sub && pytest tests", "sub/tests/test_a.py"),
            translated("cd sub && pytest tests", "tests/test_a.py"),
            translated("prove -lr t", "t/a.t"),
            translated("prove -I inc -j4 't'", "t/a.t"),
            translated("npx mocha --exit --require ./setup.js 'test/**/*.js'", "test/a.js"),
            translated("node --test --import ./setup.js 'test/*.js'", "test/a.js"),
            translated("go test -v ./... && go vet ./...", "a/b_test.go"),
            translated("cmake -B build && cmake --build build && ctest --test-dir build", "tests/a.c"),
            translated("cargo test --workspace -- --nocapture", "crates/a/tests/b.rs"),
            translated("python3 -m unittest -v tests.test_a tests.test_b", "tests/test_a.py"),
            translated("bundle exec rspec --format doc spec", "spec/a_spec.rb"),
            translated("vendor/bin/phpunit --configuration phpunit.xml tests", "tests/ATest.php"),
            translated("pytest a; pytest b", "a/test_a.py"),
            translated("(pytest)", "a/test_a.py"),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q "$@"   [tests/test_a.py]
        pytest -q -n 4 -p no:cacheprovider "$@"   [tests/test_a.py]
        coverage run -m pytest "$@" | tee log   [tests/test_a.py]
        cd sub && pytest "$@"   [tests/test_a.py]
        ! The suite runs in `sub`: give a path below it.
        prove -lr "$@"   [t/a.t]
        prove -I inc -j4 "$@"   [t/a.t]
        npx mocha --exit --require ./setup.js "$@"   [test/a.js]
        node --test --import ./setup.js "$@"   [test/a.js]
        go test -v "$@" && go vet ./...   [./a]
        ! CTest does not take a path. Give a name, or neither for the whole suite.
        cargo test --workspace "$@" -- --nocapture   [--manifest-path] [crates/a/Cargo.toml] [--test] [b]
        python3 -m unittest -v "$@"   [tests/test_a.py]
        bundle exec rspec --format doc "$@"   [spec/a_spec.rb]
        vendor/bin/phpunit --configuration phpunit.xml "$@"   [tests/ATest.php]
        ! `pytest a; pytest b` is no single call of a known runner. Run the whole suite.
        ! `(pytest)` is no single call of a known runner. Run the whole suite.
        "#);
    }

    #[test]
    fn script_of_package_json_is_selected_from() {
        let called = |command: &str, script: &str, path: Option<&str>, name: Option<&str>| {
            let package = serde_json::json!({"scripts": {"test": script, "pretest": "tsc"}}).to_string();
            selected(command, Some(&package), path, name)
        };
        let translated =
            |script: &str, path: Option<&str>, name: Option<&str>| called("npm test", script, path, name);
        let lines = [
            translated("jest --ci", Some("a.test.js"), None),
            translated("eslint . && mocha 'test/*.js' --exit", Some("test/a.js"), None),
            translated("mocha test && echo done", None, Some("adds")),
            translated("tsc && node run.js", Some("test/a.js"), None),
            called("TZ=UTC A='b c' npm test", "mocha test", Some("test/a.js"), None),
            called("TZ=UTC npm test", "jest", Some("a.test.js"), None),
            called("cd sub && npm test", "jest", Some("sub/a.test.js"), None),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        npm test "$@"   [--] [--runTestsByPath] [a.test.js]
        export PATH="$PWD/node_modules/.bin:$PATH"; npm run pretest && eslint . && mocha --exit "$@"   [test/a.js]
        export PATH="$PWD/node_modules/.bin:$PATH"; npm run pretest && mocha test "$@" && echo done   [--fgrep] [adds]
        ! `npm test` is no single call of a known runner. Run the whole suite.
        export TZ=UTC A='b c'; export PATH="$PWD/node_modules/.bin:$PATH"; npm run pretest && mocha "$@"   [test/a.js]
        TZ=UTC npm test "$@"   [--] [--runTestsByPath] [a.test.js]
        ! `cd sub && npm test` is no single call of a known runner. Run the whole suite.
        "#);
    }

    #[test]
    fn model_is_offered_what_the_runner_takes() {
        let of = |command: &str| {
            let Selectable { path, name } = Selectable::of(command, None);
            (path, name)
        };
        assert_eq!(of("pytest -q"), (true, true));
        assert_eq!(of("prove -lr t"), (true, false));
        assert_eq!(of("ctest"), (false, true));
        assert_eq!(of("gradle test"), (false, true));
        assert_eq!(of("cargo test"), (true, true));
        assert_eq!(of("mvn -B test"), (true, true));
        assert_eq!(of("make check"), (false, false));
    }
}
