//! What `go test` prints, plain (with or without `-v`) or as `-json`'s events.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::domain::{
    BoundedOutput, ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestLocation,
    TestOutcome, TestReport,
};

use super::text::{Innermost, expression, frame, take_first_lines};

/// An event of `go test -json` (cmd/test2json).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    #[serde(borrow)]
    action: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    package: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    test: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    output: Option<std::borrow::Cow<'a, str>>,
}

fn event(line: &str) -> Option<Event<'_>> {
    if !line.starts_with("{\"") {
        return None;
    }
    serde_json::from_str(line).ok()
}

/// The output as `go test` prints it without `-json`: the text in the events.
pub(in crate::testing) fn without_json(output: BoundedOutput) -> BoundedOutput {
    let begins = output.head.lines().take(50).any(|line| event(line).is_some());
    if !begins {
        return output;
    }
    let plain = |text: &str| {
        let mut printed = String::new();
        for line in text.lines() {
            match event(line) {
                // The line of a package covers tests that pass, as without `-v`.
                Some(event) => {
                    let noise = event.test.is_some()
                        && event.output.as_deref().is_some_and(|output| output.starts_with("=== "));
                    printed.push_str(event.output.as_deref().filter(|_| !noise).unwrap_or_default());
                }
                // The output was cut inside this line.
                None if line.starts_with("{\"Time\"") || line.ends_with("\"}") => {}
                None => {
                    printed.push_str(line);
                    printed.push('\n');
                }
            }
        }
        printed
    };
    BoundedOutput {
        head: plain(&output.head),
        omitted_bytes: output.omitted_bytes,
        tail: plain(&output.tail),
    }
}
/// What `go test` printed, with or without `-json`.
pub(in crate::testing) fn printed(text: &str) -> Option<TestReport> {
    json(text).or_else(|| plain(text))
}

/// `go test -json`: every test by package and name.
fn json(text: &str) -> Option<TestReport> {
    #[derive(Default)]
    struct Package {
        ended: Option<TestOutcome>,
        red: bool,
        output: String,
    }
    let mut packages: BTreeMap<String, Package> = BTreeMap::new();
    let mut tests: BTreeMap<(String, String), (Option<TestOutcome>, String)> = BTreeMap::new();
    for event in text.lines().filter_map(event) {
        let Some(package) = event.package.as_deref().map(str::to_owned) else { continue };
        let outcome = match event.action.as_ref() {
            "pass" => Some(TestOutcome::Passed),
            "fail" => Some(TestOutcome::Failed),
            "skip" => Some(TestOutcome::Skipped),
            _ => None,
        };
        let printed = event.output.as_deref().unwrap_or_default();
        match event.test.as_deref() {
            Some(test) => {
                packages.entry(package.clone()).or_default().red |= outcome == Some(TestOutcome::Failed);
                let (known, output) = tests.entry((package, test.to_owned())).or_default();
                // With `-count`, each run of a test has a result, and the worst counts.
                *known = outcome.max(*known);
                if !printed.starts_with("=== ") && output.len() < 16 << 10 {
                    output.push_str(printed);
                }
            }
            None => {
                let package = packages.entry(package).or_default();
                package.ended = outcome.or(package.ended);
                if package.output.len() < 16 << 10 {
                    package.output.push_str(printed);
                }
            }
        }
    }
    if packages.is_empty() {
        return None;
    }
    let mut builder = ReportBuilder::default();
    let mut finished = packages.values().all(|package| package.ended.is_some());
    let errors = BuildErrors::read(text);
    for ((package, test), (outcome, output)) in tests {
        // A test that began and did not end took the whole binary with it.
        finished &=
            outcome.is_some() || packages.get(&package).is_some_and(|package| package.ended.is_some());
        let mut case = TestCase::new(named(&package, &test), outcome.unwrap_or(TestOutcome::Errored));
        if case.outcome != TestOutcome::Passed {
            add_details(&output, &mut case);
        }
        builder.push(case);
    }
    for (name, package) in packages {
        if package.ended == Some(TestOutcome::Failed) && !package.red {
            let mut case = TestCase::broken(name);
            add_details(&package.output, &mut case);
            if package.output.contains(" [build failed]") {
                errors.describe(&mut case);
            }
            builder.push(case);
        }
    }
    broken_builds(text, &errors, &mut builder);
    let counts = builder.counted();
    Some(builder.finish(ReportSource::Output, ReportFormat::GoTest, Some(counts), finished))
}

/// `go test` without `-json`. Without `-v` it names the failures, and how each package ended.
fn plain(text: &str) -> Option<TestReport> {
    let package =
        expression!(r"(?m)^(?P<said>ok|FAIL|\?|---)? *\t(?P<package>[\w./~-]+)(?:\t| \[)(?P<rest>[^\n]*)$");
    if !package.is_match(text) {
        return None;
    }
    let verbose = text.lines().any(|line| line.starts_with("=== RUN"));
    let mut builder = ReportBuilder::default();
    let (mut from, mut packages_ok) = (0, 0_u64);
    for captures in package.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        let own = &text[from..whole.start()];
        from = whole.end();
        let name = &captures["package"];
        let named_before = builder.counted().red();
        lines_of(name, own, &mut builder);
        match captures.name("said").map(|printed| printed.as_str()) {
            Some("ok") => packages_ok += u64::from(!captures["rest"].contains("no tests to run")),
            // Packages that do not compile are read below.
            Some("FAIL") if captures["rest"].starts_with("build failed") => {}
            Some("FAIL") if captures["rest"].starts_with("setup failed") => {}
            Some("FAIL") if builder.counted().red() == named_before => {
                let mut case = TestCase::broken(name);
                case.message =
                    take_first_lines(&format!("{}\n{own}", &captures["rest"].trim_end_matches(']')));
                builder.push(case);
            }
            _ => {}
        }
    }
    // A test of a package without a line of its own.
    let begun = expression!(r"(?m)^(?:=== RUN   |\s*--- (?:PASS|FAIL|SKIP): |panic: |fatal error: )");
    let finished = !begun.is_match(&text[from..]);
    broken_builds(text, &BuildErrors::read(text), &mut builder);
    let counted = builder.counted();
    // Without `-v` the number of passed tests is unknown; only that none ran can be read.
    let counts = match verbose {
        true => Some(counted),
        false if packages_ok == 0 && counted.total() == 0 => Some(TestCounts::default()),
        false => None,
    };
    Some(builder.finish(ReportSource::Output, ReportFormat::GoTest, counts, finished))
}

fn lines_of(package: &str, text: &str, builder: &mut ReportBuilder) {
    let line = expression!(r"^\s*--- (PASS|FAIL|SKIP): (\S+) \(");
    let mut lines = text.lines().peekable();
    while let Some(text) = lines.next() {
        let Some(captures) = line.captures(text) else { continue };
        let outcome = match &captures[1] {
            "PASS" => TestOutcome::Passed,
            "SKIP" => TestOutcome::Skipped,
            _ => TestOutcome::Failed,
        };
        let mut case = TestCase::new(named(package, &captures[2]), outcome);
        if outcome == TestOutcome::Failed {
            let mut block = String::new();
            while let Some(next) = lines.peek() {
                if line.is_match(next) || *next == "FAIL" || block.len() > 16 << 10 {
                    break;
                }
                block.push_str(next);
                block.push('\n');
                lines.next();
            }
            add_details(&block, &mut case);
        }
        builder.push(case);
    }
}

/// A test by package and name: names are unique in a package only.
fn named(package: &str, test: &str) -> String {
    format!("{package}::{test}")
}

fn add_details(output: &str, case: &mut TestCase) {
    let own = expression!(r"^\s*---? (?:PASS|FAIL|SKIP)|^(?:FAIL|PASS|ok)\b");
    let printed: Vec<&str> = output.lines().filter(|line| !own.is_match(line)).collect();
    let printed = printed.join("\n");
    case.message = take_first_lines(&printed).map(|message| message.trim().to_owned());
    let Some((line, at)) = frame(&printed, Innermost::First) else { return };
    case.frame = Some(line);
    case.location = Some(at);
}

/// Packages that do not compile are named outside of the events.
fn broken_builds(text: &str, errors: &BuildErrors, builder: &mut ReportBuilder) {
    let failed = expression!(r"(?m)^FAIL\t(\S+) \[(build failed|setup failed)\]$");
    for captures in failed.captures_iter(text) {
        if builder.has(&captures[1]) {
            continue;
        }
        let mut case = TestCase::broken(&captures[1]);
        case.message = Some(captures[2].to_owned());
        errors.describe(&mut case);
        builder.push(case);
    }
}

/// The first error of a package that does not compile, and where it is.
struct BuildError {
    message: String,
    at: TestLocation,
}

/// What the compiler printed: beside the events, or from Go 1.24 on in them.
#[derive(Default)]
struct BuildErrors {
    by_package: HashMap<String, BuildError>,
    first_package: Option<String>,
}

impl BuildErrors {
    fn read(text: &str) -> Self {
        let header = expression!(r"^# (\S+)(?: \[[^\]]*\])?$");
        let error = expression!(r"^(?:\./)?([\w./~-]+\.go):(\d+):\d+: (.*)$");
        let (mut errors, mut package) = (Self::default(), String::new());
        for line in text.lines() {
            let printed = match event(line) {
                Some(event) if event.action == "build-output" => event.output.unwrap_or_default(),
                Some(_) => continue,
                None => line.into(),
            };
            let printed = printed.trim_end();
            if let Some(captures) = header.captures(printed) {
                captures[1].clone_into(&mut package);
            } else if let Some(captures) = error.captures(printed)
                && !errors.by_package.contains_key(&package)
            {
                let at = TestLocation { file: captures[1].to_owned(), line: captures[2].parse().ok() };
                let error = BuildError { message: captures[3].to_owned(), at };
                errors.first_package.get_or_insert_with(|| package.clone());
                errors.by_package.insert(package.clone(), error);
            }
        }
        errors
    }

    /// Puts the error of a package into the case that stands for it. If the package itself has none,
    /// something that it needs does not compile, and the first error of all is shown.
    fn describe(&self, case: &mut TestCase) {
        let first = || self.by_package.get(self.first_package.as_ref()?);
        if let Some(error) = self.by_package.get(&case.name).or_else(first) {
            case.message = Some(error.message.clone());
            case.location = Some(error.at.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(report: &TestReport) -> Vec<String> {
        let location =
            |case: &TestCase| case.location.as_ref().map(TestLocation::describe).unwrap_or_default();
        report.red().map(|case| format!("{} {}", case.name, location(case))).collect()
    }

    #[test]
    fn package_that_does_not_compile_has_its_first_error() {
        let beside = "# example.org/a [example.org/a.test]\n./a_test.go:6:2: undefined: g\n./a_test.go:7:2: undefined: h\n\
                      # example.org/a/b [example.org/a/b.test]\nb/b_test.go:3:1: undefined: k\n\
                      FAIL\texample.org/a [build failed]\nFAIL\texample.org/a/b [build failed]\nFAIL\n";
        let expected = ["example.org/a a_test.go:6", "example.org/a/b b/b_test.go:3"];
        assert_eq!(places(&plain(beside).unwrap()), expected);
        // In the form of Go 1.24.
        let build = |package: &str, line: &str| {
            let (path, output) = (format!("{package} [{package}.test]"), format!("{line}\n"));
            serde_json::json!({"ImportPath": path, "Action": "build-output", "Output": output}).to_string()
        };
        let failed = |package: &str| {
            let output = format!("FAIL\t{package} [build failed]\n");
            let told = serde_json::json!({"Action": "output", "Package": package, "Output": output});
            format!("{told}\n{}", serde_json::json!({"Action": "fail", "Package": package}))
        };
        let (a, b) = ("example.org/a", "example.org/a/b");
        let events = [
            build(a, "# example.org/a [example.org/a.test]"),
            build(a, "./a_test.go:6:2: undefined: g"),
            build(b, "# example.org/a/b [example.org/a/b.test]"),
            build(b, "b/b_test.go:3:1: undefined: k"),
            failed(a),
            failed(b),
        ];
        assert_eq!(places(&json(&events.join("\n")).unwrap()), expected);
    }
}
