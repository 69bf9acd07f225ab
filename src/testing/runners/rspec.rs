//! RSpec.

use super::row::{PathWords, RunnerRow};
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget, report_file};
use crate::testing::reports::{ReportFileFormat, rspec};

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "RSpec",
    is_named: |program, _| program == "rspec",
    select: |_, path, name| match (path, name) {
        (Some(path), None) => Some(Ok(arguments(&[path]))),
        (None, Some(name)) => Some(Ok(arguments(&["-e", name]))),
        (Some(path), Some(name)) => Some(Ok(arguments(&["-e", name, path]))),
        (None, None) => None,
    },
    paths: |_| {
        Some(PathWords {
            own: 1,
            flags: &[
                "--fail-fast",
                "--color",
                "--backtrace",
                "--profile",
                "--warnings",
                "--force-color",
                "--dry-run",
            ],
            letters: "cbw",
        })
    },
    report: |_, token| {
        let (json, path) = report_file(token, "json");
        // This variable replaces the formatters that are configured elsewhere.
        let options = format!("--format progress --format json --out {path}");
        let place = ReportTarget::File(json, ReportFileFormat::RspecJson);
        Some(ReportRequest::by_variable("SPEC_OPTS", options, place, "--out"))
    },
    keep_going: |invocation| KeepGoing::by_arguments(invocation, &["--no-fail-fast"]),
    readers: &[rspec::printed],
    format: Some(ReportFormat::Rspec),
    ..RunnerRow::UNKNOWN
};
