//! `mendwright doctor` against the emulated GitHub: what it finds, and what it says to do.

use mendwright_emulator::github::{FaultKind, FaultRule};
use regex::Regex;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{BINARY, World};

/// Exit code and standard output; capitals stand for values that differ from run to run.
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
    let code = output.status.code().unwrap();
    if arguments.contains(&"--json") {
        return (code, text);
    }
    let text = text.replace(world.directory.path().to_str().unwrap(), "DIR");
    let text = text.replace(world.github.url().as_str().trim_end_matches('/'), "GITHUB");
    let mut text = text;
    for (pattern, name) in [
        (r"127\.0\.0\.1:\d+", "HOST"),
        (r"\d+\.\d GB are free", "N GB are free"),
        (r"a sandbox was started: [^\n]*", "a sandbox was started: SANDBOX"),
        // The installation's own delivery may be under way.
        (r"the last \d+ deliveries arrived", "the last N deliveries arrived"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
        (r"installations/\d+", "installations/ID"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
    }
    (code, text)
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
async fn working_system_passes_every_check_and_is_not_disturbed() {
    let mut world = World::new().await;
    world.start_service().await;
    let hook = world.github.state()["webhook_url"].as_str().unwrap().replace("/webhooks/github", "");
    world.label("octo-maintainer").await;
    let reachable = [
        ("MENDWRIGHT_SERVER_PUBLIC_URL", hook.as_str()),
        ("MENDWRIGHT_MODEL_PRICE_INPUT", "1"),
        ("MENDWRIGHT_MODEL_PRICE_OUTPUT", "2"),
    ];
    let (code, text) = doctor(&world, &[], &reachable).await;
    insta::assert_snapshot!(text, @r"
    ok       configuration: DIR/mendwright.toml can be used
    ok       private key: it can be used, and other accounts cannot read it
    ok       GitHub: GITHUB/api/v3 answers
    ok       clock: it agrees with GitHub's
    ok       GitHub App: GitHub knows the App as mendwright-demo
    ok       permissions: the App has exactly the permissions that it needs
    ok       events: the App subscribes to issues, issue_comment, pull_request, pull_request_review, pull_request_review_comment, check_run, delete
    ok       webhook: GitHub delivers to http://HOST/webhooks/github
    ok       deliveries: the last N deliveries arrived
    ok       installations: octo-maintainer granted all needed permissions
    ok       sandbox: a sandbox was started: SANDBOX
    ok       model: http://HOST/ accepts the key and has scripted-1
    ok       price: scripted-1: $1 in, $2 out for a million tokens
    ok       data directory: DIR/data is writable
    ok       disk: N GB are free
    ok       git mirrors: DIR/data/mirrors is writable

    everything works
    ");
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
async fn missing_permission_on_github_is_reported_with_the_page_that_grants_it() {
    let mut world = World::new().await;
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
    insta::assert_snapshot!(about(&text, &["permissions", "events", "webhook", "deliveries", "installations"]), @r"
    ok       permissions: the App has exactly the permissions that it needs
    ok       events: the App subscribes to issues, issue_comment, pull_request, pull_request_review, pull_request_review_comment, check_run, delete
    FAILURE  webhook: GitHub delivers to http://HOST/hook, but server.public_url is for https://mend.example/webhooks/github
             → Correct the address at GITHUB/settings/apps/mendwright-demo, or server.public_url.
    FAILURE  deliveries: the newest delivery (issues at TIME) failed: 502 (failed to connect to host)
             → GitHub could not reach the service: check that it runs, that its address is reachable from outside, and that the proxy in front of it forwards POST. The log is at GITHUB/settings/apps/mendwright-demo/advanced.
    FAILURE  installations: octo-maintainer has not granted checks: write, issues: write, pull_requests: write
             → An owner can accept them at GITHUB/settings/installations/ID.
    ");

    put(&world, "installation", serde_json::json!({"suspended": true})).await;
    let (_, text) = doctor(&world, &[], &[]).await;
    insta::assert_snapshot!(about(&text, &["installations", "webhook"]), @r"
    FAILURE  webhook: GitHub delivers to http://HOST/hook, but the service accepts deliveries at /webhooks/github
             → Correct the address at GITHUB/settings/apps/mendwright-demo.
    warning  installations: octo-maintainer has suspended the App
             → Its owner can unsuspend it at GITHUB/settings/installations/ID.
    ");
    put(&world, "installation", serde_json::json!({"suspended": false})).await;
    world.end().await;
}

#[tokio::test]
async fn refused_delivery_points_to_the_webhook_secret() {
    let mut world = World::new().await;
    world.start_service().await;
    let hook = world.github.state()["webhook_url"].clone();
    put(&world, "webhook", serde_json::json!({"url": hook, "secret": "another secret than ours"})).await;
    world.label("octo-maintainer").await;
    let (code, text) = doctor(&world, &[], &[]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(about(&text, &["deliveries"]), @r"
    FAILURE  deliveries: the newest delivery (issues at TIME) failed: 401 (Unauthorized)
             → The webhook secrets differ: set the same one in github.webhook_secret and on the App. The log is at GITHUB/settings/apps/mendwright-demo/advanced.
    ");
    world.end().await;
}

#[tokio::test]
async fn wrong_clock_and_refused_key_are_reported_separately() {
    let mut world = World::new().await;
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
    let checks = Regex::new(r"\d+ s ahead")
        .unwrap()
        .replace(&about(&text, &["clock", "GitHub App"]), "N s ahead")
        .into_owned();
    insta::assert_snapshot!(checks, @r"
    FAILURE  clock: this machine's clock is N s ahead of GitHub's; GitHub refuses its signatures
             → Set the clock from the network: `timedatectl set-ntp true`, or chrony.
    FAILURE  GitHub App: forbidden by GitHub (reading the App itself): status 401 Unauthorized: 'Expiration time' claim ('exp') is too far in the future; check github.app_id, the App's private key and this machine's clock
             → Check that github.app_id and the private key belong to the same App, that the key was not deleted on GitHub, and that the clock is right.
    ");
    let (code, text) = doctor(&world, &[], &[("MENDWRIGHT_GITHUB_APP_ID", "12345")]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(about(&text, &["clock", "GitHub App", "permissions"]), @r"
    ok       clock: it agrees with GitHub's
    FAILURE  GitHub App: forbidden by GitHub (reading the App itself): status 401 Unauthorized: 'Issuer' claim ('iss') must be the App's id or client id; check github.app_id, the App's private key and this machine's clock
             → Check that github.app_id and the private key belong to the same App, that the key was not deleted on GitHub, and that the clock is right.
    -        permissions: not checked: GitHub did not accept the App's credentials
    ");
    world.end().await;
}

#[tokio::test]
async fn partly_configured_system_is_checked_as_far_as_possible() {
    let mut world = World::new().await;
    world.start_service_without_app(&[], &[]).await;
    let nowhere = [
        ("MENDWRIGHT_MODEL_URL", "http://127.0.0.1:1/v1"),
        ("MENDWRIGHT_BUDGET_TURNS", "many"),
        ("MENDWRIGHT_SANDBOX_KIND", "magic"),
    ];
    let (code, text) = doctor(&world, &[], &nowhere).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r#"
    FAILURE  configuration: environment variable MENDWRIGHT_SANDBOX_KIND: sandbox.kind = "magic" is not a known value; write "bubblewrap" or "docker"
             → Correct this; the service does not start without it.
    FAILURE  configuration: environment variable MENDWRIGHT_BUDGET_TURNS: budget.turns = "many" is not a number in range; write a number from 1 to 10000, without quotes
             → Correct this; the service does not start without it.
    FAILURE  GitHub App: there are no credentials: no App is configured, and none was registered
             → Start `mendwright serve`, open the page that it prints, and register an App; or configure [github].
    -        sandbox: not checked: its configuration cannot be used
    FAILURE  model: http://HOST/v1 cannot be reached: Connection refused (os error 111)
             → Check that this machine can reach it (name, proxy, firewall), and that model.url is right.
    warning  price: no price is known for scripted-1, so budget.usd has no effect
             → State its price in [model.price]; the limits of tokens, turns and minutes hold without it.
    ok       data directory: DIR/data is writable
    ok       disk: N GB are free
    ok       git mirrors: the first job creates DIR/data/mirrors

    failures: 4, warnings: 1
    "#);
    world.end().await;
}

#[tokio::test]
async fn model_is_called_only_with_the_option() {
    let conversation = serde_json::json!({
        "model": "scripted-1", "brief": [{"say": "ready"}], "turns": [{"say": "ready"}],
    });
    let mut world = World::scripted(conversation.into()).await;
    world.start_service().await;
    let (_, text) = doctor(&world, &[], &[]).await;
    assert!(!text.contains("model call"), "{text}");
    assert!(world.provider.requests().is_empty());
    let (_, text) = doctor(&world, &["--model-call"], &[]).await;
    insta::assert_snapshot!(about(&text, &["model", "model call"]).replace(char::is_numeric, "N"), @r"
    ok       model: http://HOST/ accepts the key and has scripted-N
    ok       model call: scripted-N answered (N tokens)
    ");
    assert_eq!(world.provider.requests().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn missing_configuration_skips_everything_else() {
    let world = World::new().await;
    let (code, text) = doctor(&world, &[], &[]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r"
    FAILURE  configuration: DIR/mendwright.toml: cannot be read: No such file or directory (os error 2); give the path of your configuration with --config
             → Correct this, and run `mendwright doctor` again.
    -        everything else: not checked: there is no usable configuration

    failures: 1, warnings: 0
    ");
    world.end().await;
}
