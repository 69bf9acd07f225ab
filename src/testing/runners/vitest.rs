//! Vitest.

use super::row::{PathWords, RunnerRow};
use super::title::innermost;
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget, report_file};
use crate::testing::reports::{ReportFileFormat, javascript};

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "Vitest",
    is_named: |program, _| program == "vitest",
    select: |_, path, name| match (path, name) {
        (Some(path), None) => Some(Ok(arguments(&[path]))),
        (Some(path), Some(name)) => Some(Ok(arguments(&[path, "-t", &regex::escape(innermost(name))]))),
        (None, Some(name)) => Some(Ok(arguments(&["-t", &regex::escape(innermost(name))]))),
        (None, None) => None,
    },
    paths: |_| {
        Some(PathWords {
            own: 1,
            flags: &[
                "--run",
                "--silent",
                "--globals",
                "--typecheck",
                "--passWithNoTests",
                "--coverage",
                "--dom",
            ],
            letters: "",
        })
    },
    report: |invocation, token| {
        if invocation.has(&["--reporter", "--outputFile"]) {
            return None;
        }
        let (json, path) = report_file(token, "json");
        let words = ["--reporter=default", "--reporter=json", &format!("--outputFile.json={path}")];
        let place = ReportTarget::File(json, ReportFileFormat::VitestJson);
        ReportRequest::by_arguments(invocation, &words, place, "outputFile")
    },
    keep_going: |invocation| match invocation.has(&["--bail"]) {
        true => None,
        false => KeepGoing::by_arguments(invocation, &["--bail=0"]),
    },
    // It takes the option only once.
    without_stop_option: Some(|word| match word.starts_with("--bail=") {
        true => Some("--bail=0".to_owned()),
        false => Some(word.to_owned()),
    }),
    readers: &[javascript::vitest],
    format: Some(ReportFormat::Vitest),
    ..RunnerRow::UNKNOWN
};
