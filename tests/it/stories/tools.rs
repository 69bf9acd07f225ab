//! What the model's tools do for it, and what they keep it from, with the real sandbox and git.

use mendwright::domain::Outcome;
use serde_json::Value;

use crate::support::World;

/// A conversation of `fixtures/conversations/tests`.
fn conversation(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/conversations/tests")
        .join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
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
    let question = world.transcript().await.into_iter().rev().find_map(|recorded| match recorded.event {
        mendwright::domain::TranscriptEvent::Ended { outcome: Outcome::Escalated { reason } } => Some(reason),
        _ => None,
    });
    assert!(format!("{question:?}").contains("Is line 512 meant?"), "{question:?} {}", world.log());
    world.end().await;
}
