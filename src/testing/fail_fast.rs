//! Suites that stop at their first failure: how a runner is told to go on. The repository's command stays as it is.

use super::runner::{Invocation, Runner};

/// What makes a runner go on after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeepGoing {
    /// Variables, whose values are added to those that the command has.
    pub(super) env: Vec<(String, String)>,
    /// Arguments at the command's end.
    pub(super) arguments: Vec<String>,
}

/// For a runner. `None`: it has no such option, or the command does not pass one on.
pub(super) fn keep_going(invocation: &Invocation) -> Option<KeepGoing> {
    let by_arguments = |words: &[&str]| {
        let arguments = words.iter().map(|word| (*word).to_owned()).collect();
        let is_possible = invocation.takes_arguments && !invocation.has(&["--", "-args", "--args"]);
        is_possible.then_some(KeepGoing { env: Vec::new(), arguments })
    };
    match invocation.runner {
        // The variable outdoes the configuration, and the argument the command's own `-x`.
        Runner::Pytest => {
            let arguments = by_arguments(&["--maxfail=0"]).map(|found| found.arguments).unwrap_or_default();
            Some(KeepGoing { arguments, ..keep_going_behind_wrapper() })
        }
        Runner::Cargo | Runner::Nextest | Runner::Rspec => by_arguments(&["--no-fail-fast"]),
        Runner::Go => by_arguments(&["-failfast=false"]),
        Runner::Jest | Runner::Vitest => by_arguments(&["--bail=0"]),
        Runner::Mocha => by_arguments(&["--no-bail"]),
        Runner::Maven => by_arguments(&["--fail-at-end"]),
        Runner::Gradle => by_arguments(&["--continue"]),
        Runner::Unittest | Runner::Node | Runner::Phpunit | Runner::Ctest | Runner::Prove => None,
    }
}

/// For whatever `make` or tox starts: only pytest reads its variable.
pub(super) fn keep_going_behind_wrapper() -> KeepGoing {
    KeepGoing { env: vec![("PYTEST_ADDOPTS".to_owned(), "--maxfail=0".to_owned())], arguments: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::runner::recognise;
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
        let words = |command: &&str| match keep_going(&recognise(command, None).unwrap()) {
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
