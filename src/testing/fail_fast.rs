//! Suites that stop at their first failure: how a runner is told to go on. The repository's command stays as it is.

use super::invocation::{Invocation, arguments};

/// What makes a runner go on after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeepGoing {
    /// Variables, whose values are added to those that the command has.
    pub(super) env: Vec<(String, String)>,
    /// Arguments at the command's end.
    pub(super) arguments: Vec<String>,
}

impl KeepGoing {
    /// By arguments, if the command passes them on.
    pub(super) fn by_arguments(invocation: &Invocation, words: &[&str]) -> Option<Self> {
        let is_possible = invocation.takes_arguments && !invocation.has(&["--", "-args", "--args"]);
        is_possible.then(|| Self { env: Vec::new(), arguments: arguments(words) })
    }
}

/// For whatever `make` or tox starts: only pytest reads its variable.
pub(super) fn keep_going_behind_wrapper() -> KeepGoing {
    KeepGoing { env: vec![("PYTEST_ADDOPTS".to_owned(), "--maxfail=0".to_owned())], arguments: Vec::new() }
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
            "cargo nextest run",
            "go test ./...",
            "npx jest --bail",
            "mocha",
            "mvn -q test",
            "gradle test",
            "prove -l t",
        ];
        let keep_going = |command: &str| {
            let found = recognise(command, None).unwrap();
            (found.runner.row().keep_going)(&found.invocation)
        };
        let words = |command: &&str| match keep_going(command) {
            None => format!("{command}: no"),
            Some(KeepGoing { env, arguments }) => {
                let env: String = env.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{command}:{env} {}", arguments.join(" ")).trim_end().to_owned()
            }
        };
        insta::assert_snapshot!(commands.iter().map(words).collect::<Vec<_>>().join("\n"), @r"
        pytest -x: PYTEST_ADDOPTS=--maxfail=0 --maxfail=0
        cd a && pytest: PYTEST_ADDOPTS=--maxfail=0
        cargo test: --no-fail-fast
        cargo test -- --nocapture: no
        cargo nextest run: --no-fail-fast
        go test ./...: -failfast=false
        npx jest --bail: --bail=0
        mocha: --no-bail
        mvn -q test: --fail-at-end
        gradle test: --continue
        prove -l t: no
        ");
    }
}
