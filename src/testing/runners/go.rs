//! `go test`.

use super::row::{PathWords, RunnerRow, subcommand};
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::report_request::{ReportRequest, ReportTarget};
use crate::testing::reports::go;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "go test",
    is_named: |program, words| program == "go" && subcommand(words) == Some("test"),
    select: |_, path, name| {
        let test = name.map(|name| name.rsplit("::").next().unwrap_or(name));
        // Anchored, so that `a` does not run `ab`.
        let pattern = |test: &str| {
            test.split('/').map(|part| format!("^{}$", regex::escape(part))).collect::<Vec<_>>().join("/")
        };
        let mut words: Vec<String> =
            test.into_iter().flat_map(|test| ["-run".to_owned(), pattern(test)]).collect();
        words.extend(path.map(package_of));
        (!words.is_empty()).then_some(Ok(words))
    },
    paths: |_| {
        Some(PathWords {
            own: 2,
            flags: &[
                "-v",
                "-race",
                "-cover",
                "-short",
                "-failfast",
                "-json",
                "-a",
                "-x",
                "-work",
                "-trimpath",
                "-benchmem",
            ],
            letters: "",
        })
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

/// The package of a file, or the packages below a directory.
fn package_of(path: &str) -> String {
    match path.strip_suffix(".go").map(|_| path.rsplit_once('/')) {
        Some(Some((directory, _))) => format!("./{directory}"),
        Some(None) => ".".to_owned(),
        None => format!("./{}/...", path.trim_end_matches('/')),
    }
}
