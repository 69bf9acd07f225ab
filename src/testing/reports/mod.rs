//! Test reports: reads the tests by name and outcome from what a runner wrote or printed. Pure functions, a
//! file for each family of formats. The text is hostile, since a test can print and write anything:
//! everything is bounded here, and a report never turns a failed run into a passed one.

use crate::domain::{BoundedOutput, ReportBuilder, ReportFormat, ReportSource, TestReport};

pub(super) mod ctest;
pub(super) mod go;
pub(super) mod javascript;
mod junit;
pub(super) mod maven;
pub(super) mod phpunit;
pub(super) mod prove;
pub(super) mod python;
pub(super) mod rspec;
pub(super) mod rust;
pub(super) mod tap;
mod text;

#[cfg(test)]
mod tests;

/// Report files of one run that are read.
pub(super) const FILES_MAX: usize = 500;

/// The format of a report file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportFileFormat {
    /// JUnit's XML.
    JunitXml,
    /// Jest's JSON.
    JestJson,
    /// Vitest's, which has the same shape.
    VitestJson,
    /// RSpec's JSON.
    RspecJson,
}

/// Reads the output of a command. `readers` are those of the runner that the command names; without it, every format
/// is tried. `None`: no format fits.
pub(super) fn read_output(output: &BoundedOutput, readers: Option<&[Reader]>) -> Option<TestReport> {
    let text = output.to_text();
    let text = text::plain(&text);
    // An unfinished last line may lack a part of its numbers.
    let ended = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
    let mut found: Vec<TestReport> = Vec::new();
    for reader in readers.unwrap_or(ALL_READERS) {
        let Some(mut report) = reader(&text) else { continue };
        // TAP announces its number of tests, and people write it by hand.
        if ended.len() < text.len() && report.formats != [ReportFormat::Tap] {
            report.finished &= reader(ended).is_some_and(|report| report.finished);
        }
        // prove -v repeats the TAP that it reads.
        let is_repeated =
            report.formats == [ReportFormat::Tap] && found.iter().any(|r| r.formats == [ReportFormat::Prove]);
        if !is_repeated {
            found.push(report);
        }
    }
    let mut report = merged(found, ReportSource::Output)?;
    if output.is_truncated() {
        report.add_remark("a part of the output was not kept, so tests may be missing here");
    }
    Some(report)
}

/// Reads the report files of a runner. `None`: none of them is a report.
pub(super) fn read_files(files: &[Vec<u8>], format: ReportFileFormat) -> Option<TestReport> {
    let mut found = Vec::new();
    let mut unreadable = 0;
    for bytes in files.iter().take(FILES_MAX) {
        let text = String::from_utf8_lossy(bytes);
        let report = match format {
            ReportFileFormat::JunitXml => junit::read(&text),
            ReportFileFormat::JestJson => javascript::json(&text, ReportFormat::Jest),
            ReportFileFormat::VitestJson => javascript::json(&text, ReportFormat::Vitest),
            ReportFileFormat::RspecJson => rspec::json(&text),
        };
        match report {
            Some(report) => found.push(report),
            None => unreadable += 1,
        }
    }
    let mut report = merged(found, ReportSource::File)?;
    if unreadable > 0 {
        report.add_remark(format!("{unreadable} report files could not be read"));
    }
    Some(report)
}

/// Reads one format. `None`: the text is not of this format.
pub(super) type Reader = fn(&str) -> Option<TestReport>;

const ALL_READERS: &[Reader] = &[
    python::pytest,
    python::unittest,
    rust::nextest,
    rust::cargo,
    go::printed,
    javascript::jest,
    javascript::vitest,
    javascript::mocha,
    javascript::node,
    rspec::printed,
    phpunit::printed,
    ctest::printed,
    prove::printed,
    maven::printed,
    tap::read,
];

/// Merges several reports of one run.
fn merged(reports: Vec<TestReport>, source: ReportSource) -> Option<TestReport> {
    let mut reports = reports.into_iter();
    let mut all = reports.next()?;
    all.source = source;
    let (mut builder, mut rest) = (ReportBuilder::default(), reports.peekable());
    if rest.peek().is_none() {
        return Some(all);
    }
    for case in std::mem::take(&mut all.cases) {
        builder.push(case);
    }
    for report in rest {
        all.formats.extend(
            report.formats.iter().filter(|format| !all.formats.contains(format)).copied().collect::<Vec<_>>(),
        );
        all.counts = all.counts.zip(report.counts).map(|(mut sum, more)| {
            sum.add_all(more);
            sum
        });
        all.finished &= report.finished;
        all.left_out += report.left_out;
        all.repeated += report.repeated;
        for remark in report.remarks {
            all.add_remark(remark);
        }
        for case in report.cases {
            builder.push(case);
        }
    }
    let format = all.formats.first().copied().unwrap_or(ReportFormat::Junit);
    let gathered = builder.finish(source, format, None, true);
    all.left_out += gathered.left_out;
    all.repeated += gathered.repeated;
    all.cases = gathered.cases;
    Some(all)
}
