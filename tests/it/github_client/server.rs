//! A server that answers as scripted, and the JSON that tests answer with.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use http::{HeaderMap, Method, StatusCode, Uri};
use jiff::Timestamp;
use mendwright::domain::{InstallationId, RepositoryId, RepositoryRef};
use mendwright::github::{GitHubConnection, OctocrabGitHub};
use serde_json::{Value, json};

pub(super) const APP_ID: u64 = 314;
pub(super) const START: i64 = 1_790_000_000;

/// One RSA key for all tests: generating one is slow.
pub(super) fn key() -> &'static (String, Vec<u8>) {
    static KEY: OnceLock<(String, Vec<u8>)> = OnceLock::new();
    KEY.get_or_init(|| {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der = pair.as_der().unwrap();
        let body = base64::engine::general_purpose::STANDARD.encode(private.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        (pem, pair.public_key().as_ref().to_vec())
    })
}

#[derive(Debug, Clone)]
pub(super) struct ReceivedRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl ReceivedRequest {
    pub(super) fn bearer(&self) -> &str {
        self.headers
            .get("authorization")
            .map_or("", |value| value.to_str().unwrap().trim_start_matches("Bearer "))
    }
    pub(super) fn is_token_request(&self) -> bool {
        self.path.ends_with("/access_tokens")
    }
}

pub(super) type Reply = (StatusCode, Vec<(&'static str, String)>, String);
pub(super) type Script = Box<dyn Fn(&ReceivedRequest) -> Option<Reply> + Send + Sync>;

/// A server that answers as scripted. Token requests for which the script has no answer get `ghs_1`,
/// `ghs_2`, …, valid for an hour.
pub(super) struct Server {
    pub(super) address: std::net::SocketAddr,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    pub(super) now: Arc<AtomicI64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(
        script: impl Fn(&ReceivedRequest) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let script: Arc<Script> = Arc::new(Box::new(script));
        let received = Arc::new(Mutex::new(Vec::new()));
        let now = Arc::new(AtomicI64::new(START));
        let app = axum::Router::new().fallback({
            let (received, now) = (received.clone(), now.clone());
            move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let request = ReceivedRequest { method, path: uri.to_string(), headers, body };
                std::future::ready(reply(&script, &received, now.load(Ordering::SeqCst), request))
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, received, now, task }
    }

    /// A client below a path, as on GitHub Enterprise Server.
    pub(super) fn client(&self) -> OctocrabGitHub {
        let now = self.now.clone();
        OctocrabGitHub::new(connection(&format!("http://{}/api/v3", self.address)))
            .unwrap()
            .with_clock(Arc::new(move || Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap()))
            .with_retry_delays(vec![Duration::ZERO; 2])
    }

    pub(super) fn received(&self) -> Vec<ReceivedRequest> {
        self.received.lock().unwrap().clone()
    }
    pub(super) fn token_requests(&self) -> usize {
        self.received().iter().filter(|received| received.is_token_request()).count()
    }
    /// The requests, without token requests.
    pub(super) fn api_requests(&self) -> Vec<ReceivedRequest> {
        self.received().into_iter().filter(|received| !received.is_token_request()).collect()
    }
}

pub(super) fn reply(
    script: &Script,
    received: &Mutex<Vec<ReceivedRequest>>,
    now: i64,
    request: ReceivedRequest,
) -> Response {
    let scripted = script(&request);
    let mut received = received.lock().unwrap();
    let mint = request.is_token_request();
    received.push(request);
    let token_requests = received.iter().filter(|received| received.is_token_request()).count();
    let (status, headers, body) = scripted.unwrap_or_else(|| {
        assert!(mint, "no answer for {:?}", received.last());
        let expires_at = Timestamp::from_second(now + 3600).unwrap();
        ok(json!({"token": format!("ghs_{token_requests}"), "expires_at": expires_at.to_string(), "permissions": {}}))
    });
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

pub(super) fn connection(api_url: &str) -> GitHubConnection {
    GitHubConnection {
        api_url: api_url.parse().unwrap(),
        web_url: "https://github.example".parse().unwrap(),
        app_id: APP_ID,
        private_key_pem: key().0.clone().into(),
    }
}
/// The repository of a pull request's branch, as octocrab's model demands it.
pub(super) fn head_repository(id: u64) -> Value {
    json!({"id": id, "name": "repo", "url": "https://github.example/api/v3/repos/octo/repo"})
}
pub(super) fn ok(body: Value) -> Reply {
    (StatusCode::OK, Vec::new(), body.to_string())
}
pub(super) fn status(code: u16, body: Value) -> Reply {
    (StatusCode::from_u16(code).unwrap(), Vec::new(), body.to_string())
}
pub(super) fn at() -> RepositoryRef {
    RepositoryRef {
        installation: InstallationId(9),
        id: RepositoryId(42),
        name: "octo/repo".parse().unwrap(),
    }
}
pub(super) fn elsewhere() -> RepositoryRef {
    RepositoryRef { id: RepositoryId(43), name: "octo/other".parse().unwrap(), ..at() }
}
pub(super) fn repository() -> Value {
    json!({"id": 42, "name": "repo", "full_name": "octo/repo", "url": "https://github.example/api/v3/repos/octo/repo",
        "default_branch": "main", "html_url": "https://github.example/octo/repo",
        "archived": false, "clone_url": "https://github.example/octo/repo.git"})
}
pub(super) fn issue() -> Value {
    json!({"number": 7, "title": "It breaks", "body": null, "state": "open", "user": null, "labels": ["bug", {"name": "x"}]})
}
pub(super) fn pull_request(number: u64, branch: &str, repository: Value) -> Value {
    json!({"id": number, "number": number, "url": "https://github.example/api/v3/repos/octo/repo/pulls/1",
        "html_url": "https://github.example/octo/repo/pull/1", "draft": true, "body": null,
        "head": {"ref": branch, "sha": "a".repeat(40), "repo": repository},
        "base": {"ref": "main", "sha": "b".repeat(40)}})
}
