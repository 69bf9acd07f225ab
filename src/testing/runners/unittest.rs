//! Python's unittest.

use super::row::RunnerRow;
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::reports::python;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "unittest",
    is_named: |program, _| program == "unittest",
    // `discover` takes directories, no names.
    select: |invocation, path, name| match (path, name) {
        (None, Some(name))
            if !invocation.has(&["discover"]) && (invocation.words.len() == 1 || invocation.has(&["-v"])) =>
        {
            // `test_a (module.Class.test_a)`, or the part in parentheses.
            let dotted = name.split_once(" (").map_or(name, |(_, rest)| rest.trim_end_matches(')'));
            Some(Ok(arguments(&[dotted])))
        }
        _ => None,
    },
    readers: &[python::unittest],
    without_stop_option: Some(|word| match word {
        "--failfast" => None,
        flags if is_flags(flags) => Some(flags.replace('f', "")).filter(|flags| flags.len() > 1),
        other => Some(other.to_owned()),
    }),
    format: Some(ReportFormat::Unittest),
    ..RunnerRow::UNKNOWN
};

/// Whether a word is one or more of unittest's flags that take no value.
fn is_flags(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|flags| flags.chars().all(|flag| "vqfcb".contains(flag)))
}
