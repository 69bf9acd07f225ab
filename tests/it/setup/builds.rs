//! Kept builds: what the base's build left is compiled once, contains nothing else, and nobody but the base's own code
//! has ever written to it.

use mendwright::domain::{Change, ChangedContent, SandboxKind, Sha, TranscriptEvent};
use mendwright::sandbox::protocol::{DeleteFile, MoveFile, WriteFile};
use mendwright::sandbox::{CommandSpec, Root, SandboxSpec, Toolbox, detect_toolchains};
use mendwright::setup::Environment;
use mendwright::testing::run_suite_of_tree;
use mendwright::verdict::{Verdict, Verifier};

use super::{CREATES_AN_ID, DEADLINE, Fixture, backend, base, ok, spec};
use crate::support::written;

/// A build tool with Cargo's directories: it compiles each source that is newer than what was compiled from it, and
/// runs the tests that a list names. As a careless macro would, it writes that list only once.
pub(super) const SUITE: &str = r##"#!/bin/sh
mkdir -p target/debug/.fingerprint target/debug/deps target/tmp
[ -e target/.rustc_info.json ] || echo '{}' > target/.rustc_info.json
for source in src/*.rs tests/*.rs; do
  object=target/debug/deps/$(echo "$source" | tr / -)
  if [ ! -e "$object" ] || [ -n "$(find "$source" -newer "$object")" ]; then
    echo "# compiled $source"
    cp "$source" "$object"
  fi
done
[ -e target/debug/deps/list ] || (cd tests && ls *.rs) > target/debug/deps/list
number=0
status=0
for name in $(cat target/debug/deps/list); do
  number=$((number + 1))
  if (. ./target/debug/deps/tests-$name); then
    echo "ok $number - $name"
  else
    echo "not ok $number - $name"
    status=1
  fi
done
[ ! -e leftovers.sh ] || sh ./leftovers.sh
echo "1..$number"
exit $status
"##;
/// Every way in which a run of the suite leaves something that is not the compiler's.
const LEFTOVERS: &str = "echo x > tests/output.txt; echo x > .coverage; echo x > target/tmp/database; \
                         echo x > target/notes; echo x > target/debug/notes; mkdir -p target/nextest/deps state; \
                         echo x > target/nextest/junit.xml; echo x > state/lock; echo x > \"$HOME/.state\"\n";
/// What [`LEFTOVERS`] leaves.
const LEFT: &str = "ls -d tests/output.txt .coverage target/tmp/database target/notes target/debug/notes \
                    target/nextest/junit.xml state \"$HOME/.state\" 2>/dev/null; true";
const PASSES_AT_THE_BASE: &str = "[ -n \"$(cat target/debug/deps/src-a.rs)\" ]\n";

/// A repository that is compiled, with these files in addition.
fn compiled(kind: SandboxKind, setup: &[&str], more: &[(&str, &str)]) -> Fixture {
    let mut fixture = Fixture::new(kind, setup);
    fixture.test = "sh suite.sh";
    let files = [
        ("Cargo.toml", "[package]\n"),
        ("suite.sh", SUITE),
        ("src/a.rs", "value=1\n"),
        ("src/b.rs", "other=1\n"),
        ("tests/old.rs", PASSES_AT_THE_BASE),
    ];
    fixture.commit(&[&files, more].concat());
    fixture
}

/// Runs the suite, and returns what was compiled.
async fn compile(toolbox: &Toolbox) -> Vec<String> {
    let run = toolbox.run(&CommandSpec::shell("sh suite.sh", DEADLINE)).await.unwrap();
    let output = run.output.to_text();
    output.lines().filter_map(|line| line.strip_prefix("# compiled ")).map(str::to_owned).collect()
}

/// Starts a sandbox with `tree`, and returns what the suite compiles in it.
async fn compiled_in(job: &Environment, tree: &Sha) -> Vec<String> {
    let toolbox = job.fresh(tree, "verdict").await.unwrap().unwrap();
    let compiled = compile(&toolbox).await;
    toolbox.shut_down().await;
    compiled
}

/// Runs the baseline of a job, keeps what it built, and returns what it compiled.
async fn baseline(job: &Environment) -> Vec<String> {
    let tree = base(job).await;
    let toolbox = job.fresh(&tree, "work").await.unwrap().unwrap();
    let compiled = compile(&toolbox).await;
    job.keep_build(&toolbox, &tree).await.unwrap();
    toolbox.shut_down().await;
    compiled
}

fn notes(job: &Environment) -> String {
    let text = |event: TranscriptEvent| match event {
        TranscriptEvent::Note { text } => Some(text + "\n"),
        _ => None,
    };
    job.take_events().into_iter().filter_map(text).collect()
}

fn removed(path: &str) -> Change {
    Change { path: path.parse().unwrap(), content: ChangedContent::Absent }
}

async fn tree_with(job: &Environment, changes: Vec<Change>) -> Sha {
    job.workspace().propose(changes).await.unwrap().tree
}

const ALL: [&str; 3] = ["src/a.rs", "src/b.rs", "tests/old.rs"];

on_every_backend! {
    later_sandboxes_and_jobs_compile_only_what_changed,
    tree_that_the_build_tool_does_not_follow_starts_without_the_kept_build,
    what_tests_leave_is_in_no_later_sandbox,
    setup_is_in_a_sandbox_with_a_kept_build_and_its_own_build_is_replaced,
    build_of_a_proposal_reaches_no_other_sandbox,
    build_of_another_commit_is_not_used,
    build_that_is_too_large_is_not_kept_and_the_job_goes_on,
    file_that_is_restored_or_moved_in_a_sandbox_is_compiled_again,
    verdict_neither_rests_on_leftovers_of_the_baseline_nor_fails_because_of_them,
    rejection_because_of_a_stale_build_is_not_given,
}

async fn later_sandboxes_and_jobs_compile_only_what_changed(kind: SandboxKind) {
    let fixture = compiled(kind, &[], &[]);
    let job = fixture.job().await;
    assert_eq!(baseline(&job).await, ALL);
    assert_eq!(job.warm_starts(), 0);
    let words = notes(&job);
    assert!(words.contains("What Cargo built at the base is kept (1 MiB"), "{words}");
    let tree = base(&job).await;
    assert_eq!(compiled_in(&job, &tree).await, [""; 0]);
    let changes = vec![written("src/a.rs", "value=2\n"), written("README.md", "New.\n")];
    let proposed = tree_with(&job, changes).await;
    assert_eq!(compiled_in(&job, &proposed).await, ["src/a.rs"]);
    assert_eq!(job.warm_starts(), 2);
    assert_eq!(notes(&job).matches("Sandboxes start with what Cargo built").count(), 1);
    let later = fixture.job_named("later").await;
    assert_eq!(baseline(&later).await, [""; 0]);
    assert_eq!(later.warm_starts(), 1);
    // A repeated verdict does not rest on it.
    let audit = fixture.job_named("audit").await.without_kept_build();
    assert_eq!(compiled_in(&audit, &tree).await, ALL);
}

async fn tree_that_the_build_tool_does_not_follow_starts_without_the_kept_build(kind: SandboxKind) {
    let fixture = compiled(kind, &[], &[("src/b/mod.rs.txt", "x"), ("tests/c/mod.rs", "x")]);
    let job = fixture.job().await;
    baseline(&job).await;
    let without_b = ["src/a.rs", "tests/old.rs"];
    assert_eq!(compiled_in(&job, &tree_with(&job, vec![removed("src/b.rs")]).await).await, without_b);
    let moved = vec![removed("src/b.rs"), written("src/c.rs", "other=1\n")];
    assert_eq!(
        compiled_in(&job, &tree_with(&job, moved).await).await,
        ["src/a.rs", "src/c.rs", "tests/old.rs"]
    );
    for (path, compiled) in [
        // It could come before another module.
        ("src/new.rs", 4),
        ("tests/c.rs", 4),
        ("other/tests/new.rs", 3),
        ("src/b/mod.rs.txt", 3),
        ("Cargo.toml", 3),
    ] {
        let tree = tree_with(&job, vec![written(path, "true\n")]).await;
        assert_eq!(compiled_in(&job, &tree).await.len(), compiled, "{path}");
    }
    assert_eq!(job.warm_starts(), 0);
    let test = tree_with(&job, vec![written("tests/new.rs", "true\n")]).await;
    assert_eq!(compiled_in(&job, &test).await, ["tests/new.rs"]);
    assert_eq!(job.warm_starts(), 1);
}

async fn what_tests_leave_is_in_no_later_sandbox(kind: SandboxKind) {
    let fixture = compiled(kind, &[], &[("leftovers.sh", LEFTOVERS)]);
    let job = fixture.job().await;
    let tree = base(&job).await;
    let toolbox = job.fresh(&tree, "work").await.unwrap().unwrap();
    compile(&toolbox).await;
    assert_eq!(ok(&toolbox, LEFT).await.lines().count(), 8, "the suite left nothing");
    job.keep_build(&toolbox, &tree).await.unwrap();
    toolbox.shut_down().await;
    let later = job.fresh(&tree, "verdict").await.unwrap().unwrap();
    assert_eq!(job.warm_starts(), 1);
    assert_eq!(ok(&later, LEFT).await, "");
    later.shut_down().await;
}

async fn setup_is_in_a_sandbox_with_a_kept_build_and_its_own_build_is_replaced(kind: SandboxKind) {
    let builds =
        "mkdir -p target/debug/deps && echo {} > target/.rustc_info.json && echo old > target/debug/deps/old";
    let fixture = compiled(kind, &[CREATES_AN_ID, builds], &[("leftovers.sh", "rm target/debug/deps/old\n")]);
    let job = fixture.job().await;
    baseline(&job).await;
    let toolbox = job.fresh(&base(&job).await, "verdict").await.unwrap().unwrap();
    assert_eq!(job.warm_starts(), 1);
    let seen = "cmp vendor/id $HOME/id && stat -c %a $HOME/.private && ls target/debug/deps";
    assert_eq!(ok(&toolbox, seen).await, "700\nlist\nsrc-a.rs\nsrc-b.rs\ntests-old.rs\n");
    toolbox.shut_down().await;
    // A proposal that changes what the setup depends on has neither.
    let own = tree_with(&job, vec![written("requirements.txt", "two")]).await;
    let toolbox = job.fresh(&own, "verdict").await.unwrap().unwrap();
    assert_eq!(ok(&toolbox, "ls target/debug/deps").await, "old\n");
    toolbox.shut_down().await;
    assert_eq!(job.warm_starts(), 1);
}

/// As hostile as a proposal may be: it writes over what was built, in its own sandbox, and would be stored for others.
async fn build_of_a_proposal_reaches_no_other_sandbox(kind: SandboxKind) {
    let fixture = compiled(kind, &[], &[]);
    let job = fixture.job().await;
    let tree = base(&job).await;
    let poison = "for object in target/debug/deps/*; do echo evil > $object; touch -d 2100-01-01 $object; done; \
                  { echo evil > /.mendwright/prepared/workspace/target/debug/deps/src-a.rs; } 2>/dev/null; \
                  rm -rf /.mendwright/prepared/workspace 2>/dev/null; true";
    // Before there is a kept build: only the base's own is stored.
    let proposed = tree_with(&job, vec![written("src/a.rs", "value=evil\n")]).await;
    let toolbox = job.fresh(&proposed, "work").await.unwrap().unwrap();
    compile(&toolbox).await;
    ok(&toolbox, poison).await;
    job.keep_build(&toolbox, &proposed).await.unwrap();
    toolbox.shut_down().await;
    assert_eq!(compiled_in(&job, &tree).await, ALL);
    // With one: neither the proposal's sandbox nor one of the base can write to it.
    baseline(&job).await;
    for poisoned in [&proposed, &tree] {
        let toolbox = job.fresh(poisoned, "verdict").await.unwrap().unwrap();
        compile(&toolbox).await;
        ok(&toolbox, poison).await;
        job.keep_build(&toolbox, poisoned).await.unwrap();
        toolbox.shut_down().await;
    }
    for honest in [&job, &fixture.job_named("later").await] {
        let toolbox = honest.fresh(&tree, "verdict").await.unwrap().unwrap();
        assert_eq!(compile(&toolbox).await, [""; 0]);
        assert_eq!(ok(&toolbox, "cat target/debug/deps/src-?.rs").await, "value=1\nother=1\n");
        toolbox.shut_down().await;
    }
}

async fn build_of_another_commit_is_not_used(kind: SandboxKind) {
    let fixture = compiled(kind, &[], &[]);
    baseline(&fixture.job().await).await;
    fixture.commit(&[("src/a.rs", "value=2\n")]);
    let second = fixture.job().await;
    assert_eq!(baseline(&second).await, ALL);
    // The same tree again, in a commit of its own: a build may ask git.
    fixture.commit(&[("src/a.rs", "value=1\n")]);
    assert_eq!(baseline(&fixture.job().await).await, ALL);
    assert_eq!(compiled_in(&second, &base(&second).await).await, [""; 0]);
}

async fn build_that_is_too_large_is_not_kept_and_the_job_goes_on(kind: SandboxKind) {
    let mut fixture =
        compiled(kind, &[], &[("leftovers.sh", "head -c 100000 /dev/zero > target/debug/deps/large\n")]);
    fixture.policy.kept.bytes_max = 200_000;
    let job = fixture.job().await;
    baseline(&job).await;
    let words = notes(&job);
    assert!(
        words.contains("What Cargo built at the base is not kept") && words.contains("larger than"),
        "{words}"
    );
    assert_eq!(compiled_in(&job, &base(&job).await).await, ALL);
    assert_eq!(job.warm_starts(), 0);
}

async fn file_that_is_restored_or_moved_in_a_sandbox_is_compiled_again(kind: SandboxKind) {
    let fixture = compiled(kind, &[], &[]);
    let job = fixture.job().await;
    baseline(&job).await;
    let toolbox = job.fresh(&base(&job).await, "work").await.unwrap().unwrap();
    for content in ["value=2\n", "value=1\n"] {
        let write = WriteFile { path: "src/a.rs".into(), content: content.into(), executable: None };
        toolbox.write_file(&write).await.unwrap();
        assert_eq!(compile(&toolbox).await, ["src/a.rs"], "{content}");
    }
    // The moved file is as old as everything else of the base.
    toolbox.delete_file(&DeleteFile { path: "src/a.rs".into() }).await.unwrap();
    toolbox.move_file(&MoveFile { from: "src/b.rs".into(), to: "src/a.rs".into() }).await.unwrap();
    assert_eq!(compile(&toolbox).await, ["src/a.rs"]);
    toolbox.shut_down().await;
}

/// The verdict on `changes` after a baseline whose build is kept, and how many sandboxes started from it.
async fn verdict_on(fixture: &Fixture, changes: &[Change]) -> (Verdict, u32) {
    let job = fixture.job().await;
    let tree = base(&job).await;
    let toolbox = job.fresh(&tree, "work").await.unwrap().unwrap();
    let baseline = run_suite_of_tree(&toolbox, job.settings()).await.unwrap();
    job.keep_build(&toolbox, &tree).await.unwrap();
    toolbox.shut_down().await;
    let verdict = Verifier::new(&job, &baseline).judge(changes, None).await.unwrap();
    (verdict, job.warm_starts())
}

async fn verdict_neither_rests_on_leftovers_of_the_baseline_nor_fails_because_of_them(kind: SandboxKind) {
    let mut fixture = compiled(
        kind,
        &[],
        &[
            ("leftovers.sh", LEFTOVERS),
            ("tests/clean.rs", "[ ! -e target/tmp/database ] && [ ! -e .coverage ]\n"),
        ],
    );
    fixture.proof_required = true;
    let fix = written("src/a.rs", "value=2\n");
    // Another test of the base fails where the suite has run before.
    let new = written("tests/old.rs", "grep -q 2 target/debug/deps/src-a.rs\n");
    let honest = [fix.clone(), new.clone()];
    let (verdict, _) = verdict_on(&fixture, &honest).await;
    let Verdict::Verified(verified) = verdict else { panic!("{verdict:?}") };
    assert_eq!(verified.run().report.counts.map(|counts| counts.passed), Some(2), "{:?}", verified.run());
    // A test that passes only there.
    let resting = [
        fix.clone(),
        written("tests/old.rs", "[ -e target/tmp/database ] && grep -q 2 target/debug/deps/src-a.rs\n"),
    ];
    let (verdict, _) = verdict_on(&fixture, &resting).await;
    assert!(matches!(verdict, Verdict::Rejected(_)), "{verdict:?}");
    // A file where the baseline's run left one is no file that the setup makes.
    let beside = [fix.clone(), written("tests/output.txt", "expected\n"), new];
    let (verdict, _) = verdict_on(&fixture, &beside).await;
    let Verdict::Verified(_) = verdict else { panic!("{verdict:?}") };
}

/// The build tool does not see that there is a new test, so what was kept is out of date.
async fn rejection_because_of_a_stale_build_is_not_given(kind: SandboxKind) {
    let mut fixture = compiled(kind, &[], &[]);
    fixture.proof_required = true;
    let test = "grep -q 2 target/debug/deps/src-a.rs\n";
    let (verdict, warm) =
        verdict_on(&fixture, &[written("src/a.rs", "value=2\n"), written("tests/new.rs", test)]).await;
    let Verdict::Verified(verified) = verdict else { panic!("{verdict:?}") };
    assert!(warm > 0, "no sandbox started from the kept build");
    assert!(!verified.explanation().contains("had built at the base"), "{}", verified.explanation());
    assert!(verified.run().result.output.to_text().contains("- new.rs"), "the new test was not run");
    // A change that the tool follows is accepted from the kept build, and the verdict says so.
    let changes = [written("src/a.rs", "value=2\n"), written("tests/old.rs", test)];
    let (verdict, warm) = verdict_on(&fixture, &changes).await;
    let Verdict::Verified(verified) = verdict else { panic!("{verdict:?}") };
    assert!(warm > 0);
    let words = "began with what Cargo had built at the base, before any change";
    assert!(verified.explanation().contains(words), "{}", verified.explanation());
    let compiled = verified.run().result.output.to_text();
    assert!(
        compiled.contains("# compiled src/a.rs") && !compiled.contains("# compiled src/b.rs"),
        "{compiled}"
    );
}

/// A repository that is compiled by a real tool, judged with a fix whose test fails at the base. The verdict's run.
async fn verified_run(files: &[(&str, &str)], command: &'static str, changes: &[Change]) -> String {
    let mut fixture = Fixture::new(SandboxKind::Bubblewrap, &[]);
    fixture.test = command;
    fixture.proof_required = true;
    fixture.root = Some(Root::Host { toolchains: detect_toolchains() });
    fixture.commit(files);
    let (verdict, warm) = verdict_on(&fixture, changes).await;
    let Verdict::Verified(verified) = verdict else { panic!("{verdict:?}") };
    assert!(
        warm > 0 && verified.explanation().contains("had built at the base"),
        "{}",
        verified.explanation()
    );
    verified.run().result.output.to_text()
}

#[tokio::test]
async fn cargo_compiles_only_what_depends_on_the_change() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = backend(SandboxKind::Bubblewrap, directory.path());
    let root = Root::Host { toolchains: detect_toolchains() };
    let probe = sandbox.start(&SandboxSpec { root, ..spec(SandboxKind::Bubblewrap, "probe") }).await.unwrap();
    let has_cargo = !ok(&probe, "command -v cargo || true").await.is_empty();
    probe.shut_down().await;
    if !has_cargo {
        // Rust lives beneath a home that this user may not read.
        assert!(!nix::unistd::geteuid().is_root());
        return;
    }
    let files = [
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"below\"]\n[package]\nname = \"above\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nbelow = { path = \"below\" }\n",
        ),
        (
            "Cargo.lock",
            "version = 4\n[[package]]\nname = \"above\"\nversion = \"0.1.0\"\ndependencies = [\"below\"]\n[[package]]\nname = \"below\"\nversion = \"0.1.0\"\n",
        ),
        ("src/lib.rs", "pub fn sum() -> u32 {\n    below::one() + 2\n}\n"),
        ("src/main.rs", "fn main() {\n    println!(\"{}\", above::sum());\n}\n"),
        (
            "tests/old.rs",
            "#[test]\nfn runs() {\n    assert!(above::sum() > 0);\n    assert!(std::path::Path::new(env!(\"CARGO_BIN_EXE_above\")).exists());\n}\n",
        ),
        ("below/Cargo.toml", "[package]\nname = \"below\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        // It asks git, and names a directory that it depends on.
        (
            "below/build.rs",
            "fn main() {\n    println!(\"cargo:rerun-if-changed=../.git/HEAD\");\n    println!(\"cargo:rerun-if-changed=data\");\n}\n",
        ),
        ("below/data/deep/x", "x"),
        ("below/src/lib.rs", "pub fn one() -> u32 {\n    1\n}\n"),
    ];
    let fix = written("src/lib.rs", "pub fn sum() -> u32 {\n    below::one() + 1\n}\n");
    let test = written("tests/new.rs", "#[test]\nfn sums() {\n    assert_eq!(above::sum(), 2);\n}\n");
    let output = verified_run(&files, "cargo test --workspace --offline", &[fix, test]).await;
    assert!(output.contains("Compiling above") && !output.contains("Compiling below"), "{output}");
}

#[tokio::test]
#[ignore = "needs CMake"]
async fn cmake_compiles_only_what_depends_on_the_change() {
    let files = [
        (
            "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.16)\nproject(p C)\nenable_testing()\nadd_library(l l.c m.c)\nadd_executable(t t.c)\ntarget_link_libraries(t l)\nadd_test(NAME one COMMAND t)\nadd_test(NAME two COMMAND t x)\n",
        ),
        ("l.h", "int one(void);\nint m(void);\n"),
        ("l.c", "#include \"l.h\"\nint one(void) { return 2; }\n"),
        ("m.c", "int m(void) { return 1; }\n"),
        // Leaves a file in the build directory, and fails where it is.
        (
            "t.c",
            "#include <stdio.h>\n#include \"l.h\"\nint main(int count, char **words) {\n  (void)words;\n  if (count > 1) {\n    if (fopen(\"left\", \"r\")) return 3;\n    return fclose(fopen(\"left\", \"w\")) + m() - 1;\n  }\n  return one() - 1;\n}\n",
        ),
    ];
    let command = "cmake -S . -B build && cmake --build build && ctest --test-dir build --output-on-failure";
    let fix = written("l.c", "#include \"l.h\"\nint one(void) { return 1; }\n");
    let output = verified_run(&files, command, &[fix]).await;
    assert!(output.contains("l.c.o") && !output.contains("m.c.o") && !output.contains("t.c.o"), "{output}");
}
