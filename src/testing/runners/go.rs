//! `go test`.

use super::row::{RunnerRow, subcommand};
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget};
use crate::testing::reports::go;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "go test",
    is_named: |program, words| program == "go" && subcommand(words) == Some("test"),
    select: |_, path, name| match (path, name) {
        (None, Some(name)) => {
            let test = name.rsplit("::").next().unwrap_or(name);
            // Anchored, so that `a` does not run `ab`.
            let parts: Vec<String> =
                test.split('/').map(|part| format!("^{}$", regex::escape(part))).collect();
            Some(Ok(arguments(&["-run", &parts.join("/")])))
        }
        _ => None,
    },
    // GOFLAGS would also reach `go vet`, `go list` and commands that tests run.
    report: |invocation, _| {
        if invocation.has(&["-json", "-args", "--args"]) {
            return None;
        }
        ReportRequest::by_arguments(invocation, &["-json"], ReportTarget::Output, "-json")
    },
    keep_going: |invocation| KeepGoing::by_arguments(invocation, &["-failfast=false"]),
    readers: &[go::printed],
    for_people: go::without_json,
    without_stop_option: None,
    format: Some(ReportFormat::GoTest),
};
