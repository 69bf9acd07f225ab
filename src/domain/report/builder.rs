//! Gathers the tests of one run, within the bounds of a report.

use std::collections::{BTreeMap, HashMap};

use super::{
    DETAILED_MAX, FRAME_CHARS_MAX, MESSAGE_CHARS_MAX, NAME_CHARS_MAX, NAMES_BYTES_MAX, NAMES_MAX,
    ReportFormat, ReportSource, TestCase, TestCounts, TestLocation, TestReport,
};

type Key = (String, Option<String>);

/// Gathers tests into a report, within its bounds.
#[derive(Debug, Default)]
pub struct ReportBuilder {
    cases: BTreeMap<Key, TestCase>,
    /// How often each name was numbered, of those that occur more than once.
    numbered: HashMap<Key, u32>,
    counted: TestCounts,
    detailed: usize,
    names_bytes: usize,
    left_out: u64,
    repeated: u64,
}

impl ReportBuilder {
    /// Adds a test, cut to the bounds. A name that exists already keeps its greater outcome.
    pub fn push(&mut self, case: TestCase) {
        let Some(key) = key(&case) else { return };
        self.insert(key, case);
    }

    /// Adds a test that is another one than those of the same name before it: it gets a number.
    pub fn push_another(&mut self, case: TestCase) {
        let Some(key) = key(&case) else { return };
        if !self.cases.contains_key(&key) {
            return self.insert(key, case);
        }
        let number = self.numbered.entry(key.clone()).or_insert(1);
        *number = number.saturating_add(1);
        let suffix = format!(" (no. {number})");
        let name = cut(&key.0, NAME_CHARS_MAX - suffix.len()) + &suffix;
        self.insert((name, key.1), case);
    }

    fn insert(&mut self, key: Key, case: TestCase) {
        self.counted.add(case.outcome);
        let known = self.cases.get(&key);
        self.repeated += u64::from(known.is_some());
        match known {
            Some(known) if known.outcome > case.outcome => return,
            Some(known) if known.outcome == case.outcome && known.message.is_some() => return,
            Some(_) => {}
            // Those that did not pass are kept in any case, as many again.
            None if self.is_full(if case.is_red() { 2 } else { 1 }) => {
                self.left_out += 1;
                return;
            }
            None => self.names_bytes += key.0.len(),
        }
        let case = self.detailed_case(key.clone(), case);
        self.cases.insert(key, case);
    }

    fn is_full(&self, times: usize) -> bool {
        self.cases.len() >= NAMES_MAX * times || self.names_bytes >= NAMES_BYTES_MAX * times
    }

    /// Adds details of a test, and the test if it is new.
    pub fn detail(&mut self, case: TestCase) {
        let Some(key) = key(&case) else { return };
        if !self.cases.contains_key(&key) {
            return self.insert(key, case);
        }
        let detailed = self.detailed_case(key.clone(), case);
        if let Some(known) = self.cases.get_mut(&key) {
            known.message = known.message.take().or(detailed.message);
            known.location = known.location.take().or(detailed.location);
            known.frame = known.frame.take().or(detailed.frame);
        }
    }

    fn detailed_case(&mut self, (name, group): Key, case: TestCase) -> TestCase {
        let TestCase { outcome, stands_for_tests, retried, .. } = case;
        let plain = TestCase { group, stands_for_tests, retried, ..TestCase::new(name, outcome) };
        let is_detailed = case.message.is_some() || case.location.is_some() || case.frame.is_some();
        if !is_detailed || self.detailed >= DETAILED_MAX {
            return plain;
        }
        self.detailed += 1;
        TestCase {
            message: case.message.map(|text| cut(text.trim(), MESSAGE_CHARS_MAX)).filter(|m| !m.is_empty()),
            location: case
                .location
                .map(|at| TestLocation { file: clean(&at.file, FRAME_CHARS_MAX), line: at.line }),
            frame: case.frame.map(|text| clean(&text, FRAME_CHARS_MAX)).filter(|frame| !frame.is_empty()),
            ..plain
        }
    }

    /// Whether the report has a test with this name, in no group.
    pub fn has(&self, name: &str) -> bool {
        self.has_in(name, None)
    }

    /// Whether the report has a test with this name in this group.
    pub fn has_in(&self, name: &str, group: Option<&str>) -> bool {
        self.cases.contains_key(&(name.to_owned(), group.map(str::to_owned)))
    }

    /// The number of added tests.
    pub fn counted(&self) -> TestCounts {
        self.counted
    }

    /// The report. `counts` are the runner's own; without them, the added tests are counted.
    pub fn finish(
        self,
        source: ReportSource,
        format: ReportFormat,
        counts: Option<TestCounts>,
        finished: bool,
    ) -> TestReport {
        TestReport {
            source,
            formats: vec![format],
            counts,
            finished,
            cases: self.cases.into_values().collect(),
            repeated: self.repeated,
            left_out: self.left_out,
            remarks: Vec::new(),
            changed_files: Vec::new(),
        }
    }
}

/// The cleaned name and group of a test; `None` if it has no name.
fn key(case: &TestCase) -> Option<Key> {
    let name = clean(&case.name, NAME_CHARS_MAX);
    let group = case.group.as_deref().map(|group| clean(group, NAME_CHARS_MAX));
    (!name.is_empty()).then(|| (name, group.filter(|group| !group.is_empty())))
}

/// One line, without control characters, cut.
fn clean(text: &str, chars_max: usize) -> String {
    let line = text.trim().replace(['\n', '\r', '\t'], " ");
    let printable: String = line.chars().filter(|c| !c.is_control()).collect();
    cut(printable.trim(), chars_max)
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{CASES_MAX, TestOutcome};
    use super::*;

    #[test]
    fn a_report_is_bounded_in_all_it_keeps() {
        let mut builder = ReportBuilder::default();
        for n in 0..NAMES_MAX + 5 {
            let mut case = TestCase::new(format!("{n} {}", "x".repeat(200)), TestOutcome::Passed);
            case.message = Some("m".repeat(10_000));
            builder.push(case);
        }
        let counts = builder.counted();
        let report = builder.finish(ReportSource::Output, ReportFormat::Tap, Some(counts), true);
        assert_eq!((report.cases.len(), report.left_out, counts.passed), (NAMES_MAX, 5, 200_005));
        assert_eq!(report.cases.iter().filter(|case| case.message.is_some()).count(), DETAILED_MAX);
        assert!(report.cases.iter().all(|case| case.name.chars().count() <= NAME_CHARS_MAX));
        assert!(!report.names_all());
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.len() < CASES_MAX * (NAME_CHARS_MAX + 50) + DETAILED_MAX * (MESSAGE_CHARS_MAX + 50));
    }

    #[test]
    fn a_name_that_occurs_twice_keeps_the_worse_outcome() {
        let mut builder = ReportBuilder::default();
        for outcome in [TestOutcome::Passed, TestOutcome::Failed, TestOutcome::Passed] {
            builder.push(TestCase::new("a\n", outcome));
        }
        let report = builder.finish(ReportSource::File, ReportFormat::Junit, None, true);
        assert_eq!(report.cases, [TestCase::new("a", TestOutcome::Failed)]);
        assert!(report.case("a").is_some() && report.case("b").is_none());
    }

    #[test]
    fn recorded_report_keeps_the_tests_that_did_not_pass() {
        let mut builder = ReportBuilder::default();
        for n in 0..CASES_MAX + 60 {
            builder.push(TestCase::new(format!("{n:06}"), TestOutcome::Passed));
        }
        builder.push(TestCase::new("zz", TestOutcome::Failed));
        let counts = builder.counted();
        let report = builder.finish(ReportSource::File, ReportFormat::Junit, Some(counts), true);
        assert!(report.names_all());
        let recorded: TestReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(recorded.cases.len(), CASES_MAX);
        assert!(recorded.case("zz").is_some_and(TestCase::is_red) && !recorded.names_all());
    }

    #[test]
    fn tests_of_one_name_are_kept_apart() {
        let mut builder = ReportBuilder::default();
        let of = |group: &str, outcome| TestCase { group: Some(group.into()), ..TestCase::new("a", outcome) };
        builder.push(of("one", TestOutcome::Failed));
        builder.push(of("two", TestOutcome::Passed));
        builder.push_another(TestCase::new("b", TestOutcome::Failed));
        builder.push_another(TestCase::new("b", TestOutcome::Passed));
        builder.push_another(TestCase::new("b", TestOutcome::Skipped));
        let counts = builder.counted();
        let report = builder.finish(ReportSource::File, ReportFormat::Junit, Some(counts), true);
        let names: Vec<String> = report.cases.iter().map(|case| report.title(case)).collect();
        assert_eq!(names, ["a (one)", "a (two)", "b", "b (no. 2)", "b (no. 3)"]);
        assert!(report.names_all());
        assert_eq!(report.case("a").unwrap().outcome, TestOutcome::Failed);
        assert_eq!(report.same(&of("two", TestOutcome::Failed)).unwrap().outcome, TestOutcome::Passed);
        assert_eq!(report.same(&of("three", TestOutcome::Failed)), None);
        // A run of an older version has no groups: the worst counts.
        assert!(report.same(&TestCase::new("a", TestOutcome::Passed)).unwrap().is_red());
    }
}
