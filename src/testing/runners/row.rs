//! What is known about a runner.

use crate::domain::{BoundedOutput, ReportFormat};
use crate::testing::fail_fast::KeepGoing;
use crate::testing::invocation::Invocation;
use crate::testing::report_request::ReportRequest;
use crate::testing::reports::Reader;

/// The arguments that run the tests of a path, of a name, or both. `None`: the runner, as it is called here, takes no
/// such thing. `Err`: it takes another path or name, and which, for the model.
type Select = fn(&Invocation, Option<&str>, Option<&str>) -> Option<Result<Vec<String>, String>>;

/// What is known about a runner.
pub(in crate::testing) struct RunnerRow {
    /// Its name, for people and the model.
    pub(in crate::testing) name: &'static str,
    /// Whether a command names it: by its program, without directory, and the words after it.
    pub(in crate::testing) is_named: fn(&str, &[String]) -> bool,
    /// How it is made to run a part of the suite.
    pub(in crate::testing) select: Select,
    /// Which of its words are paths or patterns of tests, for a runner that takes some: a selection replaces them.
    pub(in crate::testing) paths: fn(&Invocation) -> Option<PathWords>,
    /// How it is asked for a report. The text cannot be guessed by tests.
    pub(in crate::testing) report: fn(&Invocation, &str) -> Option<ReportRequest>,
    /// How it is told to go on after a failure.
    pub(in crate::testing) keep_going: fn(&Invocation) -> Option<KeepGoing>,
    /// Removes the option that makes it stop from a word of the command, for a runner without an opposite option, or
    /// replaces it by the opposite, for a runner that does not take both.
    pub(in crate::testing) without_stop_option: Option<fn(&str) -> Option<String>>,
    /// What it prints. A report file is often JUnit's, which many runners write.
    pub(in crate::testing) format: Option<ReportFormat>,
    /// What reads its output.
    pub(in crate::testing) readers: &'static [Reader],
    /// Removes the machine-readable part of its output.
    pub(in crate::testing) for_people: fn(BoundedOutput) -> BoundedOutput,
}

/// Which words of a runner's command are paths or patterns of tests. A word after an option that is not listed here is
/// taken for the option's value.
#[derive(Debug, Clone, Copy)]
pub(in crate::testing) struct PathWords {
    /// How many words come first: the program, and its subcommand.
    pub(super) own: usize,
    /// Options without a value. Those that begin with `--no-` and those with `=` have none anyway.
    pub(super) flags: &'static [&'static str],
    /// Letters that are options without a value. Empty: the runner's long options begin with one `-`.
    pub(super) letters: &'static str,
}

impl PathWords {
    /// Their positions among the words, from the program on.
    pub(in crate::testing) fn of(&self, words: &[String]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut is_value = false;
        for (at, word) in words.iter().enumerate().skip(self.own) {
            if word == "--" {
                break;
            }
            if word.starts_with('-') {
                is_value = !self.has_no_value(word);
            } else if !std::mem::take(&mut is_value) {
                found.push(at);
            }
        }
        found
    }

    fn has_no_value(&self, option: &str) -> bool {
        let letters = option.strip_prefix('-').unwrap_or_default();
        // Where letters stand for options, `-j4` has its value with it.
        let is_joined = !self.letters.is_empty() && !letters.starts_with('-') && letters.len() > 1;
        option.contains('=')
            || option.starts_with("--no-")
            || self.flags.contains(&option)
            || is_joined
            || (letters.len() == 1 && self.letters.contains(letters))
    }
}

impl RunnerRow {
    /// A runner of which nothing is known.
    pub(super) const UNKNOWN: Self = Self {
        name: "",
        is_named: |_, _| false,
        select: |_, _, _| None,
        paths: |_| None,
        report: |_, _| None,
        keep_going: |_| None,
        without_stop_option: None,
        format: None,
        readers: &[],
        for_people: |output| output,
    };
}

/// The word after a program, such as `test` in `cargo +stable test`.
pub(super) fn subcommand(words: &[String]) -> Option<&str> {
    words.iter().map(String::as_str).find(|word| !word.starts_with('+'))
}
