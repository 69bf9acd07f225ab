//! CTest.

use super::row::RunnerRow;
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget, report_file};
use crate::testing::reports::{ReportFileFormat, ctest};

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "CTest",
    is_named: |program, _| program == "ctest",
    select: |_, path, name| match (path, name) {
        // Anchored, so that `a` does not run `ab`.
        (None, Some(name)) => Some(Ok(arguments(&["-R", &format!("^{}$", regex::escape(name))]))),
        _ => None,
    },
    report: |invocation, token| {
        if invocation.has(&["--output-junit"]) {
            return None;
        }
        let (xml, path) = report_file(token, "xml");
        let place = ReportTarget::File(xml, ReportFileFormat::JunitXml);
        ReportRequest::by_arguments(invocation, &["--output-junit", &path], place, "output-junit")
    },
    readers: &[ctest::printed],
    without_stop_option: Some(|word| (word != "--stop-on-failure").then(|| word.to_owned())),
    format: Some(ReportFormat::Ctest),
    ..RunnerRow::UNKNOWN
};
