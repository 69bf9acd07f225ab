//! After a job has ended: `continue`, and revision rounds that reviewers ask for.

use mendwright::domain::TranscriptEvent;
use mendwright::store::Store;
use mendwright_emulator::github::FaultKind;
use serde_json::json;

use crate::support::{BINARY, Script, World, conversation, fix};

const SOURCE: &str = "src/slug.sh";
/// A part of the line that the first round proposes.
const PROPOSED: &str = "    echo \"$1\" | tr 'A-Z' 'a-z' | sed -E";
const COMMENTED: &str = "    # One dash for a run of separators.\n    echo \"$1\" | tr 'A-Z' 'a-z' | sed -E";

/// A round that answers the review with a comment in the code, if it was given the review.
fn comment_round() -> Script {
    conversation()
        .turn("I add a comment.")
        .expect(&["Changes are asked for", "Say what it is for."])
        .edit(SOURCE, PROPOSED, COMMENTED)
        .turn("Done.")
        .finish("1. The line has a comment now.")
}

/// The same; its first answer is held.
fn held_comment_round() -> Script {
    comment_round().hold_at(0)
}

/// A world with a draft pull request, whose model then says `rounds`.
async fn proposed(rounds: Script) -> World {
    let mut world = World::scripted(fix().then(rounds)).await;
    world.start_service_with_environment(&[("MENDWRIGHT_GITHUB_REVIEW_ROUNDS_MAX", "2")]).await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    world.pull();
    world
}

fn number(world: &World) -> u64 {
    world.pull()["number"].as_u64().unwrap()
}

fn head(world: &World) -> String {
    world.pull()["head_sha"].as_str().unwrap().to_owned()
}

fn branch(world: &World) -> String {
    world.pull()["head"].as_str().unwrap().to_owned()
}

/// The comments on the pull request that contain `text`.
fn comments(world: &World, text: &str) -> Vec<String> {
    let pull = world.pull();
    let bodies = pull["comments"].as_array().unwrap().iter().map(|comment| comment["body"].as_str().unwrap());
    bodies.filter(|body| body.contains(text)).map(str::to_owned).collect()
}

/// Our answers at lines.
fn replies(world: &World) -> Vec<String> {
    let pull = world.pull();
    let comments = pull["review_comments"].as_array().unwrap().clone();
    let ours = comments.iter().filter(|comment| comment["author"].as_str().unwrap().ends_with("[bot]"));
    ours.map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
}

async fn request_changes(world: &World, by: &str) {
    let at_line = [(SOURCE, 5, "Say what it is for.")];
    let review = world.github.review(number(world), "CHANGES_REQUESTED", "Nearly.", &at_line, by);
    review.await.unwrap();
}

/// Somebody commits a file to the job's branch. Returns the commit.
async fn push(world: &World, path: &str, text: &str) -> String {
    world.github.commit_file(&branch(world), path, text, "octo-writer").await.unwrap()
}

fn parents(world: &World, commit: &str) -> Vec<String> {
    let git = world.git();
    let commit = git.find_commit(commit.parse().unwrap()).unwrap();
    commit.parent_ids().map(|id| id.to_string()).collect()
}

fn file(world: &World, path: &str) -> String {
    let git = world.git();
    let tree = git.find_commit(head(world).parse().unwrap()).unwrap().tree().unwrap();
    let entry = tree.get_path(std::path::Path::new(path)).unwrap();
    String::from_utf8(git.find_blob(entry.id()).unwrap().content().to_vec()).unwrap()
}

#[tokio::test]
async fn review_that_requests_changes_is_answered_with_a_commit_on_the_same_branch() {
    let world = proposed(comment_round()).await;
    let first = head(&world);
    request_changes(&world, "octo-writer").await;
    world.jobs_ended(2).await;
    let second = head(&world);
    assert_eq!(parents(&world, &second), [first]);
    assert!(file(&world, SOURCE).contains(COMMENTED));
    assert_eq!(world.pull()["draft"], true);

    let answers = replies(&world);
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(answers[0].contains(&format!("{second} changes this file.")), "{answers:?}");
    let rounds = comments(&world, "mendwright:round:");
    assert_eq!(rounds.len(), 1, "{rounds:#?}");
    for text in ["**Round 2:** 2 remarks by `octo-writer`", &second, "The line has a comment now."] {
        assert!(rounds[0].contains(text), "{text}: {rounds:?}");
    }
    let body = world.pull()["body"].to_string();
    assert!(body.contains(&second), "the evidence is of the first round");
    let checks = world.repository()["check_runs"].to_string();
    assert!(checks.contains(&second), "{checks}");
    let asked = world.provider.requests().last().unwrap().body.to_string();
    assert!(asked.contains("Nearly.") && asked.contains("at `src/slug.sh`, line 5"), "{asked}");
    let body = world.pull()["body"].as_str().unwrap().to_owned();
    let later = body.find("- Round 2: 1. The line has a comment now.").unwrap_or_else(|| panic!("{body}"));
    assert!(body.find("The agent's summary:\n\n> ").unwrap() < later, "the fix is described first: {body}");
    world.end().await;
}

#[tokio::test]
async fn commits_of_others_stay_and_the_model_is_shown_them() {
    let world = proposed(comment_round()).await;
    let theirs = push(&world, "NOTES.md", "By hand.\n").await;
    request_changes(&world, "octo-writer").await;
    world.jobs_ended(2).await;
    assert_eq!(parents(&world, &head(&world)), [theirs]);
    assert_eq!(file(&world, "NOTES.md"), "By hand.\n");
    assert!(file(&world, SOURCE).contains(COMMENTED));
    let asked = world.provider.requests().last().unwrap().body.to_string();
    assert!(asked.contains("Changed by others since") && asked.contains("NOTES.md"), "{asked}");
    world.end().await;
}

#[tokio::test]
async fn branch_that_moves_during_a_round_is_merged_and_verified_again() {
    let world = proposed(held_comment_round()).await;
    request_changes(&world, "octo-writer").await;
    world.model_asked(4).await;
    let theirs = push(&world, "NOTES.md", "By hand.\n").await;
    world.provider.continue_held_answers();
    world.jobs_ended(2).await;
    assert_eq!(parents(&world, &head(&world)), [theirs]);
    assert_eq!(file(&world, "NOTES.md"), "By hand.\n");
    assert!(file(&world, SOURCE).contains(COMMENTED));
    let is_verified =
        |event: &TranscriptEvent| matches!(event, TranscriptEvent::VerdictReached { verified: true, .. });
    let verdicts = world.transcript().await.iter().filter(|recorded| is_verified(&recorded.event)).count();
    assert_eq!(verdicts, 3, "the commits of others were not verified");
    assert_eq!(replies(&world).len(), 1);
    world.end().await;
}

#[tokio::test]
async fn conflicting_commit_of_others_is_kept_and_a_person_is_asked() {
    let world = proposed(held_comment_round()).await;
    request_changes(&world, "octo-writer").await;
    world.model_asked(4).await;
    let theirs = file(&world, SOURCE)
        .replace(PROPOSED, "    # by hand\n    printf '%s' \"$1\" | tr 'A-Z' 'a-z' | sed -E");
    let pushed = push(&world, SOURCE, &theirs).await;
    world.provider.continue_held_answers();
    world.jobs_ended(2).await;
    assert_eq!(head(&world), pushed);
    assert!(replies(&world).is_empty());
    let escalations = comments(&world, "mendwright:escalation:");
    assert_eq!(escalations.len(), 1, "{:#?}", world.pull());
    assert!(escalations[0].contains("in the same places as this job"), "{}", escalations[0]);
    assert!(escalations[0].contains("The pull request is unchanged."), "{}", escalations[0]);
    assert!(comments(&world, "**Round 2:**")[0].contains("this needs a person"));
    world.end().await;
}

#[tokio::test]
async fn round_killed_in_the_middle_continues_and_answers_once() {
    let mut world = proposed(comment_round().stall_at(0)).await;
    let first = head(&world);
    request_changes(&world, "octo-writer").await;
    world.model_asked(4).await;
    world.kill_service().await;
    world.start_service().await;
    world.fail_once("POST", "/replies$", FaultKind::DropAfter);
    world.jobs_ended(2).await;
    assert_eq!(parents(&world, &head(&world)), [first]);
    assert_eq!(replies(&world).len(), 1, "{:#?}", replies(&world));
    assert_eq!(comments(&world, "mendwright:round:").len(), 1);
    world.end().await;
}

#[tokio::test]
async fn round_starts_only_for_writers_who_address_the_bot() {
    let world = proposed(comment_round()).await;
    let (first, number) = (head(&world), number(&world));
    request_changes(&world, "octo-reader").await;
    world.until("the refusal", |world| !comments(world, "mendwright:refused:").is_empty()).await;
    // Two people talk with each other.
    world.github.comment(number, "Shall we take this?", "octo-writer").await.unwrap();
    world.github.review(number, "COMMENTED", "", &[(SOURCE, 5, "Hm.")], "octo-writer").await.unwrap();
    assert_eq!((head(&world), world.provider.request_count()), (first.clone(), 3));
    // Now one of them addresses the bot.
    let login = world.pull()["author"].as_str().unwrap().trim_end_matches("[bot]").to_owned();
    let body = format!("@{login} Say what it is for.");
    world.github.comment(number, &body, "octo-maintainer").await.unwrap();
    world.jobs_ended(2).await;
    assert_eq!(parents(&world, &head(&world)), [first]);
    assert!(replies(&world).is_empty(), "threads that nobody asked about were answered");
    world.end().await;
}

#[tokio::test]
async fn failing_check_starts_a_round_if_the_repository_enables_it() {
    let rounds = || {
        conversation()
            .turn("I add a comment.")
            .expect(&["Checks failed", "lint: line 5 has no comment"])
            .edit(SOURCE, PROPOSED, COMMENTED)
            .turn("Done.")
            .finish("The lint wants a comment.")
    };
    for (configuration, is_enabled) in
        [("rounds: {checks: true}\n", true), ("rounds: {checks: false}\n", false)]
    {
        let builder = World::builder().script(fix().then(rounds()));
        let mut world = builder.file(".github/agent-fix.yml", configuration).start().await;
        world.start_service().await;
        world.label("octo-maintainer").await;
        world.jobs_ended(1).await;
        let (first, branch) = (head(&world), branch(&world));
        world.github.fail_check(&branch, "lint", "lint: line 5 has no comment").await.unwrap();
        world.commands_handled(1).await;
        if is_enabled {
            world.jobs_ended(2).await;
            assert_eq!(parents(&world, &head(&world)), [first]);
            assert_eq!(comments(&world, "**Round 2:** failing checks (`lint`): done in").len(), 1);
        } else {
            assert_eq!(head(&world), first);
        }
        world.end().await;
    }
}

#[tokio::test]
async fn manifest_of_a_round_is_verified() {
    let mut world = proposed(comment_round()).await;
    request_changes(&world, "octo-writer").await;
    world.jobs_ended(2).await;
    world.stop_service().await;
    let store = world.store().await;
    let manifest = store.manifest(world.job().await).await.unwrap().unwrap();
    store.close().await;
    assert!(manifest.contains(&head(&world)) && manifest.contains("on_top_of"), "{manifest}");
    let file = world.directory.path().join("manifest.json");
    std::fs::write(&file, &manifest).unwrap();
    let repository = world.repository()["git_dir"].as_str().unwrap().to_owned();
    let digest = mendwright::provenance::Sealed::parse(&manifest).unwrap().sha256;
    let output = tokio::process::Command::new(BINARY)
        .args(["verify", "--manifest", file.to_str().unwrap(), "--repo", &repository, "--digest", &digest])
        .output()
        .await
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("head's parent"), "{out}");
    world.end().await;
}

#[tokio::test]
async fn review_during_a_round_waits_for_it_and_rounds_are_counted() {
    let rounds = held_comment_round().turn("It is there.").finish("2. It has a comment already.");
    let world = proposed(rounds).await;
    request_changes(&world, "octo-writer").await;
    world.model_asked(4).await;
    request_changes(&world, "octo-maintainer").await;
    world.provider.continue_held_answers();
    world.jobs_ended(3).await;
    let third = comments(&world, "**Round 3:**");
    assert!(third[0].contains("No change was needed."), "{third:?}");
    assert!(replies(&world)[1].contains("Nothing was changed for this"), "{:#?}", replies(&world));
    request_changes(&world, "octo-writer").await;
    world.until("the answer", |world| !comments(world, "has used all 2 rounds").is_empty()).await;
    assert_eq!(world.provider.request_count(), 6);
    world.end().await;
}

#[tokio::test]
async fn continue_command_answers_a_question_and_extends_the_budget() {
    let script = conversation()
        .turn("I have to ask.")
        .ask("Which dash is meant?")
        .turn("Hm.")
        .expect(&["The work goes on", "> Which dash is meant?", "The short one."])
        .call("list_files", json!({"path": ""}))
        .turn("Thanks.")
        .expect(&["has you go on"])
        .edit(SOURCE, "sed 's/[^a-z0-9]/-/g'", "tr -cs 'a-z0-9' '-' | sed 's/^-//; s/-$//'")
        .turn("Done.")
        .finish("One dash for a run of separators.");
    let mut world = World::scripted(script).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let count =
        |world: &World, text: &str| world.comments().iter().filter(|body| body.contains(text)).count();
    assert_eq!(count(&world, "/agent-fix continue"), 1, "{:#?}", world.comments());

    world.say("/agent-fix continue", "octo-triager").await;
    world.until("the refusal", |world| count(world, "needs write access") >= 1).await;
    world.say("The short one.\n\n/agent-fix continue +1 turns", "octo-writer").await;
    world.jobs_ended(2).await;
    assert_eq!(count(&world, "mendwright:escalation:"), 2, "{:#?}", world.comments());
    assert_eq!(count(&world, "all 2 turns are used"), 1);

    world.say("/agent-fix continue +$1", "octo-writer").await;
    world.jobs_ended(3).await;
    assert_eq!(world.pulls().len(), 1, "{:#?}", world.comments());
    assert_eq!(count(&world, "Resuming where it stopped."), 2);
    world.say("/agent-fix continue", "octo-writer").await;
    world.until("the answer", |world| count(world, "The change is already proposed.") >= 1).await;
    world.end().await;
}

#[tokio::test]
async fn revision_awaits_approval_and_is_signed_if_the_repository_demands_it() {
    let builder = World::builder().script(fix().then(comment_round()));
    let mut world = builder.file(".github/agent-fix.yml", "publish: hold\n").start().await;
    world.start_service_with_environment(&[("MENDWRIGHT_GITHUB_SIGNED_COMMITS", "true")]).await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    world.say("/agent-fix publish", "octo-writer").await;
    world.jobs_ended(2).await;
    let first = head(&world);
    request_changes(&world, "octo-writer").await;
    world.jobs_ended(3).await;
    assert_eq!(head(&world), first, "a change was published before its approval");
    let round = comments(&world, "**Round 2:**");
    assert!(round[0].contains("is waiting for approval"), "{round:#?}");
    let shown = world.comments().iter().filter(|body| body.contains("mendwright:held:")).count();
    assert_eq!(shown, 2);
    // Others commit, so the change is not what was shown any more. It is shown again.
    let theirs = push(&world, "NOTES.md", "By hand.\n").await;
    world.say("/agent-fix publish", "octo-writer").await;
    world.jobs_ended(4).await;
    assert_eq!(head(&world), theirs, "a change was published that was not shown");
    // It may have been shown within this second, so the commit is named, as the comment says.
    let shown = world.comments().into_iter().rfind(|body| body.contains("mendwright:held:")).unwrap();
    let (_, rest) = shown.rsplit_once("/agent-fix publish ").unwrap();
    let commit: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    world.say(&format!("/agent-fix publish {commit}"), "octo-writer").await;
    world.jobs_ended(5).await;
    assert_eq!(parents(&world, &head(&world)), [theirs]);
    let git = world.git();
    let commit = git.find_commit(head(&world).parse().unwrap()).unwrap();
    assert_eq!(commit.committer().name().unwrap(), "GitHub", "GitHub did not make the commit");
    assert!(replies(&world)[0].contains(&head(&world)), "{:#?}", replies(&world));
    world.end().await;
}

#[tokio::test]
async fn review_of_a_closed_pull_request_starts_no_round() {
    let world = proposed(comment_round()).await;
    world.github.close_issue(number(&world), "octo-maintainer").await.unwrap();
    request_changes(&world, "octo-writer").await;
    let refused = "Not done: the pull request is closed.";
    world.until("the answer", |world| !comments(world, refused).is_empty()).await;
    let is_resumed = |event: &TranscriptEvent| matches!(event, TranscriptEvent::Resumed { .. });
    assert!(!world.transcript().await.iter().any(|recorded| is_resumed(&recorded.event)));
    assert_eq!(world.provider.request_count(), 3);
    world.end().await;
}
