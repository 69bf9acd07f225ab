//! The emulated GitHub, from outside: over HTTP and git, as Mendwright and git meet it.

mod access;
mod contract;
mod git;
mod rules;
pub mod schemas;
mod upheavals;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use mendwright_emulator::github::{EmulatedGitHub, EmulatorOptions, RepositorySource};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The repository every test begins with.
const REPOSITORY: &str = "octo-maintainer/greeter";

/// An emulator with one repository, a receiver of its webhooks, and a client.
struct Bench {
    github: EmulatedGitHub,
    hooks: Receiver,
    client: reqwest::Client,
    directory: TempDir,
}

/// A webhook as it arrived.
#[derive(Debug, Clone)]
struct Hook {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Hook {
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

/// Takes webhooks and answers 202.
struct Receiver {
    url: url::Url,
    taken: Arc<Mutex<Vec<Hook>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Self {
        let taken: Arc<Mutex<Vec<Hook>>> = Arc::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap()).parse().unwrap();
        let store = taken.clone();
        let take = move |headers: http::HeaderMap, body: axum::body::Bytes| async move {
            let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
            let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            store.lock().unwrap().push(Hook { headers, body: body.to_vec() });
            http::StatusCode::ACCEPTED
        };
        let router = axum::Router::new().fallback(take);
        let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { url, taken, server }
    }

    fn taken(&self) -> Vec<Hook> {
        self.taken.lock().unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        self.taken().iter().map(Hook::name).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An answer of the API.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Bench {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut EmulatorOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let hooks = Receiver::start().await;
        let mut options = EmulatorOptions::new(directory.path().join("repositories"));
        options.webhook_url = Some(hooks.url.clone());
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
        Self { github, hooks, client, directory }
    }

    /// An App token with these claims laid over the usual ones; `null` takes one away.
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

    /// An installation token, narrowed by the body.
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

    async fn send(&self, method: &str, path: &str, authorization: Option<&str>, body: Value) -> Reply {
        let mut headers: Vec<(&str, &str)> = vec![("x-github-api-version", "2022-11-28")];
        headers.extend(authorization.map(|value| ("authorization", value)));
        self.send_with(method, path, &headers, body).await
    }

    async fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
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
        Reply { status, headers, body }
    }

    /// A request below the repository, as the installation.
    async fn repo(&self, method: &str, path: &str, token: &str, body: Value) -> Reply {
        let path = format!("/repos/{REPOSITORY}{path}");
        self.send(method, &path, Some(&format!("Bearer {token}")), body).await
    }

    /// The commit at the head of a branch.
    fn head(&self, branch: &str) -> String {
        let state = self.github.state();
        state["repositories"][0]["branches"][branch].as_str().unwrap_or_default().to_owned()
    }

    /// A branch with one commit more than `main`. Returns the commit.
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
