//! Deliveries over real HTTP: which are authentic, what is recorded, and what the sender learns.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use mendwright::domain::{DeliveryRequest, RepositoryId};
use mendwright::store::{SqliteStore, Store};
use mendwright::webhook::{
    BodyReader, HANDLED_EVENTS, PAYLOAD_BYTES_MAX, WEBHOOK_PATH, WebhookSecrets, WebhookState, router,
};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

const SECRET: &str = "a webhook secret of some length";
const OLD_SECRET: &str = "the one that is being rotated out";

/// What is recorded of a delivery.
#[derive(Debug, PartialEq)]
struct RecordedDelivery {
    id: String,
    event: String,
    action: Option<String>,
    payload_sha256: String,
    request: Option<DeliveryRequest>,
}

struct Receiver {
    address: std::net::SocketAddr,
    store: SqliteStore,
    directory: tempfile::TempDir,
    wake_worker: Arc<Notify>,
    client: reqwest::Client,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("m.sqlite")).await.unwrap();
        let wake_worker = Arc::new(Notify::new());
        let state = WebhookState {
            repository_filter: Default::default(),
            secrets: WebhookSecrets::new(SECRET.into(), Some(OLD_SECRET.into())).unwrap(),
            label: "agent-fix".to_owned(),
            bots_allowed: vec!["helper[bot]".parse().unwrap()],
            store: Arc::new(store.clone()),
            bodies: BodyReader::default(),
            wake_worker: wake_worker.clone(),
            wake_commands: Arc::default(),
            wake_acknowledger: Arc::default(),
            wake_reconciler: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router(state)).await.unwrap() });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, store, directory, wake_worker, client, server }
    }

    fn url(&self) -> String {
        format!("http://{}{WEBHOOK_PATH}", self.address)
    }

    fn unsigned(&self, event: &str, id: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        self.client
            .post(self.url())
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .body(body.into())
    }

    async fn deliver(&self, event: &str, id: &str, body: &[u8]) -> (StatusCode, Value) {
        let request = self.unsigned(event, id, body).header("x-hub-signature-256", sign(SECRET, body));
        answer(request).await
    }

    /// A connection to the database beside the store's own.
    async fn database(&self) -> SqliteConnection {
        let file = self.directory.path().join("m.sqlite");
        SqliteConnectOptions::new().filename(file).connect().await.unwrap()
    }

    async fn recorded(&self) -> Vec<RecordedDelivery> {
        let mut database = self.database().await;
        let sql =
            "SELECT id, event, action, payload_sha256, request_json FROM deliveries ORDER BY received_at, id";
        let rows = sqlx::query(sql).fetch_all(&mut database).await.unwrap();
        let recorded = rows.iter().map(|row| RecordedDelivery {
            id: row.get("id"),
            event: row.get("event"),
            action: row.get("action"),
            payload_sha256: row.get("payload_sha256"),
            request: row
                .get::<Option<String>, _>("request_json")
                .map(|text| serde_json::from_str(&text).unwrap()),
        });
        recorded.collect()
    }
}

fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

fn labelled() -> Vec<u8> {
    json!({
        "action": "labeled",
        "label": {"name": "agent-fix"},
        "issue": {"number": 7, "title": "It breaks", "body": "See", "user": {"login": "ada", "id": 1},
            "labels": [{"name": "agent-fix"}]},
        "repository": {"id": 42, "full_name": "octo/repo"},
        "installation": {"id": 9},
        "sender": {"login": "grace", "id": 2, "type": "User"},
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn labelled_issue_is_recorded_and_wakes_a_worker() {
    let receiver = Receiver::start().await;
    let (status, body) = receiver.deliver("issues", "guid-1", &labelled()).await;
    assert_eq!((status, &body["outcome"]), (StatusCode::ACCEPTED, &json!("queued")));
    let recorded = receiver.recorded().await;
    let [delivery] = recorded.as_slice() else { panic!("{recorded:?}") };
    assert_eq!(delivery.id, "guid-1");
    assert_eq!((delivery.event.as_str(), delivery.action.as_deref()), ("issues", Some("labeled")));
    use sha2::Digest;
    assert_eq!(delivery.payload_sha256, hex::encode(Sha256::digest(labelled())));
    assert!(matches!(&delivery.request, Some(DeliveryRequest::Start(trigger))
        if trigger.issue.title == "It breaks" && trigger.labeller.as_str() == "grace"));
    receiver.wake_worker.notified().await;
}

#[tokio::test]
async fn delivery_signed_with_the_previous_secret_is_accepted_during_a_rotation() {
    let receiver = Receiver::start().await;
    let body = labelled();
    let request =
        receiver.unsigned("issues", "g", body.clone()).header("x-hub-signature-256", sign(OLD_SECRET, &body));
    assert_eq!(answer(request).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn forged_deliveries_get_the_same_answer_and_are_not_recorded() {
    let receiver = Receiver::start().await;
    let body = labelled();
    let good = sign(SECRET, &body);
    let with = |name: &'static str, value: String| {
        receiver.unsigned("issues", "g", body.clone()).header(name, value)
    };
    let forged = [
        receiver.unsigned("issues", "g", body.clone()),
        with("x-hub-signature", format!("sha1={}", "0".repeat(40))),
        with("x-hub-signature-256", String::new()),
        with("x-hub-signature-256", "sha256=zz".to_owned()),
        with("x-hub-signature-256", good[..good.len() - 2].to_owned()),
        with("x-hub-signature-256", format!("{good}00")),
        with("x-hub-signature-256", good.replace("sha256=", "sha512=")),
        with("x-hub-signature-256", sign("another secret", &body)),
        with("x-hub-signature-256", sign(SECRET, b"another body")),
        with("x-hub-signature-256", sign("", &body)),
    ];
    for request in forged {
        let answer = answer(request).await;
        assert_eq!(answer, (StatusCode::UNAUTHORIZED, json!({"error": "the signature is not valid"})));
    }
    // The payload is not even parsed.
    assert_eq!(answer(receiver.unsigned("issues", "g", "{")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(receiver.recorded().await, []);
}

#[tokio::test]
async fn delivery_that_arrives_twice_is_recorded_once() {
    let receiver = Receiver::start().await;
    assert_eq!(receiver.deliver("issues", "g", &labelled()).await.1["outcome"], "queued");
    let again = receiver.deliver("issues", "g", &labelled()).await;
    assert_eq!(again, (StatusCode::ACCEPTED, json!({"outcome": "duplicate"})));
    assert_eq!(receiver.recorded().await.len(), 1);
}

#[tokio::test]
async fn delivery_that_cannot_be_recorded_is_not_acknowledged() {
    let receiver = Receiver::start().await;
    let mut database = receiver.database().await;
    sqlx::query("ALTER TABLE deliveries RENAME TO hidden").execute(&mut database).await.unwrap();
    let (status, body) = receiver.deliver("issues", "g", &labelled()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, json!({"error": "the delivery could not be recorded"}));
    sqlx::query("ALTER TABLE hidden RENAME TO deliveries").execute(&mut database).await.unwrap();
    assert_eq!(receiver.deliver("issues", "g", &labelled()).await.1["outcome"], "queued");
}

#[tokio::test]
async fn answer_waits_for_the_store() {
    let receiver = Arc::new(Receiver::start().await);
    let mut database = receiver.database().await;
    let transaction = database.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let delivering = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.deliver("issues", "g", &labelled()).await }
    });
    // Other requests are answered meanwhile.
    for _ in 0..20 {
        let refused = answer(receiver.unsigned("issues", "g", "{")).await.0;
        assert_eq!(refused, StatusCode::UNAUTHORIZED);
    }
    assert!(!delivering.is_finished(), "acknowledged before it was recorded");
    transaction.rollback().await.unwrap();
    assert_eq!(delivering.await.unwrap().0, StatusCode::ACCEPTED);
    let job = receiver.store.latest_job(RepositoryId(42), mendwright::domain::IssueNumber(7)).await.unwrap();
    assert!(job.is_some(), "acknowledged and not recorded");
}

#[tokio::test]
async fn bodies_that_never_end_do_not_delay_a_signed_delivery() {
    let receiver = Receiver::start().await;
    let mut unfinished = Vec::new();
    for _ in 0..64 {
        let mut stream = tokio::net::TcpStream::connect(receiver.address).await.unwrap();
        let head = format!(
            "POST {WEBHOOK_PATH} HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: sha256={}\r\ncontent-length: \
             1000\r\n\r\n{{",
            "0".repeat(64)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        unfinished.push(stream);
    }
    let delivered = receiver.deliver("issues", "g", &labelled()).await;
    assert_eq!((delivered.0, &delivered.1["outcome"]), (StatusCode::ACCEPTED, &json!("queued")));
    drop(unfinished);
}

#[tokio::test]
async fn signed_but_malformed_delivery_gets_the_reason() {
    let receiver = Receiver::start().await;
    let error = |(status, body): (StatusCode, Value)| {
        assert_eq!(status, StatusCode::BAD_REQUEST);
        body["error"].as_str().unwrap().to_owned()
    };
    insta::assert_snapshot!(error(receiver.deliver("issues", "g", b"{\"action\":").await), @r#"the payload of "issues" cannot be read: EOF while parsing a value at line 1 column 10; the App's webhook content type must be application/json"#);
    insta::assert_snapshot!(error(receiver.deliver("push", "g", b"payload=%7B%7D").await), @r#"the payload of "push" cannot be read: expected value at line 1 column 1; the App's webhook content type must be application/json"#);
    insta::assert_snapshot!(error(receiver.deliver("", "g", b"{}").await), @"the header x-github-event is missing or malformed");
    insta::assert_snapshot!(error(receiver.deliver("issues", "a b", b"{}").await), @"the header x-github-delivery is missing or malformed");
    let without_headers =
        receiver.client.post(receiver.url()).header("x-hub-signature-256", sign(SECRET, b"{}")).body("{}");
    assert_eq!(answer(without_headers).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(receiver.recorded().await, []);
}

#[tokio::test]
async fn deeply_nested_payload_is_refused_and_the_next_delivery_accepted() {
    let receiver = Receiver::start().await;
    let deep = format!(r#"{{"action":"labeled","issue":{}"#, r#"{"a":"#.repeat(1_000_000));
    assert_eq!(receiver.deliver("issues", "g", deep.as_bytes()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(receiver.deliver("issues", "h", &labelled()).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn payload_of_25_mib_is_read_and_one_byte_more_is_refused() {
    let receiver = Receiver::start().await;
    let mut largest = br#"{"action":""#.to_vec();
    largest.resize(PAYLOAD_BYTES_MAX - 2, b'x');
    largest.extend_from_slice(b"\"}");
    assert_eq!(receiver.deliver("push", "g", &largest).await.0, StatusCode::ACCEPTED);

    // A declared length is refused before a byte is sent.
    let declared = format!("content-length: {}\r\n\r\n", PAYLOAD_BYTES_MAX + 1);
    assert!(raw_answer(&receiver, &declared, &[]).await.starts_with("HTTP/1.1 413"));
    // Without a declared length, the byte that is one too many is refused.
    let chunk = [format!("{PAYLOAD_BYTES_MAX:x}\r\n").as_bytes(), &largest[..], b"\r\n1\r\nx\r\n"].concat();
    let undeclared = "transfer-encoding: chunked\r\n\r\n";
    assert!(raw_answer(&receiver, undeclared, &chunk).await.starts_with("HTTP/1.1 413"));
}

/// Sends a request that never ends, and reads the beginning of the answer.
async fn raw_answer(receiver: &Receiver, length_header: &str, body: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(receiver.address).await.unwrap();
    let head = format!(
        "POST {WEBHOOK_PATH} HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: sha256={}\r\n{length_header}",
        "0".repeat(64)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    String::from_utf8(first.to_vec()).unwrap()
}

#[tokio::test]
async fn every_example_delivery_is_accepted() {
    let receiver = Receiver::start().await;
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/webhooks-received");
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut outcomes = String::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "json")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let event = name.split('.').next().unwrap();
        let (status, body) = receiver.deliver(event, name, &std::fs::read(file).unwrap()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{name}: {body}");
        let why = body["why"].as_str().unwrap_or_default();
        if !HANDLED_EVENTS.contains(&event) {
            assert_eq!(why, format!("events of the kind {event:?} ask for nothing"), "{name}");
            continue;
        }
        outcomes += format!("{name}: {} {why}", body["outcome"].as_str().unwrap()).trim_end();
        outcomes.push('\n');
    }
    insta::assert_snapshot!(outcomes, @r"
    check_run.completed.1.json: ignored the check is of no pull request of ours
    check_run.completed.2.json: ignored the check did not fail
    check_run.created.1.json: ignored only completed checks count
    check_run.created.2.json: ignored only completed checks count
    check_run.requested_action.1.json: ignored only completed checks count
    check_run.rerequested.1.json: ignored only completed checks count
    delete.1.json: ignored the event is about a tag
    delete.2.json: ignored the event is about a tag
    installation.created.1.json: searching
    installation.created.2.json: searching
    installation.deleted.1.json: ignored the App can do no more than before
    installation.deleted.2.json: ignored the App can do no more than before
    installation.new_permissions_accepted.1.json: searching
    installation.suspend.1.json: ignored the App can do no more than before
    installation.unsuspend.1.json: searching
    installation_repositories.added.1.json: searching
    installation_repositories.removed.1.json: ignored no repository was added
    issue_comment.created.1.json: ignored the comment contains no command
    issue_comment.created.2.json: ignored the comment contains no command
    issue_comment.created.3.json: ignored the comment contains no command
    issue_comment.deleted.1.json: ignored commands are read from new comments only
    issue_comment.deleted.2.json: ignored commands are read from new comments only
    issue_comment.edited.1.json: ignored commands are read from new comments only
    issue_comment.edited.2.json: ignored commands are read from new comments only
    issues.closed.1.json: cancelled
    issues.deleted.1.json: cancelled
    issues.edited.1.json: ignored this action asks for nothing
    issues.edited.2.json: ignored this action asks for nothing
    issues.labeled.1.json: ignored the event is about another label
    issues.labeled.2.json: ignored the event is about another label
    issues.opened.1.json: ignored this action asks for nothing
    issues.opened.2.json: ignored this action asks for nothing
    issues.opened.3.json: ignored this action asks for nothing
    issues.reopened.1.json: ignored this action asks for nothing
    issues.transferred.1.json: ignored the delivery does not come through an installation of the App
    issues.unlabeled.1.json: ignored the event is about another label
    pull_request.closed.1.json: ignored the event is about a branch that is not ours
    pull_request.closed.2.json: ignored the event is about a branch that is not ours
    pull_request.closed.merged.1.json: ignored the event is about a branch that is not ours
    pull_request.converted_to_draft.1.json: ignored of pull requests only their end counts
    pull_request.converted_to_draft.2.json: ignored of pull requests only their end counts
    pull_request.opened.1.json: ignored of pull requests only their end counts
    pull_request.opened.2.json: ignored of pull requests only their end counts
    pull_request.ready_for_review.1.json: ignored of pull requests only their end counts
    pull_request.ready_for_review.2.json: ignored of pull requests only their end counts
    pull_request.reopened.1.json: ignored of pull requests only their end counts
    pull_request.synchronize.1.json: ignored of pull requests only their end counts
    pull_request_review.submitted.1.json: ignored the pull request was not opened by a bot
    pull_request_review.submitted.2.json: ignored the pull request was not opened by a bot
    pull_request_review_comment.created.1.json: ignored the pull request was not opened by a bot
    pull_request_review_comment.created.2.json: ignored the pull request was not opened by a bot
    ");
}

/// Only the label's name is changed, and the installation added, which the examples of ordinary webhooks lack.
#[tokio::test]
async fn example_of_github_with_our_label_starts_work() {
    let receiver = Receiver::start().await;
    let mut payload: Value =
        serde_json::from_str(include_str!("../../fixtures/webhooks-received/issues.labeled.1.json")).unwrap();
    payload["label"]["name"] = json!("agent-fix");
    payload["installation"] = json!({"id": 5, "node_id": "x"});
    let (_, body) = receiver.deliver("issues", "g", payload.to_string().as_bytes()).await;
    assert_eq!(body["outcome"], "queued");
    let Some(DeliveryRequest::Start(trigger)) = receiver.recorded().await.remove(0).request else { panic!() };
    assert_eq!(trigger.repository.name.to_string(), "Codertocat/Hello-World");
    assert_eq!((trigger.issue.number.0, trigger.labeller_id), (1, 21_031_067));
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let receiver = Receiver::start().await;
    let status = |request: RequestBuilder| async move { request.send().await.unwrap().status() };
    assert_eq!(status(receiver.client.get(receiver.url())).await, StatusCode::METHOD_NOT_ALLOWED);
    let elsewhere = format!("http://{}/webhooks", receiver.address);
    assert_eq!(status(receiver.client.post(elsewhere)).await, StatusCode::NOT_FOUND);
}

/// A comment with a command, as GitHub sends it.
fn commented(id: u64, association: &str, by: &str, kind: &str) -> Vec<u8> {
    json!({
        "action": "created",
        "issue": {"number": 7, "title": "It breaks", "body": "See", "user": {"login": "ada", "id": 1},
            "labels": []},
        "comment": {"id": id, "body": "/agent-fix status\nPRIVATE WORDS", "user": {"login": by, "id": 2, "type": kind},
            "author_association": association, "created_at": "2026-11-30T10:00:00Z"},
        "repository": {"id": 42, "full_name": "octo/repo"},
        "installation": {"id": 9},
        "sender": {"login": by, "id": 2, "type": kind},
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn copy_of_a_signed_payload_under_another_delivery_id_starts_nothing() {
    let receiver = Receiver::start().await;
    assert_eq!(receiver.deliver("issues", "g", &labelled()).await.1["outcome"], "queued");
    for id in ["h", "i"] {
        let again = receiver.deliver("issues", id, &labelled()).await;
        assert_eq!(again, (StatusCode::ACCEPTED, json!({"outcome": "duplicate"})));
    }
    assert_eq!(receiver.store.jobs(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn text_of_a_stranger_is_not_stored_and_that_of_others_is() {
    let receiver = Receiver::start().await;
    let cases = [
        ("OWNER", "ada", "User", false),
        ("MEMBER", "grace", "User", false),
        ("COLLABORATOR", "linus", "User", false),
        ("CONTRIBUTOR", "eve", "User", true),
        ("FIRST_TIMER", "mallory", "User", true),
        ("NONE", "trent", "User", true),
        // The operator lists this bot; no bot belongs to an organization.
        ("NONE", "helper[bot]", "Bot", false),
    ];
    for (number, (association, by, kind, _)) in (1..).zip(cases) {
        let payload = commented(number, association, by, kind);
        let (_, body) = receiver.deliver("issue_comment", &format!("g{number}"), &payload).await;
        assert_eq!(body["outcome"], "asked", "{association}");
    }
    for (recorded, (association, _, _, is_stranger)) in receiver.recorded().await.iter().zip(cases) {
        let text = format!("{:?}", recorded.request);
        assert_eq!(text.contains("PRIVATE WORDS"), !is_stranger, "{association}");
        assert_eq!(text.contains("It breaks"), !is_stranger, "{association}");
        assert!(text.contains(&format!("by_stranger: {is_stranger}")), "{association}: {text}");
    }
}
