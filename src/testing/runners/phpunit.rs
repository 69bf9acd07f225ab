//! PHPUnit.

use super::row::{PathWords, RunnerRow};
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::report_request::{ReportRequest, ReportTarget, report_file};
use crate::testing::reports::{ReportFileFormat, phpunit};

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "PHPUnit",
    is_named: |program, _| program == "phpunit",
    select: |_, path, name| {
        let method = name.map(|name| name.split(" with data set").next().unwrap_or(name));
        let filter = method.map(|method| format!("{}\\b", regex::escape(method)));
        let mut words: Vec<&str> = filter.iter().flat_map(|filter| ["--filter", filter]).collect();
        words.extend(path);
        (!words.is_empty()).then(|| Ok(arguments(&words)))
    },
    paths: |_| {
        Some(PathWords {
            own: 1,
            flags: &[
                "--testdox",
                "--debug",
                "--verbose",
                "--stop-on-failure",
                "--stop-on-error",
                "--colors",
                "--strict-coverage",
                "--process-isolation",
                "--display-warnings",
                "--display-deprecations",
            ],
            letters: "v",
        })
    },
    report: |invocation, token| {
        if invocation.has(&["--log-junit"]) {
            return None;
        }
        let (xml, path) = report_file(token, "xml");
        let place = ReportTarget::File(xml, ReportFileFormat::JunitXml);
        ReportRequest::by_arguments(invocation, &["--log-junit", &path], place, "--log-junit")
    },
    readers: &[phpunit::printed],
    without_stop_option: Some(|word| (!word.starts_with("--stop-on-")).then(|| word.to_owned())),
    format: Some(ReportFormat::Phpunit),
    ..RunnerRow::UNKNOWN
};
