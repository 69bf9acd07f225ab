//! What the model's tools do for it, and what they keep it from, with the real sandbox and git.

use std::collections::BTreeMap;

use mendwright::domain::TranscriptEvent;
use serde_json::Value;

use crate::support::World;

/// A conversation of `fixtures/conversations/tests`.
fn conversation(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/conversations/tests")
        .join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Why the one job was handed to a person.
async fn escalation(world: &World) -> String {
    let transcript = world.transcript().await;
    let reason = transcript.iter().rev().find_map(|recorded| match &recorded.event {
        TranscriptEvent::EscalationDecided { reason } => Some(format!("{reason:?}")),
        _ => None,
    });
    reason.unwrap_or_else(|| panic!("no escalation: {}", world.log()))
}

/// The branch that was pushed: path, mode and text of each file.
fn pushed(world: &World) -> BTreeMap<String, (i32, String)> {
    let git = git2::Repository::open(world.repository()["git_dir"].as_str().unwrap()).unwrap();
    let head = git.find_branch("agent-fix/issue-1", git2::BranchType::Local).unwrap();
    let mut files = BTreeMap::new();
    head.get()
        .peel_to_tree()
        .unwrap()
        .walk(git2::TreeWalkMode::PreOrder, |parent, entry| {
            if let Some(git2::ObjectType::Blob) = entry.kind() {
                let text = String::from_utf8(git.find_blob(entry.id()).unwrap().content().to_vec()).unwrap();
                files.insert(format!("{parent}{}", entry.name().unwrap()), (entry.filemode(), text));
            }
            git2::TreeWalkResult::Ok
        })
        .unwrap();
    files
}

#[tokio::test]
async fn a_result_that_was_cut_is_read_on_after_a_crash() {
    let manual: String =
        (1..=1000).map(|line| format!("line {line} of the manual, which goes on and on and on\n")).collect();
    let files = [("docs/manual.txt", manual.as_str())];
    let mut world = World::with("fix", Some(conversation("read-result")), &files).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the second question", |world| world.provider.requests().len() == 2).await;
    world.kill_service().await;
    world.start_service().await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.stop_service().await;
    let why = escalation(&world).await;
    assert!(why.contains("Is line 512 meant?"), "{why} {}", world.log());
    world.end().await;
}

#[tokio::test]
async fn files_are_moved_and_deleted_and_keep_their_mode_over_a_crash() {
    let script = "#!/bin/sh\necho run\n";
    let files = [("tools/run.sh", script), ("NOTES.txt", "old\n")];
    let mut world = World::with("fix", Some(conversation("move-and-delete")), &files).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the third question", |world| world.provider.requests().len() == 3).await;
    world.kill_service().await;
    world.start_service().await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.stop_service().await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    let files = pushed(&world);
    assert_eq!(files["scripts/run.sh"], (0o100_755, script.to_owned()));
    assert_eq!(files["tools/hello.sh"], (0o100_755, "#!/bin/sh\necho hello\n".to_owned()));
    for gone in ["tools/run.sh", "bin/run.sh", "NOTES.txt", "Cargo.lock"] {
        assert!(!files.contains_key(gone), "{gone} is there");
    }
    let body = world.pulls()[0]["body"].to_string();
    assert!(body.contains("NOTES.txt") && body.contains("scripts/run.sh"), "{body}");
    world.end().await;
}

#[tokio::test]
async fn a_test_that_is_deleted_or_moved_makes_no_proposal_green() {
    // With a second test the suite is not merely empty once the red one is gone.
    let other = "#[test]\nfn nothing_stays_nothing() {\n    assert_eq!(slugs::slug(\"\"), \"\");\n}\n";
    let files = [(".github/workflows/ci.yml", "on: push\n"), ("tests/nothing.rs", other)];
    let mut world = World::with("fix", Some(conversation("deleted-test")), &files).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    let why = escalation(&world).await;
    assert!(why.contains("May the test go?"), "{why} {}", world.log());
    assert!(world.pulls().is_empty());
    world.end().await;
}

const COMMANDS: &[(&str, &str)] = &[
    (
        ".github/agent-fix.yml",
        "commands:\n  - sh tools/lint.sh *\n  - sh tools/format.sh\n  - no-such-program **\n",
    ),
    ("tools/lint.sh", "echo \"linted $1; \\$(id)\"\nexit 3\n"),
    ("tools/format.sh", "echo '// FORMATTED' >> src/lib.rs\n"),
];

#[tokio::test]
async fn commands_that_the_repository_allows_are_run_without_a_shell_and_propose_nothing() {
    let mut world = World::with("fix", Some(conversation("run-command")), COMMANDS).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    let source = &pushed(&world)["src/lib.rs"].1;
    assert!(source.contains("word_ended") && !source.contains("FORMATTED"), "{source}");
    world.end().await;
}

#[tokio::test]
async fn where_repository_or_operator_allow_no_command_the_model_is_not_told_of_the_tool() {
    for (files, operator) in [(&[][..], ""), (COMMANDS, "[sandbox]\ncommands = false\n")] {
        let mut world = World::with("fix", Some(conversation("no-run-command")), files).await;
        world.start_service_with(operator).await;
        world.label("octo-maintainer").await;
        world.until("the job's end", |world| world.log().contains("job ended")).await;
        let why = escalation(&world).await;
        assert!(why.contains("What now?"), "{why} {}", world.log());
        let first = format!("{:?}", world.provider.requests()[0]);
        assert!(first.contains("run_tests") && !first.contains("run_command"), "{first}");
        world.end().await;
    }
}

#[tokio::test]
async fn the_same_call_again_and_again_is_told_once_and_then_costs_the_budget() {
    let mut world = World::with("fix", Some(conversation("repetition")), &[]).await;
    world.start_service_with("[budget]\ntool_calls = 12\n").await;
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    // Three calls, and two that count five times.
    assert_eq!(world.provider.requests().len(), 5, "{}", world.log());
    let last = format!("{:?}", world.provider.requests()[4]);
    assert_eq!(last.matches("Notice: You have called search").count(), 1, "{last}");
    let comments = world.comments().concat();
    assert!(comments.contains("8 of them were not made but charged"), "{comments}");
    world.end().await;
}
