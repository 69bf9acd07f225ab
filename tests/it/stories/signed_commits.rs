//! Commits that GitHub makes, and therefore signs: the verified tree, or no commit.

use mendwright::domain::{EscalationReason, JobOutcome, TranscriptEvent};
use mendwright_emulator::github::FaultKind;
use serde_json::json;

use crate::support::{World, fix};

const SIGNED: [(&str, &str); 1] = [("MENDWRIGHT_GITHUB_SIGNED_COMMITS", "true")];

/// The commit at the head of the job's branch: its id, its tree and its committer.
fn head(world: &World) -> (String, String, String) {
    let git = world.git();
    let commit = git.find_reference("refs/heads/agent-fix/issue-1").unwrap().peel_to_commit().unwrap();
    let committer = commit.committer().name().unwrap().to_owned();
    (commit.id().to_string(), commit.tree_id().to_string(), committer)
}

/// The tree that was verified.
async fn verified_tree(world: &World) -> String {
    let transcript = world.transcript().await;
    let tree = transcript.into_iter().rev().find_map(|recorded| match recorded.event {
        TranscriptEvent::VerdictReached { verified: true, tree, .. } => Some(tree),
        _ => None,
    });
    tree.unwrap().to_string()
}

#[tokio::test]
async fn signed_commit_has_the_verified_tree_also_if_its_answer_is_lost() {
    for is_lost in [false, true] {
        let mut world = World::new().await;
        if is_lost {
            world.fail_once("POST", "^/graphql$", FaultKind::DropAfter);
        }
        world.start_service_with_environment(&SIGNED).await;
        world.label("octo-maintainer").await;
        world.jobs_ended(1).await;
        let (sha, tree, committer) = head(&world);
        assert_eq!(committer, "GitHub", "{}", world.log());
        assert_eq!(world.claims().await, 1, "the job was postponed: {}", world.log());
        assert_eq!(tree, verified_tree(&world).await);
        let pull = world.pull();
        assert_eq!(pull["head_sha"], sha);
        assert!(pull["body"].as_str().unwrap().contains(&sha), "the manifest names another commit");
        let git = world.git();
        let commit = git.find_commit(sha.parse().unwrap()).unwrap();
        assert!(commit.message().unwrap().contains("Co-authored-by: octo-maintainer"));
        let main = git.refname_to_id("refs/heads/main").unwrap();
        assert_eq!(commit.parent_ids().collect::<Vec<_>>(), [main]);
        assert_eq!(world.calls("graphql/createCommitOnBranch"), 1);
        world.end().await;
    }
}

#[tokio::test]
async fn file_mode_that_the_api_cannot_express_is_pushed_and_the_pull_request_says_so() {
    let script = json!({"path": "run.sh", "content": "#!/bin/sh\nexec sh run-tests.sh\n"});
    let mut world = World::scripted(fix().call_first_at(1, "write_file", script)).await;
    world.start_service_with_environment(&SIGNED).await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let (_, tree, committer) = head(&world);
    assert_eq!(tree, verified_tree(&world).await);
    assert_ne!(committer, "GitHub");
    let body = world.pull()["body"].as_str().unwrap().to_owned();
    assert!(body.contains("the commit is not signed"), "{body}");
    assert_eq!(world.calls("graphql/createCommitOnBranch"), 0);
    world.end().await;
}

#[tokio::test]
async fn branch_with_another_tree_opens_no_pull_request_and_is_left_alone() {
    let mut world = World::scripted(fix().hold_at(2)).await;
    world.start_service_with_environment(&SIGNED).await;
    world.label("octo-maintainer").await;
    world.model_asked(3).await;
    let theirs = {
        let git = world.git();
        let main = git.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
        let by = git2::Signature::now("grace", "grace@example.com").unwrap();
        let name = Some("refs/heads/agent-fix/issue-1");
        let tree = git.find_tree(git.treebuilder(None).unwrap().write().unwrap()).unwrap();
        git.commit(name, &by, &by, "Theirs\n", &tree, &[&main]).unwrap().to_string()
    };
    world.provider.continue_held_answers();
    world.jobs_ended(1).await;
    let JobOutcome::Escalated { reason: EscalationReason::NotPublished { why, .. } } = world.outcome().await
    else {
        panic!("{}", world.log())
    };
    assert!(!why.is_empty());
    assert_eq!(head(&world).0, theirs);
    assert!(world.pulls().is_empty());
    let comments = world.comments().concat();
    assert!(comments.contains("agent-fix/issue-1"), "{comments}");
    world.end().await;
}
