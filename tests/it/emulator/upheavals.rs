//! What can be made to befall an App, by a script and by a fault's rule.

use serde_json::{Value, json};

use super::Bench;

async fn disrupt(bench: &Bench, upheaval: Value) -> u16 {
    let address = format!("{}_emulator/upheavals", bench.github.url());
    bench.client.post(address).json(&upheaval).send().await.unwrap().status().as_u16()
}

/// The status with which the App is told of its issue 1.
async fn told(bench: &Bench, token: &str) -> u16 {
    bench.repo("GET", "/issues/1", token, Value::Null).await.status
}

#[tokio::test]
async fn each_upheaval_is_what_the_app_then_meets() {
    for (upheaval, status) in [
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
        let bench = Bench::start().await;
        bench.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
        let token = bench.token().await;
        assert_eq!(told(&bench, &token).await, 200);
        assert_eq!(disrupt(&bench, upheaval.clone()).await, 200);
        assert_eq!(told(&bench, &token).await, status, "{upheaval}");
    }
    let bench = Bench::start().await;
    assert_eq!(disrupt(&bench, json!({"lock": {"issue": 9}})).await, 404);
    assert_eq!(disrupt(&bench, json!("explode")).await, 422);
}

#[tokio::test]
async fn a_rule_has_it_happen_right_before_its_request() {
    let bench = Bench::start().await;
    bench.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    let token = bench.token().await;
    let address = format!("{}_emulator/faults", bench.github.url());
    let rule = json!({"method": "POST", "path": "/comments$", "fault": {"first": {"lock": {"issue": 1}}}});
    assert_eq!(bench.client.post(address).json(&rule).send().await.unwrap().status(), 200);
    assert_eq!(told(&bench, &token).await, 200);
    let comment = json!({"body": "Hello"});
    let reply = bench.repo("POST", "/issues/1/comments", &token, comment).await;
    assert_eq!(reply.status, 403, "{:?}", reply.body);
}

#[tokio::test]
async fn a_history_is_rewritten_and_the_push_is_told_as_forced() {
    let bench = Bench::start().await;
    let before = bench.head("main");
    let files = json!({"README.md": "# Anew\n"});
    assert_eq!(disrupt(&bench, json!({"force_push": {"branch": "main", "files": files}})).await, 200);
    let token = bench.token().await;
    let after = bench.head("main");
    assert_ne!(before, after);
    let compared = bench.repo("GET", &format!("/commits/{after}"), &token, Value::Null).await;
    assert_eq!(compared.body["parents"], json!([]), "{}", compared.body);
    assert_eq!(disrupt(&bench, json!({"force_push": {"branch": "nowhere", "files": {}}})).await, 404);
}

#[tokio::test]
async fn deliveries_come_twice_and_out_of_order() {
    let bench = Bench::start().await;
    assert_eq!(disrupt(&bench, json!({"duplicate_deliveries": {"count": 1}})).await, 200);
    bench.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    bench.github.deliveries_settled().await;
    assert_eq!(disrupt(&bench, json!({"reorder_deliveries": {"count": 2}})).await, 200);
    bench.github.label_issue(1, "a", "octo-writer").await.unwrap();
    bench.github.unlabel_issue(1, "a", "octo-writer").await.unwrap();
    let taken = bench.hooks.taken();
    let actions: Vec<Value> = taken.iter().map(|hook| hook.payload()["action"].clone()).collect();
    assert_eq!(actions, ["opened", "opened", "unlabeled", "labeled"]);
    let guid = |index: usize| taken[index].headers["x-github-delivery"].clone();
    assert_eq!(guid(0), guid(1));
}
