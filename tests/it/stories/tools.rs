//! What the model's tools do and prevent, with the real sandbox and git.

use std::collections::BTreeMap;

use mendwright::domain::TranscriptEvent;
use serde_json::json;

use crate::support::{World, conversation, recorded};

/// Why the one job was escalated.
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
    let git = world.git();
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
async fn truncated_result_is_read_on_after_a_crash() {
    let manual: String = (1..=100)
        .map(|line| format!("line {line} of the manual{}\n", ", which goes on".repeat(25)))
        .collect();
    let builder = World::builder().script(recorded("read-result"));
    let mut world = builder.file("docs/manual.txt", &manual).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(2).await;
    world.kill_service().await;
    world.start_service().await;
    world.jobs_ended(1).await;
    let why = escalation(&world).await;
    assert!(why.contains("Is line 50 meant?"), "{why} {}", world.log());
    world.end().await;
}

#[tokio::test]
async fn moved_and_deleted_files_keep_their_mode_after_a_crash() {
    let script = "#!/bin/sh\necho run\n";
    let files = [("tools/run.sh", script), ("NOTES.txt", "old\n")];
    let mut world = World::builder().script(recorded("move-and-delete")).files(&files).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(3).await;
    world.kill_service().await;
    world.start_service().await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    let files = pushed(&world);
    assert_eq!(files["scripts/run.sh"], (0o100_755, script.to_owned()));
    assert_eq!(files["tools/hello.sh"], (0o100_755, "#!/bin/sh\necho hello\n".to_owned()));
    for gone in ["tools/run.sh", "bin/run.sh", "NOTES.txt", "test-run.log"] {
        assert!(!files.contains_key(gone), "{gone} is there");
    }
    let body = world.pull()["body"].to_string();
    assert!(body.contains("NOTES.txt") && body.contains("scripts/run.sh"), "{body}");
    world.end().await;
}

#[tokio::test]
async fn deleted_or_moved_test_verifies_no_proposal() {
    // With a second test the suite is not merely empty once the failing one is gone.
    let other = "nothing_stays_nothing() {\n    assert_equal \"$(slug '')\" ''\n}\n";
    let files = [(".github/workflows/ci.yml", "on: push\n"), ("tests/nothing.sh", other)];
    let mut world = World::builder().script(recorded("deleted-test")).files(&files).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let why = escalation(&world).await;
    assert!(why.contains("May the test go?"), "{why} {}", world.log());
    assert!(world.pulls().is_empty());
    world.end().await;
}

#[tokio::test]
async fn nothing_runs_after_a_change_that_was_refused() {
    let mut world = World::scripted(recorded("refused-change")).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    let transcript = world.transcript().await;
    let runs = transcript.iter().filter(|event| matches!(event.event, TranscriptEvent::AgentTestRun { .. }));
    assert_eq!(runs.count(), 1);
    world.end().await;
}

#[tokio::test]
async fn instructions_of_other_agents_and_the_files_they_name_are_read() {
    let files = [
        ("CLAUDE.md", "Read @docs/style.md first, and CONTRIBUTING.\n"),
        ("docs/style.md", "Tabs, not spaces. See docs/more.md.\n"),
        ("docs/more.md", "Nobody is sent here.\n"),
        ("CONTRIBUTING.md", "Sign your commits off.\n"),
        ("towncrier.toml", "[tool.towncrier]\ndirectory = \"docs/news\"\n"),
        ("docs/news/7.bugfix.md", "Fixed.\n"),
    ];
    let mut world = World::builder().script(recorded("no-run-command")).files(&files).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let first = format!("{:?}", world.provider.requests()[0]);
    let fragment = "Add `docs/news/1.bugfix.md` with one sentence";
    for text in ["Read @docs/style.md first", "Tabs, not spaces", "Sign your commits off", fragment] {
        assert!(first.contains(text), "{text}: {first}");
    }
    assert!(!first.contains("Nobody is sent here"), "{first}");
    world.end().await;
}

const COMMANDS: &[(&str, &str)] = &[
    (
        ".github/agent-fix.yml",
        "commands:\n  - sh tools/lint.sh *\n  - sh tools/format.sh\n  - no-such-program **\n",
    ),
    ("tools/lint.sh", "echo \"linted $1; \\$(id)\"\nexit 3\n"),
    ("tools/format.sh", "echo '# FORMATTED' >> src/slug.sh\n"),
];

#[tokio::test]
async fn allowed_commands_run_without_a_shell_and_propose_nothing() {
    let mut world = World::builder().script(recorded("run-command")).files(COMMANDS).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    let source = &pushed(&world)["src/slug.sh"].1;
    assert!(source.contains("sed -E") && !source.contains("FORMATTED"), "{source}");
    world.end().await;
}

#[tokio::test]
async fn command_tool_is_absent_if_repository_or_operator_allow_no_command() {
    for (files, operator) in [(&[][..], ""), (COMMANDS, "[sandbox]\ncommands = false\n")] {
        let mut world = World::builder().script(recorded("no-run-command")).files(files).start().await;
        world.start_service_with(operator).await;
        world.label("octo-maintainer").await;
        world.jobs_ended(1).await;
        let why = escalation(&world).await;
        assert!(why.contains("What now?"), "{why} {}", world.log());
        let first = format!("{:?}", world.provider.requests()[0]);
        assert!(first.contains("run_tests") && !first.contains("run_command"), "{first}");
        world.end().await;
    }
}

#[tokio::test]
async fn repeated_call_is_noticed_once_and_then_charged() {
    let mut world = World::scripted(recorded("repetition")).await;
    world.start_service_with("[budget]\ntool_calls = 12\n").await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    // Three calls, and two that count five times.
    assert_eq!(world.provider.request_count(), 5, "{}", world.log());
    let last = format!("{:?}", world.provider.requests()[4]);
    assert_eq!(last.matches("Notice: You have called search").count(), 1, "{last}");
    let comments = world.comments().concat();
    assert!(comments.contains("8 of them are a surcharge"), "{comments}");
    world.end().await;
}

#[tokio::test]
async fn model_that_learns_nothing_new_is_stopped_long_before_its_budget_is_used() {
    let mut script = conversation().turn("Look.").read("src/slug.sh").call("run_tests", json!({}));
    for number in 1..=20 {
        let text = format!("slug() {{\n    echo wrong-{number}\n}}\n");
        script = script.turn("Perhaps so.").write("src/slug.sh", &text).call("run_tests", json!({}));
    }
    let mut world = World::scripted(script).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert!(escalation(&world).await.contains("NothingNew { turns: 16 }"), "{}", world.log());
    let turns = world.provider.request_count();
    assert!((17..=19).contains(&turns), "{turns}");
    let last = format!("{:?}", world.provider.requests().last().unwrap());
    assert_eq!(last.matches("Notice: For 10 turns nothing has been new").count(), 1, "{last}");
    let comments = world.comments().join("\n");
    assert!(comments.contains("### Stopped: no progress") && comments.contains("wrong-"), "{comments}");
    world.end().await;
}
