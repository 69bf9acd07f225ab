//! Ways to look done without being done, played against the judge with a real sandbox and git.

use mendwright::domain::{Change, ChangedContent, FileMode, Flag, JobSettings, RepositoryId, SandboxKind};
use mendwright::sandbox::{Sandbox, SandboxSpec, connect_default};
use mendwright::setup::{Environment, SetupLocks, SetupPolicy};
use mendwright::testing::run_suite;
use mendwright::verdict::{Verdict, Verifier};
use mendwright::workspace::{LocalRepository, Mirrors, Workspace};
use std::path::Path;
use std::sync::Arc;

use crate::support::World;

/// A suite in shell: every `tests/*.sh` must pass, with what `runner/tox.ini` says first.
const RUNNER: &str = "#!/bin/sh\n[ -f tox.ini ] && . ./tox.ini\ncode=0\nn=0\nfor t in tests/*.sh; do\n  n=$((n + 1))\n  \
                      if sh $t; then echo \"ok $n - $t\"; else echo \"not ok $n - $t\"; code=1; fi\ndone\necho 1..$n\n\
                      exit $code\n";

struct Court {
    _directory: tempfile::TempDir,
    workspace: Workspace,
    sandbox: Arc<dyn Sandbox>,
    settings: JobSettings,
}

impl Court {
    async fn with(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("repository");
        commit(&path, files);
        let access = LocalRepository::open(&path).unwrap().access().unwrap();
        let mirrors = Mirrors::new(directory.path().join("mirrors"));
        let workspace = mirrors.fetch(RepositoryId(1), &access, "HEAD").await.unwrap();
        let settings = JobSettings::of_test_command("sh run.sh");
        Self {
            _directory: directory,
            workspace,
            sandbox: connect_default(SandboxKind::Bubblewrap).unwrap(),
            settings,
        }
    }

    async fn judge(&self, changes: &[(&str, &str)]) -> Verdict {
        let changes: Vec<Change> = changes.iter().map(|(path, text)| change(path, text)).collect();
        self.judge_all(&changes).await
    }

    async fn judge_all(&self, changes: &[Change]) -> Verdict {
        let tree = self.workspace.base_tree().await.unwrap();
        let environment = Environment::of(
            self.sandbox.clone(),
            SandboxSpec::named(format!("court-{}", std::process::id())),
            self.workspace.clone(),
            self.settings.clone(),
            SetupPolicy::default(),
            RepositoryId(1),
            SetupLocks::default(),
        );
        let environment = environment.await.unwrap();
        let toolbox = environment.fresh(&tree, "work").await.unwrap().unwrap();
        let baseline = run_suite(&toolbox, &self.settings).await.unwrap();
        toolbox.shut_down().await;
        let judge = Verifier { environment: &environment, baseline: &baseline };
        judge.judge(changes, None).await.unwrap()
    }
}

fn change(path: &str, text: &str) -> Change {
    let content = ChangedContent::File { mode: FileMode::Regular, bytes: text.as_bytes().to_vec() };
    Change { path: path.parse().unwrap(), content }
}

fn commit(path: &Path, files: &[(&str, &str)]) {
    let repository = git2::Repository::init(path).unwrap();
    for (name, text) in files.iter().chain([&("run.sh", RUNNER)]) {
        let at = path.join(name);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, text).unwrap();
    }
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
}

fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Verified(verified) => format!("VERIFIED {}", verified.explanation()),
        Verdict::Rejected(red) => red.explanation.clone(),
    }
}

const RED: &[(&str, &str)] = &[("answer", "41\n"), ("tests/answer.sh", "[ \"$(cat answer)\" = 42 ]\n")];
const GREEN: &[(&str, &str)] = &[("answer", "41\n"), ("tests/exists.sh", "[ -f answer ]\n")];

#[tokio::test]
async fn a_red_suite_is_mended_in_the_source_not_in_the_test() {
    let court = Court::with(RED).await;
    let honest = court.judge(&[("answer", "42\n")]).await;
    assert!(matches!(honest, Verdict::Verified(_)), "{}", words(&honest));
    let emptied = court.judge(&[("tests/answer.sh", "true\n")]).await;
    assert!(words(&emptied).contains("only with your changes to existing tests"), "{}", words(&emptied));
    let both = court.judge(&[("answer", "42\n"), ("tests/answer.sh", "[ -f answer ]\n")]).await;
    assert!(matches!(both, Verdict::Verified(_)), "{}", words(&both));
}

#[tokio::test]
async fn what_runs_the_tests_cannot_be_taught_to_pass() {
    let court = Court::with(RED).await;
    let taught = court.judge(&[("tox.ini", "echo ok 1 - tests/answer.sh\necho 1..1\nexit 0\n")]).await;
    assert!(words(&taught).contains("what runs them (tox.ini)"), "{}", words(&taught));
}

#[tokio::test]
async fn a_green_suite_needs_a_test_of_the_change_s_own_that_fails_without_it() {
    let court = Court::with(GREEN).await;
    let none = court.judge(&[("answer", "42\n")]).await;
    assert!(words(&none).contains("must bring a test"), "{}", words(&none));
    let vacuous = court.judge(&[("answer", "42\n"), ("tests/new.sh", "true\n")]).await;
    assert!(words(&vacuous).contains("pass on the base, too"), "{}", words(&vacuous));
    let proved = court.judge(&[("answer", "42\n"), ("tests/new.sh", "grep -q 42 answer\n")]).await;
    let Verdict::Verified(verified) = &proved else { panic!("{}", words(&proved)) };
    assert_eq!(verified.proof().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failure_elsewhere_is_no_proof() {
    // With the new file there, but not the change, an old test fails: not the new one.
    let counts = ("tests/count.sh", "[ $(ls tests | wc -l) = 2 ] || [ \"$(cat answer)\" = 42 ]\n");
    let court = Court::with(&[GREEN[0], GREEN[1], counts]).await;
    let verdict = court.judge(&[("answer", "42\n"), ("tests/other.sh", "true\n")]).await;
    assert!(words(&verdict).contains("none of those that you brought"), "{}", words(&verdict));
}

/// A change that takes a file away.
fn absent(path: &str) -> Change {
    Change { path: path.parse().unwrap(), content: ChangedContent::Absent }
}

#[tokio::test]
async fn a_red_test_that_is_deleted_or_renamed_is_missed() {
    let court = Court::with(RED).await;
    for changes in [
        vec![absent("tests/answer.sh"), change("tests/other.sh", "true\n")],
        vec![absent("tests/answer.sh"), change("tests/renamed.sh", "[ \"$(cat answer)\" = 41 ]\n")],
    ] {
        let verdict = court.judge_all(&changes).await;
        assert!(words(&verdict).contains("tests/answer.sh: no longer there"), "{}", words(&verdict));
    }
}

#[tokio::test]
async fn an_existing_test_that_is_deleted_beside_an_honest_change_is_shown() {
    let court = Court::with(GREEN).await;
    let proof = change("tests/new.sh", "grep -q 42 answer\n");
    let verdict = court.judge_all(&[change("answer", "42\n"), proof, absent("tests/exists.sh")]).await;
    let Verdict::Verified(verified) = &verdict else { panic!("{}", words(&verdict)) };
    let flags: Vec<String> = verified.flags().iter().map(Flag::describe).collect();
    assert!(
        flags.contains(&"1 tests of the base are no longer there: tests/exists.sh".to_owned()),
        "{flags:?}"
    );
    assert!(flags.contains(&"existing tests were changed: tests/exists.sh".to_owned()), "{flags:?}");
}

#[tokio::test]
async fn a_test_that_is_deleted_or_emptied_since_the_change_breaks_it_is_held_against_the_new_source() {
    let positive = ("tests/positive.sh", "[ \"$(cat answer)\" -gt 0 ]\n");
    let court = Court::with(&[GREEN[0], GREEN[1], positive]).await;
    let breaks = [change("answer", "-42\n"), change("tests/new.sh", "grep -q -e -42 answer\n")];
    let said =
        "existing tests were changed; as the base has them, these fail on the new source: tests/positive.sh";
    for away in [absent("tests/positive.sh"), change("tests/positive.sh", "true\n")] {
        let verdict = court.judge_all(&[&breaks[..], &[away]].concat()).await;
        let Verdict::Verified(verified) = &verdict else { panic!("{}", words(&verdict)) };
        let flags: Vec<String> = verified.flags().iter().map(Flag::describe).collect();
        assert!(flags.iter().any(|flag| flag == said), "{flags:?}");
    }
}

#[tokio::test]
async fn a_test_that_fails_by_chance_is_not_blamed_on_the_change_and_is_named() {
    // It fails where no run was before, as each fresh sandbox is; so it must count runs elsewhere.
    let flaky = ("tests/flaky.sh", "[ ! -f answer.new ] || [ $(( $(date +%N | sed 's/^0*//') % 2 )) = 0 ]\n");
    let court = Court::with(&[GREEN[0], GREEN[1], flaky]).await;
    let changes =
        [change("answer", "42\n"), change("answer.new", "\n"), change("tests/new.sh", "grep -q 42 answer\n")];
    for _ in 0..40 {
        match court.judge_all(&changes).await {
            Verdict::Verified(verified) if !verified.flags().is_empty() => {
                let flags: Vec<String> = verified.flags().iter().map(Flag::describe).collect();
                assert!(flags[0].contains("passed when it was run again: tests/flaky.sh"), "{flags:?}");
                return;
            }
            Verdict::Verified(_) | Verdict::Rejected(_) => {}
        }
    }
    panic!("forty throws of a coin, and never tails, then heads");
}

/// Beside the issue's test one that fails for a reason of its own, and one that passes.
const RED_ELSEWHERE: &[(&str, &str)] =
    &[RED[0], RED[1], ("tests/elsewhere.sh", "false\n"), ("tests/unmarked.sh", "[ ! -f marker ]\n")];

#[tokio::test]
async fn what_failed_for_another_reason_may_go_on_failing_and_is_shown() {
    let court = Court::with(RED_ELSEWHERE).await;
    let honest = court.judge(&[("answer", "42\n")]).await;
    let Verdict::Verified(verified) = &honest else { panic!("{}", words(&honest)) };
    let flags: Vec<String> = verified.flags().iter().map(Flag::describe).collect();
    assert_eq!(flags, ["1 tests fail as they did before the change: tests/elsewhere.sh"]);
    let why = verified.explanation();
    assert!(why.contains("These failed and pass now:\n- tests/answer.sh"), "{why}");
    assert!(why.contains("These fail as they did before:\n- tests/elsewhere.sh"), "{why}");

    let refused = [
        (
            vec![change("answer", "42\n"), change("marker", "\n")],
            "did not fail at the base:\n- tests/unmarked.sh",
        ),
        (vec![change("notes", "\n")], "your change brings no test"),
        (vec![change("tests/answer.sh", "true\n")], "only with your changes to existing tests"),
        (vec![change("answer", "42\n"), absent("tests/elsewhere.sh")], "elsewhere.sh: no longer there"),
        (
            vec![change("answer", "42\n"), absent("tests/unmarked.sh")],
            "skipped or gone:\n- tests/unmarked.sh",
        ),
        (
            vec![change("tests/answer.sh", "true\n"), change("tests/new.sh", "true\n")],
            "only with your changes to existing tests",
        ),
    ];
    for (changes, why) in refused {
        let verdict = court.judge_all(&changes).await;
        let told = words(&verdict);
        assert!(matches!(verdict, Verdict::Rejected(_)) && told.contains(why), "{changes:?}: {told}");
    }
}

#[tokio::test]
async fn where_only_other_tests_are_red_the_change_must_bring_one_of_its_own() {
    let court = Court::with(&[RED_ELSEWHERE[0], RED_ELSEWHERE[2], RED_ELSEWHERE[3]]).await;
    let proved = court.judge(&[("answer", "42\n"), ("tests/new.sh", "grep -q 42 answer\n")]).await;
    let Verdict::Verified(verified) = &proved else { panic!("{}", words(&proved)) };
    assert_eq!(verified.proof().unwrap().len(), 1);
    assert!(verified.flags().iter().any(|flag| matches!(flag, Flag::StillFailing { count: 1, .. })));
    for (test, why) in [("true\n", "none of those that you brought"), ("false\n", "did not fail at the base")]
    {
        let verdict = court.judge(&[("answer", "42\n"), ("tests/new.sh", test)]).await;
        assert!(words(&verdict).contains(why), "{}", words(&verdict));
    }
    let none = court.judge(&[("answer", "42\n")]).await;
    assert!(words(&none).contains("your change brings no test"), "{}", words(&none));
}

/// A suite that changes the source under test whenever it runs.
const PLANTS: &str = r#"
use std::os::unix::fs::PermissionsExt;

#[test]
fn plants() {
    let mut text = std::fs::read_to_string("src/lib.rs").unwrap();
    text.push_str("// PLANTED by a test run\n");
    std::fs::write("src/lib.rs", text).unwrap();
    std::fs::set_permissions("src/lib.rs", std::fs::Permissions::from_mode(0o755)).unwrap();
}
"#;

#[tokio::test]
async fn what_a_test_run_does_to_a_file_is_not_proposed() {
    let mut world = World::with("fix", None, &[("tests/plants.rs", PLANTS)]).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    let git = git2::Repository::open(world.repository()["git_dir"].as_str().unwrap()).unwrap();
    let head = git.find_branch("agent-fix/issue-1", git2::BranchType::Local).unwrap();
    let tree = head.get().peel_to_tree().unwrap();
    let entry = tree.get_path(Path::new("src/lib.rs")).unwrap();
    let text = String::from_utf8(git.find_blob(entry.id()).unwrap().content().to_vec()).unwrap();
    assert!(text.contains("word_ended") && !text.contains("PLANTED"), "{text}");
    assert_eq!(entry.filemode(), 0o100_644);
    world.end().await;
}
