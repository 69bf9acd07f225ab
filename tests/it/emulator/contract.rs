//! Checks every operation and every webhook against GitHub's own schemas.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::schemas::Contract;
use super::{EmulatorTest, REPOSITORY, git};

/// Two operations that Mendwright must never use. They exist only to be counted, and the contract lacks them.
const NEVER_CALLED: [&str; 2] = ["pulls/merge", "graphql"];

#[tokio::test(flavor = "multi_thread")]
async fn every_response_and_webhook_matches_githubs_schema() {
    let test = EmulatorTest::start_with(|options| {
        let granted = [
            ("checks", "write"),
            ("contents", "write"),
            ("issues", "write"),
            ("metadata", "read"),
            ("pull_requests", "write"),
            ("statuses", "read"),
        ];
        options.permissions = granted.map(|(name, level)| (name.to_owned(), level.to_owned())).into();
    })
    .await;
    let token = test.token().await;
    as_the_app(&test).await;
    issues_and_labels(&test, &token).await;
    repository_and_references(&test, &token).await;
    pull_requests(&test, &token).await;
    checks(&test).await;
    let reply =
        test.send("DELETE", "/installation/token", Some(&format!("token {token}")), Value::Null).await;
    assert_eq!(reply.status, 204);
    test.github.deliveries_settled().await;

    let contract = Contract::rest();
    let record = std::fs::read_to_string(test.directory.path().join("record.jsonl")).unwrap();
    let mut violations = Vec::new();
    let mut succeeded = BTreeSet::new();
    for line in record.lines() {
        let exchange: Value = serde_json::from_str(line).unwrap();
        violations.extend(contract.exchange_violations(&exchange));
        if exchange["status"].as_u64().unwrap() < 300 {
            succeeded.extend(contract.operation_id(&exchange));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let known: BTreeSet<String> = mendwright_emulator::github::EmulatedGitHub::operations()
        .filter(|id| !NEVER_CALLED.contains(id))
        .map(str::to_owned)
        .collect();
    let untested: Vec<&String> = known.difference(&succeeded).collect();
    assert!(untested.is_empty(), "no successful answer was seen of {untested:?}");

    let contract = Contract::webhooks();
    let mut violations = Vec::new();
    for hook in test.webhooks.received() {
        violations.extend(contract.webhook_violations(&hook.headers["x-github-event"], &hook.payload()));
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let seen: BTreeSet<String> = test.webhooks.names().into_iter().collect();
    let expected = [
        "delete",
        "issue_comment.created",
        "issue_comment.deleted",
        "issue_comment.edited",
        "issues.closed",
        "issues.edited",
        "issues.labeled",
        "issues.opened",
        "issues.reopened",
        "issues.unlabeled",
        "pull_request.closed",
        "pull_request.opened",
        "pull_request.ready_for_review",
        "pull_request.reopened",
        "pull_request.synchronize",
        "pull_request_review.submitted",
        "pull_request_review_comment.created",
        "push",
    ];
    assert_eq!(seen, expected.map(str::to_owned).into());
    test.github.shut_down().await;
}

async fn as_the_app(test: &EmulatorTest) {
    let jwt = format!("Bearer {}", test.jwt());
    let credentials = test.github.credentials();
    let installation = credentials.installation_id;
    // An entry of the delivery log, to be sent twice.
    let issue = test.github.open_issue("First", "Body", "octo-reader").unwrap();
    test.github.label_issue(issue, "agent-fix", "octo-maintainer").await.unwrap();
    let get = async |path: &str| {
        let reply = test.send("GET", path, Some(&jwt), Value::Null).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.body
    };
    get("/app").await;
    get("/app/installations").await;
    get(&format!("/app/installations/{installation}")).await;
    get(&format!("/repos/{REPOSITORY}/installation")).await;
    get("/app/hook/config").await;
    let deliveries = get("/app/hook/deliveries?per_page=1").await;
    let id = &deliveries[0]["id"];
    get(&format!("/app/hook/deliveries/{id}")).await;
    let again = format!("/app/hook/deliveries/{id}/attempts");
    assert_eq!(test.send("POST", &again, Some(&jwt), Value::Null).await.status, 202);
    let config = json!({"content_type": "json", "url": test.webhooks.url});
    assert_eq!(test.send("PATCH", "/app/hook/config", Some(&jwt), config).await.status, 200);
    let code = test.github.issue_manifest_code().unwrap();
    let conversion = format!("/app-manifests/{code}/conversions");
    assert_eq!(test.send("POST", &conversion, None, Value::Null).await.status, 201);
    assert_eq!(test.send("POST", &conversion, None, Value::Null).await.status, 404);
    let narrow = json!({"repositories": ["greeter"], "permissions": {"issues": "read"}});
    let token = format!("token {}", test.token_for(narrow).await);
    let slug = &credentials.slug;
    for path in [
        "/installation/repositories".to_owned(),
        format!("/apps/{slug}"),
        format!("/users/{slug}%5Bbot%5D"),
        "/users/octo-reader".to_owned(),
        "/rate_limit".to_owned(),
    ] {
        let reply = test.send("GET", &path, Some(&token), Value::Null).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
    }
    assert_eq!(test.send("GET", "/users/nobody", Some(&token), Value::Null).await.status, 404);
}

async fn issues_and_labels(test: &EmulatorTest, token: &str) {
    let expect = async |status: u16, method: &str, path: &str, body: Value| {
        let reply = test.repo(method, path, token, body).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        reply.body
    };
    let label = json!({"name": "needs human", "color": "ff0000", "description": "Look here"});
    expect(201, "POST", "/labels", label.clone()).await;
    expect(422, "POST", "/labels", label).await;
    expect(200, "GET", "/labels/needs%20human", Value::Null).await;
    expect(200, "GET", "/labels", Value::Null).await;
    let new = json!({"title": "Second", "body": "By the App", "labels": ["bug"]});
    let number = expect(201, "POST", "/issues", new).await["number"].clone();
    let at = |rest: &str| format!("/issues/{number}{rest}");
    expect(200, "PATCH", &at(""), json!({"title": "Second, edited", "state": "closed"})).await;
    expect(200, "PATCH", &at(""), json!({"state": "open", "labels": ["agent-fix"]})).await;
    expect(200, "GET", &at(""), Value::Null).await;
    expect(200, "GET", "/issues?state=all&labels=agent-fix&sort=updated&direction=asc", Value::Null).await;
    expect(422, "GET", "/issues?state=odd", Value::Null).await;
    expect(200, "POST", &at("/labels"), json!({"labels": ["needs human"]})).await;
    expect(200, "GET", &at("/events"), Value::Null).await;
    expect(200, "GET", &at("/labels"), Value::Null).await;
    expect(200, "DELETE", &at("/labels/needs%20human"), Value::Null).await;
    expect(404, "DELETE", &at("/labels/needs%20human"), Value::Null).await;
    expect(201, "POST", &at("/reactions"), json!({"content": "eyes"})).await;
    let eyes = expect(200, "POST", &at("/reactions"), json!({"content": "eyes"})).await;
    expect(422, "POST", &at("/reactions"), json!({"content": "shrug"})).await;
    expect(200, "GET", &at("/reactions"), Value::Null).await;
    expect(204, "DELETE", &at(&format!("/reactions/{}", eyes["id"])), Value::Null).await;
    let comment = expect(201, "POST", &at("/comments"), json!({"body": "Working on it"})).await;
    expect(200, "GET", &at("/comments"), Value::Null).await;
    let at = |rest: &str| format!("/issues/comments/{}{rest}", comment["id"]);
    expect(201, "POST", &at("/reactions"), json!({"content": "rocket"})).await;
    expect(200, "PATCH", &at(""), json!({"body": "Done"})).await;
    expect(200, "GET", &at(""), Value::Null).await;
    expect(204, "DELETE", &at(""), Value::Null).await;
    expect(404, "GET", &at(""), Value::Null).await;
    expect(404, "GET", "/issues/999", Value::Null).await;
}

async fn repository_and_references(test: &EmulatorTest, token: &str) {
    let expect = async |status: u16, method: &str, path: &str, body: Value| {
        let reply = test.repo(method, path, token, body).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        reply.body
    };
    let head = test.head("main");
    let id = expect(200, "GET", "", Value::Null).await["id"].clone();
    let by_id = format!("/repositories/{id}/branches/main");
    let reply = test.send("GET", &by_id, Some(&format!("Bearer {token}")), Value::Null).await;
    assert_eq!(reply.status, 200);
    expect(200, "GET", "/collaborators/octo-triager/permission", Value::Null).await;
    expect(200, "GET", "/branches/main", Value::Null).await;
    expect(404, "GET", "/branches/missing", Value::Null).await;
    expect(200, "GET", "/commits/main", Value::Null).await;
    expect(200, "GET", &format!("/commits/{head}"), Value::Null).await;
    expect(422, "GET", "/commits/missing", Value::Null).await;
    let file = expect(200, "GET", "/contents/src/greeter.py?ref=main", Value::Null).await;
    assert_eq!((&file["type"], &file["encoding"]), (&json!("file"), &json!("base64")));
    let root = expect(200, "GET", "/contents/", Value::Null).await;
    assert_eq!(root.as_array().unwrap().len(), 2);
    expect(200, "GET", "/contents/src", Value::Null).await;
    expect(404, "GET", "/contents/missing.py", Value::Null).await;
    expect(200, "GET", "/git/ref/heads/main", Value::Null).await;
    expect(404, "GET", "/git/ref/heads/missing", Value::Null).await;
    let commit = test.branch_with_a_commit("topic", token).await;
    expect(200, "GET", "/compare/main...topic", Value::Null).await;
    let new = json!({"ref": "refs/heads/other", "sha": head});
    expect(201, "POST", "/git/refs", new.clone()).await;
    expect(422, "POST", "/git/refs", new).await;
    expect(422, "PATCH", "/git/refs/heads/missing", json!({"sha": head})).await;
    expect(200, "PATCH", "/git/refs/heads/other", json!({"sha": commit})).await;
    expect(422, "PATCH", "/git/refs/heads/other", json!({"sha": head})).await;
    expect(200, "PATCH", "/git/refs/heads/other", json!({"sha": head, "force": true})).await;
    expect(200, "GET", "/git/matching-refs/heads/", Value::Null).await;
    expect(204, "DELETE", "/git/refs/heads/other", Value::Null).await;
}

async fn pull_requests(test: &EmulatorTest, token: &str) {
    let expect = async |status: u16, method: &str, path: &str, body: Value| {
        let reply = test.repo(method, path, token, body).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        reply.body
    };
    let new = json!({"title": "Fix", "body": "Fixes #1", "head": "topic", "base": "main", "draft": true});
    let made = expect(201, "POST", "/pulls", new).await;
    assert_eq!((&made["draft"], &made["changed_files"]), (&json!(true), &json!(1)));
    let number = &made["number"];
    let at = |rest: &str| format!("/pulls/{number}{rest}");
    expect(200, "GET", &at(""), Value::Null).await;
    expect(200, "GET", "/pulls?head=octo-maintainer:topic&base=main&state=all", Value::Null).await;
    expect(200, "PATCH", &at(""), json!({"title": "Fix it", "body": "Better words"})).await;
    expect(200, "GET", &at("/files"), Value::Null).await;
    expect(200, "GET", &at("/commits"), Value::Null).await;
    expect(201, "POST", &at("/requested_reviewers"), json!({"reviewers": ["octo-writer"]})).await;
    expect(200, "GET", &at("/requested_reviewers"), Value::Null).await;
    expect(200, "DELETE", &at("/requested_reviewers"), json!({"reviewers": ["octo-writer"]})).await;
    expect(422, "POST", &at("/requested_reviewers"), json!({"reviewers": ["outsider"]})).await;
    expect(200, "POST", &at("/reviews"), json!({"event": "COMMENT", "body": "A note"})).await;
    expect(422, "POST", &at("/reviews"), json!({"event": "APPROVE"})).await;
    let lines = [("src/greeter.py", 2, "Why not an f-string?")];
    let review = test.github.review(
        number.as_u64().unwrap(),
        "CHANGES_REQUESTED",
        "Almost",
        &lines,
        "octo-maintainer",
    );
    let review = review.await.unwrap();
    expect(200, "GET", &at("/reviews"), Value::Null).await;
    let comments = expect(200, "GET", &at(&format!("/reviews/{review}/comments")), Value::Null).await;
    let reply = format!("/comments/{}/replies", comments[0]["id"]);
    expect(201, "POST", &at(&reply), json!({"body": "Done"})).await;
    expect(200, "GET", &at("/comments"), Value::Null).await;
    // A push to the branch updates the pull request.
    let clone = git::clone(test, &test.directory.path().join("second-round"), token);
    let parent = clone.find_reference("refs/remotes/origin/topic").unwrap().target().unwrap();
    clone.set_head_detached(parent).unwrap();
    let commit = git::commit(&clone, &[("NEWS.md", "Greets\n")], "Tell of it");
    git::push(&clone, token, &format!("{commit}:refs/heads/topic")).unwrap();
    let moved = expect(200, "GET", &at(""), Value::Null).await;
    assert_eq!(moved["head"]["sha"], commit.to_string());
    assert_eq!(moved["commits"], 2);
    expect(404, "GET", &at("/merge"), Value::Null).await;
    expect(200, "PATCH", &at(""), json!({"state": "closed"})).await;
    expect(200, "PATCH", &at(""), json!({"state": "open"})).await;
    // Merged by a person, so that this too has been asked.
    test.github.mark_ready(number.as_u64().unwrap(), "octo-maintainer").await.unwrap();
    let merged = test.github.merge(number.as_u64().unwrap(), "octo-maintainer").await.unwrap();
    assert_eq!(test.head("main"), merged);
    expect(204, "GET", &at("/merge"), Value::Null).await;
}

async fn checks(test: &EmulatorTest) {
    let token = test.token().await;
    let expect = async |status: u16, method: &str, path: &str, body: Value| {
        let reply = test.repo(method, path, &token, body).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        reply.body
    };
    let head = test.head("main");
    let run = json!({"name": "mendwright", "head_sha": head, "status": "in_progress", "external_id": "job"});
    let id = expect(201, "POST", "/check-runs", run).await["id"].clone();
    expect(422, "POST", "/check-runs", json!({"name": "x", "head_sha": "0".repeat(40)})).await;
    expect(200, "GET", &format!("/check-runs/{id}"), Value::Null).await;
    let done = json!({"conclusion": "success", "output": {"title": "Green", "summary": "12 passed"}});
    expect(200, "PATCH", &format!("/check-runs/{id}"), done).await;
    let half = json!({"status": "completed"});
    expect(422, "PATCH", &format!("/check-runs/{id}"), half).await;
    expect(200, "GET", "/commits/main/check-runs", Value::Null).await;
    expect(200, "GET", "/commits/main/status", Value::Null).await;
}
