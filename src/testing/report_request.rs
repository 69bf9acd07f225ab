//! Asking a runner for a report that machines read, beside what it prints. What the command does, and
//! its exit code, stay as they are: by an environment variable where there is one, else by arguments
//! at the end of a command that hands them to the runner; else not at all.

use super::reports::FileFormat;
use super::runner::{Invocation, Runner, Wrapper};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    /// Variables for the command.
    pub(super) env: Vec<(String, String)>,
    /// Arguments at its end.
    pub(super) arguments: Vec<String>,
    /// Where the report will lie.
    pub(super) place: Place,
    /// Words that a runner prints which does not know what is asked.
    flag: &'static str,
    /// Whether it is known that the runner which is asked runs.
    pub(super) is_certain: bool,
}

/// Where a run's report lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In what it prints.
    Output,
    /// In a file of this name in `/tmp`.
    File(String, FileFormat),
    /// In files of the workspace that these globs match, written by this run.
    Workspace(&'static [&'static str]),
}

/// What to ask of a command. `token`: nobody can guess it.
pub(super) fn ask(invocation: &Invocation, token: &str) -> Option<Ask> {
    let file = |extension: &str| format!("mendwright-{token}.{extension}");
    let at = |file: &str| format!("/tmp/{file}");
    let by_variable = |name: &str, value: String, place, flag| {
        Some(Ask {
            env: vec![(name.to_owned(), value)],
            arguments: Vec::new(),
            place,
            flag,
            is_certain: true,
        })
    };
    let by_arguments = |arguments: &[&str], place, flag| {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        invocation.takes_arguments.then(|| Ask { env: Vec::new(), arguments, place, flag, is_certain: true })
    };
    match invocation.runner {
        Runner::Pytest if !invocation.has(&["--junitxml", "--junit-xml"]) => Some(ask_pytest(token)),
        Runner::Rspec => {
            let json = file("json");
            // What stands in this variable takes the place of the formatters named elsewhere.
            let options = format!("--format progress --format json --out {}", at(&json));
            by_variable("SPEC_OPTS", options, Place::File(json, FileFormat::RspecJson), "--out")
        }
        Runner::Node if !invocation.has(&["--test-reporter"]) => {
            let xml = file("xml");
            let options = format!(
                "--test-reporter=spec --test-reporter-destination=stdout --test-reporter=junit \
                 --test-reporter-destination={}",
                at(&xml)
            );
            by_variable("NODE_OPTIONS", options, Place::File(xml, FileFormat::JunitXml), "--test-reporter")
        }
        // By GOFLAGS it would reach `go vet`, `go list` and what tests run, too.
        Runner::Go if !invocation.has(&["-json", "-args", "--args"]) => {
            by_arguments(&["-json"], Place::Output, "-json")
        }
        Runner::Jest if !invocation.has(&["--json", "--outputFile"]) => {
            let json = file("json");
            let output = format!("--outputFile={}", at(&json));
            by_arguments(&["--json", &output], Place::File(json, FileFormat::JestJson), "outputFile")
        }
        Runner::Vitest if !invocation.has(&["--reporter", "--outputFile"]) => {
            let json = file("json");
            let output = format!("--outputFile.json={}", at(&json));
            let arguments = ["--reporter=default", "--reporter=json", &output];
            by_arguments(&arguments, Place::File(json, FileFormat::VitestJson), "outputFile")
        }
        Runner::Phpunit if !invocation.has(&["--log-junit"]) => {
            let xml = file("xml");
            by_arguments(&["--log-junit", &at(&xml)], Place::File(xml, FileFormat::JunitXml), "--log-junit")
        }
        Runner::Ctest if !invocation.has(&["--output-junit"]) => {
            let xml = file("xml");
            let path = at(&xml);
            by_arguments(&["--output-junit", &path], Place::File(xml, FileFormat::JunitXml), "output-junit")
        }
        // These write theirs anyway.
        Runner::Maven => Some(Ask {
            env: Vec::new(),
            arguments: Vec::new(),
            place: Place::Workspace(&["**/target/surefire-reports/TEST-*.xml"]),
            flag: "",
            is_certain: true,
        }),
        Runner::Gradle => Some(Ask {
            env: Vec::new(),
            arguments: Vec::new(),
            place: Place::Workspace(&["**/build/test-results/**/TEST-*.xml"]),
            flag: "",
            is_certain: true,
        }),
        // They name every test as they go, and have nothing better on a stable toolchain.
        Runner::Cargo | Runner::Nextest | Runner::Mocha | Runner::Prove | Runner::Unittest => None,
        Runner::Pytest
        | Runner::Node
        | Runner::Go
        | Runner::Jest
        | Runner::Vitest
        | Runner::Phpunit
        | Runner::Ctest => None,
    }
}

fn ask_pytest(token: &str) -> Ask {
    let xml = format!("mendwright-{token}.xml");
    let options = format!("--junitxml=/tmp/{xml} -o junit_family=xunit1");
    Ask {
        env: vec![("PYTEST_ADDOPTS".to_owned(), options)],
        arguments: Vec::new(),
        place: Place::File(xml, FileFormat::JunitXml),
        flag: "--junitxml",
        is_certain: true,
    }
}

/// What to ask whoever runs behind `wrapper`: only pytest, whose variable nobody else reads.
pub(super) fn ask_behind(wrapper: Wrapper, token: &str) -> Ask {
    let mut ask = Ask { is_certain: false, ..ask_pytest(token) };
    if wrapper == Wrapper::Tox {
        // It hands on what it is told to only: tox 4, and tox 3.
        let name = "PYTEST_ADDOPTS";
        ask.env.push(("TOX_OVERRIDE".to_owned(), format!("testenv.pass_env+={name}")));
        ask.env.push(("TOX_TESTENV_PASSENV".to_owned(), name.to_owned()));
    }
    ask
}

impl Ask {
    /// Whether the command itself was changed by it, so that it may have failed for it.
    pub(super) fn changes_something(&self) -> bool {
        !self.env.is_empty() || !self.arguments.is_empty()
    }

    /// Whether a run that did not end well looks as if it had failed for what was asked: it speaks of
    /// it, or exits as a runner does that is called wrongly.
    pub(super) fn is_refused(&self, code: i32, output: &str) -> bool {
        const WRONG_USAGE: &[(&str, i32)] = &[("--junitxml", 4), ("--test-reporter", 9)];
        let by_code = WRONG_USAGE.iter().any(|(flag, wrong)| *flag == self.flag && *wrong == code);
        let complains = |line: &str| {
            let line = line.to_lowercase();
            ["unrecognized", "unknown", "not allowed", "invalid option", "not defined", "bad option"]
                .iter()
                .any(|word| line.contains(word))
        };
        let spoken_of = output.lines().any(|line| line.contains(self.flag) && complains(line));
        self.changes_something() && (by_code || spoken_of)
    }
}

#[cfg(test)]
mod tests {
    use super::super::runner::{recognise, wrapper};
    use super::*;

    fn asked(command: &str) -> String {
        let certain = recognise(command, None).map(|invocation| ask(&invocation, "T"));
        match certain.unwrap_or_else(|| wrapper(command).map(|wrapper| ask_behind(wrapper, "T"))) {
            None => "nothing".to_owned(),
            Some(ask) => {
                let env: Vec<String> =
                    ask.env.iter().map(|(name, value)| format!("{name}={value} ")).collect();
                format!("{}… {} {:?}", env.join(""), ask.arguments.join(" "), ask.place)
            }
        }
    }

    #[test]
    fn a_runner_is_asked_in_a_way_that_leaves_the_command_as_it_is() {
        let commands = [
            "pytest -q",
            "cd a && pytest",
            "pytest --junitxml=x.xml",
            "rspec",
            "node --test",
            "go test ./...",
            "go vet ./... && go test ./...",
            "go test ./... -args -v",
            "npx jest",
            "jest | tee log",
            "vitest run",
            "phpunit",
            "ctest",
            "mvn test",
            "gradle test",
            "cargo test",
            "make check",
            "tox -e py",
            "sh run.sh",
        ];
        let told: Vec<String> =
            commands.iter().map(|command| format!("{command}: {}", asked(command))).collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        pytest -q: PYTEST_ADDOPTS=--junitxml=/tmp/mendwright-T.xml -o junit_family=xunit1 …  File("mendwright-T.xml", JunitXml)
        cd a && pytest: PYTEST_ADDOPTS=--junitxml=/tmp/mendwright-T.xml -o junit_family=xunit1 …  File("mendwright-T.xml", JunitXml)
        pytest --junitxml=x.xml: nothing
        rspec: SPEC_OPTS=--format progress --format json --out /tmp/mendwright-T.json …  File("mendwright-T.json", RspecJson)
        node --test: NODE_OPTIONS=--test-reporter=spec --test-reporter-destination=stdout --test-reporter=junit --test-reporter-destination=/tmp/mendwright-T.xml …  File("mendwright-T.xml", JunitXml)
        go test ./...: … -json Output
        go vet ./... && go test ./...: nothing
        go test ./... -args -v: nothing
        npx jest: … --json --outputFile=/tmp/mendwright-T.json File("mendwright-T.json", JestJson)
        jest | tee log: nothing
        vitest run: … --reporter=default --reporter=json --outputFile.json=/tmp/mendwright-T.json File("mendwright-T.json", VitestJson)
        phpunit: … --log-junit /tmp/mendwright-T.xml File("mendwright-T.xml", JunitXml)
        ctest: … --output-junit /tmp/mendwright-T.xml File("mendwright-T.xml", JunitXml)
        mvn test: …  Workspace(["**/target/surefire-reports/TEST-*.xml"])
        gradle test: …  Workspace(["**/build/test-results/**/TEST-*.xml"])
        cargo test: nothing
        make check: PYTEST_ADDOPTS=--junitxml=/tmp/mendwright-T.xml -o junit_family=xunit1 …  File("mendwright-T.xml", JunitXml)
        tox -e py: PYTEST_ADDOPTS=--junitxml=/tmp/mendwright-T.xml -o junit_family=xunit1 TOX_OVERRIDE=testenv.pass_env+=PYTEST_ADDOPTS TOX_TESTENV_PASSENV=PYTEST_ADDOPTS …  File("mendwright-T.xml", JunitXml)
        sh run.sh: nothing
        "#);
    }

    #[test]
    fn a_runner_that_does_not_know_what_was_asked_is_noticed() {
        let of = |command: &str| ask(&recognise(command, None).unwrap(), "T").unwrap();
        assert!(of("pytest").is_refused(4, ""));
        assert!(of("pytest").is_refused(2, "error: unrecognized arguments: --junitxml=/tmp/x"));
        assert!(!of("pytest").is_refused(1, "FAILED a.py::b - unknown"));
        assert!(of("ctest").is_refused(1, "CMake Error: Unknown argument: --output-junit"));
        assert!(of("go test ./...").is_refused(2, "flag provided but not defined: -json"));
        assert!(!of("mvn test").is_refused(1, "unknown"));
    }
}
