//! Recognises the runner of a test command, to read its report, to request a better one, and to select
//! tests. Looks only at words; runs nothing.

use super::invocation::Invocation;
use super::runners::Runner;
use super::shell_words::{ShellLine, base_name, is_assignment};
use crate::domain::ReportFormat;

/// The runner of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recognised {
    pub(super) runner: Runner,
    /// How the command calls it.
    pub(super) invocation: Invocation,
}

/// The runner of `command`, if its words name one. `package_json` says what `npm test` runs.
pub(super) fn recognise(command: &str, package_json: Option<&[u8]>) -> Option<Recognised> {
    let line = ShellLine::read(command)?;
    let scripts = package_json.and_then(test_script);
    let mut found: Vec<Recognised> =
        line.commands.iter().filter_map(|words| of_words(words, scripts.as_deref())).collect();
    let first = found.pop()?;
    if found.iter().any(|other| other.runner != first.runner) {
        return None;
    }
    let alone = found.is_empty() && line.commands.len() == 1 && line.is_plain;
    let takes_arguments = first.invocation.takes_arguments && alone;
    Some(Recognised { invocation: Invocation { takes_arguments, ..first.invocation }, ..first })
}

/// The runner of a command, as the format of what it prints.
pub fn format_of_command(command: &str, package_json: Option<&[u8]>) -> Option<ReportFormat> {
    recognise(command, package_json)?.runner.row().format
}

/// Whether `package.json` defines what the command runs.
pub(super) fn needs_package_json(command: &str) -> bool {
    ["npm", "yarn", "pnpm"].iter().any(|tool| command.contains(tool))
}

/// The script `test` of a `package.json`.
pub(super) fn test_script(package_json: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(package_json).ok()?;
    value["scripts"]["test"].as_str().map(str::to_owned)
}

/// The runner that one command calls.
pub(super) fn of_words(words: &[String], script: Option<&str>) -> Option<Recognised> {
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
    let runner = Runner::ALL.into_iter().find(|runner| (runner.row().is_named)(base_name(first), rest))?;
    let invocation = Invocation { takes_arguments: true, separator: None, words: words.to_vec() };
    Some(Recognised { runner, invocation })
}

/// `npm test`: the script in `package.json`, and whether arguments reach it.
fn of_script(tool: &str, rest: &[String], script: Option<&str>) -> Option<Recognised> {
    let line = ShellLine::read(script?)?;
    let found = line.commands.iter().rev().find_map(|words| of_words(words, None))?;
    let last = line.commands.last().is_some_and(|words| of_words(words, None).as_ref() == Some(&found));
    Some(Recognised {
        invocation: Invocation {
            takes_arguments: last && line.is_plain && rest.is_empty(),
            separator: (tool == "npm").then_some("--"),
            ..found.invocation
        },
        ..found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(command: &str) -> Option<(Runner, bool)> {
        recognise(command, None).map(|found| (found.runner, found.invocation.takes_arguments))
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
            ("npx --no-install ava", Runner::Ava),
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
        let Invocation { takes_arguments, separator, .. } = found.invocation;
        assert_eq!((found.runner, takes_arguments, separator), (Runner::Jest, true, Some("--")));
        let package = br#"{"scripts": {"test": "jest && echo done"}}"#;
        assert!(!recognise("npm run test", Some(package)).unwrap().invocation.takes_arguments);
        assert_eq!(recognise("npm test", None), None);
    }
}
