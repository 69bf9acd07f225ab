//! The emulated GitHub, tested over HTTP and git, as Mendwright and git use it.

mod access;
mod contract;
mod disruptions;
mod git;
mod rules;
pub mod schemas;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use mendwright_emulator::github::{EmulatedGitHub, EmulatorOptions, RepositorySource};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The repository that every test starts with.
const REPOSITORY: &str = "octo-maintainer/greeter";

/// An emulator with one repository, a receiver of its webhooks, and a client.
struct EmulatorTest {
    github: EmulatedGitHub,
    webhooks: WebhookReceiver,
    client: reqwest::Client,
    directory: TempDir,
}

/// A webhook that arrived.
#[derive(Debug, Clone)]
struct ReceivedWebhook {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl ReceivedWebhook {
    fn payload(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    fn name(&self) -> String {
        match self.payload()["action"].as_str() {
            Some(action) => format!("{}.{action}", self.headers["x-github-event"]),
            None => self.headers["x-github-event"].clone(),
        }
    }
}

/// Receives webhooks and answers 202.
struct WebhookReceiver {
    url: url::Url,
    received: Arc<Mutex<Vec<ReceivedWebhook>>>,
    server: tokio::task::JoinHandle<()>,
}

impl WebhookReceiver {
    async fn start() -> Self {
        let received: Arc<Mutex<Vec<ReceivedWebhook>>> = Arc::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap()).parse().unwrap();
        let store = received.clone();
        let receive = move |headers: http::HeaderMap, body: axum::body::Bytes| async move {
            let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
            let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            store.lock().unwrap().push(ReceivedWebhook { headers, body: body.to_vec() });
            http::StatusCode::ACCEPTED
        };
        let router = axum::Router::new().fallback(receive);
        let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { url, received, server }
    }

    fn received(&self) -> Vec<ReceivedWebhook> {
        self.received.lock().unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        self.received().iter().map(ReceivedWebhook::name).collect()
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An answer of the API.
#[derive(Debug)]
struct ApiReply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl EmulatorTest {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut EmulatorOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let webhooks = WebhookReceiver::start().await;
        let mut options = EmulatorOptions::new(directory.path().join("repositories"));
        options.webhook_url = Some(webhooks.url.clone());
        options.record = Some(directory.path().join("record.jsonl"));
        change(&mut options);
        let github = EmulatedGitHub::start(options).await.unwrap();
        let files = [
            ("README.md".to_owned(), b"# Greeter\n".to_vec()),
            ("src/greeter.py".to_owned(), b"def greet(name):\n    return 'Hello ' + nam\n".to_vec()),
        ];
        github.add_repository(REPOSITORY, RepositorySource::Files(&files)).unwrap();
        let client = reqwest::Client::builder().no_proxy().user_agent("mendwright-tests");
        let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { github, webhooks, client, directory }
    }

    /// An App token with the usual claims and these changes; `null` removes a claim.
    fn jwt_with(&self, changes: &Value) -> String {
        let pem = self.github.credentials().private_key_pem.expose_secret();
        let now = Timestamp::now().as_second();
        let mut claims =
            json!({"iat": now - 60, "exp": now + 540, "iss": self.github.credentials().app_id.to_string()});
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        sign(pem, &claims)
    }

    fn jwt(&self) -> String {
        self.jwt_with(&json!({}))
    }

    /// An installation token with the permissions and repositories of the body.
    async fn token_for(&self, body: Value) -> String {
        let installation = self.github.credentials().installation_id;
        let path = format!("/app/installations/{installation}/access_tokens");
        let reply = self.send("POST", &path, Some(&format!("Bearer {}", self.jwt())), body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.body["token"].as_str().unwrap().to_owned()
    }

    async fn token(&self) -> String {
        self.token_for(json!({})).await
    }

    async fn send(&self, method: &str, path: &str, authorization: Option<&str>, body: Value) -> ApiReply {
        let mut headers: Vec<(&str, &str)> = vec![("x-github-api-version", "2022-11-28")];
        headers.extend(authorization.map(|value| ("authorization", value)));
        self.send_with(method, path, &headers, body).await
    }

    async fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> ApiReply {
        let address = format!("{}{path}", self.github.api_url());
        let mut request = self.client.request(method.parse().unwrap(), address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
        let headers =
            response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).unwrap(),
        };
        ApiReply { status, headers, body }
    }

    /// A request below the repository, as the installation.
    async fn repo(&self, method: &str, path: &str, token: &str, body: Value) -> ApiReply {
        let path = format!("/repos/{REPOSITORY}{path}");
        self.send(method, &path, Some(&format!("Bearer {token}")), body).await
    }

    /// The commit at the head of a branch.
    fn head(&self, branch: &str) -> String {
        let state = self.github.state();
        state["repositories"][0]["branches"][branch].as_str().unwrap_or_default().to_owned()
    }

    /// Pushes a branch with one commit more than `main`. Returns the commit.
    async fn branch_with_a_commit(&self, branch: &str, token: &str) -> String {
        let clone = self.directory.path().join(format!("clone-{}", branch.replace('/', "-")));
        let git = git::clone(self, &clone, token);
        let content = "def greet(name):\n    return 'Hello ' + name\n";
        let commit = git::commit(&git, &[("src/greeter.py", content)], "Greet by name");
        git::push(&git, token, &format!("+{commit}:refs/heads/{branch}")).unwrap();
        commit.to_string()
    }
}

fn sign(pem: &str, claims: &Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), claims, &key).unwrap()
}
