//! Suites that stop at their first failure: how a runner is told to go on. The repository's command stays as it
//! is, unless the runner has no opposite of the option that makes it stop, or does not take both: then that option is
//! removed or replaced.

use super::invocation::{Invocation, arguments};
use super::recognition::Recognised;
use super::shell_words::ShellLine;

/// What makes a runner go on after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeepGoing {
    /// Variables, whose values are added to those that the command has.
    pub(super) env: Vec<(String, String)>,
    /// Arguments at the command's end.
    pub(super) arguments: Vec<String>,
    /// The command without the option that makes the runner stop, or with its opposite in its place, if the runner has no
    /// opposite option or does not take both.
    pub(super) command: Option<String>,
}

impl KeepGoing {
    /// For the runner of `command`. `None`: it has no such option, or the command does not pass one on.
    pub(super) fn of(found: &Recognised, command: &str) -> Option<Self> {
        let row = found.runner.row();
        let removed = || {
            let command = without_options(command, row.without_stop_option?)
                .filter(|_| found.invocation.takes_arguments)?;
            Some(Self { env: Vec::new(), arguments: Vec::new(), command: Some(command) })
        };
        (row.keep_going)(&found.invocation).or_else(removed)
    }

    /// By arguments, if the command passes them on and has none of them yet: many runners take an option only once.
    pub(super) fn by_arguments(invocation: &Invocation, words: &[&str]) -> Option<Self> {
        let is_possible = invocation.takes_arguments
            && !invocation.has(&["--", "-args", "--args"])
            && !invocation.has(words);
        is_possible.then(|| Self { env: Vec::new(), arguments: arguments(words), command: None })
    }
}

/// For whatever `make` or tox starts: only pytest reads its variable.
pub(super) fn keep_going_behind_wrapper() -> KeepGoing {
    KeepGoing {
        env: vec![("PYTEST_ADDOPTS".to_owned(), "--maxfail=0".to_owned())],
        arguments: Vec::new(),
        command: None,
    }
}

/// A command of which `keep` leaves out, shortens or replaces words. `None`: all of them are kept, or a shell must read it.
fn without_options(command: &str, keep: fn(&str) -> Option<String>) -> Option<String> {
    let line = ShellLine::read(command)?;
    let [words] = line.commands.as_slice() else { return None };
    let kept: Vec<String> = words.iter().filter_map(|word| keep(word)).collect();
    let text = command.split(' ').filter_map(keep).collect::<Vec<_>>().join(" ");
    let is_same = ShellLine::read(&text)?.commands == [kept.clone()];
    (line.is_plain && kept != *words && is_same).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::super::recognition::recognise;
    use super::*;

    #[test]
    fn runner_gets_its_flag_to_continue_if_the_command_allows_it() {
        let commands = [
            "pytest -x",
            "cd a && pytest",
            "cargo test",
            "cargo test -- --nocapture",
            "cargo test --no-fail-fast",
            "cargo nextest run",
            "cargo nextest run --max-fail=1",
            "vitest run --bail=1 test",
            "vitest run --bail 1 test",
            "vitest run",
            "go test ./...",
            "npx jest --bail",
            "mocha",
            "mvn -q test",
            "gradle test",
            "prove -l t",
            "python3 -m unittest discover -v -f -s 'my tests'",
            "python3 -m unittest -vf",
            "python3 -m unittest -v",
            "python3 -m unittest --failfast | tee log",
            "vendor/bin/phpunit --stop-on-failure tests",
            "ctest --test-dir build --stop-on-failure",
        ];
        let words = |command: &&str| match KeepGoing::of(&recognise(command, None).unwrap(), command) {
            None => format!("{command}: no"),
            Some(KeepGoing { env, arguments, command: other }) => {
                let env: String = env.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                let other = other.map(|other| format!(" {other}")).unwrap_or_default();
                format!("{command}:{env}{other} {}", arguments.join(" ")).trim_end().to_owned()
            }
        };
        insta::assert_snapshot!(commands.iter().map(words).collect::<Vec<_>>().join("\n"), @r"
        pytest -x: PYTEST_ADDOPTS=--maxfail=0 --maxfail=0
        cd a && pytest: PYTEST_ADDOPTS=--maxfail=0
        cargo test: --no-fail-fast
        cargo test -- --nocapture: no
        cargo test --no-fail-fast: no
        cargo nextest run: --no-fail-fast
        cargo nextest run --max-fail=1: cargo nextest run --no-fail-fast
        vitest run --bail=1 test: vitest run --bail=0 test
        vitest run --bail 1 test: no
        vitest run: --bail=0
        go test ./...: -failfast=false
        npx jest --bail: --bail=0
        mocha: --no-bail
        mvn -q test: --fail-at-end
        gradle test: --continue
        prove -l t: no
        python3 -m unittest discover -v -f -s 'my tests': python3 -m unittest discover -v -s 'my tests'
        python3 -m unittest -vf: python3 -m unittest -v
        python3 -m unittest -v: no
        python3 -m unittest --failfast | tee log: no
        vendor/bin/phpunit --stop-on-failure tests: vendor/bin/phpunit tests
        ctest --test-dir build --stop-on-failure: ctest --test-dir build
        ");
    }
}
