//! The setup agent: where no plan is good, a model looks for one, and what it proposes counts only if a fresh sandbox
//! shows passing tests with it.

use mendwright::domain::{SetupRecipe, TranscriptEvent};
use serde_json::json;

use crate::support::{ISSUE_BODY, Script, World, assert_no_sandbox_left, conversation, fix};

const RUN_TESTS: &str = include_str!("../../../fixtures/stories/slugs/run-tests.sh");
const SOURCE: &str = include_str!("../../../fixtures/stories/slugs/src/slug.sh");
const TESTS: &str = include_str!("../../../fixtures/stories/slugs/tests/slug.sh");

/// The setup agent runs only where a host is allowed.
const ONLINE: &str = "[sandbox]\nallowed_hosts = [\"registry.example\"]\n";
const TEST: &str = "sh checks/suite.sh";
/// The suite needs what this makes.
const SETUP: &str = "mkdir -p .deps && echo there > .deps/marker";

/// A repository whose suite stands where nobody looks for it, and that needs a setup which nothing names.
fn files() -> Vec<(&'static str, String)> {
    let workflow =
        "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n    - run: sh ci/test.sh\n";
    vec![
        (".github/workflows/ci.yml", workflow.to_owned()),
        (".gitignore", ".deps/\ntest-run.log\n".to_owned()),
        ("ci/test.sh", "echo 'Cannot find module' >&2; exit 1\n".to_owned()),
        (
            "checks/suite.sh",
            RUN_TESTS.replacen(". ./src", "grep -q there .deps/marker || exit 9\n. ./src", 1),
        ),
        ("src/slug.sh", SOURCE.to_owned()),
        ("tests/slug.sh", TESTS.to_owned()),
    ]
}

async fn world(setup: Script) -> World {
    let files = files();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    World::builder().bare().files(&files).script(fix().with_setup(setup)).start().await
}

fn proposal(setup: &[&str], test: &str) -> Script {
    conversation().turn("I propose.").call("propose_setup", json!({"setup": setup, "test": test}))
}

fn giving_up(missing: &str) -> Script {
    conversation().turn("I give up.").call("give_up", json!({"missing": missing}))
}

/// How often the setup agent began, and what it found each time that it ended.
async fn searches(world: &World) -> (usize, Vec<Option<SetupRecipe>>) {
    let events = world.transcript().await;
    let began = events.iter().filter(|one| matches!(one.event, TranscriptEvent::SetupAgentStarted { .. }));
    let ended = events.iter().filter_map(|one| match &one.event {
        TranscriptEvent::SetupAgentEnded { recipe, .. } => Some(recipe.clone()),
        _ => None,
    });
    (began.count(), ended.collect())
}

#[tokio::test]
async fn commands_that_a_fresh_sandbox_confirms_are_used_shown_and_remembered() {
    let search = conversation()
        .turn("I look.")
        .call("list_files", json!({}))
        .call("run_shell", json!({"command": format!("{SETUP}; {TEST}; echo \"mine: $PWD\" > by-hand")}))
        .expect(&["ci/test.sh", "Cannot find module", "registry.example"])
        .then(proposal(&[], TEST))
        .then(proposal(&[SETUP], TEST).expect(&["not ok", "It does not count", "without naming a test"]));
    let mut world = world(search).await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    let recipe = SetupRecipe { setup: vec![SETUP.to_owned()], test: TEST.to_owned() };
    assert_eq!(searches(&world).await, (1, vec![Some(recipe)]));
    let body = world.pulls()[0]["body"].as_str().unwrap_or_default().to_owned();
    for expected in
        ["a model found out how the repository is set up", "test: \"sh checks/suite.sh\"", "agent-fix.yml"]
    {
        assert!(body.contains(expected), "{expected}: {body}");
    }
    // The next job of the repository begins with it.
    let asked = world.provider.request_count();
    world.issue = world.github.open_issue("Slugs again", ISSUE_BODY, "octo-reader").unwrap();
    world.label("octo-maintainer").await;
    world.model_asked(asked + 1).await;
    world.until_comment("No pull request was opened").await;
    assert_eq!(searches(&world).await, (0, vec![]));
    let tried = |one: &TranscriptEvent| matches!(one, TranscriptEvent::PlanTried { .. });
    assert!(!world.transcript().await.iter().any(|one| tried(&one.event)), "the first plan was good");
    // Not `end`: the second job asked the model for an answer that it does not have.
    assert_eq!(world.stop_service().await, Some(0));
    assert_no_sandbox_left(world.directory.path());
}

#[tokio::test]
async fn suite_that_nothing_names_is_found() {
    let mut files = files();
    files.retain(|(path, _)| !path.starts_with(".github/") && !path.starts_with("ci/"));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let search = proposal(&[SETUP], TEST).expect(&["# What was tried", "test command"]);
    let script = fix().with_setup(search);
    let mut world = World::builder().bare().files(&files).script(script).start().await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    let recipe = SetupRecipe { setup: vec![SETUP.to_owned()], test: TEST.to_owned() };
    assert_eq!(searches(&world).await, (1, vec![Some(recipe)]));
    world.end().await;
}

#[tokio::test]
async fn recipe_that_only_looks_as_if_tests_passed_is_refused() {
    let fake = "printf 'echo TAP version 13\\necho ok 1 - a\\necho 1..1\\n' > fake.sh";
    let conftest = "echo 'collect_ignore_glob = [\"*\"]' > conftest.py";
    let search = proposal(&[SETUP], "sh checks/suite.sh || true")
        .then(proposal(&[], "echo 'ok 1 - all'").expect(&["It does not count", "outside quotes"]))
        .then(proposal(&[fake], "sh fake.sh").expect(&["`echo` runs no test"]))
        .then(proposal(&[SETUP, conftest], TEST).expect(&["a suite of your own"]))
        .then(giving_up("the suite needs a marker").expect(&["decide how tests are run", "conftest.py"]));
    let mut world = world(search).await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    let comments = world.until_comment("The test suite cannot be run").await;
    assert!(comments.contains("found none: the suite needs a marker"), "{comments}");
    assert_eq!(searches(&world).await, (1, vec![None]));
    assert_eq!(world.provider.request_count(), 5, "the agent that fixes was asked");
    world.end().await;
}

#[tokio::test]
#[ignore = "needs Python"]
async fn command_that_hides_failures_or_runs_some_tests_is_found_out_by_failing_tests() {
    let workflow =
        "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n    - run: sh ci/test.sh\n";
    let test = "import unittest\n\nclass T(unittest.TestCase):\n    def test_it(self):\n        self.assertTrue(True)\n";
    let files = [
        (".github/workflows/ci.yml", workflow),
        ("ci/test.sh", "echo 'Cannot find module' >&2; exit 1\n"),
        ("checks/quiet.sh", "python3 -m unittest discover -v -s checks; exit 0\n"),
        ("checks/test_a.py", test),
        ("checks/test_b.py", test),
        ("checks/test_c.py", test),
        ("src/slug.sh", SOURCE),
    ];
    let whole = "python3 -m unittest discover -v -s checks";
    let search = proposal(&[], "sh checks/quiet.sh")
        .then(proposal(&[], "python3 -m unittest -v checks/test_a.py").expect(&["exits as if all passed"]))
        .then(proposal(&[], whole).expect(&["reports those of 1", "checks/test_b.py"]));
    let script = conversation().turn("No.").ask("What now?").with_setup(search);
    let mut world = World::builder().bare().files(&files).script(script).start().await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    world.until_comment("What now?").await;
    let recipe = SetupRecipe { setup: vec![], test: whole.to_owned() };
    assert_eq!(searches(&world).await, (1, vec![Some(recipe)]));
    world.end().await;
}

#[tokio::test]
async fn found_commands_are_recorded_and_used_after_a_restart() {
    let script = conversation().turn("hm").stall().then(fix()).with_setup(proposal(&[SETUP], TEST));
    let files = files();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let mut world = World::builder().bare().files(&files).script(script).start().await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    world.model_asked(2).await;
    world.kill_service().await;
    // The recipe is recorded, and the plan that is used is not.
    world.rewind_to("setup_agent_ended").await;
    world.restart_service().await;
    world.model_asked(3).await;
    let recorded = world.transcript().await;
    let last = recorded.iter().rev().find_map(|one| match &one.event {
        TranscriptEvent::Prepared { settings, .. } => Some(settings.test_command.clone()),
        _ => None,
    });
    assert_eq!((last.as_deref(), searches(&world).await.0), (Some(TEST), 1));
    assert_eq!(world.stop_service().await, Some(0));
}

#[tokio::test]
async fn search_ends_at_its_part_of_the_budget() {
    let mut world = world(proposal(&[SETUP], TEST)).await;
    let priced =
        format!("price = {{ input = 100, output = 100 }}\n{ONLINE}[budget]\nusd = 1000\nsetup_usd = 0.05\n");
    world.start_service_with(&priced).await;
    world.label("octo-maintainer").await;
    let comments = world.until_comment("The test suite cannot be run").await;
    assert!(comments.contains("found none: it was ended"), "{comments}");
    assert_eq!(searches(&world).await, (1, vec![None]));
    assert_eq!(world.provider.request_count(), 0, "one answer could cost more than the part");
    world.end().await;
}

#[tokio::test]
async fn operator_can_turn_the_setup_agent_off() {
    let mut world = world(proposal(&[SETUP], TEST)).await;
    world.start_service_with(&format!("{ONLINE}[budget]\nsetup_usd = 0\n")).await;
    world.label("octo-maintainer").await;
    world.until_comment("The test suite cannot be run").await;
    assert_eq!((searches(&world).await, world.provider.request_count()), ((0, vec![]), 0));
    world.end().await;
}

#[tokio::test]
async fn host_that_is_not_allowed_is_the_operators_first_line() {
    let ask = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128; printf \"CONNECT files.example:443 HTTP/1.1\\r\\n\\r\\n\" >&3; \
               head -n 1 <&3'";
    let by_hand = ask.replace("files.example", "other.example");
    let search = conversation()
        .turn("I download.")
        .call("run_shell", json!({"command": by_hand}))
        .then(proposal(&[&format!("{ask}; exit 7")], TEST).expect(&["403 Forbidden"]))
        .then(giving_up("the test data at files.example").expect(&["It asked for files.example"]));
    let mut world = world(search).await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    let comments = world.until_comment("For the operator").await;
    for expected in [
        "The setup was refused files.example",
        "allowed_hosts = [\"registry.example\", \"files.example\"]",
        "test data",
        "By hand, the model asked for hosts that are not allowed: `other.example`",
    ] {
        assert!(comments.contains(expected), "{expected}: {comments}");
    }
    world.end().await;
}

#[tokio::test]
async fn killed_search_begins_again_within_the_same_part_of_the_budget() {
    let search =
        conversation().turn("I look.").call("list_files", json!({})).then(proposal(&[SETUP], TEST)).stall();
    let mut world = world(search).await;
    world.start_service_with(ONLINE).await;
    world.label("octo-maintainer").await;
    world.model_asked(2).await;
    world.kill_service().await;
    let address = world.restart_service().await;
    world.github.set_webhook_url(Some(format!("{address}/webhooks/github").parse().unwrap()));
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    let recipe = SetupRecipe { setup: vec![SETUP.to_owned()], test: TEST.to_owned() };
    assert_eq!(searches(&world).await, (2, vec![None, Some(recipe)]));
    let limits: Vec<u32> = world
        .transcript()
        .await
        .iter()
        .filter_map(|one| match one.event {
            TranscriptEvent::SetupAgentStarted { turns_max, .. } => Some(turns_max),
            _ => None,
        })
        .collect();
    assert_eq!(limits, [25, 24], "the turns before the kill count");
    world.end().await;
}
