//! Perl's prove. It prints the name of every file.

use super::row::{PathWords, RunnerRow};
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::reports::prove;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "prove",
    is_named: |program, _| program == "prove",
    select: |_, path, name| match (path, name) {
        (Some(path), None) => Some(Ok(arguments(&[path]))),
        _ => None,
    },
    paths: |_| {
        Some(PathWords {
            own: 1,
            flags: &[
                "--lib",
                "--blib",
                "--recurse",
                "--verbose",
                "--merge",
                "--shuffle",
                "--timer",
                "--color",
                "--nocolor",
                "--failures",
                "--comments",
                "--quiet",
                "--trap",
                "--directives",
            ],
            letters: "lbrvmsfoqQpDtTwWS",
        })
    },
    readers: &[prove::printed],
    format: Some(ReportFormat::Prove),
    ..RunnerRow::UNKNOWN
};
