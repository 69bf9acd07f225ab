//! Disruptions, triggered by a script and by the rule of a fault.

use serde_json::{Value, json};

use super::EmulatorTest;

async fn disrupt(test: &EmulatorTest, disruption: Value) -> u16 {
    let address = format!("{}_emulator/disruptions", test.github.url());
    test.client.post(address).json(&disruption).send().await.unwrap().status().as_u16()
}

/// The status of the App's request for issue 1.
async fn issue_status(test: &EmulatorTest, token: &str) -> u16 {
    test.repo("GET", "/issues/1", token, Value::Null).await.status
}

#[tokio::test]
async fn each_disruption_changes_the_answer_to_the_app() {
    for (disruption, status) in [
        (json!("revoke_tokens"), 401),
        (json!("expire_tokens"), 401),
        (json!("suspend"), 403),
        (json!("uninstall"), 401),
        (json!({"grant": {"permissions": {"metadata": "read"}}}), 403),
        (json!("take_out"), 404),
        (json!({"rename": {"name": "specimen"}}), 301),
        (json!({"transfer": {"owner": "octo-heirs"}}), 301),
        (json!("archive"), 200),
        (json!("delete"), 404),
        (json!({"rate_limit": {"max": 10, "used": 10, "resets_in_seconds": 60}}), 403),
    ] {
        let test = EmulatorTest::start().await;
        test.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
        let token = test.token().await;
        assert_eq!(issue_status(&test, &token).await, 200);
        assert_eq!(disrupt(&test, disruption.clone()).await, 200);
        assert_eq!(issue_status(&test, &token).await, status, "{disruption}");
    }
    let test = EmulatorTest::start().await;
    assert_eq!(disrupt(&test, json!({"lock": {"issue": 9}})).await, 404);
    assert_eq!(disrupt(&test, json!("explode")).await, 422);
}

#[tokio::test]
async fn fault_rule_applies_a_disruption_right_before_its_request() {
    let test = EmulatorTest::start().await;
    test.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    let token = test.token().await;
    let address = format!("{}_emulator/faults", test.github.url());
    let rule = json!({"method": "POST", "path": "/comments$", "fault": {"first": {"lock": {"issue": 1}}}});
    assert_eq!(test.client.post(address).json(&rule).send().await.unwrap().status(), 200);
    assert_eq!(issue_status(&test, &token).await, 200);
    let comment = json!({"body": "Hello"});
    let reply = test.repo("POST", "/issues/1/comments", &token, comment).await;
    assert_eq!(reply.status, 403, "{:?}", reply.body);
}

#[tokio::test]
async fn force_push_replaces_the_history() {
    let test = EmulatorTest::start().await;
    let before = test.head("main");
    let files = json!({"README.md": "# New\n"});
    assert_eq!(disrupt(&test, json!({"force_push": {"branch": "main", "files": files}})).await, 200);
    let token = test.token().await;
    let after = test.head("main");
    assert_ne!(before, after);
    let compared = test.repo("GET", &format!("/commits/{after}"), &token, Value::Null).await;
    assert_eq!(compared.body["parents"], json!([]), "{}", compared.body);
    assert_eq!(disrupt(&test, json!({"force_push": {"branch": "nowhere", "files": {}}})).await, 404);
}

#[tokio::test]
async fn deliveries_are_duplicated_and_reordered() {
    let test = EmulatorTest::start().await;
    assert_eq!(disrupt(&test, json!({"duplicate_deliveries": {"count": 1}})).await, 200);
    test.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    test.github.deliveries_settled().await;
    assert_eq!(disrupt(&test, json!({"reorder_deliveries": {"count": 2}})).await, 200);
    test.github.label_issue(1, "a", "octo-writer").await.unwrap();
    test.github.unlabel_issue(1, "a", "octo-writer").await.unwrap();
    let taken = test.webhooks.received();
    let actions: Vec<Value> = taken.iter().map(|hook| hook.payload()["action"].clone()).collect();
    assert_eq!(actions, ["opened", "opened", "unlabeled", "labeled"]);
    let guid = |index: usize| taken[index].headers["x-github-delivery"].clone();
    assert_eq!(guid(0), guid(1));
}

#[tokio::test]
async fn former_name_of_the_disruptions_route_still_works() {
    let test = EmulatorTest::start().await;
    let address = format!("{}_emulator/upheavals", test.github.url());
    let reply = test.client.post(address).json(&json!("archive")).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(test.github.state()["repositories"][0]["archived"], true);
}
