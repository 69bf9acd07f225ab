//! Mocha. It prints the name of every test.

use super::row::{PathWords, RunnerRow};
use super::title::innermost;
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::arguments;
use crate::testing::reports::javascript;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "Mocha",
    is_named: |program, _| program == "mocha",
    select: |_, path, name| match (path, name) {
        (Some(path), None) => Some(Ok(arguments(&[path]))),
        (None, Some(name)) => Some(Ok(arguments(&["--fgrep", innermost(name)]))),
        (Some(path), Some(name)) => Some(Ok(arguments(&["--fgrep", innermost(name), path]))),
        (None, None) => None,
    },
    paths: |_| {
        Some(PathWords {
            own: 1,
            flags: &[
                "--exit",
                "--recursive",
                "--parallel",
                "--bail",
                "--forbid-only",
                "--forbid-pending",
                "--check-leaks",
                "--colors",
                "--color",
                "--sort",
                "--async-only",
                "--full-trace",
                "--diff",
                "--enable-source-maps",
            ],
            letters: "bcAS",
        })
    },
    keep_going: |invocation| KeepGoing::by_arguments(invocation, &["--no-bail"]),
    readers: &[javascript::mocha],
    format: Some(ReportFormat::Mocha),
    ..RunnerRow::UNKNOWN
};
