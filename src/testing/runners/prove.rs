//! Perl's prove. It prints the name of every file.

use super::row::RunnerRow;
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::reports::prove;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "prove",
    is_named: |program, _| program == "prove",
    select: |invocation, path, name| match (path, name) {
        (Some(path), None) if !invocation.has(&["-r", "t"]) => Some(Ok(arguments(&[path]))),
        _ => None,
    },
    readers: &[prove::printed],
    format: Some(ReportFormat::Prove),
    ..RunnerRow::UNKNOWN
};
