//! Which comments of an issue the model reads.

use mendwright::domain::TranscriptEvent;
use mendwright_emulator::github::FaultKind;

use crate::support::World;

#[tokio::test]
async fn comments_by_writers_before_the_label_are_read_and_no_others() {
    let mut world = World::new().await;
    world.start_service().await;
    let comment =
        |text: &str, by: &str| world.github.add_backdated_comment(world.issue, text, by, 60).unwrap();
    comment("The separators are the cause. <!-- hidden-to-people --> ![unseen-words](x.png)", "octo-writer");
    comment("stranger-wrote-this", "outsider");
    comment("reader-wrote-this", "octo-reader");
    comment("bot-wrote-this", "ci-helper[bot]");
    let changed = comment("harmless", "octo-maintainer");
    comment("Also with three of them.", "octo-maintainer");
    // The job waits for its first look at the repository while the discussion continues.
    world.fail_once("GET", "^/repos/octo-org/example$", FaultKind::Hold);
    world.label("octo-maintainer").await;
    world.github.edit_comment(changed, "changed-after-the-label", "octo-maintainer").await.unwrap();
    world.say("written-after-the-label", "octo-writer").await;
    world.github.continue_held_requests();
    world.jobs_ended(1).await;
    world.pull();

    let asked = format!("{:?}", world.provider.requests());
    let first = asked.find("The separators are the cause.").expect("the writer's comment");
    assert!(first < asked.find("Also with three of them.").expect("the maintainer's comment"));
    for never in ["-wrote-this", "-after-the-label", "harmless", "hidden-to-people", "unseen-words"] {
        assert!(!asked.contains(never), "{never} reached the model");
    }
    let transcript = world.transcript().await;
    let read = transcript.iter().find_map(|recorded| match &recorded.event {
        TranscriptEvent::CommentsRead { comments, left_out } => Some((comments.clone(), left_out.clone())),
        _ => None,
    });
    let (comments, left_out) = read.expect("the transcript says which comments were read");
    let by: Vec<&str> = comments.iter().map(|comment| comment.by.as_str()).collect();
    assert_eq!(by, ["octo-writer", "octo-maintainer"]);
    let reasons = left_out.join("\n").replace(&comments[0].comment.to_string(), "N");
    insta::assert_snapshot!(reasons, @r"
    of the comment N by octo-writer: 1 HTML comment(s), 1 alternative text(s) of images
    3 comments by people without write access
    1 comment changed after the work was requested
    1 comment written after the work was requested
    ");
    world.end().await;
}

#[tokio::test]
async fn newest_of_many_comments_are_read() {
    let mut world = World::new().await;
    world.start_service().await;
    for number in 0..25 {
        let text = format!("remark-{number}-of-many");
        world.github.add_backdated_comment(world.issue, &text, "octo-writer", 100 - number).unwrap();
    }
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let asked = format!("{:?}", world.provider.requests());
    assert!(!asked.contains("remark-4-of-many") && asked.contains("remark-5-of-many"));
    assert!(asked.contains("remark-24-of-many"));
    // GitHub was asked once for the permission of each person, and once more before publishing.
    let calls = world.calls("repos/get-collaborator-permission-level");
    assert_eq!(calls, 3);
    world.end().await;
}
