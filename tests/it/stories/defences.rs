//! Each defence of the verdict, switched on and off: the same proposal is refused or flagged with it, and passes
//! without it. So a defence that does nothing turns a test red.

use mendwright::domain::{Change, Flag, TouchedFile, TouchedKind};
use mendwright::verdict::{Defences, Verdict};

use super::verdicts::{Project, explanation};
use crate::support::written;

/// A suite in shell that reports in TAP: every `checks/*.sh` must pass. It reads `.answer.env` first.
const RUNNER: &str = "#!/bin/sh\n[ -f .answer.env ] && . ./.answer.env\nexport ANSWER\ncode=0\nn=0\n\
                      for t in checks/*.sh; do\n  n=$((n + 1))\n  if sh $t; then echo \"ok $n - $t\"; \
                      else echo \"not ok $n - $t\"; code=1; fi\ndone\necho 1..$n\nexit ${CODE:-$code}\n";
/// The same, of a command that always ends with exit code 0.
const HIDES_FAILURES: &str = "#!/bin/sh\nn=0\nfor t in checks/*.sh; do\n  n=$((n + 1))\n  if sh $t; then echo \"ok $n - $t\"; \
                              else echo \"not ok $n - $t\"; fi\ndone\necho 1..$n\nexit 0\n";
const RED: &[(&str, &str)] = &[
    ("answer", "41\n"),
    ("checks/answer.sh", "[ \"${ANSWER:-$(cat answer)}\" = 42 ]\n"),
    ("checks/there.sh", "[ -s answer ]\n"),
];
const GREEN: &[(&str, &str)] = &[("answer", "41\n"), ("checks/there.sh", "[ -s answer ]\n")];

async fn project(files: &[(&str, &str)]) -> Project {
    let mut project = Project::running(RUNNER, files).await;
    // Tests lie in no usual place here, but the report names them by their files.
    project.settings.test_paths = Vec::new();
    project
}

fn flags(verdict: &Verdict) -> &[Flag] {
    match verdict {
        Verdict::Verified(verified) => verified.flags(),
        Verdict::Rejected(rejected) => panic!("{}", rejected.explanation),
    }
}

async fn refused(project: &Project, changes: &[Change], defences: Defences, text: &str) {
    let verdict = project.verify_with(changes, defences).await;
    let own = explanation(&verdict);
    assert!(matches!(verdict, Verdict::Rejected(_)) && own.contains(text), "{text:?}: {own}");
}

#[tokio::test]
async fn failing_test_beside_exit_code_0_is_refused() {
    let project = Project::running(HIDES_FAILURES, GREEN).await;
    let breaks = [written("answer", ""), written("checks/new.sh", "[ ! -s answer ]\n")];
    refused(&project, &breaks, Defences::default(), "1 test that did not pass (checks/there.sh)").await;
}

#[tokio::test]
async fn fix_is_accepted_where_the_command_hides_failures() {
    let project =
        Project::running(HIDES_FAILURES, &[RED, &[("checks/network.sh", "false\n")]].concat()).await;
    let fixed = project.verify_with(&[written("answer", "42\n")], Defences::default()).await;
    let still = Flag::StillFailing { names: vec!["checks/network.sh".into()], count: 1 };
    assert_eq!(flags(&fixed), [still]);
    let nothing = [written("notes", "\n")];
    refused(&project, &nothing, Defences::default(), "What failed at the base still fails").await;
    let breaks = [written("answer", "42\n"), written("checks/there.sh", "false\n")];
    refused(&project, &breaks, Defences::default(), "did not fail at the base:\n- checks/there.sh").await;
}

#[tokio::test]
async fn test_outside_of_the_usual_places_is_kept_as_it_is() {
    let project = project(RED).await;
    let weakened = [written("checks/answer.sh", "true\n")];
    refused(
        &project,
        &weakened,
        Defences::default(),
        "existing tests, or to what runs them (checks/answer.sh)",
    )
    .await;
    let off = Defences { named_tests: false, unchanged_source: false, ..Defences::default() };
    assert_eq!(flags(&project.verify_with(&weakened, off).await), []);
}

#[tokio::test]
async fn proof_lies_where_the_runs_name_it() {
    let project = project(GREEN).await;
    let honest = [written("answer", "42\n"), written("checks/new.sh", "grep -q 42 answer\n")];
    let verdict = project.verify_with(&honest, Defences::default()).await;
    let Verdict::Verified(verified) = &verdict else { panic!("{}", explanation(&verdict)) };
    assert_eq!(verified.proof().unwrap()[0].0, "checks/new.sh");
    assert_eq!(verified.flags(), []);
    let vacuous = [written("answer", "42\n"), written("checks/new.sh", "true\n")];
    refused(&project, &vacuous, Defences::default(), "pass on the base, too").await;
}

#[tokio::test]
async fn fix_outside_of_the_source_is_refused_or_flagged() {
    let project = project(RED).await;
    let environment = written(".answer.env", "ANSWER=42\n");
    let alone = [environment.clone()];
    refused(&project, &alone, Defences::default(), "passes without any change to the source").await;
    let beside = [environment, written("answer", "43\n")];
    let flag = Flag::FixNotInSource { paths: vec![".answer.env".into()], count: 1 };
    assert_eq!(flags(&project.verify_with(&beside, Defences::default()).await)[0], flag);
    let off = Defences { unchanged_source: false, touched_files: false, ..Defences::default() };
    assert_eq!(flags(&project.verify_with(&alone, off).await), []);
}

#[tokio::test]
async fn new_test_that_passes_because_of_another_new_file_is_flagged() {
    let project = project(GREEN).await;
    let marker = [written("marker", "\n"), written("checks/new.sh", "[ -f marker ]\n")];
    let beside = [&marker[..], &[written("answer", "43\n")]].concat();
    let flag = Flag::FixNotInSource { paths: vec!["marker".into()], count: 1 };
    for changes in [&marker[..], &beside] {
        assert_eq!(
            flags(&project.verify_with(changes, Defences::default()).await),
            std::slice::from_ref(&flag)
        );
    }
    let off = Defences { unchanged_source: false, ..Defences::default() };
    assert_eq!(flags(&project.verify_with(&beside, off).await), []);
}

#[tokio::test]
async fn documentation_that_a_test_looks_for_is_no_fix() {
    let green = project(GREEN).await;
    let looks = [
        written("notes.md", "x\n"),
        written("checks/new.sh", "[ -f notes.md ]\n"),
        written("answer", "43\n"),
    ];
    refused(&green, &looks, Defences::default(), "pass on the base, too").await;
    let red = project(&[GREEN, &[("checks/notes.sh", "[ -f notes.md ]\n")]].concat()).await;
    let verdict = red.verify_with(&[looks[0].clone(), looks[2].clone()], Defences::default()).await;
    assert_eq!(flags(&verdict)[0], Flag::FixNotInSource { paths: vec!["notes.md".into()], count: 1 });
}

#[tokio::test]
async fn ignored_and_installed_places_take_no_file() {
    let files =
        [RED, &[(".gitignore", "/vendor/\n*.log\n!keep.log\n"), ("src/.gitignore", "out\n")]].concat();
    let mut project = project(&files).await;
    let fix = written("answer", "42\n");
    for (path, place) in
        [("vendor/a/b", "vendor"), ("src/x/out/a", "src/x/out"), ("a.log", "a.log"), ("d/b.log", "d/b.log")]
    {
        let changes = [fix.clone(), written(path, "x\n")];
        refused(&project, &changes, Defences::default(), &format!("`{place}` is ignored")).await;
    }
    let allowed = [fix.clone(), written("keep.log", "x\n"), written("src/vendor/a", "x\n")];
    flags(&project.verify_with(&allowed, Defences::default()).await);
    project.settings.setup_commands = vec!["mkdir -p installed/lib".into()];
    let over = [fix, written("installed/lib/a", "x\n")];
    refused(&project, &over, Defences::default(), "below `installed`, which the repository's setup makes")
        .await;
    let off = Defences { places: false, ..Defences::default() };
    flags(&project.verify_with(&over, off).await);
}

#[tokio::test]
async fn other_files_with_power_are_shown() {
    let project = project(RED).await;
    let changes = [written("answer", "42\n"), written(".npmrc", "x=y\n"), written("docs/a.md", "x\n")];
    let files = vec![TouchedFile { path: ".npmrc".into(), kind: TouchedKind::HiddenFile }];
    assert_eq!(
        flags(&project.verify_with(&changes, Defences::default()).await),
        [Flag::AlsoTouches { files, count: 1 }]
    );
    let off = Defences { touched_files: false, ..Defences::default() };
    assert_eq!(flags(&project.verify_with(&changes, off).await), []);
}
