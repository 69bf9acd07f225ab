//! Nothing that holds a secret leaves, in whatever form; the hand-over says which kind and where,
//! and never what.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mendwright::demo::scenario::Scenario;
use mendwright::domain::{EscalationReason, TranscriptEvent};
use serde_json::{Value, json};

use crate::support::World;

/// The model provider's key of every story.
const KEY: &str = "sk-story-0123456789abcdef";
const CANARY: &str = "mwt_5b1f0c7de2a94863b0d7f1e5c3a89246d4e6f8a0b2c4d6e8";

/// The fix, with another file beside it.
fn fix_and(path: &str, content: &str) -> Value {
    let mut conversation: Value =
        serde_json::from_str(Scenario::by_name("fix").unwrap().conversation).unwrap();
    let calls = conversation["turns"][1]["calls"].as_array_mut().unwrap();
    calls.insert(0, json!({"tool": "write_file", "arguments": {"path": path, "content": content}}));
    conversation
}

/// The fix, explained like this.
fn fix_said_to_be(summary: &str) -> Value {
    let mut conversation: Value =
        serde_json::from_str(Scenario::by_name("fix").unwrap().conversation).unwrap();
    conversation["turns"][2]["calls"][1]["arguments"]["summary"] = summary.into();
    conversation
}

/// Plays the conversation, and sees that the job ended without anything of it leaving. Answers with
/// the hand-over.
async fn kept_back(name: &str, conversation: Value) -> String {
    let mut world = World::of("fix", Some(conversation)).await;
    let data = world.directory.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("credentials.json"), format!("{{\"token\": \"{CANARY}\"}}\n")).unwrap();
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert!(world.pulls().is_empty(), "{name}");
    assert_eq!(world.repository()["branches"].as_object().unwrap().len(), 1, "{name}: a branch was pushed");
    let comments = world.comments();
    let state = world.github.state().to_string();
    for part in
        ["sk-story-0123", "0123456789abcdef", "fedcba9876", &CANARY[8..20], "c2stc3Rvcnkt", "736b2d7374"]
    {
        assert!(!state.contains(part), "{name}: {part} left: {comments:#?}");
    }
    assert!(!world.log().contains(KEY) && !world.log().contains(CANARY), "{name}: {}", world.log());
    let reason = world.transcript().await.into_iter().rev().find_map(|recorded| match recorded.event {
        TranscriptEvent::EscalationDecided { reason } => Some(reason),
        _ => None,
    });
    assert!(matches!(reason, Some(EscalationReason::Secret { .. })), "{name}: {reason:?}");
    assert_eq!(comments.len(), 2, "{name}: {comments:#?}");
    world.end().await;
    comments[1].clone()
}

#[tokio::test]
async fn a_change_that_holds_a_secret_of_the_service_is_kept_back_in_whatever_form() {
    let reversed: String = KEY.chars().rev().collect();
    let forms = [
        ("plain", format!("key = {KEY}\n")),
        ("base64", format!("{}\n", STANDARD.encode(KEY))),
        ("base64, moved", format!("{}\n", STANDARD.encode(format!("x{KEY}")))),
        ("base64, moved twice", format!("{}\n", URL_SAFE_NO_PAD.encode(format!("xy{KEY}z")))),
        ("hexadecimal", hex::encode(KEY)),
        ("URL-encoded", KEY.bytes().map(|byte| format!("%{byte:02X}")).collect()),
        ("reversed", reversed),
        ("among bytes that are no text", format!("\u{0}\u{1}{KEY}\u{0}")),
    ];
    for (name, content) in forms {
        let told = kept_back(name, fix_and("docs/notes.txt", &content)).await;
        assert!(told.contains("the model provider's key"), "{name}: {told}");
        assert!(told.contains("`docs/notes.txt:1`"), "{name}: {told}");
    }
}

#[tokio::test]
async fn a_canary_a_token_and_a_secret_in_a_name_or_in_words_are_kept_back_too() {
    let told = kept_back("canary", fix_and("a.txt", &format!("found\n{CANARY}\n"))).await;
    assert!(told.contains("a canary") && told.contains("`a.txt:2`"), "{told}");

    let token = ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat();
    let told = kept_back("token", fix_and("a.txt", &token)).await;
    assert!(told.contains("what looks like a GitHub token"), "{told}");

    let told = kept_back("file name", fix_and(&format!("docs/{KEY}.txt"), "x\n")).await;
    assert!(told.contains("in the name of a file"), "{told}");

    let told = kept_back("summary", fix_said_to_be(&format!("Mended. {}", hex::encode(KEY)))).await;
    assert!(told.contains("in hexadecimal digits, in the pull request's text"), "{told}");
}

#[tokio::test]
async fn what_only_looks_like_a_secret_and_is_in_the_base_already_is_not_the_changes_fault() {
    let token = ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat();
    let conversation = fix_and("fixtures/tokens.txt", &format!("# made up\n{token}\n"));
    let before = format!("{token}\n");
    let mut world = World::with("fix", Some(conversation), &[("fixtures/tokens.txt", &before)]).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    let body = world.pulls()[0]["body"].to_string();
    assert!(!body.contains(&token), "{body}");
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.end().await;
}
