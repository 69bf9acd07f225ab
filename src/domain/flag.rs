//! What a reviewer must look at first in a verified proposal: honest changes do such things too, but a fake fix would have
//! to. A flag rejects nothing, but it is shown first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::commands_in_words;

/// Names and paths that one flag keeps.
pub const FLAG_NAMES_MAX: usize = 20;

/// Something that a reviewer must look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "flag")]
pub enum Flag {
    /// Tests of the base that are no longer there: deleted, renamed, or no longer collected.
    TestsGone {
        /// The first of them.
        names: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// Tests that the base does not have, and that are skipped.
    NewTestsSkipped {
        /// The first of them.
        names: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// Tests of the base that pass with the whole change, and not with its source alone.
    PassOnlyWithOtherFiles {
        /// The first of these tests, if they are named.
        names: Vec<String>,
        /// The first files of the change that are no source.
        paths: Vec<String>,
        /// All of these tests.
        count: u64,
    },
    /// Tests that show the issue, and that pass with other values in their bodies, too.
    ValuesNotCompared {
        /// The tests.
        names: Vec<String>,
    },
    /// Tests that ran at the base and are skipped now.
    TestsSkipped {
        /// The first of them.
        names: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// Fewer tests were run than at the base.
    FewerTests {
        /// At the base.
        before: u64,
        /// At the proposal.
        after: u64,
    },
    /// Existing tests were changed, and as the base has them they fail on the new source.
    TestsWeakened {
        /// The first of those that fail, if they are named.
        names: Vec<String>,
    },
    /// Files of tests that the base has were changed or deleted.
    TestFilesChanged {
        /// The first of them.
        paths: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// Files that control how tests are collected and run were changed.
    HarnessChanged {
        /// The first of them.
        paths: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// Nobody wrote how the repository is set up and tested: the setup agent found the commands.
    SetupFoundByAgent {
        /// The setup commands, in order.
        setup: Vec<String>,
        /// The test command.
        test: String,
    },
    /// The tests pass only with the setup that was run again for the change, not with the base's.
    SetupDecides {
        /// The first files that the setup depends on and that the change touches.
        paths: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// The tests ran without something that the repository has elsewhere: Git LFS, submodules.
    IncompleteCheckout {
        /// What was missing, a sentence for each kind.
        missing: Vec<String>,
    },
    /// The run's report is suspicious.
    ReportDoubtful {
        /// Why.
        why: String,
    },
    /// A line was added that can make tests look passed.
    SuspiciousLine {
        /// What it does.
        what: Suspicion,
        /// The file.
        path: String,
        /// The line.
        text: String,
    },
    /// Tests that failed at the base and still fail.
    StillFailing {
        /// The first of them.
        names: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// The tests that show the issue pass whatever the changed lines do: no mutant of them fails a test.
    NoMutantCaught {
        /// How many mutants were run.
        count: u64,
    },
    /// The run changed tracked files that are not tests.
    FilesRewritten {
        /// The first of them.
        paths: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// Tests failed at the proposal, and passed when it was run again.
    Flaky {
        /// The first of them.
        names: Vec<String>,
    },
    /// Without any change to the existing source, tests that the change is for pass, too.
    FixNotInSource {
        /// The first of the other files that make them pass.
        paths: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// Only tests that the base has, and that are not changed, fail without the change.
    ProvedByOldTests {
        /// The first of them.
        names: Vec<String>,
    },
    /// Other files that do something beside the source.
    AlsoTouches {
        /// The first of them.
        files: Vec<TouchedFile>,
        /// All of them.
        count: u64,
    },
}

/// A changed file that is more than source, test or text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TouchedFile {
    /// Its path.
    pub path: String,
    /// What it is.
    pub kind: TouchedKind,
}

/// What a changed file is, and so why a reviewer must know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TouchedKind {
    /// The configuration of a CI system.
    ContinuousIntegration,
    /// A hook of git or of a tool around it.
    Hook,
    /// Instructions and tools of coding agents.
    AgentConfiguration,
    /// The configuration of an editor.
    EditorConfiguration,
    /// What an environment is made of: variables, containers, versions of tools.
    Environment,
    /// A manifest of a package manager.
    Manifest,
    /// A lock file.
    LockFile,
    /// A file that decides how the project is built or tested.
    BuildFile,
    /// A script.
    Script,
    /// Another hidden file.
    HiddenFile,
    /// A binary file.
    Binary,
    /// A file that a tool wrote.
    Generated,
    /// A new executable file.
    Executable,
}

impl TouchedKind {
    /// Why it matters, as the end of a sentence about the file.
    pub fn describe(self) -> &'static str {
        match self {
            Self::ContinuousIntegration => "CI runs it, often with secrets",
            Self::Hook => "git runs it on developers' machines",
            Self::AgentConfiguration => "coding agents follow it",
            Self::EditorConfiguration => "editors read it, and can run commands from it",
            Self::Environment => "decides in which environment things run",
            Self::Manifest => "names dependencies, and commands that package managers run",
            Self::LockFile => "decides which versions are installed",
            Self::BuildFile => "decides how the project is built and tested",
            Self::Script => "is run outside of the tests",
            Self::HiddenFile => "is hidden, and tools can read it",
            Self::Binary => "is binary: its diff shows nothing",
            Self::Generated => "is written by a tool: was that tool run?",
            Self::Executable => "is new and executable",
        }
    }
}

/// What an added line can do to tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// It ends the process.
    EndsTheProcess,
    /// It finds out whether tests are running.
    NoticesTests,
    /// It skips tests, or expects them to fail.
    SkipsTests,
    /// It writes what test runners write.
    WritesReports,
    /// It defines what a value of the source is equal to.
    DefinesEquality,
    /// It uses or replaces what tests assert with.
    ReplacesAssertions,
}

impl Flag {
    /// A sentence for people. Names and paths are not escaped here.
    pub fn describe(&self) -> String {
        let listed = |names: &[String], count: u64| {
            let more = count.saturating_sub(names.len() as u64);
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{}{rest}", names.join(", "))
        };
        match self {
            Self::TestsGone { names, count } => {
                format!("tests of the base are no longer there: {}", listed(names, *count))
            }
            Self::TestsSkipped { names, count } => {
                format!("tests that ran at the base are skipped now: {}", listed(names, *count))
            }
            Self::NewTestsSkipped { names, count } => {
                format!("tests that the base does not have are skipped: {}", listed(names, *count))
            }
            Self::PassOnlyWithOtherFiles { names, paths, .. } if names.is_empty() => format!(
                "with the changed source alone the base's tests fail; they pass only beside the other files of the change: {}",
                paths.join(", ")
            ),
            Self::PassOnlyWithOtherFiles { names, paths, count } => format!(
                "with the changed source alone these tests of the base fail: {}. They pass only beside the other files of \
                 the change: {}",
                listed(names, *count),
                paths.join(", ")
            ),
            Self::ValuesNotCompared { names } => format!(
                "these tests show the issue, and also pass with other values in them, as if nothing were compared: {}",
                names.join(", ")
            ),
            Self::FewerTests { before, after } => {
                format!("fewer tests were run than at the base: {after}, not {before}")
            }
            Self::TestsWeakened { names } if names.is_empty() => {
                "existing tests were changed; in their base version, the suite fails on the new source"
                    .to_owned()
            }
            Self::TestsWeakened { names } => format!(
                "existing tests were changed; in their base version, these fail on the new source: {}",
                names.join(", ")
            ),
            Self::TestFilesChanged { paths, count } => {
                format!("existing tests were changed: {}", listed(paths, *count))
            }
            Self::HarnessChanged { paths, count } => {
                format!("files that collect or run the tests were changed: {}", listed(paths, *count))
            }
            Self::SetupDecides { paths, count } => format!(
                "the tests pass only with a setup that was run again for this change; with the base's setup they do \
                 not. The change touches what the setup depends on: {}. Read what these files and their scripts \
                 install",
                listed(paths, *count)
            ),
            Self::SetupFoundByAgent { setup, test } => format!(
                "a model found out how the repository is set up and tested, and the verdict rests on these commands: {}",
                commands_in_words(setup, test)
            ),
            Self::IncompleteCheckout { missing } => {
                format!("the tests ran without a part of the repository: {}", missing.join("; "))
            }
            Self::ReportDoubtful { why } => format!("the test report is suspicious: {why}"),
            Self::SuspiciousLine { what, path, text } => format!("{path} {}: {text}", what.describe()),
            Self::StillFailing { names, count } => {
                format!("tests fail as they did before the change: {}", listed(names, *count))
            }
            Self::NoMutantCaught { count } => format!(
                "the tests that show the issue notice none of {count} small changes of the changed lines"
            ),
            Self::FilesRewritten { paths, count } => {
                format!("the tests' run changed tracked files: {}", listed(paths, *count))
            }
            Self::Flaky { names } if names.is_empty() => {
                "the suite failed once at this tree, and passed when it was run again".to_owned()
            }
            Self::Flaky { names } => {
                format!("failed once at this tree, and passed when it was run again: {}", names.join(", "))
            }
            Self::FixNotInSource { paths, count } => format!(
                "the tests also pass without any change to the existing source; what makes them pass is in {}",
                listed(paths, *count)
            ),
            Self::ProvedByOldTests { names } => format!(
                "no new test shows the change: with the new files and the old source, these existing tests fail: {}",
                names.join(", ")
            ),
            Self::AlsoTouches { files, count } => {
                let files: Vec<String> =
                    files.iter().map(|file| format!("{} ({})", file.path, file.kind.describe())).collect();
                format!("other files are changed: {}", listed(&files, *count))
            }
        }
    }
}

impl Suspicion {
    /// What the line does, as the end of a sentence about its file.
    pub fn describe(self) -> &'static str {
        match self {
            Self::EndsTheProcess => "ends the process in an added line",
            Self::NoticesTests => "finds out in an added line whether tests are running",
            Self::SkipsTests => "skips tests in an added line",
            Self::WritesReports => "writes what test runners write in an added line",
            Self::DefinesEquality => "defines in an added line what its values are equal to",
            Self::ReplacesAssertions => "reaches in an added line for what tests assert with",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_a_sentence() {
        let names = || vec!["a".to_owned(), "b".to_owned()];
        let flags = [
            Flag::TestsGone { names: names(), count: 5 },
            Flag::TestsSkipped { names: names(), count: 2 },
            Flag::FewerTests { before: 9, after: 3 },
            Flag::TestsWeakened { names: names() },
            Flag::TestsWeakened { names: vec![] },
            Flag::TestFilesChanged { paths: names(), count: 2 },
            Flag::HarnessChanged { paths: names(), count: 2 },
            Flag::SetupDecides { paths: names(), count: 3 },
            Flag::SetupFoundByAgent { setup: names(), test: "c".into() },
            Flag::IncompleteCheckout { missing: names() },
            Flag::ReportDoubtful { why: "it is empty".into() },
            Flag::SuspiciousLine {
                what: Suspicion::EndsTheProcess,
                path: "a.py".into(),
                text: "exit()".into(),
            },
            Flag::StillFailing { names: names(), count: 2 },
            Flag::Flaky { names: names() },
            Flag::FixNotInSource { paths: names(), count: 3 },
            Flag::ProvedByOldTests { names: names() },
            Flag::AlsoTouches {
                files: vec![TouchedFile { path: ".npmrc".into(), kind: TouchedKind::HiddenFile }],
                count: 1,
            },
            Flag::FilesRewritten { paths: names(), count: 3 },
            Flag::NoMutantCaught { count: 8 },
            Flag::NewTestsSkipped { names: names(), count: 2 },
            Flag::ValuesNotCompared { names: names() },
            Flag::PassOnlyWithOtherFiles { names: names(), paths: names(), count: 2 },
            Flag::PassOnlyWithOtherFiles { names: vec![], paths: names(), count: 0 },
        ];
        let texts: Vec<String> = flags.iter().map(Flag::describe).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        tests of the base are no longer there: a, b and 3 more
        tests that ran at the base are skipped now: a, b
        fewer tests were run than at the base: 3, not 9
        existing tests were changed; in their base version, these fail on the new source: a, b
        existing tests were changed; in their base version, the suite fails on the new source
        existing tests were changed: a, b
        files that collect or run the tests were changed: a, b
        the tests pass only with a setup that was run again for this change; with the base's setup they do not. The change touches what the setup depends on: a, b and 1 more. Read what these files and their scripts install
        a model found out how the repository is set up and tested, and the verdict rests on these commands: `a`, then `b`, then `c`
        the tests ran without a part of the repository: a; b
        the test report is suspicious: it is empty
        a.py ends the process in an added line: exit()
        tests fail as they did before the change: a, b
        failed once at this tree, and passed when it was run again: a, b
        the tests also pass without any change to the existing source; what makes them pass is in a, b and 1 more
        no new test shows the change: with the new files and the old source, these existing tests fail: a, b
        other files are changed: .npmrc (is hidden, and tools can read it)
        the tests' run changed tracked files: a, b and 1 more
        the tests that show the issue notice none of 8 small changes of the changed lines
        tests that the base does not have are skipped: a, b
        these tests show the issue, and also pass with other values in them, as if nothing were compared: a, b
        with the changed source alone these tests of the base fail: a, b. They pass only beside the other files of the change: a, b
        with the changed source alone the base's tests fail; they pass only beside the other files of the change: a, b
        ");
        let json = serde_json::to_string(&flags[2]).unwrap();
        assert_eq!(json, r#"{"flag":"fewer_tests","before":9,"after":3}"#);
    }
}
