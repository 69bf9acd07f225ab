//! Commands in comments: who may give them, what each does, and that each is answered once.

use mendwright_emulator::github::FaultKind;
use serde_json::Value;

use crate::support::{World, conversation, stalled};

/// Our answers on the issue, without their hidden first line.
fn answers(world: &World) -> Vec<String> {
    let comments = world.comments();
    let ours = |comment: &String| {
        let (first, rest) = comment.split_once('\n')?;
        let is_answer = first.contains("mendwright:answer:") || first.contains("mendwright:refused:");
        is_answer.then(|| rest.trim().to_owned())
    };
    comments.iter().filter_map(ours).collect()
}

/// Waits for so many answers. Returns the last one.
async fn answer(world: &World, count: usize) -> String {
    world.until("an answer", |world| answers(world).len() >= count).await;
    let mut answers = answers(world);
    assert_eq!(answers.len(), count, "{answers:#?}");
    answers.pop().unwrap()
}

#[tokio::test]
async fn fix_command_of_a_writer_starts_work_without_the_label_and_is_answered_once() {
    let mut world = World::new().await;
    world.start_service().await;
    world.say("I can see it, too.\n\n/agent-fix", "octo-writer").await;
    let guid = world.github.state()["deliveries"].as_array().unwrap().last().unwrap()["guid"].clone();
    world.github.redeliver(guid.as_str().unwrap()).await.unwrap();
    world.jobs_ended(1).await;
    world.pull();
    assert_eq!(answers(&world), ["Working on it. A comment on the issue shows the progress."]);

    world.say("/agent-fix status", "octo-writer").await;
    let status = answer(&world, 2).await;
    assert!(status.contains("Done: draft pull request #2. Spent: 3 turns"), "{status}");
    let number = world.pull()["number"].as_u64().unwrap();
    world.github.comment(number, "/agent-fix explain", "octo-maintainer").await.unwrap();
    let on_pull = |world: &World| world.pull()["comments"].to_string();
    world.until("an answer there", |world| on_pull(world).contains("mendwright:answer:")).await;
    assert!(on_pull(&world).contains("The last verdict: verified."), "{}", on_pull(&world));
    world.end().await;
}

#[tokio::test]
async fn stop_command_stops_the_job_while_the_only_worker_is_busy() {
    let mut world = World::scripted(stalled()).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(1).await;
    world.say("/agent-fix", "octo-writer").await;
    assert!(answer(&world, 1).await.contains("A job for this issue is already running"));
    world.say("/agent-fix stop", "octo-writer").await;
    world.jobs_ended(1).await;
    assert_eq!(answer(&world, 2).await, "Stopping. Nothing more will be spent.");
    assert!(world.comments().concat().contains("asked for it"), "{:#?}", world.comments());
    world.say("/agent-fix stop", "octo-writer").await;
    assert_eq!(answer(&world, 3).await, "No job is running here.");
    world.end().await;
}

#[tokio::test]
async fn commands_without_write_access_are_refused_once_and_start_nothing() {
    let mut world = World::new().await;
    world.start_service().await;
    for command in ["/agent-fix", "/agent-fix stop", "/agent-fix publish"] {
        world.say(command, "octo-triager").await;
    }
    world.say("/agent-fix", "ci-helper[bot]").await;
    world.commands_handled(4).await;
    let answers = answers(&world);
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(
        answers[0].contains("`octo-triager`") && answers[0].contains("needs write access"),
        "{answers:?}"
    );
    assert!(world.provider.request_count() == 0 && world.pulls().is_empty());
    assert_eq!(world.job_count().await, 0);
    world.end().await;
}

#[tokio::test]
async fn quoted_or_unknown_commands_start_nothing() {
    let mut world = World::new().await;
    world.start_service().await;
    world.say("> /agent-fix\n\nWhat would that do?", "octo-maintainer").await;
    world.say("/agent-fix it please", "octo-maintainer").await;
    let help = answer(&world, 1).await;
    assert!(help.starts_with("Unknown command `it`. Available commands:"), "{help}");
    assert_eq!(world.provider.request_count(), 0);
    world.say("/agent-fix explain", "octo-maintainer").await;
    assert!(answer(&world, 2).await.contains("has had no job yet"));
    world.end().await;
}

#[tokio::test]
async fn answer_whose_success_was_lost_is_not_given_twice() {
    let mut world = World::new().await;
    world.start_service().await;
    world.fail_once("POST", "/comments$", FaultKind::DropAfter);
    world.say("/agent-fix help", "octo-maintainer").await;
    world.commands_handled(1).await;
    assert_eq!(answers(&world).len(), 1, "{:#?}", world.comments());
    let limited = FaultKind::Status {
        status: 403,
        headers: vec![("retry-after".into(), "2".into())],
        message: Some("You have exceeded a secondary rate limit".into()),
    };
    world.fail_once("POST", "/comments$", limited);
    world.say("/agent-fix status", "octo-maintainer").await;
    world.command_postponed().await;
    world.kill_service().await;
    world.start_service().await;
    assert!(answer(&world, 2).await.contains("has had no job yet"));
    world.end().await;
}

#[tokio::test]
async fn command_that_github_forbids_is_answered_and_not_repeated() {
    let mut world = World::new().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let number = world.pull()["number"].as_u64().unwrap();
    // The command reads the issue of the pull request.
    let forbidden =
        FaultKind::Status { status: 403, headers: Vec::new(), message: Some("Not for you".into()) };
    world.fail("GET", "/issues/1$", 1_000, forbidden);
    world.github.comment(number, "/agent-fix retry", "octo-maintainer").await.unwrap();
    world.commands_handled(1).await;
    let comments = world.pull()["comments"].as_array().unwrap().clone();
    let answers: Vec<&str> = comments
        .iter()
        .filter_map(|comment| comment["body"].as_str())
        .filter(|body| body.contains("mendwright:answer:"))
        .collect();
    assert_eq!(answers.len(), 1, "{comments:#?}");
    assert!(answers[0].contains("This failed and will not be retried: forbidden by GitHub"), "{answers:?}");
    assert_eq!((world.job_count().await, world.is_command_postponed().await), (1, false));
    world.end().await;
}

#[tokio::test]
async fn command_is_answered_while_another_installation_waits_for_github() {
    let mut world = World::new().await;
    world.start_service().await;
    world.say("/agent-fix status", "octo-maintainer").await;
    assert!(answer(&world, 1).await.contains("has had no job yet"));

    // The same comment in a repository of another installation, for which GitHub gives no token.
    let sent = world.github.webhooks_sent();
    let is_command = |payload: &Value| payload["comment"]["body"] == "/agent-fix status";
    let mut payload = sent.into_iter().find(|(_, payload)| is_command(payload)).unwrap().1;
    let other = 424_242;
    payload["installation"]["id"] = other.into();
    payload["repository"]["id"] = other.into();
    payload["comment"]["id"] = other.into();
    world.fail("POST", &format!("/app/installations/{other}/access_tokens$"), 1_000, FaultKind::Hold);
    world.deliver("issue_comment", "b7f2a1de-0000-4000-8000-000000000001", &payload).await;
    world.until("GitHub is asked for a token", |world| world.github.held_requests() > 0).await;

    world.say("/agent-fix status", "octo-writer").await;
    answer(&world, 2).await;
    assert!(!world.is_command_postponed().await, "the other command ended first");
    world.github.continue_held_requests();
    world.end().await;
}

#[tokio::test]
async fn publish_command_publishes_a_change_that_awaits_approval() {
    let mut world = World::builder().file(".github/agent-fix.yml", "publish: hold\n").start().await;
    world.start_service().await;
    world.say("/agent-fix publish", "octo-writer").await;
    assert_eq!(answer(&world, 1).await, "No change is waiting for approval here.");
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert!(world.pulls().is_empty());
    world.say("/agent-fix publish", "octo-writer").await;
    assert!(answer(&world, 2).await.starts_with("Publishing the change exactly as shown"));
    world.jobs_ended(2).await;
    world.pull();
    world.end().await;
}

#[tokio::test]
async fn strangers_get_one_answer_on_an_issue_and_a_bounded_number_of_questions_is_asked_about_them() {
    let mut world = World::scripted(stalled()).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(1).await;
    let permissions = |world: &World| world.calls("repos/get-collaborator-permission-level");
    let before = permissions(&world);
    for number in 0..30 {
        world.say("/agent-fix status", &format!("stranger-{number}")).await;
    }
    world.say("/agent-fix stop", "octo-maintainer").await;
    world.jobs_ended(1).await;
    // Twenty of an hour are looked at.
    world.commands_handled(21).await;
    let refusals: Vec<String> =
        answers(&world).into_iter().filter(|answer| answer.contains("needs write access")).collect();
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    assert!(permissions(&world) - before <= 22, "{}", permissions(&world) - before);
    world.end().await;
}

#[tokio::test]
async fn command_of_somebody_whose_membership_is_hidden_is_carried_out_with_its_words() {
    let question = conversation().turn("Hm.").ask("Which separator?");
    let mut world = World::scripted(question.then(stalled().expect(&["A dash, please."]))).await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    // GitHub says in the payload that they have nothing to do with the repository.
    world.github.hide_membership("octo-writer");
    world.say("/agent-fix continue\n\nA dash, please.", "octo-writer").await;
    world.model_asked(2).await;
    world.say("/agent-fix stop", "octo-maintainer").await;
    world.jobs_ended(2).await;
    world.end().await;
}

#[tokio::test]
async fn stop_overtakes_commands_that_wait_and_withdraws_those_that_would_start_work() {
    let mut world = World::new().await;
    world.start_service().await;
    // The question about the first author's permission is not answered for now.
    world.fail_once("GET", "/collaborators/octo-writer/permission$", FaultKind::Hold);
    world.say("/agent-fix", "octo-writer").await;
    world.say("/agent-fix stop", "octo-maintainer").await;
    assert_eq!(answer(&world, 1).await, "No job is running here.");
    world.commands_handled(2).await;
    world.github.continue_held_requests();
    world.say("/agent-fix status", "octo-writer").await;
    assert!(answer(&world, 2).await.contains("has had no job yet"));
    assert_eq!(world.job_count().await, 0, "{}", world.log());
    world.end().await;
}
