//! Asks a runner for a machine-readable report in addition to its output. The command and its exit code stay
//! the same: the request is an environment variable if the runner has one, or arguments at the end of a
//! command that passes them to the runner.

use super::invocation::{Invocation, arguments};
use super::reports::ReportFileFormat;
use super::wrapper::Wrapper;

/// A request for a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReportRequest {
    /// Variables for the command.
    pub(super) env: Vec<(String, String)>,
    /// Arguments at its end.
    pub(super) arguments: Vec<String>,
    /// Where the report will be.
    pub(super) place: ReportTarget,
    /// An option that a runner names if it does not support the request.
    flag: &'static str,
    /// Whether the runner is known to be the one that runs.
    pub(super) is_certain: bool,
}

/// Where the report of a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReportTarget {
    /// In the output.
    Output,
    /// In a file of this name in `/tmp`.
    File(String, ReportFileFormat),
    /// In files of the workspace that match these globs and were written by this run.
    Workspace(&'static [&'static str]),
}

/// The name of a report file in `/tmp`, and its path. `token` cannot be guessed by tests.
pub(super) fn report_file(token: &str, extension: &str) -> (String, String) {
    let name = format!("mendwright-{token}.{extension}");
    let path = format!("/tmp/{name}");
    (name, path)
}

/// pytest's request. It works behind `make` and tox, too. A file that cannot be loaded is reported, and the other tests
/// run: without the option, pytest runs none then.
pub(super) fn request_pytest_report(token: &str) -> ReportRequest {
    let xml = format!("mendwright-{token}.xml");
    let options = format!("--junitxml=/tmp/{xml} -o junit_family=xunit1 --continue-on-collection-errors");
    ReportRequest {
        env: vec![("PYTEST_ADDOPTS".to_owned(), options)],
        arguments: Vec::new(),
        place: ReportTarget::File(xml, ReportFileFormat::JunitXml),
        flag: "--junitxml",
        is_certain: true,
    }
}

/// The request for a runner behind `wrapper`: only pytest's, since no other program reads its variable.
pub(super) fn request_behind_wrapper(wrapper: Wrapper, token: &str) -> ReportRequest {
    let mut request_report = ReportRequest { is_certain: false, ..request_pytest_report(token) };
    if wrapper == Wrapper::Tox {
        // tox passes only the listed variables: tox 4, and tox 3.
        let name = "PYTEST_ADDOPTS";
        request_report.env.push(("TOX_OVERRIDE".to_owned(), format!("testenv.pass_env+={name}")));
        request_report.env.push(("TOX_TESTENV_PASSENV".to_owned(), name.to_owned()));
    }
    request_report
}

impl ReportRequest {
    /// A request by a variable.
    pub(super) fn by_variable(name: &str, value: String, place: ReportTarget, flag: &'static str) -> Self {
        let env = vec![(name.to_owned(), value)];
        Self { env, arguments: Vec::new(), place, flag, is_certain: true }
    }

    /// A request by arguments, if they reach the runner.
    pub(super) fn by_arguments(
        invocation: &Invocation,
        words: &[&str],
        place: ReportTarget,
        flag: &'static str,
    ) -> Option<Self> {
        let arguments = arguments(words);
        let request = Self { env: Vec::new(), arguments, place, flag, is_certain: true };
        invocation.takes_arguments.then_some(request)
    }

    /// For a runner that writes these files without being asked.
    pub(super) fn written_anyway(globs: &'static [&'static str]) -> Self {
        let place = ReportTarget::Workspace(globs);
        Self { env: Vec::new(), arguments: Vec::new(), place, flag: "", is_certain: true }
    }

    /// Whether the request changes the command, so that the command may have failed because of it.
    pub(super) fn changes_command(&self) -> bool {
        !self.env.is_empty() || !self.arguments.is_empty()
    }

    /// Whether a failed run looks as if the request caused the failure: its output names the option, or it
    /// exits as the runner does on wrong usage.
    pub(super) fn is_refused(&self, code: i32, output: &str) -> bool {
        const WRONG_USAGE: &[(&str, i32)] = &[("--junitxml", 4), ("--test-reporter", 9)];
        let by_code = WRONG_USAGE.iter().any(|(flag, wrong)| *flag == self.flag && *wrong == code);
        let complains = |line: &str| {
            let line = line.to_lowercase();
            ["unrecognized", "unknown", "not allowed", "invalid option", "not defined", "bad option"]
                .iter()
                .any(|word| line.contains(word))
        };
        let is_mentioned = output.lines().any(|line| line.contains(self.flag) && complains(line));
        self.changes_command() && (by_code || is_mentioned)
    }
}

#[cfg(test)]
mod tests {
    use super::super::recognition::recognise;
    use super::super::wrapper::wrapper;
    use super::*;

    fn asked(command: &str) -> String {
        let certain =
            recognise(command, None).map(|found| (found.runner.row().report)(&found.invocation, "T"));
        match certain.unwrap_or_else(|| wrapper(command).map(|wrapper| request_behind_wrapper(wrapper, "T")))
        {
            None => "nothing".to_owned(),
            Some(request_report) => {
                let env: Vec<String> =
                    request_report.env.iter().map(|(name, value)| format!("{name}={value} ")).collect();
                format!("{}… {} {:?}", env.join(""), request_report.arguments.join(" "), request_report.place)
            }
        }
    }

    #[test]
    fn report_request_leaves_the_command_unchanged() {
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
        pytest -q: PYTEST_ADDOPTS=--junitxml=/tmp/mendwright-T.xml -o junit_family=xunit1 --continue-on-collection-errors …  File("mendwright-T.xml", JunitXml)
        cd a && pytest: PYTEST_ADDOPTS=--junitxml=/tmp/mendwright-T.xml -o junit_family=xunit1 --continue-on-collection-errors …  File("mendwright-T.xml", JunitXml)
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
        make check: PYTEST_ADDOPTS=--junitxml=/tmp/mendwright-T.xml -o junit_family=xunit1 --continue-on-collection-errors …  File("mendwright-T.xml", JunitXml)
        tox -e py: PYTEST_ADDOPTS=--junitxml=/tmp/mendwright-T.xml -o junit_family=xunit1 --continue-on-collection-errors TOX_OVERRIDE=testenv.pass_env+=PYTEST_ADDOPTS TOX_TESTENV_PASSENV=PYTEST_ADDOPTS …  File("mendwright-T.xml", JunitXml)
        sh run.sh: nothing
        "#);
    }

    #[test]
    fn unsupported_report_request_is_detected() {
        let of = |command: &str| {
            let found = recognise(command, None).unwrap();
            (found.runner.row().report)(&found.invocation, "T").unwrap()
        };
        assert!(of("pytest").is_refused(4, ""));
        assert!(of("pytest").is_refused(2, "error: unrecognized arguments: --junitxml=/tmp/x"));
        assert!(!of("pytest").is_refused(1, "FAILED a.py::b - unknown"));
        assert!(of("ctest").is_refused(1, "CMake Error: Unknown argument: --output-junit"));
        assert!(of("go test ./...").is_refused(2, "flag provided but not defined: -json"));
        assert!(!of("mvn test").is_refused(1, "unknown"));
    }
}
