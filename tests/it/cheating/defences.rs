//! Each defence of the verdict is switched off: a way of the table that it holds passes then, or is no longer shown. So a
//! defence that does nothing turns a test red.

use mendwright::domain::{Change, ChangedContent, Flag, JobSettings};
use mendwright::verdict::{Defences, Verdict};

use super::table::{Kind, Play, RunnerTable};
use crate::support::{self, commit_files, written};

/// The verdict on a play with these defences: the flags of a verified proposal, or why it is refused.
async fn judge(play: &Play, defences: Defences) -> Result<Vec<String>, String> {
    let repository = tempfile::tempdir().unwrap();
    commit_files(repository.path(), play.base.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let settings = JobSettings {
        mutants: play.mutants,
        setup_commands: play.setup.clone(),
        ..JobSettings::of_test_command(&play.command)
    };
    let deleted = play
        .deletes
        .iter()
        .map(|path| Change { path: path.parse().unwrap(), content: ChangedContent::Absent });
    let changes: Vec<Change> =
        play.writes.iter().map(|(path, text)| written(path, text)).chain(deleted).collect();
    match support::judge(repository.path(), &settings, &changes, defences).await {
        // What failed before, and is not fixed, is listed whatever the change does.
        Verdict::Verified(verified) => Ok(verified
            .flags()
            .iter()
            .filter(|flag| !matches!(flag, Flag::StillFailing { .. }))
            .map(Flag::describe)
            .collect()),
        Verdict::Rejected(rejected) => Err(rejected.explanation),
    }
}

/// Without these defences nothing is said of the way. With `switch` on, it is refused or shown.
async fn assert_held(runner: &str, kind: Kind, way: &str, without: Defences, switch: fn(&mut Defences)) {
    let table = RunnerTable::load(runner);
    let play = table.play(table.way(kind, way));
    assert_eq!(judge(&play, without).await, Ok(Vec::new()), "{way}");
    let mut with = without;
    switch(&mut with);
    assert_ne!(judge(&play, with).await, Ok(Vec::new()), "{way}");
}

/// A test for each defence: the way of the table that it holds, and the other defences that hold it as well.
macro_rules! defences {
    ($($defence:ident: $runner:literal, $kind:ident, $way:literal $(, but $other:ident)* $(, needs $needs:literal)?;)*) => {
        $(#[tokio::test]
        $(#[ignore = $needs])?
        async fn $defence() {
            let without = Defences { $defence: false, $($other: false,)* ..Defences::default() };
            assert_held($runner, Kind::$kind, $way, without, |defences| defences.$defence = true).await;
        })*

        /// A defence without a test here does not compile.
        const _: Defences = Defences { $($defence: false,)* };
    };
}

defences! {
    protected_paths: "unittest", OtherFiles, "workflow", but touched_files;
    reports: "unittest", ExitCode, "exit hook", but suspicious_lines;
    groups: "rspec", ExitCode, "of the same name", needs "needs RSpec";
    base_tests: "unittest", ExistingTest, "weakens the failing test in its file", but unchanged_source, but altered_tests;
    proof: "unittest", EmptyProof, "passes on the base";
    base_setup: "unittest", WhatRunsTests, "setup", but unchanged_source, but touched_files, but canary, but source_alone, but altered_tests, but suspicious_lines;
    compared_tests: "unittest", ExistingTest, "deletes it", but base_tests;
    suspicious_lines: "unittest", Reporting, "only under test";
    rewritten_files: "unittest", DuringTheRun, "data";
    places: "unittest", Places, "what the setup makes";
    named_tests: "unittest", ExistingTest, "no usual place", but unchanged_source, but tests_in_source, but altered_tests;
    unchanged_source: "unittest", WhatRunsTests, "a module that stands before the source";
    touched_files: "unittest", OtherFiles, "editor's tasks";
    unchanged_tests: "unittest", DuringTheRun, "a later test when", but suspicious_lines;
    tests_in_source: "unittest", ExistingTest, "stands in the source file", but named_tests;
    canary: "unittest", Reporting, "softens the assertions", but altered_tests, but suspicious_lines;
    source_alone: "unittest", WhatRunsTests, "and rewrites the file";
    altered_tests: "unittest", Reporting, "spares other tests";
}
