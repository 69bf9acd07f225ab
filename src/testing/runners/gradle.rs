//! Gradle. It always writes a report, and prints no results that could be read.

use super::row::RunnerRow;
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::arguments;
use crate::testing::report_request::ReportRequest;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "Gradle",
    is_named: |program, _| matches!(program, "gradle" | "gradlew"),
    select: |_, path, name| match (path, name) {
        (None, Some(name)) => Some(Ok(arguments(&["--tests", name]))),
        _ => None,
    },
    report: |_, _| Some(ReportRequest::written_anyway(&["**/build/test-results/**/TEST-*.xml"])),
    keep_going: |invocation| KeepGoing::by_arguments(invocation, &["--continue"]),
    format: Some(ReportFormat::Maven),
    ..RunnerRow::UNKNOWN
};
