//! Vitest.

use super::row::RunnerRow;
use super::title::innermost;
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget, report_file};
use crate::testing::reports::{FileFormat, javascript};

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "Vitest",
    is_named: |program, _| program == "vitest",
    select: |_, path, name| match (path, name) {
        (Some(path), None) => Some(Ok(arguments(&[path]))),
        (Some(path), Some(name)) => Some(Ok(arguments(&[path, "-t", &regex::escape(innermost(name))]))),
        (None, Some(name)) => Some(Ok(arguments(&["-t", &regex::escape(innermost(name))]))),
        (None, None) => None,
    },
    report: |invocation, token| {
        if invocation.has(&["--reporter", "--outputFile"]) {
            return None;
        }
        let (json, path) = report_file(token, "json");
        let words = ["--reporter=default", "--reporter=json", &format!("--outputFile.json={path}")];
        let place = ReportTarget::File(json, FileFormat::VitestJson);
        ReportRequest::by_arguments(invocation, &words, place, "outputFile")
    },
    keep_going: |invocation| KeepGoing::by_arguments(invocation, &["--bail=0"]),
    readers: &[javascript::vitest],
    format: Some(ReportFormat::Vitest),
    ..RunnerRow::UNKNOWN
};
