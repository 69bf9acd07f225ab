//! Jest.

use super::row::{PathWords, RunnerRow};
use super::title::innermost;
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget, report_file};
use crate::testing::reports::{ReportFileFormat, javascript};

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "Jest",
    is_named: |program, _| program == "jest",
    select: |_, path, name| match (path, name) {
        (Some(path), None) => Some(Ok(arguments(&["--runTestsByPath", path]))),
        (Some(path), Some(name)) => {
            Some(Ok(arguments(&["-t", &regex::escape(innermost(name)), "--runTestsByPath", path])))
        }
        (None, Some(name)) => Some(Ok(arguments(&["-t", &regex::escape(innermost(name))]))),
        (None, None) => None,
    },
    paths: |_| {
        Some(PathWords {
            own: 1,
            flags: &[
                "--ci",
                "--runInBand",
                "--verbose",
                "--silent",
                "--coverage",
                "--forceExit",
                "--detectOpenHandles",
                "--passWithNoTests",
                "--bail",
                "--colors",
                "--logHeapUsage",
                "--useStderr",
            ],
            letters: "ib",
        })
    },
    report: |invocation, token| {
        if invocation.has(&["--json", "--outputFile"]) {
            return None;
        }
        let (json, path) = report_file(token, "json");
        let words = ["--json", &format!("--outputFile={path}")];
        let place = ReportTarget::File(json, ReportFileFormat::JestJson);
        ReportRequest::by_arguments(invocation, &words, place, "outputFile")
    },
    keep_going: |invocation| KeepGoing::by_arguments(invocation, &["--bail=0"]),
    readers: &[javascript::jest],
    format: Some(ReportFormat::Jest),
    ..RunnerRow::UNKNOWN
};
