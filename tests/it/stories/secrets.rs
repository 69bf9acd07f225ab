//! Nothing that holds a secret leaves, in whatever form. The hand-over says which kind and where, and
//! never what.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mendwright::domain::{EscalationReason, TranscriptEvent};
use serde_json::json;

use crate::support::{MODEL_KEY, Script, World, fix};

const CANARY: &str = "mwt_5b1f0c7de2a94863b0d7f1e5c3a89246d4e6f8a0b2c4d6e8";

/// The fix, and another file.
fn fix_and(path: &str, content: &str) -> Script {
    fix().call_first_at(1, "write_file", json!({"path": path, "content": content}))
}

/// The fix with this summary.
fn fix_with_summary(summary: &str) -> Script {
    let mut script = fix();
    script.turns()[2]["calls"][1]["arguments"]["summary"] = summary.into();
    script
}

/// Runs the conversation and checks that the job ended and that nothing of a secret was published.
/// Returns the hand-over.
async fn blocked(name: &str, script: Script) -> String {
    let mut world = World::scripted(script).await;
    let data = world.directory.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("credentials.json"), format!("{{\"token\": \"{CANARY}\"}}\n")).unwrap();
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert!(world.pulls().is_empty(), "{name}");
    assert_eq!(world.repository()["branches"].as_object().unwrap().len(), 1, "{name}: a branch was pushed");
    let comments = world.comments();
    let state = world.github.state().to_string();
    for part in
        ["sk-story-0123", "0123456789abcdef", "fedcba9876", &CANARY[8..20], "c2stc3Rvcnkt", "736b2d7374"]
    {
        assert!(!state.contains(part), "{name}: {part} was published: {comments:#?}");
    }
    let log = world.log();
    assert!(!log.contains(MODEL_KEY) && !log.contains(CANARY), "{name}: {log}");
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
async fn change_with_the_model_key_is_blocked_in_whatever_form() {
    let reversed: String = MODEL_KEY.chars().rev().collect();
    let forms = [
        ("plain", format!("key = {MODEL_KEY}\n")),
        ("base64", format!("{}\n", STANDARD.encode(MODEL_KEY))),
        ("base64, moved", format!("{}\n", STANDARD.encode(format!("x{MODEL_KEY}")))),
        ("base64, moved twice", format!("{}\n", URL_SAFE_NO_PAD.encode(format!("xy{MODEL_KEY}z")))),
        ("hexadecimal", hex::encode(MODEL_KEY)),
        ("URL-encoded", MODEL_KEY.bytes().map(|byte| format!("%{byte:02X}")).collect()),
        ("reversed", reversed),
        ("among bytes that are no text", format!("\u{0}\u{1}{MODEL_KEY}\u{0}")),
    ];
    for (name, content) in forms {
        let hand_over = blocked(name, fix_and("docs/notes.txt", &content)).await;
        assert!(hand_over.contains("the model provider's key"), "{name}: {hand_over}");
        assert!(hand_over.contains("`docs/notes.txt:1`"), "{name}: {hand_over}");
    }
}

#[tokio::test]
async fn canary_token_and_secrets_in_names_and_texts_are_blocked() {
    let hand_over = blocked("canary", fix_and("a.txt", &format!("found\n{CANARY}\n"))).await;
    assert!(hand_over.contains("a canary") && hand_over.contains("`a.txt:2`"), "{hand_over}");

    let token = ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat();
    let hand_over = blocked("token", fix_and("a.txt", &token)).await;
    assert!(hand_over.contains("what looks like a GitHub token"), "{hand_over}");

    let hand_over = blocked("file name", fix_and(&format!("docs/{MODEL_KEY}.txt"), "x\n")).await;
    assert!(hand_over.contains("in the name of a file"), "{hand_over}");

    let hand_over = blocked("summary", fix_with_summary(&format!("Fixed. {}", hex::encode(MODEL_KEY)))).await;
    assert!(hand_over.contains("in hexadecimal digits, in the pull request's text"), "{hand_over}");
}

#[tokio::test]
async fn token_like_text_that_the_base_has_already_is_not_blocked() {
    let token = ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat();
    let script = fix_and("fixtures/tokens.txt", &format!("# made up\n{token}\n"));
    let before = format!("{token}\n");
    let mut world = World::builder().script(script).file("fixtures/tokens.txt", &before).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let body = world.pull()["body"].to_string();
    assert!(!body.contains(&token), "{body}");
    world.end().await;
}
