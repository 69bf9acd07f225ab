//! `mendwright doctor` against the emulated world: what it finds, and what it says to do.

use mendwright::demo::github::{FaultKind, FaultRule};
use regex::Regex;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{BINARY, World};

/// Exit code and standard output, with what differs from run to run in capitals.
async fn doctor(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(BINARY)
        .args(["doctor", "--config"])
        .arg(world.directory.path().join("mendwright.toml"))
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(world.directory.path().to_str().unwrap(), "DIR");
    let text = text.replace(world.github.url().as_str().trim_end_matches('/'), "GITHUB");
    let mut text = text;
    for (pattern, name) in [
        (r"127\.0\.0\.1:\d+", "HOST"),
        (r"\d+\.\d GB are free", "N GB are free"),
        (r"one was started: [^\n]*", "one was started: SANDBOX"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
        (r"installations/\d+", "installations/ID"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
    }
    (output.status.code().unwrap(), text)
}

/// Those of the lines that are about `names`.
fn about(text: &str, names: &[&str]) -> String {
    let is_about = |line: &str| {
        names.iter().any(|name| line.get(9..).is_some_and(|rest| rest.starts_with(&format!("{name}: "))))
    };
    let mut kept = Vec::new();
    let mut keep = false;
    for line in text.lines() {
        keep = is_about(line) || (keep && line.starts_with("         →"));
        if keep {
            kept.push(line);
        }
    }
    kept.join("\n")
}

async fn put(world: &World, path: &str, body: Value) {
    let url = world.github.url().join(&format!("_emulator/{path}")).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.put(url).body(body.to_string()).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn where_everything_works_it_says_so_and_disturbs_nothing() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    let hook = world.github.state()["webhook_url"].as_str().unwrap().replace("/webhooks/github", "");
    world.label("octo-maintainer").await;
    let reachable = [
        ("MENDWRIGHT_SERVER_PUBLIC_URL", hook.as_str()),
        ("MENDWRIGHT_MODEL_PRICE_INPUT", "1"),
        ("MENDWRIGHT_MODEL_PRICE_OUTPUT", "2"),
    ];
    let (code, text) = doctor(&world, &[], &reachable).await;
    insta::assert_snapshot!(text, @"");
    assert_eq!(code, 0);
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;

    let (code, json) = doctor(&world, &["--json"], &reachable).await;
    let answer: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &answer["ok"]), (0, &Value::Bool(true)));
    let first = &answer["checks"][0];
    assert_eq!(
        (&first["check"], &first["result"], &first["remedy"]),
        (&"configuration".into(), &"ok".into(), &Value::Null)
    );
    world.end().await;
}

#[tokio::test]
async fn what_is_missing_on_github_is_named_with_where_to_grant_it() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    put(
        &world,
        "installation",
        serde_json::json!({"permissions": {"metadata": "read", "issues": "read", "contents": "write"}}),
    )
    .await;
    put(&world, "webhook", serde_json::json!({"url": "http://127.0.0.1:1/hook", "secret": "another secret"}))
        .await;
    world.label("octo-maintainer").await;
    let (code, text) = doctor(&world, &[], &[("MENDWRIGHT_SERVER_PUBLIC_URL", "https://mend.example")]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(about(&text, &["permissions", "events", "webhook", "deliveries", "installations"]), @"");

    put(&world, "installation", serde_json::json!({"suspended": true})).await;
    let (_, text) = doctor(&world, &[], &[]).await;
    insta::assert_snapshot!(about(&text, &["installations", "webhook"]), @"");
    put(&world, "installation", serde_json::json!({"suspended": false})).await;
    world.end().await;
}

#[tokio::test]
async fn deliveries_that_we_refused_point_to_the_secret() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    let hook = world.github.state()["webhook_url"].clone();
    put(&world, "webhook", serde_json::json!({"url": hook, "secret": "another secret than ours"})).await;
    world.label("octo-maintainer").await;
    let (code, text) = doctor(&world, &[], &[]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(about(&text, &["deliveries"]), @"");
    world.end().await;
}

#[tokio::test]
async fn a_wrong_clock_and_a_key_that_is_refused_are_told_apart() {
    let mut world = World::of("fix", None).await;
    world.start_service().await;
    let refused = |date: &str| FaultRule {
        method: None,
        path: "^/app$".into(),
        times: 1,
        kind: FaultKind::Status {
            status: 401,
            headers: vec![("date".into(), date.into())],
            message: Some("'Expiration time' claim ('exp') is too far in the future".into()),
        },
    };
    world.github.inject_fault(refused("Wed, 25 Nov 2020 12:00:00 GMT")).unwrap();
    let (code, text) = doctor(&world, &[], &[]).await;
    assert_eq!(code, 1);
    let told = Regex::new(r"\d+ s ahead")
        .unwrap()
        .replace(&about(&text, &["clock", "GitHub App"]), "N s ahead")
        .into_owned();
    insta::assert_snapshot!(told, @"");
    let (code, text) = doctor(&world, &[], &[("MENDWRIGHT_GITHUB_APP_ID", "12345")]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(about(&text, &["clock", "GitHub App", "permissions"]), @"");
    world.end().await;
}

#[tokio::test]
async fn a_system_that_is_half_configured_is_reported_as_far_as_it_goes() {
    let mut world = World::of("fix", None).await;
    world.start_service_without_app(&[], &[]).await;
    let nowhere = [
        ("MENDWRIGHT_MODEL_URL", "http://127.0.0.1:1/v1"),
        ("MENDWRIGHT_BUDGET_TURNS", "many"),
        ("MENDWRIGHT_SANDBOX_KIND", "magic"),
    ];
    let (code, text) = doctor(&world, &[], &nowhere).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @"");
    world.end().await;
}

#[tokio::test]
async fn a_call_of_the_model_is_made_only_when_asked_for() {
    let conversation = serde_json::json!({
        "model": "scripted-1", "brief": [{"say": "ready"}], "turns": [{"say": "ready"}],
    });
    let mut world = World::of("fix", Some(conversation)).await;
    world.start_service().await;
    let (_, text) = doctor(&world, &[], &[]).await;
    assert!(!text.contains("model call"), "{text}");
    assert!(world.provider.requests().is_empty());
    let (_, text) = doctor(&world, &["--model-call"], &[]).await;
    insta::assert_snapshot!(about(&text, &["model", "model call"]).replace(char::is_numeric, "N"), @"");
    assert_eq!(world.provider.requests().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn without_a_configuration_there_is_nothing_to_go_by() {
    let world = World::of("fix", None).await;
    let (code, text) = doctor(&world, &[], &[]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @"");
    world.end().await;
}
