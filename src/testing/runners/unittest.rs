//! Python's unittest.

use super::row::RunnerRow;
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
    ..RunnerRow::UNKNOWN
};
