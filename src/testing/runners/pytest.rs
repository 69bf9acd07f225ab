//! pytest.

use super::row::{PathWords, RunnerRow};
use crate::domain::ReportFormat;
use crate::testing::fail_fast::{KeepGoing, keep_going_behind_wrapper};
use crate::testing::invocation::arguments;
use crate::testing::report_request::request_pytest_report;
use crate::testing::reports::python;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "pytest",
    is_named: |program, _| matches!(program, "pytest" | "py.test"),
    select: |_, path, name| {
        Some(match (path, name) {
            (None, Some(name)) if name.contains(".py") => Ok(arguments(&[name])),
            (Some(path), Some(name)) if name.starts_with(path) => Ok(arguments(&[name])),
            (Some(path), None) => Ok(arguments(&[path])),
            (Some(path), Some(name)) => word_of(name).map(|word| arguments(&[path, "-k", &word])),
            (None, Some(name)) => word_of(name).map(|word| arguments(&["-k", &word])),
            (None, None) => return None,
        })
    },
    paths: |_| {
        Some(PathWords {
            own: 1,
            flags: &[
                "--verbose",
                "--quiet",
                "--exitfirst",
                "--lf",
                "--ff",
                "--nf",
                "--strict",
                "--strict-markers",
                "--strict-config",
                "--showlocals",
                "--cache-clear",
                "--doctest-modules",
                "--pdb",
            ],
            letters: "qvsxl",
        })
    },
    report: |invocation, token| {
        (!invocation.has(&["--junitxml", "--junit-xml"])).then(|| request_pytest_report(token))
    },
    // The variable outdoes the configuration, and the argument the command's own `-x`.
    keep_going: |invocation| {
        let by_arguments = KeepGoing::by_arguments(invocation, &["--maxfail=0"]);
        let arguments = by_arguments.map(|found| found.arguments).unwrap_or_default();
        Some(KeepGoing { arguments, ..keep_going_behind_wrapper() })
    },
    readers: &[python::pytest],
    format: Some(ReportFormat::Pytest),
    ..RunnerRow::UNKNOWN
};

/// The part of a test's name that `-k` can look for: it is an expression in Python words.
fn word_of(name: &str) -> Result<String, String> {
    let own = name.rsplit("::").next().unwrap_or(name);
    let word = own.split('[').next().unwrap_or(own).trim();
    match !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_') {
        true => Ok(word.to_owned()),
        false => Err("Name a test function, or give the whole name as the report has it.".to_owned()),
    }
}
