//! Mocha. It prints the name of every test.

use super::row::RunnerRow;
use super::title::innermost;
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::arguments;
use crate::testing::reports::javascript;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "Mocha",
    is_named: |program, _| program == "mocha",
    select: |_, path, name| match (path, name) {
        (None, Some(name)) => Some(Ok(arguments(&["--fgrep", innermost(name)]))),
        _ => None,
    },
    keep_going: |invocation| KeepGoing::by_arguments(invocation, &["--no-bail"]),
    readers: &[javascript::mocha],
    format: Some(ReportFormat::Mocha),
    ..RunnerRow::UNKNOWN
};
