//! AVA. It reports in TAP if it is asked to.

use super::row::{PathWords, RunnerRow};
use super::title::innermost;
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget};
use crate::testing::reports::tap;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "AVA",
    is_named: |program, _| program == "ava",
    select: |_, path, name| match (path, name) {
        (Some(path), None) => Some(Ok(arguments(&[path]))),
        (path, Some(name)) => {
            // The pattern stands for any letters at its ends.
            let pattern = format!("--match=*{}*", innermost(name));
            Some(Ok(std::iter::once(pattern).chain(path.map(str::to_owned)).collect()))
        }
        (None, None) => None,
    },
    paths: |_| {
        Some(PathWords { own: 1, flags: &["--serial", "--verbose", "--fail-fast", "--tap"], letters: "svt" })
    },
    report: |invocation, _| match invocation.has(&["--tap", "-t"]) {
        true => None,
        false => ReportRequest::by_arguments(invocation, &["--tap"], ReportTarget::Output, "--tap"),
    },
    readers: &[tap::read],
    format: Some(ReportFormat::Tap),
    ..RunnerRow::UNKNOWN
};
