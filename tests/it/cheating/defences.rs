//! Each defence of the verdict is switched off: a way of the table that it holds passes then, or is no longer shown. So a
//! defence that does nothing turns a test red.

use mendwright::domain::{Change, ChangedContent, FileMode, Flag, JobSettings, RepositoryId, SandboxKind};
use mendwright::sandbox::{Root, SandboxSpec, connect_default, detect_toolchains};
use mendwright::setup::{Environment, SetupLocks, SetupPolicy};
use mendwright::testing::run_suite_of_tree;
use mendwright::verdict::{Defences, Verdict, Verifier};
use mendwright::workspace::{LocalRepository, Mirrors};

use super::play::commit;
use super::table::{Kind, Play, RunnerTable};

/// The verdict on a play with these defences: the flags of a verified proposal, or why it is refused.
async fn judge(play: &Play, defences: Defences) -> Result<Vec<String>, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("repository");
    commit(play, &path);
    let access = LocalRepository::open(&path).unwrap().access().unwrap();
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let workspace = mirrors.fetch(RepositoryId(1), &access, "HEAD").await.unwrap();
    let spec = SandboxSpec {
        root: Root::Host { toolchains: detect_toolchains() },
        ..SandboxSpec::named(format!("defences-{}", std::process::id()))
    };
    let settings = JobSettings {
        mutants: play.mutants,
        setup_commands: play.setup.clone(),
        ..JobSettings::of_test_command(&play.command)
    };
    let environment = Environment::of(
        connect_default(SandboxKind::Bubblewrap).unwrap(),
        spec,
        workspace,
        settings.clone(),
        SetupPolicy::default(),
        RepositoryId(1),
        SetupLocks::default(),
    );
    let environment = environment.await.unwrap();
    let base = environment.workspace().base_tree().await.unwrap();
    let toolbox = environment.fresh(&base, "work").await.unwrap().unwrap();
    let baseline = defences.seen(run_suite_of_tree(&toolbox, &settings).await.unwrap());
    toolbox.shut_down().await;
    let verifier = Verifier { defences, ..Verifier::new(&environment, &baseline) };
    let written = play.writes.iter().map(|(path, text)| Change {
        path: path.parse().unwrap(),
        content: ChangedContent::File { mode: FileMode::Regular, bytes: text.as_bytes().to_vec() },
    });
    let deleted = play
        .deletes
        .iter()
        .map(|path| Change { path: path.parse().unwrap(), content: ChangedContent::Absent });
    let changes: Vec<Change> = written.chain(deleted).collect();
    match verifier.judge(&changes, None).await.unwrap() {
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

        /// The defences that a test here switches off, each by name.
        #[test]
        fn every_defence_is_switched_off() {
            let mut off = Defences::default();
            $(off.$defence = false;)*
            // A new defence is `true` in one of them only.
            assert_eq!(off, Defences { $($defence: false,)* });
        }
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
