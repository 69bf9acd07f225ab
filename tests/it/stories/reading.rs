//! What of an issue's comments reaches the model.

use mendwright::domain::TranscriptEvent;

use crate::support::World;

#[tokio::test]
async fn only_what_writers_wrote_before_the_label_and_nobody_changed_reaches_the_model() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    let said = |text: &str, by: &str| world.github.add_backdated_comment(world.issue, text, by, 60).unwrap();
    said("The separators are the cause. <!-- hidden-to-people --> ![unseen-words](x.png)", "octo-writer");
    said("stranger-wrote-this", "outsider");
    said("reader-wrote-this", "octo-reader");
    said("bot-wrote-this", "ci-helper[bot]");
    let changed = said("harmless", "octo-maintainer");
    said("Also with three of them.", "octo-maintainer");
    // The job waits for its first look at the repository, and the issue goes on.
    let hang = mendwright_emulator::github::FaultRule {
        method: Some("GET".into()),
        path: "^/repos/octo-org/example$".into(),
        times: 1,
        kind: mendwright_emulator::github::FaultKind::Delay { seconds: 1.5 },
    };
    world.github.inject_fault(hang).unwrap();
    world.label("octo-maintainer").await;
    world.github.edit_comment(changed, "changed-after-the-label", "octo-maintainer").await.unwrap();
    world.github.comment(world.issue, "written-after-the-label", "octo-writer").await.unwrap();
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.until("the job's end", |world| world.log().contains("job ended")).await;

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
    let (comments, left_out) = read.expect("it is recorded what was read");
    let by: Vec<&str> = comments.iter().map(|comment| comment.by.as_str()).collect();
    assert_eq!(by, ["octo-writer", "octo-maintainer"]);
    let words = left_out.join("\n").replace(&comments[0].comment.to_string(), "N");
    insta::assert_snapshot!(words, @r"
    of the comment N by octo-writer: 1 HTML comment(s), 1 alternative text(s) of images
    3 comments by people without write access
    1 comment changed after the work was requested
    1 comment written after the work was requested
    ");
    world.end().await;
}

#[tokio::test]
async fn of_many_comments_the_newest_are_kept() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    for number in 0..25 {
        let text = format!("remark-{number}-of-many");
        world.github.add_backdated_comment(world.issue, &text, "octo-writer", 100 - number).unwrap();
    }
    world.label("octo-maintainer").await;
    world.until("the first question", |world| !world.provider.requests().is_empty()).await;
    let asked = format!("{:?}", world.provider.requests());
    assert!(!asked.contains("remark-4-of-many") && asked.contains("remark-5-of-many"));
    assert!(asked.contains("remark-24-of-many"));
    // Who wrote them was asked of GitHub once.
    let calls = world.github.state()["calls"]["repos/get-collaborator-permission-level"].as_u64();
    assert_eq!(calls, Some(2));
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    world.end().await;
}
