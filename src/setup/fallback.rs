//! Texts for a detected setup that failed and was skipped: for the transcript, for the evidence, and for an
//! escalation if the tests cannot run without it. Pure functions.

use super::SetupFailure;
use crate::config::REPOSITORY_FILE;
use crate::domain::{ExitStatus, JobSettings, TestOutcome, TestRun};

/// A setup that was skipped.
pub(crate) struct SkippedSetup<'a> {
    /// The settings with the setup.
    pub(crate) settings: &'a JobSettings,
    pub(crate) failure: &'a SetupFailure,
}

impl SkippedSetup<'_> {
    /// The note for the transcript.
    pub(crate) fn note(&self) -> String {
        format!(
            "The setup that {} asks for was left out, since it was only detected and does not work here: {}",
            self.settings.setup_source,
            self.failure.describe()
        )
    }

    /// The remark for the evidence.
    pub(crate) fn remark(&self) -> String {
        format!(
            "The setup that was detected from {} fails at `{}` and was left out: the suite ran without it.",
            self.settings.setup_source, self.failure.command
        )
    }

    /// The advice for a repository whose tests cannot run without the setup.
    pub(crate) fn advice(&self) -> String {
        let quoted = |command: &str| serde_json::to_string(command).unwrap_or_default();
        let setup: String =
            self.settings.setup_commands.iter().map(|command| format!("  - {}\n", quoted(command))).collect();
        format!(
            "The tests were tried without the setup that {} asks for, since {}\n\nWrite commands that work into \
             `{REPOSITORY_FILE}` on the default branch, in place of those that were detected:\n\n\
             test: {}\nsetup:\n{setup}",
            self.settings.setup_source,
            self.failure.describe(),
            quoted(&self.settings.test_command),
        )
    }
}

/// Why a run without its setup is inconclusive, if it is: a suite without its dependencies fails too, and no
/// change would fix it.
pub(crate) fn inconclusive_baseline(baseline: &TestRun) -> Option<String> {
    // pytest's own code 2: ended before the tests, most often since a module could not be imported
    // (docs.pytest.org, "Exit codes").
    let broke_off = baseline.command.contains("pytest")
        && matches!(baseline.result.ending, ExitStatus::Exited { code: 2 });
    // A build that failed is named too, but is no test.
    let names_tests = baseline.report.red().any(|case| case.outcome == TestOutcome::Failed) && !broke_off;
    (!baseline.is_green() && !names_tests).then(|| {
        format!(
            "the test command `{}` names no test that fails, and may only lack what a setup would bring:\n{}",
            baseline.command,
            baseline.result.output.to_text()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{BoundedOutput, Budget, EgressReport, ProcessOutput, TestReport};

    fn result(code: i32, output_text: &str) -> ProcessOutput {
        ProcessOutput {
            ending: ExitStatus::Exited { code },
            output: BoundedOutput { head: output_text.to_owned(), omitted_bytes: 0, tail: String::new() },
            duration: Duration::from_secs(1),
        }
    }

    #[test]
    fn skipped_setup_is_described_with_advice() {
        let settings = JobSettings {
            setup_commands: vec!["pip install -r requirements.txt".into(), "pip install -e '.[dev]'".into()],
            setup_source: "`requirements.txt`".into(),
            setup_detected: true,
            setup_files: vec![],
            image: None,
            image_source: String::new(),
            agent_hosts: vec![],
            test_command: "python3 -m pytest".into(),
            test_command_source: "`pyproject.toml`".into(),
            test_timeout: Duration::from_secs(1),
            commands: Vec::new(),
            budget: Budget::default(),
            protected_paths: vec![],
            test_paths: vec![],
            proof_required: true,
            mutants: true,
            instructions: None,
        };
        let failure = SetupFailure {
            command: settings.setup_commands[0].clone(),
            result: result(1, "no matching distribution"),
            egress: EgressReport::default(),
            offline: None,
        };
        let left_out = SkippedSetup { settings: &settings, failure: &failure };
        let pending = [left_out.note(), left_out.remark(), left_out.advice()];
        insta::assert_snapshot!(pending.join("\n---\n"), @r#"
        The setup that `requirements.txt` asks for was left out, since it was only detected and does not work here: the setup command `pip install -r requirements.txt` fails: exit code 1.
        no matching distribution
        ---
        The setup that was detected from `requirements.txt` fails at `pip install -r requirements.txt` and was left out: the suite ran without it.
        ---
        The tests were tried without the setup that `requirements.txt` asks for, since the setup command `pip install -r requirements.txt` fails: exit code 1.
        no matching distribution

        Write commands that work into `.github/agent-fix.yml` on the default branch, in place of those that were detected:

        test: "python3 -m pytest"
        setup:
          - "pip install -r requirements.txt"
          - "pip install -e '.[dev]'"
        "#);
    }

    #[test]
    fn run_without_setup_is_conclusive_only_if_it_reached_the_tests() {
        let run = |command: &str, code, failed: &[&str]| TestRun {
            command: command.to_owned(),
            result: result(code, "ModuleNotFoundError"),
            selection: None,
            report: TestReport::naming_failed(failed.iter().copied()),
        };
        assert_eq!(inconclusive_baseline(&run("make check", 0, &[])), None);
        assert_eq!(inconclusive_baseline(&run("python3 -m pytest", 1, &["test_a"])), None);
        assert!(inconclusive_baseline(&run("python3 -m pytest", 2, &["test_a.py"])).is_some());
        assert!(inconclusive_baseline(&run("npm test", 1, &[])).is_some());
    }
}
