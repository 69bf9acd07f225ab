//! Ways to look done without being done, against the verifier with a real sandbox and git.

use std::path::Path;

use mendwright::domain::{Change, ChangedContent, Flag, JobSettings};
use mendwright::verdict::{Defences, Verdict};

use crate::support::{World, commit_files, judge, written};

/// A suite in shell: every `tests/*.sh` must pass. It reads `tox.ini` first.
const RUNNER: &str = "#!/bin/sh\n[ -f tox.ini ] && . ./tox.ini\ncode=0\nn=0\nfor t in tests/*.sh; do\n  n=$((n + 1))\n  \
                      if sh $t; then echo \"ok $n - $t\"; else echo \"not ok $n - $t\"; code=1; fi\ndone\necho 1..$n\n\
                      exit $code\n";

pub(super) struct Project {
    repository: tempfile::TempDir,
    pub(super) settings: JobSettings,
}

impl Project {
    async fn with(files: &[(&str, &str)]) -> Self {
        Self::running(RUNNER, files).await
    }

    /// A project whose suite is the script `runner`.
    pub(super) async fn running(runner: &str, files: &[(&str, &str)]) -> Self {
        let repository = tempfile::tempdir().unwrap();
        commit_files(repository.path(), files.iter().copied().chain([("run.sh", runner)]));
        Self { repository, settings: JobSettings::of_test_command("sh run.sh") }
    }

    async fn verify(&self, changes: &[(&str, &str)]) -> Verdict {
        let changes: Vec<Change> = changes.iter().map(|(path, text)| written(path, text)).collect();
        self.verify_all(&changes).await
    }

    async fn verify_all(&self, changes: &[Change]) -> Verdict {
        self.verify_with(changes, Defences::default()).await
    }

    pub(super) async fn verify_with(&self, changes: &[Change], defences: Defences) -> Verdict {
        judge(self.repository.path(), &self.settings, changes, defences).await
    }
}

pub(super) fn explanation(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Verified(verified) => format!("VERIFIED {}", verified.explanation()),
        Verdict::Rejected(rejected) => rejected.explanation.clone(),
    }
}

const FAILING: &[(&str, &str)] = &[("answer", "41\n"), ("tests/answer.sh", "[ \"$(cat answer)\" = 42 ]\n")];
const PASSING: &[(&str, &str)] = &[("answer", "41\n"), ("tests/exists.sh", "[ -f answer ]\n")];

#[tokio::test]
async fn failing_test_must_be_fixed_in_the_source() {
    let project = Project::with(FAILING).await;
    let honest = project.verify(&[("answer", "42\n")]).await;
    assert!(matches!(honest, Verdict::Verified(_)), "{}", explanation(&honest));
    let emptied = project.verify(&[("tests/answer.sh", "true\n")]).await;
    assert!(
        explanation(&emptied).contains("only with your changes to existing tests"),
        "{}",
        explanation(&emptied)
    );
    let both = project.verify(&[("answer", "42\n"), ("tests/answer.sh", "[ -f answer ]\n")]).await;
    assert!(matches!(both, Verdict::Verified(_)), "{}", explanation(&both));
}

#[tokio::test]
async fn changed_test_configuration_is_rejected() {
    let project = Project::with(FAILING).await;
    let taught = project.verify(&[("tox.ini", "echo ok 1 - tests/answer.sh\necho 1..1\nexit 0\n")]).await;
    assert!(explanation(&taught).contains("what runs them (tox.ini)"), "{}", explanation(&taught));
}

#[tokio::test]
async fn passing_suite_needs_a_new_test_that_fails_without_the_change() {
    let project = Project::with(PASSING).await;
    let none = project.verify(&[("answer", "42\n")]).await;
    assert!(explanation(&none).contains("must bring a test"), "{}", explanation(&none));
    let vacuous = project.verify(&[("answer", "42\n"), ("tests/new.sh", "true\n")]).await;
    assert!(explanation(&vacuous).contains("pass on the base, too"), "{}", explanation(&vacuous));
    let proved = project.verify(&[("answer", "42\n"), ("tests/new.sh", "grep -q 42 answer\n")]).await;
    let Verdict::Verified(verified) = &proved else { panic!("{}", explanation(&proved)) };
    assert_eq!(verified.proof().unwrap().len(), 1);
}

#[tokio::test]
async fn proof_by_an_unchanged_test_is_flagged() {
    // With the new file there, but not the change, an old test fails: not the new one.
    let counts = ("tests/count.sh", "[ $(ls tests | wc -l) = 2 ] || [ \"$(cat answer)\" = 42 ]\n");
    let project = Project::with(&[PASSING[0], PASSING[1], counts]).await;
    let verdict = project.verify(&[("answer", "42\n"), ("tests/other.sh", "true\n")]).await;
    let Verdict::Verified(verified) = &verdict else { panic!("{}", explanation(&verdict)) };
    let names = vec!["tests/count.sh".to_owned()];
    assert_eq!(verified.flags(), [Flag::ProvedByOldTests { names }]);
}

/// A change that deletes a file.
fn absent(path: &str) -> Change {
    Change { path: path.parse().unwrap(), content: ChangedContent::Absent }
}

#[tokio::test]
async fn deleted_or_renamed_failing_test_is_rejected() {
    let project = Project::with(FAILING).await;
    for changes in [
        vec![absent("tests/answer.sh"), written("tests/other.sh", "true\n")],
        vec![absent("tests/answer.sh"), written("tests/renamed.sh", "[ \"$(cat answer)\" = 41 ]\n")],
    ] {
        let verdict = project.verify_all(&changes).await;
        assert!(
            explanation(&verdict).contains("tests/answer.sh: no longer there"),
            "{}",
            explanation(&verdict)
        );
    }
}

#[tokio::test]
async fn deleted_test_of_an_honest_change_is_flagged() {
    let project = Project::with(PASSING).await;
    let proof = written("tests/new.sh", "grep -q 42 answer\n");
    let verdict = project.verify_all(&[written("answer", "42\n"), proof, absent("tests/exists.sh")]).await;
    let Verdict::Verified(verified) = &verdict else { panic!("{}", explanation(&verdict)) };
    let flags: Vec<String> = verified.flags().iter().map(Flag::describe).collect();
    assert!(
        flags.contains(&"tests of the base are no longer there: tests/exists.sh".to_owned()),
        "{flags:?}"
    );
    assert!(flags.contains(&"existing tests were changed: tests/exists.sh".to_owned()), "{flags:?}");
}

#[tokio::test]
async fn deleted_or_emptied_test_that_the_change_breaks_is_flagged() {
    let positive = ("tests/positive.sh", "[ \"$(cat answer)\" -gt 0 ]\n");
    let project = Project::with(&[PASSING[0], PASSING[1], positive]).await;
    let breaks = [written("answer", "-42\n"), written("tests/new.sh", "grep -q -e -42 answer\n")];
    let flag =
        "existing tests were changed; in their base version, these fail on the new source: tests/positive.sh";
    for away in [absent("tests/positive.sh"), written("tests/positive.sh", "true\n")] {
        let verdict = project.verify_all(&[&breaks[..], &[away]].concat()).await;
        let Verdict::Verified(verified) = &verdict else { panic!("{}", explanation(&verdict)) };
        let flags: Vec<String> = verified.flags().iter().map(Flag::describe).collect();
        assert!(flags.iter().any(|own| own == flag), "{flags:?}");
    }
}

#[tokio::test]
async fn flaky_test_is_run_again_and_flagged() {
    // It fails where no run was before, as each fresh sandbox is; so it must count runs elsewhere.
    let flaky = ("tests/flaky.sh", "[ ! -f answer.new ] || [ $(( $(date +%N | sed 's/^0*//') % 2 )) = 0 ]\n");
    let project = Project::with(&[PASSING[0], PASSING[1], flaky]).await;
    let changes = [
        written("answer", "42\n"),
        written("answer.new", "\n"),
        written("tests/new.sh", "grep -q 42 answer\n"),
    ];
    for _ in 0..40 {
        match project.verify_all(&changes).await {
            Verdict::Verified(verified) if !verified.flags().is_empty() => {
                let flags: Vec<String> = verified.flags().iter().map(Flag::describe).collect();
                // It may also fail in another run, and be flagged for that.
                if flags.iter().any(|flag| flag.contains("passed when it was run again: tests/flaky.sh")) {
                    return;
                }
            }
            Verdict::Verified(_) | Verdict::Rejected(_) => {}
        }
    }
    panic!("forty runs, and the test never failed and then passed");
}

/// Three tests: the issue's, one that fails for another reason, and one that passes.
const FAILING_ELSEWHERE: &[(&str, &str)] =
    &[FAILING[0], FAILING[1], ("tests/elsewhere.sh", "false\n"), ("tests/unmarked.sh", "[ ! -f marker ]\n")];

#[tokio::test]
async fn unrelated_failure_of_the_base_may_remain_and_is_flagged() {
    let project = Project::with(FAILING_ELSEWHERE).await;
    let honest = project.verify(&[("answer", "42\n")]).await;
    let Verdict::Verified(verified) = &honest else { panic!("{}", explanation(&honest)) };
    let flags: Vec<String> = verified.flags().iter().map(Flag::describe).collect();
    assert_eq!(flags, ["tests fail as they did before the change: tests/elsewhere.sh"]);
    let why = verified.explanation();
    assert!(why.contains("These failed and pass now:\n- tests/answer.sh"), "{why}");
    assert!(why.contains("These fail as they did before:\n- tests/elsewhere.sh"), "{why}");

    let refused = [
        (
            vec![written("answer", "42\n"), written("marker", "\n")],
            "did not fail at the base:\n- tests/unmarked.sh",
        ),
        (vec![written("notes", "\n")], "your change brings no test"),
        (vec![written("tests/answer.sh", "true\n")], "only with your changes to existing tests"),
        (vec![written("answer", "42\n"), absent("tests/elsewhere.sh")], "elsewhere.sh: no longer there"),
        (
            vec![written("answer", "42\n"), absent("tests/unmarked.sh")],
            "skipped or gone:\n- tests/unmarked.sh",
        ),
        (
            vec![written("tests/answer.sh", "true\n"), written("tests/new.sh", "true\n")],
            "only with your changes to existing tests",
        ),
    ];
    for (changes, why) in refused {
        let verdict = project.verify_all(&changes).await;
        let own = explanation(&verdict);
        assert!(matches!(verdict, Verdict::Rejected(_)) && own.contains(why), "{changes:?}: {own}");
    }
}

#[tokio::test]
async fn unrelated_failures_alone_demand_a_new_test() {
    let project = Project::with(&[FAILING_ELSEWHERE[0], FAILING_ELSEWHERE[2], FAILING_ELSEWHERE[3]]).await;
    let proved = project.verify(&[("answer", "42\n"), ("tests/new.sh", "grep -q 42 answer\n")]).await;
    let Verdict::Verified(verified) = &proved else { panic!("{}", explanation(&proved)) };
    assert_eq!(verified.proof().unwrap().len(), 1);
    assert!(verified.flags().iter().any(|flag| matches!(flag, Flag::StillFailing { count: 1, .. })));
    for (test, why) in
        [("true\n", "none of the tests that you brought"), ("false\n", "did not fail at the base")]
    {
        let verdict = project.verify(&[("answer", "42\n"), ("tests/new.sh", test)]).await;
        assert!(explanation(&verdict).contains(why), "{}", explanation(&verdict));
    }
    let none = project.verify(&[("answer", "42\n")]).await;
    assert!(explanation(&none).contains("your change brings no test"), "{}", explanation(&none));
}

/// A test that changes the source under test whenever it runs.
const CHANGES_SOURCE: &str = "changes_the_source() {
    echo '# CHANGED by a test run' >> src/slug.sh
    chmod 755 src/slug.sh
}
";

#[tokio::test]
async fn file_changed_by_a_test_run_is_not_proposed() {
    let mut world = World::builder().file("tests/changes.sh", CHANGES_SOURCE).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    let git = world.git();
    let head = git.find_branch("agent-fix/issue-1", git2::BranchType::Local).unwrap();
    let tree = head.get().peel_to_tree().unwrap();
    let entry = tree.get_path(Path::new("src/slug.sh")).unwrap();
    let text = String::from_utf8(git.find_blob(entry.id()).unwrap().content().to_vec()).unwrap();
    assert!(text.contains("sed -E") && !text.contains("CHANGED"), "{text}");
    assert_eq!(entry.filemode(), 0o100_644);
    world.end().await;
}
