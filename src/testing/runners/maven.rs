//! Maven. It always writes a report.

use super::row::RunnerRow;
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::arguments;
use crate::testing::report_request::ReportRequest;
use crate::testing::reports::maven;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "Maven",
    is_named: |program, _| matches!(program, "mvn" | "mvnw"),
    select: |_, path, name| match (path, name) {
        (Some(path), None) => {
            let file = path.rsplit('/').next().unwrap_or(path);
            let class = file.strip_suffix(".java").or_else(|| file.strip_suffix(".kt"));
            Some(match class {
                Some(class) => Ok(arguments(&[&format!("-Dtest={class}"), "-DfailIfNoTests=false"])),
                None => {
                    Err("Maven takes the file of a test class, for instance `src/test/java/a/BTest.java`."
                        .to_owned())
                }
            })
        }
        (None, Some(name)) => {
            let test = match name.rsplit_once('.') {
                Some((class, method)) if method.starts_with(|c: char| c.is_lowercase()) => {
                    format!("{class}#{method}")
                }
                Some(_) | None => name.to_owned(),
            };
            Some(Ok(arguments(&[&format!("-Dtest={test}"), "-DfailIfNoTests=false"])))
        }
        _ => None,
    },
    report: |_, _| Some(ReportRequest::written_anyway(&["**/target/surefire-reports/TEST-*.xml"])),
    keep_going: |invocation| KeepGoing::by_arguments(invocation, &["--fail-at-end"]),
    readers: &[maven::printed],
    format: Some(ReportFormat::Maven),
    ..RunnerRow::UNKNOWN
};
