//! The GitHub adapter against small servers made for one question each: what it sends, what it
//! makes of the answers.

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
    APP_ID, Reply, START, Server, at, connection, elsewhere, issue, key, ok, pull_request, repository, status,
};

const SEVEN: IssueNumber = IssueNumber(7);

#[tokio::test]
async fn a_token_is_asked_for_one_repository_with_a_jwt_that_github_accepts() {
    let server = Server::start(|seen| (!seen.is_mint()).then(|| ok(repository()))).await;
    let repository = server.client().repository(&at()).await.unwrap();
    assert_eq!(repository.default_branch, "main");
    let seen = server.seen();
    let [mint, read] = seen.as_slice() else { panic!("{seen:?}") };

    assert_eq!(
        (&mint.method, mint.path.as_str()),
        (&Method::POST, "/api/v3/app/installations/9/access_tokens")
    );
    assert_eq!(
        mint.body,
        json!({"repository_ids": [42], "permissions":
            {"checks": "write", "contents": "write", "issues": "write", "metadata": "read", "pull_requests": "write"}})
    );
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[APP_ID.to_string()]);
    validation.validate_exp = false;
    let key = DecodingKey::from_rsa_der(&key().1);
    let claims = jsonwebtoken::decode::<Value>(mint.bearer(), &key, &validation).unwrap().claims;
    assert_eq!(claims["iat"], START - 60);
    let lives = claims["exp"].as_i64().unwrap() - START;
    assert!((60..=600).contains(&lives), "{lives}");

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
async fn a_token_serves_its_repository_until_five_minutes_before_its_end_and_no_other_repository() {
    let server = Server::start(|seen| (!seen.is_mint()).then(|| ok(repository()))).await;
    let client = server.client();
    client.repository(&at()).await.unwrap();
    server.now.fetch_add(55 * 60, Ordering::SeqCst);
    client.repository(&at()).await.unwrap();
    assert_eq!(server.mints(), 1);
    server.now.fetch_add(1, Ordering::SeqCst);
    client.repository(&at()).await.unwrap();
    assert_eq!(server.mints(), 2);
    client.repository(&elsewhere()).await.unwrap();
    assert_eq!(server.mints(), 3);
    assert_eq!(server.seen().last().unwrap().bearer(), "ghs_3");
}

#[tokio::test]
async fn many_callers_at_once_cause_one_token() {
    let server = Server::start(|seen| (!seen.is_mint()).then(|| ok(repository()))).await;
    let (client, here) = (server.client(), at());
    let all = futures_util::future::join_all((0..20).map(|_| client.repository(&here))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(server.mints(), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_even_for_a_post() {
    let server = Server::start(|seen| match seen.bearer() {
        "ghs_1" => Some(status(401, json!({"message": "Bad credentials"}))),
        "ghs_2" => Some(status(201, json!({"id": 5, "html_url": "u", "body": "hello"}))),
        _ => None,
    })
    .await;
    let comment = server.client().create_comment(&at(), SEVEN, "hello").await.unwrap();
    assert_eq!(comment.id.0, 5);
    assert_eq!(server.mints(), 2);

    let server = Server::start(|seen| (!seen.is_mint()).then(|| status(401, json!({})))).await;
    let error = server.client().repository(&at()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Forbidden { .. }), "{error}");
    assert_eq!((server.mints(), server.asked().len()), (2, 2));
}

#[tokio::test]
async fn an_installation_that_is_gone_or_lacks_permissions_is_named() {
    let told = async |reply: Reply| {
        let server = Server::start(move |seen| seen.is_mint().then(|| reply.clone())).await;
        server.client().repository(&at()).await.unwrap_err().to_string()
    };
    insta::assert_snapshot!(told(status(404, json!({"message": "Not Found"}))).await, @"GitHub does not know it (getting a token for octo/repo (installation 9)): status 404 Not Found: Not Found; the App may have been uninstalled");
    insta::assert_snapshot!(told(status(422, json!({"message": "The permissions requested are not granted to this installation."}))).await, @"GitHub refuses it (getting a token for octo/repo (installation 9)): status 422 Unprocessable Entity: The permissions requested are not granted to this installation.; is the App still installed on this repository, and are its newest permissions accepted there?");
    insta::assert_snapshot!(told(status(403, json!({"message": "This installation has been suspended"}))).await, @"GitHub refuses it (getting a token for octo/repo (installation 9)): status 403 Forbidden: This installation has been suspended; is the installation suspended, or does it lack a permission?");
}

#[tokio::test]
async fn what_may_be_repeated_is_and_a_comment_is_never_posted_twice() {
    let server = Server::start(|seen| (!seen.is_mint()).then(|| status(502, json!({})))).await;
    let client = server.client();
    let unavailable = |result: Result<(), GitHubError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, GitHubError::Unavailable { .. }), "{error}");
    };
    let asked_by = |before: usize| server.asked().len() - before;
    unavailable(client.repository(&at()).await.map(drop));
    assert_eq!(asked_by(0), 3);
    unavailable(client.update_comment(&at(), mendwright::domain::CommentId(1), "x").await);
    assert_eq!(asked_by(3), 3);
    unavailable(client.react_with_eyes(&at(), SEVEN).await);
    assert_eq!(asked_by(6), 3);
    unavailable(client.create_comment(&at(), SEVEN, "x").await.map(drop));
    assert_eq!(asked_by(9), 1);
    let new = NewPullRequest { title: "t".into(), body: "b".into(), head: "h".into(), base: "main".into() };
    unavailable(client.create_draft_pull_request(&at(), &new).await.map(drop));
    assert_eq!(asked_by(10), 1);
}

#[tokio::test]
async fn a_hiccup_is_not_noticed() {
    let failures = AtomicI64::new(2);
    let server = Server::start(move |seen| {
        let fails = !seen.is_mint() && failures.fetch_sub(1, Ordering::SeqCst) > 0;
        if fails { Some(status(503, json!({}))) } else { (!seen.is_mint()).then(|| ok(repository())) }
    })
    .await;
    assert!(server.client().repository(&at()).await.is_ok());
}

#[tokio::test]
async fn nobody_at_home_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = OctocrabGitHub::new(connection(&url)).unwrap().with_retry_pauses(Vec::new());
    let error = client.repository(&at()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn rate_limits_become_a_time_to_come_back() {
    let limited = |headers: Vec<(&'static str, String)>, code: u16| {
        let reply =
            (StatusCode::from_u16(code).unwrap(), headers, json!({"message": "slow down"}).to_string());
        async move {
            let server = Server::start(move |seen| (!seen.is_mint()).then(|| reply.clone())).await;
            let error = server.client().create_comment(&at(), SEVEN, "x").await.unwrap_err();
            assert_eq!(server.asked().len(), 1);
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
        // Ten seconds after START: ours is the clock that is wrong.
        ("date", "Mon, 21 Sep 2026 14:13:30 GMT".into()),
    ];
    assert_eq!(limited(exhausted, 429).await, 110);
}

#[tokio::test]
async fn our_comments_are_found_on_every_page_and_other_peoples_are_not_ours() {
    fn comment(id: u64, login: &str, kind: &str, app: Option<u64>) -> Value {
        json!({"id": id, "html_url": "u", "body": format!("{id}"), "user": {"login": login, "id": 1, "type": kind},
            "performed_via_github_app": app.map(|id| json!({"id": id, "slug": "s"}))})
    }
    let server = Server::start(|seen| {
        let path = seen.path.as_str();
        if path == "/api/v3/app" {
            return Some(ok(json!({"id": APP_ID, "slug": "fixer"})));
        }
        if path.contains("page=2") {
            let page = [
                comment(4, "fixer[bot]", "Bot", None),
                comment(5, "renamed[bot]", "Bot", Some(APP_ID)),
                comment(6, "ada", "User", Some(APP_ID)),
                json!({"id": 7, "html_url": "u", "body": null, "user": null}),
            ];
            return Some(ok(json!(page)));
        }
        path.contains("/comments").then(|| {
            let host = seen.headers["host"].to_str().unwrap();
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
async fn pages_without_end_end() {
    let server = Server::start(|seen| {
        if seen.path == "/api/v3/app" {
            return Some(ok(json!({"slug": "fixer"})));
        }
        (!seen.is_mint()).then(|| {
            let host = seen.headers["host"].to_str().unwrap();
            let link = format!("<http://{host}/api/v3/repos/octo/repo/issues/7/comments>; rel=\"next\"");
            (StatusCode::OK, vec![("link", link)], "[]".to_owned())
        })
    })
    .await;
    let error = server.client().our_comments(&at(), SEVEN).await.unwrap_err();
    assert!(matches!(error, GitHubError::Rejected { .. }), "{error}");
}

#[tokio::test]
async fn a_next_page_at_another_address_is_an_error_and_not_the_end() {
    let server = Server::start(|seen| {
        if seen.path == "/api/v3/app" {
            return Some(ok(json!({"slug": "fixer"})));
        }
        let link = "<https://elsewhere.example/comments?page=2>; rel=\"next\"".to_owned();
        (!seen.is_mint()).then(|| (StatusCode::OK, vec![("link", link)], "[]".to_owned()))
    })
    .await;
    let error = server.client().our_comments(&at(), SEVEN).await.unwrap_err();
    assert!(error.to_string().contains("elsewhere.example"), "{error}");
}

#[tokio::test]
async fn a_renamed_repository_is_followed_and_no_token_leaves_for_another_host() {
    let thief = Server::start(|_| Some(ok(json!({})))).await;
    let elsewhere = format!("http://localhost:{}/repos/octo/repo", thief.address.port());
    let server = Server::start(move |seen| match seen.path.as_str() {
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
            assert_eq!((&seen.method, &seen.body), (&Method::POST, &json!({"body": "hi"})));
            Some(status(201, json!({"id": 1, "html_url": "u", "body": "hi"})))
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
    assert_eq!(thief.seen().len(), 0);
    let transferred = client.issue(&at(), IssueNumber(8)).await.unwrap_err();
    assert!(matches!(transferred, GitHubError::NotFound { .. }), "{transferred}");
}

#[tokio::test]
async fn what_somebody_may_do_is_read_from_the_base_level() {
    let server = Server::start(|seen| {
        let login = seen.path.strip_prefix("/api/v3/repos/octo/repo/collaborators/")?;
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
async fn a_pull_request_is_always_opened_as_a_draft_and_only_our_own_branch_is_found() {
    let server = Server::start(|seen| match (&seen.method, seen.path.split('?').next()?) {
        (&Method::POST, "/api/v3/repos/octo/repo/pulls") => {
            Some(status(201, pull_request(3, "agent-fix/issue-7", json!({"id": 42}))))
        }
        (&Method::GET, "/api/v3/repos/octo/repo/pulls") => Some(ok(json!([
            pull_request(1, "agent-fix/issue-7", json!({"id": 41})),
            pull_request(2, "agent-fix/issue-7", json!(null)),
            pull_request(3, "agent-fix/issue-7", json!({"id": 42})),
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
        server.asked()[0].body,
        json!({"title": "Fix it", "body": "Fixes #7", "head": "agent-fix/issue-7", "base": "main", "draft": true})
    );
    let found = client.find_pull_request(&at(), "agent-fix/issue-7").await.unwrap().unwrap();
    assert_eq!(found.number.0, 3);
    let query = server.asked().last().unwrap().path.clone();
    assert!(query.contains("head=new-owner%3Aagent-fix%2Fissue-7"), "{query}");
    assert_eq!(client.find_pull_request(&at(), "agent-fix/issue-8").await.unwrap(), None);
}

#[tokio::test]
async fn issues_and_branches_are_read_with_what_github_leaves_null() {
    let sha = "b".repeat(40);
    let reference = json!({"ref": "refs/heads/a b/c", "object": {"type": "commit", "sha": sha}});
    let server = Server::start(move |seen| match seen.path.as_str() {
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
async fn git_gets_an_address_without_credentials_and_the_narrowed_token() {
    let server = Server::start(|seen| {
        (!seen.is_mint()).then(|| {
            let mut repository = repository();
            if seen.path.ends_with("/other") {
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
async fn the_app_knows_its_own_bot_account_and_asks_once() {
    let server = Server::start(|seen| match seen.path.as_str() {
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
    let asked: Vec<_> =
        server.asked().iter().map(|seen| (seen.path.clone(), seen.bearer().to_owned())).collect();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].1.starts_with("eyJ"), "/app is asked with the App's own JWT");
    assert_eq!(asked[2].1, "ghs_1");
}

#[tokio::test]
async fn answers_that_are_cut_or_strange_are_errors_not_guesses() {
    let told = async |body: &'static str| {
        let reply = (StatusCode::OK, Vec::new(), body.to_owned());
        let server = Server::start(move |seen| (!seen.is_mint()).then(|| reply.clone())).await;
        server.client().repository(&at()).await.unwrap_err()
    };
    assert!(matches!(told(r#"{"id": 42, "full_"#).await, GitHubError::Unavailable { .. }));
    assert!(matches!(told("[]").await, GitHubError::Rejected { .. }));
    assert!(matches!(told("<html>").await, GitHubError::Rejected { .. }));
    let hostile = r#"{"full_name": "../..", "default_branch": "main", "html_url": "u"}"#;
    assert!(matches!(told(hostile).await, GitHubError::Rejected { .. }));
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_without_being_shown() {
    let connection =
        GitHubConnection { private_key_pem: "not a key".into(), ..connection("http://127.0.0.1:1") };
    let Err(error) = OctocrabGitHub::new(connection) else { panic!("accepted") };
    assert!(matches!(error, ConnectionError::PrivateKey(_)));
    assert!(!error.to_string().contains("not a key"), "{error}");
}
