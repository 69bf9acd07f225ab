//! What a runner really said, cut and put together wrongly, as an early end, a full disk or a test
//! that prints leaves it. Nobody panics, and what lacks its end is not taken for the whole.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The folders, with who is known to have written the output, and what its files are.
const KNOWN: &[(&str, Option<Runner>, FileFormat)] = &[
    ("pytest", Some(Runner::Pytest), FileFormat::JunitXml),
    ("unittest", Some(Runner::Unittest), FileFormat::JunitXml),
    ("cargo", Some(Runner::Cargo), FileFormat::JunitXml),
    ("nextest", Some(Runner::Nextest), FileFormat::JunitXml),
    ("go", Some(Runner::Go), FileFormat::JunitXml),
    ("node", Some(Runner::Node), FileFormat::JunitXml),
    ("jest", Some(Runner::Jest), FileFormat::JestJson),
    ("vitest", Some(Runner::Vitest), FileFormat::VitestJson),
    ("mocha", Some(Runner::Mocha), FileFormat::JunitXml),
    ("rspec", Some(Runner::Rspec), FileFormat::RspecJson),
    ("phpunit", Some(Runner::Phpunit), FileFormat::JunitXml),
    ("ctest", Some(Runner::Ctest), FileFormat::JunitXml),
    ("prove", Some(Runner::Prove), FileFormat::JunitXml),
    ("maven", Some(Runner::Maven), FileFormat::JunitXml),
    ("ant", None, FileFormat::JunitXml),
    ("gradle", None, FileFormat::JunitXml),
];

type Read = Box<dyn Fn(&str) -> Option<TestReport>>;

/// A fixture, and how its text is read.
struct Said {
    name: String,
    text: String,
    read: Read,
}

fn printed_by(runner: Option<Runner>) -> Read {
    Box::new(move |text| {
        read_output(&BoundedOutput { head: text.to_owned(), ..BoundedOutput::default() }, runner)
    })
}

/// Every fixture; what was printed both by whoever is known to have printed it and by nobody known.
fn everything() -> Vec<Said> {
    let mut all = Vec::new();
    for (folder, runner, format) in KNOWN.iter().copied() {
        for entry in fs::read_dir(directory(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().display());
            if name.ends_with(".txt") {
                let text = output(&path).head;
                all.push(Said {
                    name: format!("{name}, of nobody known"),
                    text: text.clone(),
                    read: printed_by(None),
                });
                let by = runner.filter(|_| !name.contains(".tap."));
                if by.is_some() {
                    all.push(Said { name, text, read: printed_by(by) });
                }
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let read = move |text: &str| read_files(&[text.as_bytes().to_vec()], format);
                all.push(Said { name, text, read: Box::new(read) });
            }
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// What a run with exit code 0 would be taken for as passed, by this report alone.
fn is_green(report: &TestReport) -> bool {
    report.red().count() == 0
        && report.counts.is_none_or(|counts| counts.red() == 0)
        && report.contradicts_success().is_none()
}

/// The tests that it names, with what came of them.
fn outcomes(report: &TestReport) -> BTreeMap<&str, TestOutcome> {
    report.cases.iter().map(|case| (case.name.as_str(), case.outcome)).collect()
}

/// Where a text is cut: at the beginning of each line, and at some hundred places beside.
fn cuts(text: &str) -> Vec<usize> {
    let lines = text.match_indices('\n').map(|(at, _)| at + 1);
    let cuts: BTreeSet<usize> = lines.chain((0..text.len()).step_by(text.len() / 120 + 1)).collect();
    cuts.into_iter().filter(|at| *at < text.len() && text.is_char_boundary(*at)).collect()
}

#[test]
fn what_lacks_its_end_is_not_taken_for_the_whole() {
    for said in everything() {
        // Each binary and each package is told on its own, and nothing says how many there are. A run
        // that ends between two of them does not exit with 0.
        let is_told_in_parts = said.name.starts_with("cargo/") || said.name.starts_with("go/");
        let whole = (said.read)(&said.text);
        for part in cuts(&said.text).into_iter().map(|cut| &said.text[..cut]) {
            let Some(report) = (said.read)(part).filter(is_green) else { continue };
            let whole = whole.as_ref().expect("the whole is a report where a part is");
            let (told, expected) = (outcomes(&report), outcomes(whole));
            let end = &part[part.floor_char_boundary(part.len().saturating_sub(80))..];
            // TAP is whole where as many tests as it said are told: the last name may lack its end.
            if said.name.contains(".tap.") && !part.ends_with('\n') {
                assert!(is_green(whole), "{}: …{end}", said.name);
                continue;
            }
            assert!(
                told.iter().all(|(name, outcome)| expected.get(name) == Some(outcome)),
                "{}: …{end}",
                said.name
            );
            if !is_told_in_parts {
                assert!(is_green(whole) && told == expected, "{} is taken for whole: …{end}", said.name);
                assert_eq!(report.counts, whole.counts, "{}: …{end}", said.name);
            }
        }
    }
}

#[test]
fn two_runs_put_together_at_any_place_panic_nobody_and_keep_their_bounds() {
    // Deterministic, and never the same places twice.
    let mut number = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |most: usize| {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        usize::try_from(number % (most as u64 + 1)).unwrap()
    };
    let all = everything();
    for said in &all {
        for _ in 0..20 {
            let other = &all[below(all.len() - 1)].text;
            // Bytes, as a runner's output is: a cut may go through a letter.
            let (one, two) =
                (&said.text.as_bytes()[..below(said.text.len())], &other.as_bytes()[below(other.len())..]);
            let both = String::from_utf8_lossy(&[one, two].concat()).into_owned();
            let middle = BoundedOutput {
                head: String::from_utf8_lossy(one).into_owned(),
                omitted_bytes: 1,
                tail: String::from_utf8_lossy(two).into_owned(),
            };
            for report in [(said.read)(&both), read_output(&middle, None)].into_iter().flatten() {
                assert!(report.cases.len() < 100, "{}", said.name);
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
