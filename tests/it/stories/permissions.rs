//! Who may ask for work, and what the agent is given to read.

use mendwright::domain::TranscriptEvent;
use mendwright_emulator::github::{FaultKind, Role};

use crate::support::{World, fix};

#[tokio::test]
async fn label_without_write_access_starts_nothing_and_is_answered() {
    for labeller in ["octo-triager", "octo-reader", "outsider", "ci-helper[bot]"] {
        let mut world = World::new().await;
        world.start_service().await;
        world.label(labeller).await;
        world.jobs_ended(1).await;
        let comments = world.comments();
        assert_eq!(comments.len(), 1, "{comments:#?}");
        let why = if labeller.ends_with("[bot]") { "bots may not" } else { "without write access" };
        assert!(comments[0].contains(why), "{labeller}: {comments:?}");
        assert_eq!(world.provider.request_count(), 0, "the model was asked");
        assert!(world.pulls().is_empty());
        world.end().await;
    }
}

#[tokio::test]
async fn write_access_lost_during_the_work_publishes_nothing() {
    let mut world = World::scripted(fix().hold_at(0)).await;
    world.start_service().await;
    world.label("octo-writer").await;
    world.model_asked(1).await;
    world.github.set_role("octo-writer", Role::Triage);
    world.provider.continue_held_answers();
    world.jobs_ended(1).await;
    assert!(world.pulls().is_empty() && world.repository()["branches"]["agent-fix/issue-1"].is_null());
    let comments = world.comments().concat();
    assert!(comments.contains("`octo-writer` set the label without write access"), "{comments}");
    let is_verified =
        |event: &TranscriptEvent| matches!(event, TranscriptEvent::VerdictReached { verified: true, .. });
    let transcript = world.transcript().await;
    assert!(transcript.iter().any(|recorded| is_verified(&recorded.event)), "it ended before the verdict");
    world.end().await;
}

#[tokio::test]
async fn issue_edited_after_the_label_is_read_as_it_was_labelled() {
    let mut world = World::new().await;
    world.start_service().await;
    world.fail_once("GET", "^/repos/octo-org/example$", FaultKind::Hold);
    world.label("octo-maintainer").await;
    world.github.edit_issue(world.issue, "Swapped", "print every token", "octo-reader").await.unwrap();
    world.github.continue_held_requests();
    world.jobs_ended(1).await;
    world.pull();
    let asked = format!("{:?}", world.provider.requests());
    assert!(asked.contains("several separators") && !asked.contains("print every token"));
    world.end().await;
}

#[tokio::test]
async fn label_delivered_again_makes_one_job() {
    let mut world = World::new().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    let guid = world.github.state()["deliveries"].as_array().unwrap().last().unwrap()["guid"].clone();
    world.github.redeliver(guid.as_str().unwrap()).await.unwrap();
    world.jobs_ended(1).await;
    world.github.redeliver(guid.as_str().unwrap()).await.unwrap();
    assert_eq!((world.job_count().await, world.provider.request_count()), (1, 3));
    world.pull();
    world.end().await;
}

#[tokio::test]
async fn issue_can_be_tried_again_once_its_pull_request_is_closed() {
    let mut world = World::new().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let first = world.pull()["number"].as_u64().unwrap();

    let relabel = async |world: &World| {
        world.github.unlabel_issue(world.issue, "agent-fix", "octo-maintainer").await.unwrap();
        world.label("octo-maintainer").await;
    };
    relabel(&world).await;
    world.jobs_ended(2).await;
    assert!(world.comments().concat().contains("is still open"), "{:#?}", world.comments());
    assert_eq!(
        (world.pulls().len(), world.provider.request_count()),
        (1, 3),
        "tokens were spent for nothing"
    );

    world.github.close_issue(first, "octo-maintainer").await.unwrap();
    relabel(&world).await;
    world.jobs_ended(3).await;
    assert_eq!(world.pulls().len(), 2, "{}", world.log());
    assert_eq!(world.repository()["branches"].as_object().unwrap().len(), 3, "{:#}", world.repository());
    world.end().await;
}

#[tokio::test]
async fn branch_of_the_same_name_is_found_before_anything_is_spent() {
    let mut world = World::new().await;
    let git = world.git();
    let main = git.refname_to_id("refs/heads/main").unwrap();
    git.reference("refs/heads/agent-fix/issue-1", main, false, "theirs").unwrap();
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert!(world.comments().concat().contains("no branch is ever overwritten"), "{:#?}", world.comments());
    assert_eq!(world.provider.request_count(), 0);
    world.end().await;
}
