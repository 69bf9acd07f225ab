//! JUnit's XML, in the spellings of those that write it: pytest, Maven's Surefire, Gradle, Ant, Node,
//! PHPUnit, CTest, nextest. There is no one schema, so every attribute is optional here. The parser
//! expands no entity but XML's own five, and reads no document type.

use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::domain::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestLocation, TestOutcome, TestReport,
};

use super::text::{Innermost, frame, is_file, joined, relative, take_first_lines};

/// Suites within suites.
const DEPTH_MAX: usize = 64;
/// Elements and texts of one file; a file of the size that is read at all has no more tests.
const EVENTS_MAX: usize = 2_000_000;
/// Of a failure's text, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Reads one file. `None`: it is not JUnit's XML, or breaks off before its first test.
pub(super) fn read(xml: &str) -> Option<TestReport> {
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    config.check_end_names = true;
    config.expand_empty_elements = true;
    let mut document = Document::default();
    for _ in 0..EVENTS_MAX {
        match reader.read_event() {
            Ok(Event::Start(tag)) => document.open(&tag)?,
            Ok(Event::End(tag)) => document.close(tag.local_name().as_ref()),
            Ok(Event::Text(text)) => document.text(&String::from_utf8_lossy(&text), true),
            Ok(Event::CData(text)) => document.text(&String::from_utf8_lossy(&text), false),
            Ok(Event::GeneralRef(entity)) => {
                document.text(&format!("&{};", String::from_utf8_lossy(&entity)), true);
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => {}
        }
    }
    document.finish()
}

#[derive(Default)]
struct Document {
    builder: ReportBuilder,
    /// Names of the elements we are in, and of the suites among them.
    open: Vec<String>,
    suites: Vec<String>,
    case: Option<OpenCase>,
    is_report: bool,
    closed: bool,
    is_pytest: bool,
}

#[derive(Default)]
struct OpenCase {
    name: String,
    file: Option<String>,
    line: Option<u32>,
    outcome: Option<TestOutcome>,
    is_todo: bool,
    message: Option<String>,
    text: String,
    in_failure: bool,
    /// It is no test, but what its tests need.
    stands_for_tests: bool,
    /// It passed after the runner ran it again.
    retried: bool,
    /// Another test of its name is another test.
    is_numbered: bool,
    group: Option<String>,
}

impl Document {
    fn open(&mut self, tag: &BytesStart<'_>) -> Option<()> {
        let name = String::from_utf8_lossy(tag.local_name().as_ref()).into_owned();
        if self.open.len() >= DEPTH_MAX {
            return None;
        }
        if self.open.is_empty() {
            self.is_report = matches!(name.as_str(), "testsuites" | "testsuite");
            self.is_report.then_some(())?;
        }
        match name.as_str() {
            "testsuite" => {
                let suite = Attributes::of(tag).get("name").unwrap_or_default().to_owned();
                self.is_pytest |= suite == "pytest";
                self.suites.push(suite);
            }
            "testcase" => self.case = Some(self.begin(tag)),
            "failure" | "error" | "skipped" | "rerunFailure" | "rerunError" | "flakyFailure"
            | "flakyError" => {
                if let Some(case) = &mut self.case {
                    case.result(&name, tag);
                }
            }
            _ => {}
        }
        self.open.push(name);
        Some(())
    }

    fn begin(&self, tag: &BytesStart<'_>) -> OpenCase {
        let attributes = Attributes::of(tag);
        let get = |name| attributes.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let own = get("name").unwrap_or_default();
        let class = get("classname").or_else(|| get("class"));
        let file = get("file").map(|file| relative(&file).to_owned());
        let is_node = !self.is_pytest && class.as_deref() == Some("test") && get("class").is_none();
        // A file of Node's, or a class or fixture that JUnit and its like name in place of their tests.
        let stands_for_tests = match (self.is_pytest, is_node) {
            (true, _) => class.is_none(),
            (false, true) => self.suites.iter().all(String::is_empty) && is_file(&own),
            (false, false) => {
                own.is_empty()
                    || class.as_deref() == Some(own.as_str()) && own.contains('.')
                    || ["initializationError", "classMethod", "executionError"].contains(&own.as_str())
            }
        };
        let name = match (&class, &file) {
            (_, Some(file)) if self.is_pytest => node_id(file, class.as_deref().unwrap_or_default(), &own),
            (None, Some(file)) if self.is_pytest => file.clone(),
            // Node's own runner: suites within suites, and a class name without meaning.
            (Some(_), _) if is_node => joined(self.suites.iter().map(String::as_str).chain([relative(&own)])),
            (Some(class), _) if get("class").is_some() => format!("{class}::{own}"),
            (Some(class), _) if *class != own && !own.starts_with(&format!("{class}.")) => {
                format!("{class}.{own}")
            }
            (Some(_) | None, _) => relative(&own).to_owned(),
        };
        let status = get("status").unwrap_or_default();
        let disabled = matches!(status.as_str(), "disabled" | "notrun" | "skipped");
        OpenCase {
            name,
            group: file.clone().filter(|_| is_node),
            file,
            line: get("line").and_then(|line| line.parse().ok()),
            outcome: disabled.then_some(TestOutcome::Skipped),
            stands_for_tests,
            is_numbered: is_node,
            ..OpenCase::default()
        }
    }

    fn text(&mut self, text: &str, escaped: bool) {
        let Some(case) = self.case.as_mut().filter(|case| case.in_failure) else { return };
        if case.text.len() + text.len() > TEXT_BYTES_MAX {
            return;
        }
        match unescape(text) {
            Ok(plain) if escaped => case.text.push_str(&plain),
            Ok(_) | Err(_) => case.text.push_str(text),
        }
    }

    fn close(&mut self, name: &[u8]) {
        self.open.pop();
        match name {
            b"testsuite" => {
                self.suites.pop();
            }
            b"testcase" => {
                if let Some(case) = self.case.take() {
                    let is_numbered = case.is_numbered;
                    let case = case.end(self.is_pytest);
                    match is_numbered {
                        true => self.builder.push_another(case),
                        false => self.builder.push(case),
                    }
                }
            }
            b"failure" | b"error" | b"skipped" => {
                if let Some(case) = &mut self.case {
                    case.in_failure = false;
                }
            }
            _ => {}
        }
        self.closed = self.open.is_empty();
    }

    fn finish(self) -> Option<TestReport> {
        let counts: TestCounts = self.builder.counted();
        if !self.is_report || (counts.total() == 0 && !self.closed) {
            return None;
        }
        Some(self.builder.finish(ReportSource::File, ReportFormat::Junit, Some(counts), self.closed))
    }
}

impl OpenCase {
    fn result(&mut self, kind: &str, tag: &BytesStart<'_>) {
        let outcome = match kind {
            "failure" => TestOutcome::Failed,
            "error" => TestOutcome::Errored,
            "skipped" => TestOutcome::Skipped,
            // Surefire's: it failed before it passed.
            "flakyFailure" | "flakyError" => {
                self.retried = true;
                return;
            }
            // A later attempt of the same test.
            _ => return,
        };
        // A test marked as todo is expected to fail.
        let attributes = Attributes::of(tag);
        self.is_todo |= outcome == TestOutcome::Skipped && attributes.get("type") == Some("todo");
        if self.is_todo {
            self.outcome = Some(TestOutcome::Skipped);
            return;
        }
        self.outcome = self.outcome.max(Some(outcome));
        let message = attributes.get("message").filter(|message| !message.trim().is_empty());
        // What CTest writes of a test whose program does not exist.
        if message == Some("Unable to find executable") {
            self.outcome = Some(TestOutcome::Errored);
        }
        self.message = self.message.take().or(message.map(str::to_owned));
        self.in_failure = true;
    }

    fn end(self, is_pytest: bool) -> TestCase {
        let outcome = self.outcome.unwrap_or(TestOutcome::Passed);
        let mut case = TestCase::new(self.name, outcome);
        case.group = self.group;
        case.retried = self.retried && outcome == TestOutcome::Passed;
        case.stands_for_tests = self.stands_for_tests && case.is_red();
        if outcome == TestOutcome::Passed {
            return case;
        }
        // PHPUnit begins with the test's own name.
        let text = self.text.split_once('\n').filter(|(first, _)| first.starts_with(&case.name));
        case.message =
            self.message.or_else(|| take_first_lines(text.map_or(self.text.as_str(), |(_, rest)| rest)));
        if outcome == TestOutcome::Skipped {
            return case;
        }
        let innermost = if is_pytest { Innermost::Last } else { Innermost::First };
        let own = self.file.map(|file| TestLocation {
            file,
            // pytest counts lines from 0.
            line: self.line.map(|line| if is_pytest { line.saturating_add(1) } else { line }),
        });
        match frame(&self.text, innermost) {
            Some((line, at)) => {
                case.frame = Some(line);
                case.location = Some(at);
            }
            None => case.location = own,
        }
        case
    }
}

/// pytest's own name for a test, from the module path that its XML has in place of it.
fn node_id(file: &str, class: &str, name: &str) -> String {
    let module = file.trim_end_matches(".py").replace('/', ".");
    if class.is_empty() {
        // A module that could not be collected is named like a test.
        return file.to_owned();
    }
    let within = class.strip_prefix(&module).map_or(class, |rest| rest.trim_start_matches('.'));
    let parts = std::iter::once(file).chain(within.split('.').filter(|part| !part.is_empty()));
    parts.chain([name]).collect::<Vec<_>>().join("::")
}

/// The attributes that are read here. A tag may have any number of others, so each is visited once, and none
/// is compared with the others.
struct Attributes(Vec<(&'static str, String)>);

impl Attributes {
    const READ: [&'static str; 8] =
        ["class", "classname", "file", "line", "message", "name", "status", "type"];

    fn of(tag: &BytesStart<'_>) -> Self {
        let mut found = Self(Vec::new());
        for attribute in tag.attributes().with_checks(false).flatten() {
            let name = Self::READ.into_iter().find(|name| name.as_bytes() == attribute.key.as_ref());
            let Some(name) = name.filter(|name| found.get(name).is_none()) else { continue };
            let raw = String::from_utf8_lossy(&attribute.value);
            let value = unescape(&raw).map_or_else(|_| raw.to_string(), std::borrow::Cow::into_owned);
            found.0.push((name, value));
        }
        found
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_entity_is_expanded() {
        let bomb = "<?xml version=\"1.0\"?><!DOCTYPE t [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">\
                    <!ENTITY f SYSTEM \"file:///etc/passwd\">]><testsuite name=\"s\"><testcase name=\"n&b;\" \
                    classname=\"c\"><failure message=\"&f;\">&b;&lt;</failure></testcase></testsuite>";
        let report = read(bomb).unwrap();
        assert_eq!(report.cases[0].name, "c.n&b;");
        assert_eq!(report.cases[0].message.as_deref(), Some("&f;"));
        assert!(report.finished);
    }

    #[test]
    fn depth_is_bounded_and_other_xml_is_rejected() {
        assert_eq!(read(&"<testsuite>".repeat(100_000)), None);
        assert_eq!(read("<project><testcase name=\"a\"/></project>"), None);
        assert_eq!(read("no XML at all"), None);
        assert_eq!(read("<testsuite><testcase name='a'/>").map(|report| report.finished), Some(false));
    }
}
