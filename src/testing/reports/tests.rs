//! Reads every fixture, which a real runner wrote (`fixtures/reports`), and compares a short summary.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::domain::{TestCase, TestOutcome};
use crate::testing::runners::Runner;

mod cuts;

fn directory(runner: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reports").join(runner)
}

/// The printed output without the last line that the recording added.
fn output(path: &Path) -> BoundedOutput {
    let text = fs::read_to_string(path).unwrap();
    let end = text.rfind("[exit code").or_else(|| text.rfind("[killed]")).unwrap_or(text.len());
    // As a sandbox has it: the repository lies at /workspace.
    BoundedOutput { head: text[..end].replace("/project/", "/workspace/"), ..BoundedOutput::default() }
}

fn summary(report: Option<&TestReport>) -> String {
    let Some(report) = report else { return "  no report\n".to_owned() };
    let counts = report.counts.map_or("not counted".to_owned(), |counts| counts.describe());
    let finished = if report.finished { "" } else { ", BROKEN OFF" };
    let mut text = format!("  {}: {counts}{finished}\n", report.origin());
    for case in &report.cases {
        text.push_str(&format!("  {}\n", case_line(case)));
    }
    text
}

fn case_line(case: &TestCase) -> String {
    let mark = match case.outcome {
        TestOutcome::Passed => "+",
        TestOutcome::Failed => "-",
        TestOutcome::Errored => "!",
        TestOutcome::Skipped => "o",
    };
    let mut text = format!("{mark} {}", case.name);
    if let Some(at) = &case.location {
        text.push_str(&format!(" @ {}", at.describe()));
    }
    if let Some(message) = &case.message {
        text.push_str(&format!(" | {}", message.replace('\n', " / ").chars().take(90).collect::<String>()));
    }
    if let Some(frame) = &case.frame {
        text.push_str(&format!(" << {}", frame.chars().take(60).collect::<String>()));
    }
    text
}

fn readers_of(runner: Option<Runner>) -> Option<&'static [Reader]> {
    runner.map(|runner| runner.row().readers)
}

/// All of a runner's fixtures, with the reader that its command would be read by.
fn all(runner: &str, by: Option<Runner>, file_format: ReportFileFormat) -> String {
    let mut names: Vec<String> = fs::read_dir(directory(runner))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        let path = directory(runner).join(&name);
        let report = match path.extension().and_then(|extension| extension.to_str()) {
            Some("txt") if name.contains(".tap.") => read_output(&output(&path), None),
            Some("txt") => read_output(&output(&path), readers_of(by)),
            Some("xml" | "json") => {
                let bytes = fs::read_to_string(&path).unwrap().replace("/project/", "/workspace/");
                read_files(&[bytes.into_bytes()], file_format)
            }
            other => panic!("{other:?}: {name}"),
        };
        text.push_str(&format!("{name}\n{}", summary(report.as_ref())));
    }
    text
}

macro_rules! every_form {
    ($test:ident, $runner:literal, $by:expr, $format:ident) => {
        #[test]
        fn $test() {
            insta::assert_snapshot!($runner, all($runner, $by, ReportFileFormat::$format));
        }
    };
}

every_form!(pytest_in_every_form, "pytest", Some(Runner::Pytest), JunitXml);
every_form!(unittest_in_every_form, "unittest", Some(Runner::Unittest), JunitXml);
every_form!(cargo_in_every_form, "cargo", Some(Runner::Cargo), JunitXml);
every_form!(nextest_in_every_form, "nextest", Some(Runner::Nextest), JunitXml);
every_form!(go_in_every_form, "go", Some(Runner::Go), JunitXml);
every_form!(node_in_every_form, "node", Some(Runner::Node), JunitXml);
every_form!(jest_in_every_form, "jest", Some(Runner::Jest), JestJson);
every_form!(vitest_in_every_form, "vitest", Some(Runner::Vitest), VitestJson);
every_form!(mocha_in_every_form, "mocha", Some(Runner::Mocha), JunitXml);
every_form!(rspec_in_every_form, "rspec", Some(Runner::Rspec), RspecJson);
every_form!(phpunit_in_every_form, "phpunit", Some(Runner::Phpunit), JunitXml);
every_form!(ctest_in_every_form, "ctest", Some(Runner::Ctest), JunitXml);
every_form!(prove_in_every_form, "prove", Some(Runner::Prove), JunitXml);
every_form!(maven_in_every_form, "maven", Some(Runner::Maven), JunitXml);
every_form!(ant_in_every_form, "ant", None, JunitXml);
every_form!(gradle_in_every_form, "gradle", None, JunitXml);

const RUNNERS: &[&str] = &[
    "pytest", "unittest", "cargo", "nextest", "go", "node", "jest", "vitest", "mocha", "rspec", "phpunit",
    "ctest", "prove", "maven",
];

/// The printed fixtures of a form, all runners.
fn printed(form: &str) -> Vec<(String, BoundedOutput)> {
    let mut found = Vec::new();
    for runner in RUNNERS {
        for entry in fs::read_dir(directory(runner)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.starts_with(form) && name.ends_with(".txt") && !name.contains(".tap.") {
                found.push((format!("{runner}/{name}"), output(&path)));
            }
        }
    }
    assert!(found.len() >= RUNNERS.len(), "fixtures of {form} are missing");
    found
}

#[test]
fn unknown_runner_failing_and_passing_suites_are_read() {
    for (name, output) in printed("failing") {
        let report = read_output(&output, None).unwrap_or_else(|| panic!("{name}: no report"));
        assert!(report.red().count() > 0 && report.finished, "{name}: {report:#?}");
    }
    for (name, output) in printed("passing") {
        let report = read_output(&output, None).unwrap_or_else(|| panic!("{name}: no report"));
        assert_eq!((report.red().count(), report.contradicts_success()), (0, None), "{name}");
    }
}

#[test]
fn killed_suite_never_passes() {
    for (name, output) in printed("interrupted") {
        for report in [read_output(&output, None)].into_iter().flatten() {
            // Go without -json has no line for a package that never ended.
            assert!(!report.finished || name == "go/interrupted.txt", "{name}: {report:#?}");
        }
    }
}

#[test]
fn output_cut_anywhere_is_read_within_bounds() {
    for form in ["failing", "skipped", "crashed", "erroring"] {
        for (name, whole) in printed(form) {
            let text = whole.to_text();
            for cut in (0..text.len()).step_by(97).filter(|at| text.is_char_boundary(*at)) {
                for part in [&text[..cut], &text[cut..]] {
                    let output = BoundedOutput { head: part.to_owned(), ..BoundedOutput::default() };
                    if let Some(report) = read_output(&output, None) {
                        assert!(report.cases.len() < 100, "{name} at {cut}");
                    }
                }
            }
        }
    }
}

/// Lines that make every reader take a text for its own.
const HEADERS: &str = "============ test session starts ============\nrunning 1 test\nTAP version 13\n RUN  v4.1\n\
    PHPUnit 9.6\n     Starting 1 test across 1 binary\nok  \ta/b\t0.1s\nTests:  1 passed, 1 total\n\
    1 example, 0 failures\nFiles=1, Tests=1,\n  1 passing (1ms)\nRan 1 test in 0.1s\n[INFO] BUILD FAILURE\n\
    ℹ tests 1\nℹ duration_ms 1\nThere was 1 failure:\n";

/// Lines that are repeated: what a test prints to keep a reader busy.
const FLOODS: &[&str] = &[
    "test a::b ... ok\n",
    "--- FAIL: TestA (0.00s)\n",
    "not ok 1 - a\n  ---\n",
    "not ok 1 - a\n",
    "  x\n",
    "  \u{25cf} a \u{203a} b\n",
    "  \u{25cf} a \u{203a} b\n    at x (a.js:1:1)\n",
    "FAILED tests/test_a.py::test_b - assert 1\n",
    "____ test_b ____\n",
    "____ test_b ____\na.py:1: E\nFAILED test_a.py::test_b - E\n",
    "FAIL: test_b (a.B.test_b)\n--------------------\n",
    "FAIL: test_b (a.B.test_b)\n--------------------\n  File \"a.py\", line 1\n",
    "test_b (a.B) ... ok\n",
    "---- a stdout ----\nthread 'a' panicked at a.rs:1:1:\n",
    "        FAIL [   0.003s] a b\n",
    "        FAIL [   0.003s] a b\n    thread panicked at a.rs:1:1:\n",
    "error: could not compile `a`\n",
    "1) A::b\n",
    "  1) a b\n     a:\n",
    "  1) a b\n",
    "1) a b\nrspec ./a_spec.rb:1 # a b\n",
    "rspec ./a_spec.rb:1 # a b\n",
    "An error occurred while loading ./a.rb.\n",
    "{\"Action\":\"run\",\"Package\":\"p\",\"Test\":\"T\"}\n",
    "# a/b\n./a.go:1:2: x\nFAIL\ta/b [build failed]\n",
    "t/a.t (Wstat: 1 Tests: 1 Failed: 0)\n",
    "t/a.t (Wstat: 1 \n",
    "t/a.t .. ok\n",
    "[ERROR] a.B  Time elapsed: 1 s <<< FAILURE!\n",
    "[ERROR] a.B  Time elapsed: 1 s <<< FAILURE!\n\tat a.b(A.java:1)\n",
    "[ERROR] Crashed tests:\n[ERROR] a\n",
    "1/1 Test #1: a ....   Passed\n",
    "✖ a (1ms)\n",
    "▶ a\n",
    " FAIL  a.ts > b\n",
    " ✓ a.ts > b 1ms\n",
    "    # Subtest: a\n",
    "(Wstat: ",
    "#   at ",
    "a ",
    "=",
    "\n",
];

#[test]
fn work_of_readers_of_output_is_in_proportion_to_its_length() {
    for flood in FLOODS {
        let work = |bytes: usize| {
            // What is printed before it must cost nothing for each line of it.
            let long_line = "w".repeat(bytes / 4);
            let head = format!("{HEADERS}{}{long_line}\n", flood.repeat(bytes / 2 / flood.len()));
            let before = text::examined_bytes();
            let output = BoundedOutput { head, ..BoundedOutput::default() };
            let report = read_output(&output, None).unwrap();
            assert!(report.cases.len() <= crate::domain::report::CASES_MAX);
            text::examined_bytes() - before
        };
        let (little, much) = (work(4 << 10), work(32 << 10));
        assert!(much <= 9 * little, "{flood:?}: {little} bytes, then {much}");
    }
}

#[test]
fn work_of_readers_of_blocks_is_in_proportion_to_their_length() {
    // A failure of many lines, then many lines: none of these may cost the length of the failure.
    let begins =
        ["  ● a › b\n", " FAIL  a.ts > b\n", "✖ a (1ms)\n", "not ok 1 - a\n", "____ b ____\n", "  1) a\n"];
    for begin in begins {
        let work = |bytes: usize| {
            let title = format!("{}{}\n", " ".repeat(4), "t".repeat(bytes / 8));
            let lines = format!("  {}\n", "x".repeat(bytes / 8 / 100)).repeat(100);
            let head = format!("{HEADERS}PASS a.js\n{title}{begin}{lines}{}", "  x\n".repeat(bytes / 4));
            let before = text::examined_bytes();
            let _ = read_output(&BoundedOutput { head, ..BoundedOutput::default() }, None);
            text::examined_bytes() - before
        };
        let (little, much) = (work(4 << 10), work(32 << 10));
        assert!(much <= 9 * little, "{begin:?}: {little} bytes, then {much}");
    }
}

#[test]
fn long_titles_do_not_make_long_names() {
    let work = |bytes: usize| {
        let title = "t".repeat(bytes / 64);
        let titles: String = (1..60).map(|depth| format!("{}{title}\n", "  ".repeat(depth))).collect();
        let marks = format!("{}✓ a\n", "  ".repeat(60)).repeat(bytes / 128);
        let before = text::examined_bytes();
        let head = format!("PASS a.js\n{titles}{marks}Tests: 1 total\n");
        read_output(&BoundedOutput { head, ..BoundedOutput::default() }, readers_of(Some(Runner::Jest)))
            .unwrap();
        text::examined_bytes() - before
    };
    let (little, much) = (work(16 << 10), work(128 << 10));
    assert!(much <= 9 * little, "{little} bytes, then {much}");
}

#[test]
fn attributes_of_a_tag_are_read_once() {
    let many: String = (0..20_000).map(|n| format!(" a{n}=\"x\"")).collect();
    let xml = format!("<testsuite><testcase{many} name=\"a\" classname=\"c\"/></testsuite>");
    let report = read_files(&[xml.into_bytes()], ReportFileFormat::JunitXml).unwrap();
    assert_eq!(report.cases[0].name, "c.a");
}

#[test]
fn tests_of_prove_without_an_extension_are_read() {
    let printed = |result: &str| {
        format!(
            "checks/sums .. {result}\nchecks/others .. ok\nFiles=2, Tests=2,  0 wallclock secs\nResult: PASS\n"
        )
    };
    let report = prove::printed(&printed("ok")).unwrap();
    let names: Vec<&str> = report.cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, ["checks/others", "checks/sums"]);
    assert!(report.names_all() && !report.is_red());
    let skipped = prove::printed(&printed("skipped: later")).unwrap();
    assert_eq!(skipped.counts.unwrap().skipped, 1);
    // What a test prints itself is none.
    assert!(prove::printed("note .. something\n").is_none());
}
