//! PHPUnit.

use super::row::RunnerRow;
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget, report_file};
use crate::testing::reports::{FileFormat, phpunit};

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "PHPUnit",
    is_named: |program, _| program == "phpunit",
    select: |_, path, name| match (path, name) {
        (None, Some(name)) => {
            let method = name.split(" with data set").next().unwrap_or(name);
            Some(Ok(arguments(&["--filter", &format!("{}\\b", regex::escape(method))])))
        }
        _ => None,
    },
    report: |invocation, token| {
        if invocation.has(&["--log-junit"]) {
            return None;
        }
        let (xml, path) = report_file(token, "xml");
        let place = ReportTarget::File(xml, FileFormat::JunitXml);
        ReportRequest::by_arguments(invocation, &["--log-junit", &path], place, "--log-junit")
    },
    readers: &[phpunit::printed],
    without_stop_option: Some(|word| (!word.starts_with("--stop-on-")).then(|| word.to_owned())),
    format: Some(ReportFormat::Phpunit),
    ..RunnerRow::UNKNOWN
};
