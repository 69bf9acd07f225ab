//! Recognises the runner of a test command, to read its report, to request a better one, and to select
//! tests. Looks only at words; runs nothing.

use super::shell_words::ShellLine;
use crate::domain::{RepoPath, ReportFormat};

/// A test runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    Pytest,
    Unittest,
    Cargo,
    Nextest,
    Go,
    Node,
    Jest,
    Vitest,
    Mocha,
    Rspec,
    Phpunit,
    Ctest,
    Prove,
    Maven,
    Gradle,
}

impl Runner {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pytest => "pytest",
            Self::Unittest => "unittest",
            Self::Cargo => "cargo test",
            Self::Nextest => "cargo nextest",
            Self::Go => "go test",
            Self::Node => "node --test",
            Self::Jest => "Jest",
            Self::Vitest => "Vitest",
            Self::Mocha => "Mocha",
            Self::Rspec => "RSpec",
            Self::Phpunit => "PHPUnit",
            Self::Ctest => "CTest",
            Self::Prove => "prove",
            Self::Maven => "Maven",
            Self::Gradle => "Gradle",
        }
    }
}

/// The runner of a command, as the format of what it prints: a report file is often JUnit's, which many runners write.
pub fn format_of_command(command: &str, package_json: Option<&[u8]>) -> Option<ReportFormat> {
    let found = recognise(command, package_json)?;
    Some(match found.runner {
        Runner::Pytest => ReportFormat::Pytest,
        Runner::Unittest => ReportFormat::Unittest,
        Runner::Cargo => ReportFormat::CargoTest,
        Runner::Nextest => ReportFormat::Nextest,
        Runner::Go => ReportFormat::GoTest,
        Runner::Node => ReportFormat::NodeTest,
        Runner::Jest => ReportFormat::Jest,
        Runner::Vitest => ReportFormat::Vitest,
        Runner::Mocha => ReportFormat::Mocha,
        Runner::Rspec => ReportFormat::Rspec,
        Runner::Phpunit => ReportFormat::Phpunit,
        Runner::Ctest => ReportFormat::Ctest,
        Runner::Prove => ReportFormat::Prove,
        Runner::Maven | Runner::Gradle => ReportFormat::Maven,
    })
}

/// How a command runs its tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invocation {
    /// The runner.
    pub(super) runner: Runner,
    /// Whether arguments put at the command's end reach the runner.
    pub(super) takes_arguments: bool,
    /// What must precede them: `--` for `npm test`.
    pub(super) separator: Option<&'static str>,
    /// The runner's own words, from its name on.
    pub(super) words: Vec<String>,
}

impl Invocation {
    /// Whether the command has one of these words already.
    pub(super) fn has(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.iter().any(|w| word == w || word.starts_with(&format!("{w}="))))
    }
}

/// The runner of `command`, if its words name one. `package_json` says what `npm test` runs.
pub(super) fn recognise(command: &str, package_json: Option<&[u8]>) -> Option<Invocation> {
    let line = ShellLine::read(command)?;
    let scripts = package_json.and_then(test_script);
    let mut found: Vec<Invocation> =
        line.commands.iter().filter_map(|words| of_words(words, scripts.as_deref())).collect();
    let first = found.pop()?;
    if found.iter().any(|other| other.runner != first.runner) {
        return None;
    }
    let alone = found.is_empty() && line.commands.len() == 1 && line.is_plain;
    Some(Invocation { takes_arguments: first.takes_arguments && alone, ..first })
}

/// A program that starts runners which its command does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapper {
    Make,
    Tox,
}

/// The wrapper of a command that names no runner.
pub(super) fn wrapper(command: &str) -> Option<Wrapper> {
    let line = ShellLine::read(command)?;
    line.commands.iter().find_map(|words| {
        let mut words = words.iter().skip_while(|word| is_assignment(word) || *word == "env");
        let first = base_name(words.next()?);
        let module = words.next().filter(|word| *word == "-m").and(words.next()).map(String::as_str);
        match (first, module) {
            ("make" | "gmake", _) => Some(Wrapper::Make),
            ("tox", _) => Some(Wrapper::Tox),
            (python, Some("tox")) if python.starts_with("python") => Some(Wrapper::Tox),
            _ => None,
        }
    })
}

/// Whether `package.json` defines what the command runs.
pub(super) fn needs_package_json(command: &str) -> bool {
    ["npm", "yarn", "pnpm"].iter().any(|tool| command.contains(tool))
}

fn test_script(package_json: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(package_json).ok()?;
    value["scripts"]["test"].as_str().map(str::to_owned)
}

fn of_words(words: &[String], script: Option<&str>) -> Option<Invocation> {
    let skipped = words.iter().take_while(|word| is_assignment(word)).count();
    let mut words: &[String] = &words[skipped..];
    loop {
        let (first, rest) = words.split_first()?;
        let second = rest.first().map(String::as_str);
        words = match (base_name(first), second) {
            ("env", _) => &rest[rest.iter().take_while(|word| is_assignment(word)).count()..],
            ("exec" | "time" | "nice" | "npx" | "bunx" | "xvfb-run" | "php", _) => {
                &rest[rest.iter().take_while(|word| word.starts_with('-')).count()..]
            }
            ("poetry" | "uv" | "pipenv" | "pdm" | "hatch" | "coverage" | "rye", Some("run")) => {
                match rest.get(1) {
                    Some(module) if base_name(first) == "coverage" && module == "-m" => &rest[2..],
                    _ => &rest[1..],
                }
            }
            ("bundle" | "pnpm" | "yarn", Some("exec")) => &rest[1..],
            ("yarn" | "pnpm", Some("jest" | "vitest" | "mocha")) => rest,
            ("npm" | "pnpm" | "yarn", Some("test" | "t")) => {
                return of_script(base_name(first), &rest[1..], script);
            }
            ("npm" | "pnpm" | "yarn", Some("run" | "run-script"))
                if rest.get(1).is_some_and(|name| name == "test") =>
            {
                return of_script(base_name(first), &rest[2..], script);
            }
            (python, Some("-m")) if python.starts_with("python") => &rest[1..],
            _ => break,
        };
    }
    let (first, rest) = words.split_first()?;
    let sub = rest.iter().map(String::as_str).find(|word| !word.starts_with('+'));
    let runner = match (base_name(first), sub) {
        ("pytest" | "py.test", _) => Runner::Pytest,
        ("unittest", _) => Runner::Unittest,
        ("cargo", Some("test" | "t")) => Runner::Cargo,
        ("cargo", Some("nextest")) => Runner::Nextest,
        ("go", Some("test")) => Runner::Go,
        ("node" | "nodejs", _) if rest.iter().any(|word| word == "--test") => Runner::Node,
        ("jest", _) => Runner::Jest,
        ("vitest", _) => Runner::Vitest,
        ("mocha", _) => Runner::Mocha,
        ("rspec", _) => Runner::Rspec,
        ("phpunit", _) => Runner::Phpunit,
        ("ctest", _) => Runner::Ctest,
        ("prove", _) => Runner::Prove,
        ("mvn" | "mvnw", _) => Runner::Maven,
        ("gradle" | "gradlew", _) => Runner::Gradle,
        _ => return None,
    };
    Some(Invocation { runner, takes_arguments: true, separator: None, words: words.to_vec() })
}

/// `npm test`: the script in `package.json`, and whether arguments reach it.
fn of_script(tool: &str, rest: &[String], script: Option<&str>) -> Option<Invocation> {
    let line = ShellLine::read(script?)?;
    let found = line.commands.iter().rev().find_map(|words| of_words(words, None))?;
    let last = line.commands.last().is_some_and(|words| of_words(words, None).as_ref() == Some(&found));
    Some(Invocation {
        takes_arguments: last && line.is_plain && rest.is_empty(),
        separator: (tool == "npm").then_some("--"),
        ..found
    })
}

/// `NAME=value`, before a command.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

fn base_name(word: &str) -> &str {
    let name = word.rsplit('/').next().unwrap_or(word);
    name.strip_suffix(".js").or_else(|| name.strip_suffix(".phar")).unwrap_or(name)
}

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

    /// The arguments that make the runner run this only. `Err`: it cannot, and why, for the model.
    pub(super) fn arguments(&self, invocation: &Invocation) -> Result<Vec<String>, String> {
        if !invocation.takes_arguments {
            return Err("The test command is not one that takes a selection at its end.".to_owned());
        }
        let name = self.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let path = self.path.as_ref().map(RepoPath::as_str);
        if name.is_some_and(|name| name.starts_with('-') || name.contains(['\0', '\n']) || name.len() > 1_000)
        {
            return Err("That is not a test's name.".to_owned());
        }
        let own = |parts: &[&str]| Ok(parts.iter().map(|part| (*part).to_owned()).collect());
        // Anchored if the runner takes expressions, so that `a` does not run `ab`.
        let exactly = |name: &str| format!("^{}$", regex::escape(name));
        let by_file = |name: &str| -> String { name.rsplit(" > ").next().unwrap_or(name).to_owned() };
        match (invocation.runner, path, name) {
            (_, None, None) => Err("Give a path, a name, or neither for the whole suite.".to_owned()),
            (Runner::Pytest, None, Some(name)) if name.contains(".py") => own(&[name]),
            (Runner::Pytest, Some(path), Some(name)) if name.starts_with(path) => own(&[name]),
            (Runner::Pytest, Some(path), None) => own(&[path]),
            (Runner::Pytest, Some(path), Some(name)) => own(&[path, "-k", &pytest_word(name)?]),
            (Runner::Pytest, None, Some(name)) => own(&["-k", &pytest_word(name)?]),
            (Runner::Cargo, None, Some(name)) => own(&[name]),
            (Runner::Cargo, Some(path), name) => {
                let mut arguments = vec!["--test".to_owned(), cargo_target(path)?];
                arguments.extend(name.map(str::to_owned));
                Ok(arguments)
            }
            (Runner::Nextest, None, Some(name)) => own(&[name.rsplit(' ').next().unwrap_or(name)]),
            (Runner::Nextest, Some(path), name) => {
                let mut arguments = vec!["--test".to_owned(), cargo_target(path)?];
                arguments.extend(name.map(|name| name.rsplit(' ').next().unwrap_or(name).to_owned()));
                Ok(arguments)
            }
            (Runner::Go, None, Some(name)) => {
                let test = name.rsplit("::").next().unwrap_or(name);
                let parts: Vec<String> = test.split('/').map(exactly).collect();
                own(&["-run", &parts.join("/")])
            }
            (Runner::Node, None, Some(name)) if invocation.words.len() == 2 => {
                own(&["--test-name-pattern", &by_file(name)])
            }
            (Runner::Jest, Some(path), None) => own(&["--runTestsByPath", path]),
            (Runner::Jest, Some(path), Some(name)) => {
                own(&["-t", &regex::escape(&by_file(name)), "--runTestsByPath", path])
            }
            (Runner::Jest, None, Some(name)) => own(&["-t", &regex::escape(&by_file(name))]),
            (Runner::Vitest, Some(path), None) => own(&[path]),
            (Runner::Vitest, Some(path), Some(name)) => own(&[path, "-t", &regex::escape(&by_file(name))]),
            (Runner::Vitest, None, Some(name)) => own(&["-t", &regex::escape(&by_file(name))]),
            (Runner::Mocha, None, Some(name)) => own(&["--fgrep", &by_file(name)]),
            (Runner::Rspec, Some(path), None) if invocation.words.len() == 1 => own(&[path]),
            (Runner::Rspec, None, Some(name)) => own(&["-e", name]),
            (Runner::Rspec, Some(path), Some(name)) if invocation.words.len() == 1 => {
                own(&["-e", name, path])
            }
            (Runner::Phpunit, None, Some(name)) => {
                let method = name.split(" with data set").next().unwrap_or(name);
                own(&["--filter", &format!("{}\\b", regex::escape(method))])
            }
            (Runner::Ctest, None, Some(name)) => own(&["-R", &exactly(name)]),
            (Runner::Prove, Some(path), None) if !invocation.has(&["-r", "t"]) => own(&[path]),
            // `discover` takes directories, no names.
            (Runner::Unittest, None, Some(name))
                if !invocation.has(&["discover"])
                    && (invocation.words.len() == 1 || invocation.has(&["-v"])) =>
            {
                // `test_a (module.Class.test_a)`, or the part in parentheses.
                let dotted = name.split_once(" (").map_or(name, |(_, rest)| rest.trim_end_matches(')'));
                own(&[dotted])
            }
            (Runner::Maven, None, Some(name)) => {
                let test = match name.rsplit_once('.') {
                    Some((class, method)) if method.starts_with(|c: char| c.is_lowercase()) => {
                        format!("{class}#{method}")
                    }
                    Some(_) | None => name.to_owned(),
                };
                own(&[&format!("-Dtest={test}"), "-DfailIfNoTests=false"])
            }
            (Runner::Gradle, None, Some(name)) => own(&["--tests", name]),
            (runner, Some(_), _) => Err(format!(
                "{}, as it is called here, does not take a path. Give a name, or neither for the whole suite.",
                runner.name()
            )),
            (runner, None, Some(_)) => Err(format!(
                "{}, as it is called here, does not take a name. Run the whole suite.",
                runner.name()
            )),
        }
    }
}

/// The part of a test's name that pytest's `-k` can look for: it is an expression in Python words.
fn pytest_word(name: &str) -> Result<String, String> {
    let own = name.rsplit("::").next().unwrap_or(name);
    let word = own.split('[').next().unwrap_or(own).trim();
    match !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_') {
        true => Ok(word.to_owned()),
        false => Err("Name a test function, or give the whole name as the report has it.".to_owned()),
    }
}

/// cargo's name for the file of an integration test.
fn cargo_target(path: &str) -> Result<String, String> {
    let within = path.strip_prefix("tests/").and_then(|rest| rest.strip_suffix(".rs"));
    let target = within.map(|rest| rest.strip_suffix("/main").unwrap_or(rest));
    target.filter(|target| !target.contains('/')).map(str::to_owned).ok_or_else(|| {
        "cargo takes files directly below `tests/` only. For unit tests give the name, for instance `module::tests`."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(command: &str) -> Option<(Runner, bool)> {
        recognise(command, None).map(|found| (found.runner, found.takes_arguments))
    }

    #[test]
    fn runner_is_recognised_behind_its_launcher() {
        let cases = [
            ("pytest", Runner::Pytest),
            ("python3 -m pytest -q tests", Runner::Pytest),
            ("PYTHONPATH=. poetry run pytest", Runner::Pytest),
            ("coverage run -m pytest", Runner::Pytest),
            ("python -m unittest discover", Runner::Unittest),
            ("cargo +stable test --workspace", Runner::Cargo),
            ("cargo nextest run", Runner::Nextest),
            ("go test ./...", Runner::Go),
            ("node --test", Runner::Node),
            ("npx --no-install jest", Runner::Jest),
            ("node_modules/.bin/vitest run", Runner::Vitest),
            ("yarn mocha", Runner::Mocha),
            ("bundle exec rspec", Runner::Rspec),
            ("php vendor/bin/phpunit", Runner::Phpunit),
            ("ctest --output-on-failure", Runner::Ctest),
            ("prove -r t", Runner::Prove),
            ("./mvnw -B test", Runner::Maven),
            ("./gradlew test", Runner::Gradle),
        ];
        for (command, expected) in cases {
            assert_eq!(runner(command), Some((expected, true)), "{command}");
        }
        for command in
            ["make check", "sh run.sh", "cargo build", "go vet ./...", "tox", "echo pytest", "true 'pytest"]
        {
            assert_eq!(runner(command), None, "{command}");
        }
    }

    #[test]
    fn wrapper_is_recognised_by_its_name() {
        for (command, expected) in [
            ("make check", Some(Wrapper::Make)),
            ("V=1 make -C sub -j2 test", Some(Wrapper::Make)),
            ("env CI=1 tox -e py", Some(Wrapper::Tox)),
            ("python3 -m tox", Some(Wrapper::Tox)),
            ("cmake --build .", None),
            ("sh make", None),
            ("python3 -m pytest make", None),
        ] {
            assert_eq!(wrapper(command), expected, "{command}");
        }
    }

    #[test]
    fn arguments_are_added_only_if_they_reach_the_runner() {
        for command in [
            "cd sub && pytest",
            "pytest | tee log",
            "pytest > log",
            "pytest # all",
            "pytest $MORE",
            "(pytest)",
        ] {
            assert!(!runner(command).is_some_and(|(_, takes)| takes), "{command}");
        }
        assert_eq!(runner("pytest && cargo test"), None);
        let package = br#"{"scripts": {"test": "eslint . && jest --ci"}}"#;
        let found = recognise("npm test", Some(package)).unwrap();
        assert_eq!((found.runner, found.takes_arguments, found.separator), (Runner::Jest, true, Some("--")));
        let package = br#"{"scripts": {"test": "jest && echo done"}}"#;
        assert!(!recognise("npm run test", Some(package)).unwrap().takes_arguments);
        assert_eq!(recognise("npm test", None), None);
    }

    #[test]
    fn selection_is_translated_for_each_runner() {
        let told = |command: &str, path: Option<&str>, name: Option<&str>| {
            let selection =
                Selection { path: path.map(|path| path.parse().unwrap()), name: name.map(str::to_owned) };
            let arguments = selection.arguments(&recognise(command, None).unwrap());
            arguments.map_or_else(|why| format!("! {why}"), |arguments| arguments.join(" "))
        };
        let lines = [
            told("pytest", None, Some("tests/test_a.py::A::test_b[c d]")),
            told("pytest", Some("tests/test_a.py"), Some("A::test_b[c]")),
            told("pytest", None, Some("a or b")),
            told("cargo test", None, Some("parse::tests::empty")),
            told("cargo test", Some("tests/it/main.rs"), Some("a")),
            told("cargo test", Some("src/lib.rs"), None),
            told("cargo nextest run", None, Some("sample::more is_right")),
            told("go test ./...", None, Some("example.org/a/b::TestTable/B case")),
            told("node --test", None, Some("division > by zero")),
            told("node --test dir", None, Some("division > by zero")),
            told("jest", Some("a.test.js"), Some("a.test.js > sum > a+b")),
            told("vitest run", None, Some("a.test.js > adds")),
            told("rspec", Some("spec/a_spec.rb"), None),
            told("phpunit", None, Some("ATest::testB with data set #0")),
            told("ctest", None, Some("is wrong")),
            told("python -m unittest", None, Some("test_a (m.A.test_a)")),
            told("python -m unittest discover -v", None, Some("test_a (m.A.test_a)")),
            told("mvn test", None, Some("org.example.ATest.adds")),
            told("gradle test", None, Some("ATest.adds")),
            told("cd sub && pytest", None, Some("a")),
            told("pytest", None, None),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        tests/test_a.py::A::test_b[c d]
        tests/test_a.py -k test_b
        ! Name a test function, or give the whole name as the report has it.
        parse::tests::empty
        --test it a
        ! cargo takes files directly below `tests/` only. For unit tests give the name, for instance `module::tests`.
        is_right
        -run ^TestTable$/^B case$
        --test-name-pattern by zero
        ! node --test, as it is called here, does not take a name. Run the whole suite.
        -t a\+b --runTestsByPath a.test.js
        -t adds
        spec/a_spec.rb
        --filter ATest::testB\b
        -R ^is wrong$
        m.A.test_a
        ! unittest, as it is called here, does not take a name. Run the whole suite.
        -Dtest=org.example.ATest#adds -DfailIfNoTests=false
        --tests ATest.adds
        ! The test command is not one that takes a selection at its end.
        ! Give a path, a name, or neither for the whole suite.
        ");
    }
}
