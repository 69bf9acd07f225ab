//! `node --test`.

use super::row::RunnerRow;
use super::title::innermost;
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget, report_file};
use crate::testing::reports::{FileFormat, javascript, tap};

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "node --test",
    is_named: |program, words| {
        matches!(program, "node" | "nodejs") && words.iter().any(|word| word == "--test")
    },
    select: |invocation, path, name| match (path, name) {
        (None, Some(name)) if invocation.words.len() == 2 => {
            Some(Ok(arguments(&["--test-name-pattern", innermost(name)])))
        }
        _ => None,
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
        let place = ReportTarget::File(xml, FileFormat::JunitXml);
        Some(ReportRequest::by_variable("NODE_OPTIONS", options, place, "--test-reporter"))
    },
    readers: &[javascript::node, tap::read],
    format: Some(ReportFormat::NodeTest),
    ..RunnerRow::UNKNOWN
};
