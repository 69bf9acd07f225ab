//! `node --test`.

use super::row::{PathWords, RunnerRow};
use super::title::innermost;
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget, report_file};
use crate::testing::reports::{ReportFileFormat, javascript, tap};

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "node --test",
    is_named: |program, words| {
        matches!(program, "node" | "nodejs") && words.iter().any(|word| word == "--test")
    },
    // Options come before paths: what comes after the first path belongs to the script.
    select: |_, path, name| match (path, name) {
        (Some(path), None) => Some(Ok(arguments(&[path]))),
        (path, Some(name)) => {
            let pattern = format!("--test-name-pattern={}", regex::escape(innermost(name)));
            Some(Ok(std::iter::once(pattern).chain(path.map(str::to_owned)).collect()))
        }
        (None, None) => None,
    },
    paths: |_| {
        Some(PathWords {
            own: 1,
            flags: &[
                "--test",
                "--test-only",
                "--enable-source-maps",
                "--experimental-strip-types",
                "--experimental-transform-types",
                "--experimental-test-coverage",
                "--experimental-test-module-mocks",
                "--experimental-vm-modules",
                "--test-force-exit",
                "--expose-gc",
                "--trace-warnings",
                "--experimental-test-snapshots",
            ],
            letters: "",
        })
    },
    report: |invocation, token| {
        if invocation.has(&["--test-reporter"]) {
            return None;
        }
        let (xml, path) = report_file(token, "xml");
        let options = format!(
            "--test-reporter=spec --test-reporter-destination=stdout --test-reporter=junit \
             --test-reporter-destination={path}"
        );
        let place = ReportTarget::File(xml, ReportFileFormat::JunitXml);
        Some(ReportRequest::by_variable("NODE_OPTIONS", options, place, "--test-reporter"))
    },
    readers: &[javascript::node, tap::read],
    format: Some(ReportFormat::NodeTest),
    ..RunnerRow::UNKNOWN
};
