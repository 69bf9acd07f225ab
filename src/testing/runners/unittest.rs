//! Python's unittest.

use super::row::{PathWords, RunnerRow};
use crate::domain::ReportFormat;
use crate::testing::invocation::arguments;
use crate::testing::reports::python;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "unittest",
    is_named: |program, _| program == "unittest",
    select: |invocation, path, name| {
        // `test_a (module.Class.test_a)`, or the part in parentheses. `-k` compares it with the end of a test's id.
        let dotted =
            name.map(|name| name.split_once(" (").map_or(name, |(_, rest)| rest.trim_end_matches(')')));
        let mut words: Vec<&str> = dotted.iter().flat_map(|dotted| ["-k", dotted]).collect();
        match path {
            None => {}
            Some(path) if !path.ends_with(".py") => {
                return Some(Err("unittest takes a file, for instance `tests/test_a.py`.".to_owned()));
            }
            // It looks for files of that name below its directory.
            Some(path) if invocation.has(&["discover"]) => {
                words.extend(["-p", path.rsplit('/').next().unwrap_or(path)]);
            }
            Some(path) => words.push(path),
        }
        (!words.is_empty()).then(|| Ok(arguments(&words)))
    },
    paths: |invocation| {
        (!invocation.has(&["discover"])).then_some(PathWords {
            own: 1,
            flags: &["--verbose", "--quiet", "--failfast", "--catch", "--buffer", "--locals"],
            letters: "vqfcb",
        })
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
