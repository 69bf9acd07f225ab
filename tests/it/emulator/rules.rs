//! GitHub's rules: rejected requests, counters, pages, ETags, redeliveries, faults, the admin endpoint.

use mendwright_emulator::github::{FaultKind, FaultRule};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{EmulatorTest, REPOSITORY};

#[tokio::test(flavor = "multi_thread")]
async fn invalid_pull_request_is_rejected_with_githubs_message() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    test.branch_with_a_commit("topic", &token).await;
    let open = async |head: &str, base: &str, body: &str| {
        let new = json!({"title": "Fix", "head": head, "base": base, "body": body, "draft": true});
        test.repo("POST", "/pulls", &token, new).await
    };
    let unknown_head = open("missing", "main", "").await;
    assert_eq!(unknown_head.status, 422);
    assert_eq!(
        unknown_head.body["errors"],
        json!([{"resource": "PullRequest", "field": "head", "code": "invalid"}])
    );
    assert_eq!(open("topic", "missing", "").await.body["errors"][0]["field"], "base");
    let empty = open("main", "main", "").await;
    assert_eq!(empty.body["errors"][0]["message"], "No commits between main and main");
    assert_eq!(open("topic", "main", &"x".repeat(65_537)).await.status, 422);
    assert_eq!(open("topic", "main", &"é".repeat(65_536)).await.status, 201);
    let again = open("octo-maintainer:topic", "main", "").await;
    assert_eq!(again.status, 422);
    assert_eq!(
        again.body["errors"][0]["message"],
        "A pull request already exists for octo-maintainer:topic."
    );
    let number = test.github.state()["repositories"][0]["pulls"][0]["number"].as_u64().unwrap();
    test.github.close_issue(number, "octo-maintainer").await.unwrap();
    assert_eq!(open("topic", "main", "").await.status, 201, "a closed one does not block it");
}

#[tokio::test(flavor = "multi_thread")]
async fn merging_and_marking_as_ready_are_counted() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    test.branch_with_a_commit("topic", &token).await;
    let new = json!({"title": "Fix", "head": "topic", "base": "main", "draft": true});
    let made = test.repo("POST", "/pulls", &token, new).await.body;
    let merge = format!("/pulls/{}/merge", made["number"]);
    assert_eq!(test.repo("PUT", &merge, &token, json!({})).await.status, 405, "a draft");
    let query = "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) \
                 { pullRequest { isDraft } } }";
    let address = format!("{}api/graphql", test.github.url());
    let body = json!({"query": query, "variables": {"id": made["node_id"]}});
    let reply = test.client.post(address).bearer_auth(&token).json(&body).send().await.unwrap();
    let reply: Value = reply.json().await.unwrap();
    assert_eq!(reply["data"]["markPullRequestReadyForReview"]["pullRequest"]["isDraft"], false);
    let merged = test.repo("PUT", &merge, &token, json!({})).await;
    assert_eq!(merged.body["sha"], test.head("main"));
    let state = test.github.state();
    assert_eq!(state["calls"]["pulls/merge"], 2);
    assert_eq!(state["calls"]["graphql/markPullRequestReadyForReview"], 1);
    assert_eq!(state["repositories"][0]["pulls"][0]["merged"], true);
}

#[tokio::test]
async fn reference_to_a_missing_commit_is_rejected() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let create = async |name: &str, sha: &str| {
        test.repo("POST", "/git/refs", &token, json!({"ref": name, "sha": sha})).await
    };
    let unknown = create("refs/heads/topic", &"1".repeat(40)).await;
    assert_eq!((unknown.status, unknown.body["message"].as_str()), (422, Some("Object does not exist")));
    assert_eq!(create("topic", &test.head("main")).await.status, 422);
    assert_eq!(create("refs/heads/bad..name", &test.head("main")).await.status, 422);
    assert_eq!(create("refs/heads/topic", &test.head("main")).await.status, 201);
}

#[tokio::test]
async fn list_has_pages_with_links_to_the_others() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let issue = test.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    for number in 0..250 {
        let body = json!({"body": format!("Comment {number}")});
        let made = test.repo("POST", &format!("/issues/{issue}/comments"), &token, body).await;
        assert_eq!(made.status, 201);
    }
    let first = test.repo("GET", &format!("/issues/{issue}/comments"), &token, Value::Null).await;
    assert_eq!(first.body.as_array().unwrap().len(), 30);
    let list = format!("/issues/{issue}/comments?per_page=500&page=2");
    let second = test.repo("GET", &list, &token, Value::Null).await;
    assert_eq!(second.body.as_array().unwrap().len(), 100, "never more than a hundred");
    let links = &second.headers["link"];
    for relation in ["prev", "next", "last", "first"] {
        assert!(links.contains(&format!("rel=\"{relation}\"")), "{links}");
    }
    // The link is used unchanged.
    let next = links.split(", ").find(|link| link.contains("next")).unwrap();
    let next = next.trim_start_matches('<').split('>').next().unwrap();
    assert!(next.contains("/repositories/"), "{next}");
    let third = test.client.get(next).bearer_auth(&token).send().await.unwrap();
    let third: Value = third.json().await.unwrap();
    assert_eq!(third.as_array().unwrap().len(), 50);
    assert_eq!(third[49]["body"], "Comment 249");
}

#[tokio::test]
async fn known_etag_is_answered_with_304() {
    let test = EmulatorTest::start().await;
    let token = format!("Bearer {}", test.token().await);
    let path = format!("/repos/{REPOSITORY}/git/ref/heads/main");
    let first = test.send("GET", &path, Some(&token), Value::Null).await;
    let known = [("authorization", token.as_str()), ("if-none-match", first.headers["etag"].as_str())];
    let second = test.send_with("GET", &path, &known, Value::Null).await;
    assert_eq!((second.status, &second.body), (304, &Value::Null));
    let other = [("authorization", token.as_str()), ("if-none-match", "W/\"other\"")];
    assert_eq!(test.send_with("GET", &path, &other, Value::Null).await.status, 200);
}

#[tokio::test]
async fn redelivery_keeps_guid_and_body_and_is_signed() {
    let test = EmulatorTest::start().await;
    let issue = test.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    test.github.label_issue(issue, "agent-fix", "octo-maintainer").await.unwrap();
    assert_eq!(test.webhooks.names(), ["issues.opened", "issues.labeled"]);
    let sent = test.webhooks.received().pop().unwrap();
    let guid = &sent.headers["x-github-delivery"];
    test.github.redeliver(guid).await.unwrap();
    let again = test.webhooks.received().pop().unwrap();
    assert_eq!((&again.headers["x-github-delivery"], &again.body), (guid, &sent.body));
    let secret = test.github.credentials().webhook_secret.expose_secret().as_bytes();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let expected = format!("sha256={}", hex::encode(aws_lc_rs::hmac::sign(&key, &sent.body)));
    assert_eq!(sent.headers["x-hub-signature-256"], expected);
    assert!(sent.headers["user-agent"].starts_with("GitHub-Hookshot/"));
    assert_eq!(sent.headers["content-type"], "application/json");
    assert_eq!(sent.headers["x-github-hook-installation-target-type"], "integration");
    assert_eq!(
        sent.headers["x-github-hook-installation-target-id"],
        test.github.credentials().app_id.to_string()
    );
    let payload = sent.payload();
    assert_eq!(payload["sender"]["login"], "octo-maintainer");
    assert_eq!(payload["label"]["name"], "agent-fix");
    assert_eq!(payload["installation"]["id"], test.github.credentials().installation_id);

    let jwt = format!("Bearer {}", test.jwt());
    let log = test.send("GET", "/app/hook/deliveries?per_page=2", Some(&jwt), Value::Null).await;
    assert!(log.headers["link"].contains("cursor="), "{log:?}");
    assert_eq!((&log.body[0]["redelivery"], &log.body[1]["redelivery"]), (&json!(true), &json!(false)));
    assert_eq!(log.body[0]["guid"], log.body[1]["guid"]);
    assert_eq!(log.body[0]["status_code"], 202);
}

#[tokio::test]
async fn webhook_without_a_receiver_is_logged_and_not_retried() {
    let test = EmulatorTest::start().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    test.github.set_webhook_url(Some(address.parse().unwrap()));
    let issue = test.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    test.github.label_issue(issue, "agent-fix", "octo-maintainer").await.unwrap();
    let deliveries = test.github.state()["deliveries"].clone();
    assert_eq!(deliveries.as_array().unwrap().len(), 2);
    assert_eq!(deliveries[1]["status_code"], 502);
    assert_eq!(deliveries[1]["status"], "failed to connect to host");
    assert!(test.webhooks.received().is_empty());
}

#[tokio::test]
async fn fault_applies_to_the_requests_of_its_rule() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let issue = test.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    let comments = format!("/issues/{issue}/comments");
    let inject = |kind: FaultKind| {
        let method = Some("POST".to_owned());
        test.github.inject_fault(FaultRule { method, path: "/comments$".into(), times: 1, kind }).unwrap();
    };
    let comment = async || {
        let address = format!("{}/repos/{REPOSITORY}{comments}", test.github.api_url());
        let request = test.client.post(address).bearer_auth(&token).json(&json!({"body": "Hello"}));
        request.send().await?.bytes().await
    };
    let comment_count =
        || test.github.state()["repositories"][0]["issues"][0]["comments"].as_array().unwrap().len();

    inject(FaultKind::Status {
        status: 403,
        headers: vec![("retry-after".into(), "7".into()), ("x-ratelimit-remaining".into(), "0".into())],
        message: Some("You have exceeded a secondary rate limit.".into()),
    });
    let reply = test.repo("POST", &comments, &token, json!({"body": "Hello"})).await;
    assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (403, "7"));
    assert_eq!(reply.headers["x-ratelimit-remaining"], "0");
    assert_eq!(reply.body["message"], "You have exceeded a secondary rate limit.");
    assert_eq!(comment_count(), 0, "it was not carried out");
    inject(FaultKind::Drop);
    assert!(comment().await.is_err());
    assert_eq!(comment_count(), 0, "it was not carried out");
    inject(FaultKind::DropAfter);
    assert!(comment().await.is_err());
    assert_eq!(comment_count(), 1, "it was carried out without an answer");
    inject(FaultKind::Truncate);
    assert!(comment().await.is_err());
    assert_eq!(comment_count(), 2);
    assert!(comment().await.is_ok(), "each fault applies once");
}

#[tokio::test]
async fn locked_issue_rejects_comments_and_renamed_repository_redirects() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let issue = test.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    let admin = async |method: &str, path: &str, body: Value| {
        let address = format!("{}_emulator/{path}", test.github.url());
        let reply = test.client.request(method.parse().unwrap(), address).json(&body).send().await.unwrap();
        (reply.status().as_u16(), reply.json::<Value>().await.unwrap())
    };
    assert_eq!(admin("PATCH", &format!("issues/{issue}"), json!({"locked": true})).await.0, 200);
    let reply = test.repo("POST", &format!("/issues/{issue}/comments"), &token, json!({"body": "x"})).await;
    assert_eq!(reply.status, 403);
    assert_eq!(admin("PATCH", "repository", json!({"name": "hello"})).await.0, 200);
    let moved = test.repo("GET", "", &token, Value::Null).await;
    assert_eq!(moved.status, 301);
    let found = test.client.get(&moved.headers["location"]).bearer_auth(&token).send().await.unwrap();
    assert_eq!(found.json::<Value>().await.unwrap()["full_name"], "octo-maintainer/hello");
    assert_eq!(admin("PATCH", "repository", json!({"archived": true})).await.0, 200);
    let body = json!({"labels": ["x"]});
    let path = format!("/repos/octo-maintainer/hello/issues/{issue}/labels");
    let refused = test.send("POST", &path, Some(&format!("Bearer {token}")), body).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn admin_endpoint_changes_and_shows_the_state() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let admin = async |method: &str, path: &str, body: Value| {
        let address = format!("{}_emulator/{path}", test.github.url());
        let mut request = test.client.request(method.parse().unwrap(), address);
        if !body.is_null() {
            request = request.json(&body);
        }
        let reply = request.send().await.unwrap();
        (reply.status().as_u16(), reply.json::<Value>().await.unwrap())
    };
    let (_, made) =
        admin("POST", "issues", json!({"title": "Bug", "body": "It fails", "by": "octo-reader"})).await;
    assert_eq!(made["number"], 1);
    assert_eq!(made["deliveries_queued"].as_array().unwrap().len(), 1);
    assert_eq!(
        admin("POST", "issues/1/labels", json!({"label": "agent-fix", "by": "octo-writer"})).await.0,
        200
    );
    assert_eq!(admin("DELETE", "issues/1/labels/agent-fix?by=octo-writer", Value::Null).await.0, 200);
    assert_eq!(admin("DELETE", "issues/1/labels/agent-fix", Value::Null).await.0, 404);
    assert_eq!(admin("POST", "issues/1/comments", json!({"body": "Me too", "by": "outsider"})).await.0, 200);
    assert_eq!(admin("PUT", "users/outsider/permission", json!({"permission": "write"})).await.0, 200);
    assert_eq!(admin("POST", "issues/9/labels", json!({"label": "x"})).await.0, 404);
    assert_eq!(admin("POST", "issues", json!({"titel": "typo"})).await.0, 422);
    assert_eq!(admin("POST", "nothing", json!({})).await.0, 404);
    let fault = json!({"path": "/issues/1$", "times": 1, "fault": {"status": {"status": 502}}});
    assert_eq!(admin("POST", "faults", fault).await.0, 200);
    assert_eq!(test.repo("GET", "/issues/1", &token, Value::Null).await.status, 502);
    assert_eq!(admin("PUT", "webhook", json!({"url": null})).await.0, 200);
    test.github.deliveries_settled().await;
    let state = admin("GET", "state", Value::Null).await.1;
    let issue = &state["repositories"][0]["issues"][0];
    assert_eq!(issue["comments"][0]["author"], "outsider");
    assert_eq!(state["users"]["outsider"], "write");
    assert_eq!(state["settled"], true);
    assert_eq!(state["tokens"][0]["permissions"]["contents"], "write");
    assert_eq!(state["calls"]["apps/create-installation-access-token"], 1);
    assert!(!state.to_string().contains("ghs_"), "the state shows no token");
    assert_eq!(
        test.webhooks.names(),
        ["issues.opened", "issues.labeled", "issues.unlabeled", "issue_comment.created"]
    );
    let guid = state["deliveries"][1]["guid"].as_str().unwrap();
    let address = json!({"url": test.webhooks.url});
    assert_eq!(admin("PUT", "webhook", address).await.0, 200);
    assert_eq!(admin("POST", &format!("deliveries/{guid}/redeliver"), Value::Null).await.0, 200);
    test.github.deliveries_settled().await;
    assert_eq!(test.webhooks.received().last().unwrap().headers["x-github-delivery"], guid);
}
