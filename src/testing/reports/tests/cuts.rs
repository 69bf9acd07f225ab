//! Real output of runners, cut or joined wrongly, as an early end, a full disk or a printing test leaves it.
//! No reader may panic, or take an incomplete report for a complete one.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The folders, each with the runner of its output and the format of its files.
const KNOWN: &[(&str, Option<Runner>, ReportFileFormat)] = &[
    ("pytest", Some(Runner::Pytest), ReportFileFormat::JunitXml),
    ("unittest", Some(Runner::Unittest), ReportFileFormat::JunitXml),
    ("cargo", Some(Runner::Cargo), ReportFileFormat::JunitXml),
    ("nextest", Some(Runner::Nextest), ReportFileFormat::JunitXml),
    ("go", Some(Runner::Go), ReportFileFormat::JunitXml),
    ("node", Some(Runner::Node), ReportFileFormat::JunitXml),
    ("jest", Some(Runner::Jest), ReportFileFormat::JestJson),
    ("vitest", Some(Runner::Vitest), ReportFileFormat::VitestJson),
    ("mocha", Some(Runner::Mocha), ReportFileFormat::JunitXml),
    ("rspec", Some(Runner::Rspec), ReportFileFormat::RspecJson),
    ("phpunit", Some(Runner::Phpunit), ReportFileFormat::JunitXml),
    ("ctest", Some(Runner::Ctest), ReportFileFormat::JunitXml),
    ("prove", Some(Runner::Prove), ReportFileFormat::JunitXml),
    ("maven", Some(Runner::Maven), ReportFileFormat::JunitXml),
    ("ant", None, ReportFileFormat::JunitXml),
    ("gradle", None, ReportFileFormat::JunitXml),
];

type Read = Box<dyn Fn(&str) -> Option<TestReport>>;

/// A fixture, and how its text is read.
struct Fixture {
    name: String,
    text: String,
    read: Read,
}

fn printed_by(runner: Option<Runner>) -> Read {
    Box::new(move |text| {
        read_output(&BoundedOutput { head: text.to_owned(), ..BoundedOutput::default() }, readers_of(runner))
    })
}

/// Every fixture. Printed output is read both with and without its runner.
fn everything() -> Vec<Fixture> {
    let mut all = Vec::new();
    for (folder, runner, format) in KNOWN.iter().copied() {
        for entry in fs::read_dir(directory(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().display());
            if name.ends_with(".txt") {
                let text = output(&path).head;
                all.push(Fixture {
                    name: format!("{name}, of nobody known"),
                    text: text.clone(),
                    read: printed_by(None),
                });
                let by = runner.filter(|_| !name.contains(".tap."));
                if by.is_some() {
                    all.push(Fixture { name, text, read: printed_by(by) });
                }
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let read = move |text: &str| read_files(&[text.as_bytes().to_vec()], format);
                all.push(Fixture { name, text, read: Box::new(read) });
            }
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Whether this report alone would let a run with exit code 0 pass.
fn is_green(report: &TestReport) -> bool {
    report.red().count() == 0
        && report.counts.is_none_or(|counts| counts.red() == 0)
        && report.contradicts_success().is_none()
}

/// The named tests with their outcomes.
fn outcomes(report: &TestReport) -> BTreeMap<&str, TestOutcome> {
    report.cases.iter().map(|case| (case.name.as_str(), case.outcome)).collect()
}

/// The positions to cut at: the beginning of each line, and some hundred others.
fn cuts(text: &str) -> Vec<usize> {
    let lines = text.match_indices('\n').map(|(at, _)| at + 1);
    let cuts: BTreeSet<usize> = lines.chain((0..text.len()).step_by(text.len() / 120 + 1)).collect();
    cuts.into_iter().filter(|at| *at < text.len() && text.is_char_boundary(*at)).collect()
}

#[test]
fn output_without_its_end_is_not_taken_for_complete() {
    for fixture in everything() {
        // Each binary and each package has its own result, and their number is not printed. A run that ends
        // between two of them does not exit with 0.
        let has_several_reports = fixture.name.starts_with("cargo/") || fixture.name.starts_with("go/");
        let whole = (fixture.read)(&fixture.text);
        for part in cuts(&fixture.text).into_iter().map(|cut| &fixture.text[..cut]) {
            let Some(report) = (fixture.read)(part).filter(is_green) else { continue };
            let whole = whole.as_ref().expect("the whole is a report where a part is");
            let (outcomes_of_part, expected) = (outcomes(&report), outcomes(whole));
            let end = &part[part.floor_char_boundary(part.len().saturating_sub(80))..];
            // TAP is complete with as many tests as its plan says; the last name may be cut.
            if fixture.name.contains(".tap.") && !part.ends_with('\n') {
                assert!(is_green(whole), "{}: …{end}", fixture.name);
                continue;
            }
            assert!(
                outcomes_of_part.iter().all(|(name, outcome)| expected.get(name) == Some(outcome)),
                "{}: …{end}",
                fixture.name
            );
            if !has_several_reports {
                assert!(
                    is_green(whole) && outcomes_of_part == expected,
                    "{} is taken for whole: …{end}",
                    fixture.name
                );
                assert_eq!(report.counts, whole.counts, "{}: …{end}", fixture.name);
            }
        }
    }
}

#[test]
fn two_outputs_joined_anywhere_are_read_within_bounds() {
    // Deterministic, and never the same places twice.
    let mut number = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |most: usize| {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        usize::try_from(number % (most as u64 + 1)).unwrap()
    };
    let all = everything();
    for fixture in &all {
        for _ in 0..20 {
            let other = &all[below(all.len() - 1)].text;
            // Bytes, as a runner's output is: a cut may go through a letter.
            let (one, two) = (
                &fixture.text.as_bytes()[..below(fixture.text.len())],
                &other.as_bytes()[below(other.len())..],
            );
            let both = String::from_utf8_lossy(&[one, two].concat()).into_owned();
            let middle = BoundedOutput {
                head: String::from_utf8_lossy(one).into_owned(),
                omitted_bytes: 1,
                tail: String::from_utf8_lossy(two).into_owned(),
            };
            for report in [(fixture.read)(&both), read_output(&middle, None)].into_iter().flatten() {
                assert!(report.cases.len() < 100, "{}", fixture.name);
                for case in &report.cases {
                    assert!(
                        case.name.chars().count() <= crate::domain::report::NAME_CHARS_MAX,
                        "{}",
                        case.name
                    );
                }
            }
        }
    }
}
