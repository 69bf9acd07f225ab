//! After the end: `continue`, and rounds of changes that reviewers ask for.

use mendwright::demo::scenario::Scenario;
use mendwright::domain::TranscriptEvent;
use mendwright::store::{SqliteStore, Store};
use mendwright_emulator::github::{FaultKind, FaultRule};
use serde_json::{Value, json};

use crate::support::{BINARY, World};

/// A line of the scenario's proposal.
const PROPOSED: &str = "    let mut word_ended = false;";
const REMARKED: &str = "    // Whether a word ended before this character.\n    let mut word_ended = false;";

fn edit(old: &str, new: &str) -> Value {
    json!({"tool": "edit_file", "arguments": {"path": "src/lib.rs", "edits": [{"old": old, "new": new}]}})
}

fn finish(summary: &str) -> Value {
    json!({"tool": "finish", "arguments": {"summary": summary}})
}

/// The scenario's conversation, and what the model says in later rounds.
fn then(turns: &[Value]) -> Value {
    let text = Scenario::by_name("fix").unwrap().conversation;
    let mut conversation: Value = serde_json::from_str(text).unwrap();
    conversation["turns"].as_array_mut().unwrap().extend(turns.iter().cloned());
    conversation
}

/// A round that answers the review, if it was told of it.
fn remark_added() -> Vec<Value> {
    vec![
        json!({"expect": {"contains": ["Changes are asked for", "Say what it is for."]},
            "say": "I add a comment.", "calls": [edit(PROPOSED, REMARKED)]}),
        json!({"say": "Done.", "calls": [finish("1. The variable has a comment now.")]}),
    ]
}

async fn proposed(conversation: Value) -> World {
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service_with_environment(&[("MENDWRIGHT_GITHUB_REVIEW_ROUNDS_MAX", "2")]).await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    world
}

async fn ended(world: &World, times: usize) {
    world.until("the job's end", |world| world.log().matches("job ended").count() == times).await;
}

fn pull(world: &World) -> Value {
    world.pulls()[0].clone()
}

fn number(world: &World) -> u64 {
    pull(world)["number"].as_u64().unwrap()
}

fn head(world: &World) -> String {
    pull(world)["head_sha"].as_str().unwrap().to_owned()
}

/// The bodies of what is said below the pull request that holds `word`.
fn said(world: &World, word: &str) -> Vec<String> {
    let pull = pull(world);
    let bodies = pull["comments"].as_array().unwrap().iter().map(|comment| comment["body"].as_str().unwrap());
    bodies.filter(|body| body.contains(word)).map(str::to_owned).collect()
}

/// Our answers at lines.
fn replies(world: &World) -> Vec<String> {
    let pull = pull(world);
    let comments = pull["review_comments"].as_array().unwrap().clone();
    let ours = comments.iter().filter(|comment| comment["author"].as_str().unwrap().ends_with("[bot]"));
    ours.map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
}

async fn request_changes(world: &World, by: &str) {
    let at_line = [("src/lib.rs", 4, "Say what it is for.")];
    let review = world.github.review(number(world), "CHANGES_REQUESTED", "Nearly.", &at_line, by);
    review.await.unwrap();
}

fn parents(world: &World, commit: &str) -> Vec<String> {
    let directory = world.repository()["git_dir"].as_str().unwrap().to_owned();
    let git = git2::Repository::open(directory).unwrap();
    let commit = git.find_commit(commit.parse().unwrap()).unwrap();
    commit.parent_ids().map(|id| id.to_string()).collect()
}

fn file(world: &World, path: &str) -> String {
    let directory = world.repository()["git_dir"].as_str().unwrap().to_owned();
    let git = git2::Repository::open(directory).unwrap();
    let tree = git.find_commit(head(world).parse().unwrap()).unwrap().tree().unwrap();
    let entry = tree.get_path(std::path::Path::new(path)).unwrap();
    String::from_utf8(git.find_blob(entry.id()).unwrap().content().to_vec()).unwrap()
}

#[tokio::test]
async fn a_review_that_requests_changes_is_answered_with_a_commit_on_the_same_branch() {
    let world = proposed(then(&remark_added())).await;
    let first = head(&world);
    request_changes(&world, "octo-writer").await;
    ended(&world, 2).await;
    let second = head(&world);
    assert_eq!(parents(&world, &second), [first]);
    assert!(file(&world, "src/lib.rs").contains(REMARKED));
    assert_eq!((world.pulls().len(), pull(&world)["draft"].as_bool()), (1, Some(true)));

    let answers = replies(&world);
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(answers[0].contains(&format!("{second} changes this file.")), "{answers:?}");
    let told = said(&world, "mendwright:round:");
    assert_eq!(told.len(), 1, "{told:#?}");
    for words in ["**Round 2:** 2 remarks by `octo-writer`", &second, "The variable has a comment now."] {
        assert!(told[0].contains(words), "{words}: {told:?}");
    }
    assert!(pull(&world)["body"].as_str().unwrap().contains(&second), "the evidence is of the first round");
    let checks = world.repository()["check_runs"].to_string();
    assert!(checks.contains(&second), "{checks}");
    let asked = world.provider.requests().last().unwrap().body.to_string();
    assert!(asked.contains("Nearly.") && asked.contains("at `src/lib.rs`, line 4"), "{asked}");
    world.end().await;
}

#[tokio::test]
async fn what_others_pushed_stays_and_the_model_is_told_of_it() {
    let world = proposed(then(&remark_added())).await;
    let branch = pull(&world)["head"].as_str().unwrap().to_owned();
    let theirs = world.github.commit_file(&branch, "NOTES.md", "By hand.\n", "octo-writer").await.unwrap();
    request_changes(&world, "octo-writer").await;
    ended(&world, 2).await;
    assert_eq!(parents(&world, &head(&world)), [theirs]);
    assert_eq!(file(&world, "NOTES.md"), "By hand.\n");
    assert!(file(&world, "src/lib.rs").contains(REMARKED));
    let asked = world.provider.requests().last().unwrap().body.to_string();
    assert!(asked.contains("Changed by others since") && asked.contains("NOTES.md"), "{asked}");
    world.end().await;
}

#[tokio::test]
async fn a_branch_that_moves_during_a_round_is_caught_up_with_and_verified_anew() {
    let world = proposed(then(&remark_added())).await;
    let branch = pull(&world)["head"].as_str().unwrap().to_owned();
    request_changes(&world, "octo-writer").await;
    world.until("the round's first question", |world| world.provider.requests().len() == 4).await;
    let theirs = world.github.commit_file(&branch, "NOTES.md", "By hand.\n", "octo-writer").await.unwrap();
    ended(&world, 2).await;
    assert_eq!(parents(&world, &head(&world)), [theirs]);
    assert_eq!(file(&world, "NOTES.md"), "By hand.\n");
    assert!(file(&world, "src/lib.rs").contains(REMARKED));
    let verdicts =
        |event: &TranscriptEvent| matches!(event, TranscriptEvent::VerdictReached { verified: true, .. });
    let judged = world.transcript().await.iter().filter(|recorded| verdicts(&recorded.event)).count();
    assert_eq!(judged, 3, "what was pushed in between was not verified");
    assert_eq!(replies(&world).len(), 1);
    world.end().await;
}

#[tokio::test]
async fn where_others_changed_the_same_lines_nothing_is_overwritten_and_a_person_is_asked() {
    let world = proposed(then(&remark_added())).await;
    let branch = pull(&world)["head"].as_str().unwrap().to_owned();
    request_changes(&world, "octo-writer").await;
    world.until("the round's first question", |world| world.provider.requests().len() == 4).await;
    let theirs = file(&world, "src/lib.rs").replace(PROPOSED, "    let mut word_ended = false; // by hand");
    let pushed = world.github.commit_file(&branch, "src/lib.rs", &theirs, "octo-writer").await.unwrap();
    ended(&world, 2).await;
    assert_eq!(head(&world), pushed);
    assert!(replies(&world).is_empty());
    let told = said(&world, "mendwright:escalation:");
    assert_eq!(told.len(), 1, "{:#?}", pull(&world));
    assert!(told[0].contains("in the same places as this job did"), "{}", told[0]);
    assert!(told[0].contains("The pull request stays as it is."), "{}", told[0]);
    assert!(said(&world, "**Round 2:**")[0].contains("this needs a person"));
    world.end().await;
}

#[tokio::test]
async fn a_round_that_is_killed_goes_on_and_answers_once() {
    let mut world = proposed(then(&remark_added())).await;
    let first = head(&world);
    request_changes(&world, "octo-writer").await;
    world.until("the round's first question", |world| world.provider.requests().len() == 4).await;
    world.kill_service().await;
    world.start_service().await;
    let rule = |path: &str| FaultRule {
        method: Some("POST".into()),
        path: path.into(),
        times: 1,
        kind: FaultKind::DropAfter,
    };
    world.github.inject_fault(rule("/replies$")).unwrap();
    ended(&world, 2).await;
    assert_eq!(parents(&world, &head(&world)), [first]);
    assert_eq!(replies(&world).len(), 1, "{:#?}", replies(&world));
    assert_eq!(said(&world, "mendwright:round:").len(), 1);
    world.end().await;
}

#[tokio::test]
async fn only_writers_ask_for_a_round_and_only_of_ours() {
    let world = proposed(then(&remark_added())).await;
    let (first, number) = (head(&world), number(&world));
    request_changes(&world, "octo-reader").await;
    world.until("the refusal", |world| said(world, "mendwright:refused:").len() == 1).await;
    // Two people talk with each other.
    world.github.comment(number, "Shall we take this?", "octo-writer").await.unwrap();
    world.github.review(number, "COMMENTED", "", &[("src/lib.rs", 4, "Hm.")], "octo-writer").await.unwrap();
    assert_eq!((head(&world), world.provider.requests().len()), (first.clone(), 3));
    // Now one of them speaks to us.
    let login = pull(&world)["author"].as_str().unwrap().trim_end_matches("[bot]").to_owned();
    let words = format!("@{login} Say what it is for.");
    world.github.comment(number, &words, "octo-maintainer").await.unwrap();
    ended(&world, 2).await;
    assert_eq!(parents(&world, &head(&world)), [first]);
    assert!(replies(&world).is_empty(), "threads that nobody asked about were answered");
    world.end().await;
}

#[tokio::test]
async fn a_failing_check_starts_a_round_where_the_repository_wants_it() {
    let turns = [
        json!({"expect": {"contains": ["Checks failed", "lint: line 4 has no comment"]},
            "say": "I add a comment.", "calls": [edit(PROPOSED, REMARKED)]}),
        json!({"say": "Done.", "calls": [finish("The lint wants a comment.")]}),
    ];
    for (wanted, rounds) in [("rounds: {checks: true}\n", 1), ("rounds: {checks: false}\n", 0)] {
        let mut world = World::with("fix", Some(then(&turns)), &[(".github/agent-fix.yml", wanted)]).await;
        world.start_service().await;
        world.label("octo-maintainer").await;
        ended(&world, 1).await;
        let (first, branch) = (head(&world), pull(&world)["head"].as_str().unwrap().to_owned());
        let carried = |world: &World| world.log().lines().filter(|line| line.contains("\"result\"")).count();
        world.github.fail_check(&branch, "lint", "lint: line 4 has no comment").await.unwrap();
        world.until("the check to be heard", |world| carried(world) == 1).await;
        ended(&world, 1 + rounds).await;
        match rounds {
            0 => assert_eq!(head(&world), first),
            _ => {
                assert_eq!(parents(&world, &head(&world)), [first]);
                assert!(said(&world, "**Round 2:** failing checks (`lint`): done in").len() == 1);
            }
        }
        world.end().await;
    }
}

#[tokio::test]
async fn a_round_s_manifest_can_be_checked() {
    let mut world = proposed(then(&remark_added())).await;
    request_changes(&world, "octo-writer").await;
    ended(&world, 2).await;
    world.stop_service().await;
    let store = world.directory.path().join("data/mendwright.sqlite");
    let store = SqliteStore::open(&store).await.unwrap();
    let job = store.jobs(1).await.unwrap().remove(0);
    let manifest = store.manifest(job.id).await.unwrap().unwrap();
    store.close().await;
    assert!(manifest.contains(&head(&world)) && manifest.contains("on_top_of"), "{manifest}");
    let file = world.directory.path().join("manifest.json");
    std::fs::write(&file, &manifest).unwrap();
    let directory = world.repository()["git_dir"].as_str().unwrap().to_owned();
    let checked = tokio::process::Command::new(BINARY)
        .args(["verify", "--manifest", file.to_str().unwrap(), "--repo", &directory])
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{told}\n{}", String::from_utf8_lossy(&checked.stderr));
    assert!(told.contains("head's parent"), "{told}");
    world.end().await;
}

#[tokio::test]
async fn a_review_waits_for_the_round_before_it_and_rounds_are_counted() {
    let mut turns = remark_added();
    turns.push(json!({"say": "It is there.", "calls": [finish("2. It has a comment already.")]}));
    let world = proposed(then(&turns)).await;
    request_changes(&world, "octo-writer").await;
    world.until("the round's first question", |world| world.provider.requests().len() == 4).await;
    request_changes(&world, "octo-maintainer").await;
    ended(&world, 3).await;
    let second = said(&world, "**Round 3:**");
    assert!(second[0].contains("No change was needed."), "{second:?}");
    assert!(replies(&world)[1].contains("Nothing was changed for this"), "{:#?}", replies(&world));
    request_changes(&world, "octo-writer").await;
    world.until("the answer", |world| said(world, "has had its 2 rounds").len() == 1).await;
    assert_eq!(world.provider.requests().len(), 6);
    world.end().await;
}

fn asks() -> Value {
    json!({"model": "scripted-1", "turns": [
        {"say": "I have to ask.", "calls": [{"tool": "ask_human", "arguments": {"question": "Which dash is meant?"}}]},
        {"expect": {"contains": ["The work goes on", "> Which dash is meant?", "The short one."]},
            "say": "Hm.", "calls": [{"tool": "list_files", "arguments": {"path": ""}}]},
        {"expect": {"contains": ["has you go on"]},
            "say": "Thanks.", "calls": [edit(
                "    for c in title.trim().chars() {\n        if c.is_alphanumeric() {\n            slug.extend(c.to_lowercase());\n        } else {\n            slug.push('-');\n        }\n    }\n    slug\n",
                "    for word in title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {\n        if !slug.is_empty() {\n            slug.push('-');\n        }\n        slug.extend(word.chars().flat_map(char::to_lowercase));\n    }\n    slug\n",
            )]},
        {"say": "Done.", "calls": [finish("One dash for a run of separators.")]},
    ]})
}

#[tokio::test]
async fn continue_answers_a_question_and_gives_more_to_spend() {
    let mut world = World::of("fix", Some(asks())).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    let answers =
        |world: &World, word: &str| world.comments().iter().filter(|said| said.contains(word)).count();
    assert_eq!(answers(&world, "/agent-fix continue"), 1, "{:#?}", world.comments());

    let say = async |body: &str, by: &str| world.github.comment(world.issue, body, by).await.unwrap();
    say("/agent-fix continue", "octo-triager").await;
    world.until("the refusal", |world| answers(world, "needs write access") == 1).await;
    say("The short one.\n\n/agent-fix continue +1 turns", "octo-writer").await;
    ended(&world, 2).await;
    assert_eq!(answers(&world, "mendwright:escalation:"), 2, "{:#?}", world.comments());
    assert_eq!(answers(&world, "all 2 turns are used"), 1);

    say("/agent-fix continue +$1", "octo-writer").await;
    ended(&world, 3).await;
    assert_eq!(world.pulls().len(), 1, "{:#?}", world.comments());
    assert_eq!(answers(&world, "Resuming where it stopped."), 2);
    say("/agent-fix continue", "octo-writer").await;
    world.until("the answer", |world| answers(world, "The change is already proposed.") == 1).await;
    world.end().await;
}

#[tokio::test]
async fn what_a_round_made_is_held_back_again_and_signed_where_that_is_wanted() {
    let conversation = Some(then(&remark_added()));
    let mut world = World::with("fix", conversation, &[(".github/agent-fix.yml", "publish: hold\n")]).await;
    world.start_service_with_environment(&[("MENDWRIGHT_GITHUB_SIGNED_COMMITS", "true")]).await;
    world.label("octo-maintainer").await;
    ended(&world, 1).await;
    let publish =
        async || world.github.comment(world.issue, "/agent-fix publish", "octo-writer").await.unwrap();
    publish().await;
    ended(&world, 2).await;
    let first = head(&world);
    request_changes(&world, "octo-writer").await;
    ended(&world, 3).await;
    assert_eq!(head(&world), first, "what was to be held back went out");
    assert!(
        said(&world, "**Round 2:**")[0].contains("is waiting for approval"),
        "{:#?}",
        said(&world, "**Round 2:**")
    );
    let shown = world.comments().iter().filter(|body| body.contains("mendwright:held:")).count();
    assert_eq!(shown, 2);
    // What goes out is what was shown: others' commits come between, so it is shown again.
    let branch = pull(&world)["head"].as_str().unwrap().to_owned();
    let theirs = world.github.commit_file(&branch, "NOTES.md", "By hand.\n", "octo-writer").await.unwrap();
    publish().await;
    ended(&world, 4).await;
    assert_eq!(head(&world), theirs, "what was not shown went out");
    publish().await;
    ended(&world, 5).await;
    assert_eq!(parents(&world, &head(&world)), [theirs]);
    let git = git2::Repository::open(world.repository()["git_dir"].as_str().unwrap()).unwrap();
    let made = git.find_commit(head(&world).parse().unwrap()).unwrap();
    assert_eq!(made.committer().name().unwrap(), "GitHub", "the commit is not one that GitHub made");
    assert!(replies(&world)[0].contains(&head(&world)), "{:#?}", replies(&world));
    world.end().await;
}

#[tokio::test]
async fn a_review_of_a_closed_pull_request_leaves_the_job_as_it_ended() {
    let world = proposed(then(&remark_added())).await;
    world.github.close_issue(number(&world), "octo-maintainer").await.unwrap();
    request_changes(&world, "octo-writer").await;
    world.until("the answer", |world| said(world, "Not done: the pull request is closed.").len() == 1).await;
    let ends = |event: &TranscriptEvent| matches!(event, TranscriptEvent::Resumed { .. });
    assert!(!world.transcript().await.iter().any(|recorded| ends(&recorded.event)));
    assert_eq!(world.provider.requests().len(), 3);
    world.end().await;
}
