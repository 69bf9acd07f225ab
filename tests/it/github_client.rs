//! The GitHub adapter against small scripted servers, one per question: what it sends, and how it reads
//! the responses.

mod emulate;
mod pages;
mod server;

use std::sync::atomic::{AtomicI64, Ordering};

use http::{Method, StatusCode};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use mendwright::domain::{IssueNumber, Permission};
use mendwright::github::{
    ConnectionError, GitHub, GitHubConnection, GitHubError, NewPullRequest, OctocrabGitHub,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use server::{
    APP_ID, Reply, START, Server, at, connection, elsewhere, head_repository, issue, key, ok, pull_request,
    repository, status,
};

/// When every comment was written and last edited, as GitHub spells it.
const WRITTEN_AT: &str = "2026-01-02T03:04:05Z";
const SEVEN: IssueNumber = IssueNumber(7);

#[tokio::test]
async fn token_request_names_one_repository_and_its_permissions_and_carries_a_valid_jwt() {
    let server = Server::start(|request| (!request.is_token_request()).then(|| ok(repository()))).await;
    let repository = server.client().repository(&at()).await.unwrap();
    assert_eq!(repository.default_branch, "main");
    let received = server.received();
    let [mint, read] = received.as_slice() else { panic!("{received:?}") };

    assert_eq!(
        (&mint.method, mint.path.as_str()),
        (&Method::POST, "/api/v3/app/installations/9/access_tokens")
    );
    assert_eq!(
        mint.body,
        json!({"repository_ids": [42], "permissions":
            {"checks": "write", "contents": "write", "issues": "write", "metadata": "read", "pull_requests": "write"}})
    );
    let validation = Validation::new(Algorithm::RS256);
    let key = DecodingKey::from_rsa_der(&key().1);
    let claims = jsonwebtoken::decode::<Value>(mint.bearer(), &key, &validation).unwrap().claims;
    assert_eq!(claims["iss"], APP_ID);
    let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!(issued < jiff::Timestamp::now().as_second() && expires - issued <= 600, "{claims}");

    assert_eq!((read.path.as_str(), read.bearer()), ("/api/v3/repos/octo/repo", "ghs_1"));
    for (name, value) in [
        ("user-agent", concat!("mendwright/", env!("CARGO_PKG_VERSION"))),
        ("x-github-api-version", "2022-11-28"),
        ("accept", "application/vnd.github+json"),
    ] {
        let values: Vec<_> = read.headers.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
}

#[tokio::test]
async fn token_is_reused_for_its_repository_until_five_minutes_before_it_expires() {
    let server = Server::start(|request| (!request.is_token_request()).then(|| ok(repository()))).await;
    let client = server.client();
    client.repository(&at()).await.unwrap();
    server.now.fetch_add(55 * 60, Ordering::SeqCst);
    client.repository(&at()).await.unwrap();
    assert_eq!(server.token_requests(), 1);
    server.now.fetch_add(1, Ordering::SeqCst);
    client.repository(&at()).await.unwrap();
    assert_eq!(server.token_requests(), 2);
    client.repository(&elsewhere()).await.unwrap();
    assert_eq!(server.token_requests(), 3);
    assert_eq!(server.received().last().unwrap().bearer(), "ghs_3");
}

#[tokio::test]
async fn concurrent_callers_cause_one_token_request() {
    let server = Server::start(|request| (!request.is_token_request()).then(|| ok(repository()))).await;
    let (client, here) = (server.client(), at());
    let all = futures_util::future::join_all((0..20).map(|_| client.repository(&here))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(server.token_requests(), 1);
}

#[tokio::test]
async fn refused_token_is_replaced_once_even_for_a_post() {
    let server = Server::start(|request| match request.bearer() {
        "ghs_1" => Some(status(401, json!({"message": "Bad credentials"}))),
        "ghs_2" => {
            Some(status(201, json!({"id": 5, "html_url": "u", "body": "hello", "created_at": WRITTEN_AT, "updated_at": WRITTEN_AT})))
        }
        _ => None,
    })
    .await;
    let comment = server.client().create_comment(&at(), SEVEN, "hello").await.unwrap();
    assert_eq!(comment.id.0, 5);
    assert_eq!(server.token_requests(), 2);

    let server = Server::start(|request| (!request.is_token_request()).then(|| status(401, json!({})))).await;
    let error = server.client().repository(&at()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Forbidden { .. }), "{error}");
    assert_eq!((server.token_requests(), server.api_requests().len()), (2, 2));
}

#[tokio::test]
async fn token_error_says_whether_the_installation_is_gone_or_lacks_permissions() {
    let error_text = async |reply: Reply| {
        let server = Server::start(move |request| request.is_token_request().then(|| reply.clone())).await;
        server.client().repository(&at()).await.unwrap_err().to_string()
    };
    insta::assert_snapshot!(error_text(status(404, json!({"message": "Not Found"}))).await, @"not found on GitHub (getting a token for octo/repo (installation 9)): status 404 Not Found; the App may have been uninstalled");
    insta::assert_snapshot!(error_text(status(422, json!({"message": "The permissions requested are not granted to this installation."}))).await, @"forbidden by GitHub (getting a token for octo/repo (installation 9)): status 422 Unprocessable Entity: The permissions requested are not granted to this installation.; is the App still installed on this repository, and are its newest permissions accepted there?");
    insta::assert_snapshot!(error_text(status(403, json!({"message": "This installation has been suspended"}))).await, @"forbidden by GitHub (getting a token for octo/repo (installation 9)): status 403 Forbidden: This installation has been suspended; is the installation suspended, or does it lack a permission?");
}

#[tokio::test]
async fn failed_request_is_repeated_unless_it_creates_a_comment_or_pull_request() {
    let server = Server::start(|request| (!request.is_token_request()).then(|| status(502, json!({})))).await;
    let client = server.client();
    let unavailable = |result: Result<(), GitHubError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, GitHubError::Unavailable { .. }), "{error}");
    };
    let requests_since = |before: usize| server.api_requests().len() - before;
    unavailable(client.repository(&at()).await.map(drop));
    assert_eq!(requests_since(0), 3);
    unavailable(client.update_comment(&at(), mendwright::domain::CommentId(1), "x").await);
    assert_eq!(requests_since(3), 3);
    unavailable(client.react_with_eyes(&at(), SEVEN).await);
    assert_eq!(requests_since(6), 3);
    unavailable(client.create_comment(&at(), SEVEN, "x").await.map(drop));
    assert_eq!(requests_since(9), 1);
    let new = NewPullRequest { title: "t".into(), body: "b".into(), head: "h".into(), base: "main".into() };
    unavailable(client.create_draft_pull_request(&at(), &new).await.map(drop));
    assert_eq!(requests_since(10), 1);
}

#[tokio::test]
async fn request_succeeds_after_two_server_errors() {
    let failures = AtomicI64::new(2);
    let server = Server::start(move |request| {
        let fails = !request.is_token_request() && failures.fetch_sub(1, Ordering::SeqCst) > 0;
        if fails {
            Some(status(503, json!({})))
        } else {
            (!request.is_token_request()).then(|| ok(repository()))
        }
    })
    .await;
    assert!(server.client().repository(&at()).await.is_ok());
}

#[tokio::test]
async fn refused_connection_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = OctocrabGitHub::new(connection(&url)).unwrap().with_retry_delays(Vec::new());
    let error = client.repository(&at()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn rate_limit_error_carries_the_time_to_wait() {
    let limited = |headers: Vec<(&'static str, String)>, code: u16| {
        let reply =
            (StatusCode::from_u16(code).unwrap(), headers, json!({"message": "slow down"}).to_string());
        async move {
            let server =
                Server::start(move |request| (!request.is_token_request()).then(|| reply.clone())).await;
            let error = server.client().create_comment(&at(), SEVEN, "x").await.unwrap_err();
            assert_eq!(server.api_requests().len(), 1);
            match error {
                GitHubError::Unavailable { retry_after, .. } => retry_after.as_secs(),
                other => panic!("{other}"),
            }
        }
    };
    assert_eq!(limited(vec![("retry-after", "33".into())], 403).await, 33);
    let exhausted = vec![
        ("x-ratelimit-remaining", "0".into()),
        ("x-ratelimit-reset", (START + 120).to_string()),
        // Ten seconds after START: our clock is wrong.
        ("date", "Mon, 21 Sep 2026 14:13:30 GMT".into()),
    ];
    assert_eq!(limited(exhausted, 429).await, 110);
}

#[tokio::test]
async fn our_comments_returns_the_comments_of_this_app_from_every_page() {
    fn comment(id: u64, login: &str, kind: &str, app: Option<u64>) -> Value {
        json!({"id": id, "html_url": "u", "body": format!("{id}"), "created_at": WRITTEN_AT, "updated_at": WRITTEN_AT, "user": {"login": login, "id": 1, "type": kind},
            "performed_via_github_app": app.map(|id| json!({"id": id, "slug": "s"}))})
    }
    let server = Server::start(|request| {
        let path = request.path.as_str();
        if path == "/api/v3/app" {
            return Some(ok(json!({"id": APP_ID, "slug": "fixer"})));
        }
        if path.contains("page=2") {
            let page = [
                comment(4, "fixer[bot]", "Bot", None),
                comment(5, "renamed[bot]", "Bot", Some(APP_ID)),
                comment(6, "ada", "User", Some(APP_ID)),
                json!({"id": 7, "html_url": "u", "body": null, "created_at": WRITTEN_AT, "updated_at": WRITTEN_AT, "user": null}),
            ];
            return Some(ok(json!(page)));
        }
        path.contains("/comments").then(|| {
            let host = request.headers["host"].to_str().unwrap();
            let link = format!(
                "<http://{host}/api/v3/repositories/42/issues/7/comments?per_page=100&page=2>; rel=\"next\", \
                 <http://{host}/api/v3/repositories/42/issues/7/comments?page=2>; rel=\"last\""
            );
            let page = [
                comment(1, "fixer", "User", None),
                comment(2, "fixer[bot]", "Bot", Some(APP_ID)),
                comment(3, "other[bot]", "Bot", Some(1)),
            ];
            (StatusCode::OK, vec![("link", link)], json!(page).to_string())
        })
    })
    .await;
    let ours = server.client().our_comments(&at(), SEVEN).await.unwrap();
    let ids: Vec<u64> = ours.iter().map(|comment| comment.id.0).collect();
    assert_eq!(ids, [2, 4, 5]);
}

#[tokio::test]
async fn endless_list_is_an_error() {
    let server = Server::start(|request| {
        if request.path == "/api/v3/app" {
            return Some(ok(json!({"slug": "fixer"})));
        }
        (!request.is_token_request()).then(|| {
            let host = request.headers["host"].to_str().unwrap();
            let link = format!("<http://{host}/api/v3/repos/octo/repo/issues/7/comments>; rel=\"next\"");
            (StatusCode::OK, vec![("link", link)], "[]".to_owned())
        })
    })
    .await;
    let error = server.client().our_comments(&at(), SEVEN).await.unwrap_err();
    assert!(matches!(error, GitHubError::Rejected { .. }), "{error}");
}

#[tokio::test]
async fn next_page_on_another_host_is_an_error() {
    let server = Server::start(|request| {
        if request.path == "/api/v3/app" {
            return Some(ok(json!({"slug": "fixer"})));
        }
        let link = "<https://elsewhere.example/comments?page=2>; rel=\"next\"".to_owned();
        (!request.is_token_request()).then(|| (StatusCode::OK, vec![("link", link)], "[]".to_owned()))
    })
    .await;
    let error = server.client().our_comments(&at(), SEVEN).await.unwrap_err();
    assert!(error.to_string().contains("elsewhere.example"), "{error}");
}

#[tokio::test]
async fn rename_redirect_is_followed_but_never_to_another_host_or_repository() {
    let other_host = Server::start(|_| Some(ok(json!({})))).await;
    let elsewhere = format!("http://localhost:{}/repos/octo/repo", other_host.address.port());
    let server = Server::start(move |request| match request.path.as_str() {
        "/api/v3/repos/octo/repo" => {
            let to = ("location", "/api/v3/repositories/42".to_owned());
            Some((StatusCode::MOVED_PERMANENTLY, vec![to], "{}".to_owned()))
        }
        "/api/v3/repositories/42" => Some(ok(repository())),
        "/api/v3/repos/octo/repo/issues/7/comments" => {
            let to = ("location", "/api/v3/repositories/42/issues/7/comments".to_owned());
            Some((StatusCode::TEMPORARY_REDIRECT, vec![to], "{}".to_owned()))
        }
        "/api/v3/repositories/42/issues/7/comments" => {
            assert_eq!((&request.method, &request.body), (&Method::POST, &json!({"body": "hi"})));
            Some(status(201, json!({"id": 1, "html_url": "u", "body": "hi", "created_at": WRITTEN_AT, "updated_at": WRITTEN_AT})))
        }
        "/api/v3/repos/octo/repo/issues/7" => {
            Some((StatusCode::FOUND, vec![("location", elsewhere.clone())], "{}".to_owned()))
        }
        "/api/v3/repos/octo/repo/issues/8" => {
            let to = ("location", "/api/v3/repositories/99/issues/8".to_owned());
            Some((StatusCode::MOVED_PERMANENTLY, vec![to], "{}".to_owned()))
        }
        "/api/v3/repositories/99/issues/8" => Some(ok(issue())),
        _ => None,
    })
    .await;
    let client = server.client();
    assert!(client.repository(&at()).await.is_ok());
    assert!(client.create_comment(&at(), SEVEN, "hi").await.is_ok());
    let error = client.issue(&at(), SEVEN).await.unwrap_err();
    assert!(matches!(error, GitHubError::Rejected { .. }), "{error}");
    assert_eq!(other_host.received().len(), 0);
    let transferred = client.issue(&at(), IssueNumber(8)).await.unwrap_err();
    assert!(matches!(transferred, GitHubError::NotFound { .. }), "{transferred}");
}

#[tokio::test]
async fn permission_is_read_from_the_base_level() {
    let server = Server::start(|request| {
        let login = request.path.strip_prefix("/api/v3/repos/octo/repo/collaborators/")?;
        Some(match login.strip_suffix("/permission")? {
            "gone" => status(404, json!({"message": "gone is not a user"})),
            "renovate%5Bbot%5D" => ok(json!({"permission": "write", "role_name": "write"})),
            "odd" => ok(json!({"permission": "owner"})),
            "custom" => ok(json!({"permission": "write", "role_name": "security-team"})),
            level => ok(json!({"permission": level, "role_name": level, "user": null})),
        })
    })
    .await;
    let client = server.client();
    for (login, permission) in [
        ("admin", Permission::Admin),
        ("write", Permission::Write),
        ("read", Permission::Read),
        ("none", Permission::None),
        ("custom", Permission::Write),
        ("gone", Permission::None),
        ("renovate[bot]", Permission::Write),
    ] {
        assert_eq!(client.permission(&at(), &login.parse().unwrap()).await.unwrap(), permission, "{login}");
    }
    assert!(client.permission(&at(), &"odd".parse().unwrap()).await.is_err());
}

#[tokio::test]
async fn pull_request_is_opened_as_a_draft_and_found_by_its_own_branch_only() {
    let server = Server::start(|request| match (&request.method, request.path.split('?').next()?) {
        (&Method::POST, "/api/v3/repos/octo/repo/pulls") => {
            Some(status(201, pull_request(3, "agent-fix/issue-7", head_repository(42))))
        }
        (&Method::GET, "/api/v3/repos/octo/repo/pulls") => Some(ok(json!([
            pull_request(1, "agent-fix/issue-7", head_repository(41)),
            pull_request(2, "agent-fix/issue-7", json!(null)),
            pull_request(3, "agent-fix/issue-7", head_repository(42)),
        ]))),
        (&Method::GET, "/api/v3/repos/octo/repo") => {
            let mut renamed = repository();
            renamed["full_name"] = json!("new-owner/repo");
            Some(ok(renamed))
        }
        _ => None,
    })
    .await;
    let client = server.client();
    let new = NewPullRequest {
        title: "Fix it".into(),
        body: "Fixes #7".into(),
        head: "agent-fix/issue-7".into(),
        base: "main".into(),
    };
    let made = client.create_draft_pull_request(&at(), &new).await.unwrap();
    assert_eq!((made.number.0, made.draft), (3, true));
    assert_eq!(
        server.api_requests()[0].body,
        json!({"title": "Fix it", "body": "Fixes #7", "head": "agent-fix/issue-7", "base": "main", "draft": true})
    );
    let found = client.find_pull_request(&at(), "agent-fix/issue-7").await.unwrap().unwrap();
    assert_eq!(found.number.0, 3);
    let query = server.api_requests().last().unwrap().path.clone();
    assert!(query.contains("head=new-owner%3Aagent-fix%2Fissue-7"), "{query}");
    assert_eq!(client.find_pull_request(&at(), "agent-fix/issue-8").await.unwrap(), None);
}

#[tokio::test]
async fn issue_with_null_author_and_body_is_read() {
    let sha = "b".repeat(40);
    let reference = json!({"ref": "refs/heads/a b/c", "node_id": "R", "url": "https://github.example/r",
        "object": {"type": "commit", "sha": sha, "url": "https://github.example/c"}});
    let server = Server::start(move |request| match request.path.as_str() {
        "/api/v3/repos/octo/repo/issues/7" => Some(ok(issue())),
        "/api/v3/repos/octo/repo/git/ref/heads/a%20b/c" => Some(ok(reference.clone())),
        path if path.contains("/git/ref/") => Some(status(404, json!({"message": "Not Found"}))),
        _ => None,
    })
    .await;
    let client = server.client();
    let issue = client.issue(&at(), SEVEN).await.unwrap();
    assert_eq!(issue.snapshot.author.as_str(), "ghost");
    assert_eq!((issue.snapshot.body.as_str(), issue.snapshot.labels), ("", vec!["bug".into(), "x".into()]));
    assert!(issue.open && !issue.locked && !issue.is_pull_request);
    assert_eq!(client.branch_head(&at(), "a b/c").await.unwrap().unwrap().as_str(), "b".repeat(40));
    assert_eq!(client.branch_head(&at(), "gone").await.unwrap(), None);
}

#[tokio::test]
async fn git_access_has_a_url_without_credentials_and_the_narrowed_token() {
    let server = Server::start(|request| {
        (!request.is_token_request()).then(|| {
            let mut repository = repository();
            if request.path.ends_with("/other") {
                repository.as_object_mut().unwrap().remove("clone_url");
            } else {
                repository["clone_url"] = json!("https://user:word@git.example/octo/repo.git");
            }
            ok(repository)
        })
    })
    .await;
    let client = server.client();
    let access = client.git_access(&at()).await.unwrap();
    assert_eq!(access.url.as_str(), "https://git.example/octo/repo.git");
    assert_eq!((access.username.as_str(), access.token.expose_secret()), ("x-access-token", "ghs_1"));
    assert!(!format!("{access:?}").contains("ghs_1"));
    let access = client.git_access(&elsewhere()).await.unwrap();
    assert_eq!(access.url.as_str(), "https://github.example/octo/repo.git");
}

#[tokio::test]
async fn app_identity_is_requested_once() {
    let server = Server::start(|request| match request.path.as_str() {
        "/api/v3/app" => Some(ok(json!({"id": APP_ID, "slug": "fixer"}))),
        "/api/v3/users/fixer%5Bbot%5D" => Some(ok(json!({"login": "fixer[bot]", "id": 77, "type": "Bot"}))),
        "/api/v3/repos/octo/repo" => Some(ok(repository())),
        _ => None,
    })
    .await;
    let client = server.client();
    client.repository(&at()).await.unwrap();
    for _ in 0..2 {
        let identity = client.app_identity().await.unwrap();
        assert_eq!((identity.slug.as_str(), identity.bot_user_id), ("fixer", 77));
    }
    let requests: Vec<_> = server
        .api_requests()
        .iter()
        .map(|request| (request.path.clone(), request.bearer().to_owned()))
        .collect();
    assert_eq!(requests.len(), 3);
    assert!(requests[1].1.starts_with("eyJ"), "/app is requested with the App's own JWT");
    assert_eq!(requests[2].1, "ghs_1");
}

#[tokio::test]
async fn truncated_or_unexpected_response_is_an_error() {
    let error = async |body: &'static str| {
        let reply = (StatusCode::OK, Vec::new(), body.to_owned());
        let server = Server::start(move |request| (!request.is_token_request()).then(|| reply.clone())).await;
        server.client().repository(&at()).await.unwrap_err()
    };
    assert!(matches!(error(r#"{"id": 42, "full_"#).await, GitHubError::Unavailable { .. }));
    assert!(matches!(error("[]").await, GitHubError::Rejected { .. }));
    assert!(matches!(error("<html>").await, GitHubError::Rejected { .. }));
    let hostile = r#"{"full_name": "../..", "default_branch": "main", "html_url": "u"}"#;
    assert!(matches!(error(hostile).await, GitHubError::Rejected { .. }));
}

#[tokio::test]
async fn invalid_private_key_is_rejected_without_being_shown() {
    let connection =
        GitHubConnection { private_key_pem: "not a key".into(), ..connection("http://127.0.0.1:1") };
    let Err(error) = OctocrabGitHub::new(connection) else { panic!("accepted") };
    assert!(matches!(error, ConnectionError::PrivateKey(_)));
    assert!(!error.to_string().contains("not a key"), "{error}");
}
