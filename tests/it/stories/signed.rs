//! Commits that GitHub makes, and therefore signs: the same tree as the verified one, or none.

use mendwright::demo::scenario::Scenario;
use mendwright_emulator::github::{FaultKind, FaultRule};
use serde_json::{Value, json};

use crate::support::World;

const SIGNED: [(&str, &str); 1] = [("MENDWRIGHT_GITHUB_SIGNED_COMMITS", "true")];

fn fix() -> Value {
    serde_json::from_str(Scenario::by_name("fix").unwrap().conversation).unwrap()
}

async fn ended(world: &World) {
    world.until("the job's end", |world| world.log().contains("job ended")).await;
}

fn git(world: &World) -> git2::Repository {
    git2::Repository::open(world.repository()["git_dir"].as_str().unwrap()).unwrap()
}

/// The commit at the head of the job's branch.
fn head(world: &World) -> (String, String, String) {
    let git = git(world);
    let commit = git.find_reference("refs/heads/agent-fix/issue-1").unwrap().peel_to_commit().unwrap();
    let committer = commit.committer().name().unwrap().to_owned();
    (commit.id().to_string(), commit.tree_id().to_string(), committer)
}

/// The tree that was verified.
async fn verified_tree(world: &World) -> String {
    let transcript = world.transcript().await;
    let tree = transcript.into_iter().rev().find_map(|recorded| match recorded.event {
        mendwright::domain::TranscriptEvent::VerdictReached { verified: true, tree, .. } => Some(tree),
        _ => None,
    });
    tree.unwrap().to_string()
}

#[tokio::test]
async fn a_commit_is_made_by_github_with_the_verified_tree_also_where_its_answer_is_lost() {
    for lost in [false, true] {
        let mut world = World::of("fix", None).await;
        if lost {
            let rule = FaultRule {
                method: Some("POST".into()),
                path: "^/graphql$".into(),
                times: 1,
                kind: FaultKind::DropAfter,
            };
            world.github.inject_fault(rule).unwrap();
        }
        world.start_service_with_environment(&SIGNED).await;
        world.label("octo-maintainer").await;
        ended(&world).await;
        let (sha, tree, committer) = head(&world);
        assert_eq!(committer, "GitHub", "{}", world.log());
        assert!(!world.log().contains("job put back"), "{}", world.log());
        assert_eq!(tree, verified_tree(&world).await);
        let pull = &world.pulls()[0];
        assert_eq!(pull["head_sha"], sha);
        assert!(pull["body"].as_str().unwrap().contains(&sha), "the manifest names another commit");
        let git = git(&world);
        let commit = git.find_commit(sha.parse().unwrap()).unwrap();
        assert!(commit.message().unwrap().contains("Co-authored-by: octo-maintainer"));
        let main = git.refname_to_id("refs/heads/main").unwrap();
        assert_eq!(commit.parent_ids().collect::<Vec<_>>(), [main]);
        assert_eq!(world.github.state()["calls"]["graphql/createCommitOnBranch"], 1);
        world.end().await;
    }
}

#[tokio::test]
async fn a_mode_that_the_api_cannot_express_is_pushed_instead_and_the_pull_request_says_so() {
    let mut conversation = fix();
    let calls = conversation["turns"][1]["calls"].as_array_mut().unwrap();
    let script = json!({"path": "run.sh", "content": "#!/bin/sh\nexec cargo test\n"});
    calls.insert(0, json!({"tool": "write_file", "arguments": script}));
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service_with_environment(&SIGNED).await;
    world.label("octo-maintainer").await;
    ended(&world).await;
    let (_, tree, committer) = head(&world);
    assert_eq!(tree, verified_tree(&world).await);
    assert_ne!(committer, "GitHub");
    let body = world.pulls()[0]["body"].as_str().unwrap().to_owned();
    assert!(body.contains("the commit is not signed"), "{body}");
    assert!(world.github.state()["calls"]["graphql/createCommitOnBranch"].is_null());
    world.end().await;
}

#[tokio::test]
async fn what_is_not_the_verified_tree_opens_no_pull_request_and_is_left_alone() {
    let mut conversation = fix();
    conversation["turns"][2]["fault"] = json!({"status": 529, "times": 1, "retry_after": 3});
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service_with_environment(&SIGNED).await;
    world.label("octo-maintainer").await;
    world.until("the third question", |world| world.provider.requests().len() == 3).await;
    let theirs = {
        let git = git(&world);
        let main = git.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
        let by = git2::Signature::now("grace", "grace@example.com").unwrap();
        let name = Some("refs/heads/agent-fix/issue-1");
        let tree = git.find_tree(git.treebuilder(None).unwrap().write().unwrap()).unwrap();
        git.commit(name, &by, &by, "Theirs\n", &tree, &[&main]).unwrap().to_string()
    };
    ended_badly(&world).await;
    assert_eq!(head(&world).0, theirs);
    assert!(world.pulls().is_empty());
    let comment = world.comments().concat();
    assert!(comment.contains("nothing was deleted or overwritten"), "{comment}");
    world.end().await;
}

async fn ended_badly(world: &World) {
    world.until("the job's failure", |world| world.log().contains("job failed")).await;
    world.until("the words", |world| world.comments().concat().contains("itself failed")).await;
}
