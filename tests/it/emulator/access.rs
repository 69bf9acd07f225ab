//! Who gets in: App tokens, installation tokens, permissions, scope.

use jiff::Timestamp;
use mendwright_emulator::github::RepositorySource;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Bench, REPOSITORY, sign};

#[tokio::test]
async fn an_app_token_must_be_signed_fresh_short_and_from_this_app() {
    let bench = Bench::start().await;
    let now = Timestamp::now().as_second();
    let status = async |token: String| {
        let reply = bench.send("GET", "/app", Some(&format!("Bearer {token}")), Value::Null).await;
        if reply.status == 401 {
            assert!(reply.body["message"].is_string() && reply.body["documentation_url"].is_string());
        }
        (reply.status, reply.body["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(status(bench.jwt()).await.0, 200);
    let client_id = bench.github.credentials().client_id.clone();
    assert_eq!(status(bench.jwt_with(&json!({"iss": client_id}))).await.0, 200);
    let by_number = json!({"iss": bench.github.credentials().app_id});
    assert_eq!(status(bench.jwt_with(&by_number)).await.0, 200);

    let refused = [
        (json!({"exp": now - 1}), "'Expiration time' claim ('exp') must be"),
        (json!({"exp": null}), "'Expiration time' claim ('exp') must be"),
        (json!({"exp": now + 700}), "'Expiration time' claim ('exp') is too far in the future"),
        (json!({"iat": now + 120}), "'Issued at' claim"),
        (json!({"iat": null}), "'Issued at' claim"),
        (json!({"iss": "7"}), "'Issuer' claim"),
    ];
    for (claims, message) in refused {
        let (code, words) = status(bench.jwt_with(&claims)).await;
        assert!(code == 401 && words.starts_with(message), "{claims}: {code} {words}");
    }
    let other = Bench::start().await;
    let claims = json!({"iat": now, "exp": now + 60, "iss": bench.github.credentials().app_id});
    let forged = sign(other.github.credentials().private_key_pem.expose_secret(), &claims);
    assert_eq!(status(forged).await, (401, "A JSON web token could not be decoded".to_owned()));
    let installation = bench.token().await;
    assert_eq!(status(installation).await.0, 401);
    assert_eq!(bench.send("GET", "/app", None, Value::Null).await.status, 401);
}

#[tokio::test]
async fn a_token_cannot_be_asked_to_reach_further_than_its_app() {
    let bench = Bench::start().await;
    let installation = bench.github.credentials().installation_id;
    let path = format!("/app/installations/{installation}/access_tokens");
    let jwt = format!("Bearer {}", bench.jwt());
    let ask = async |body: Value| bench.send("POST", &path, Some(&jwt), body).await;
    for body in [
        json!({"permissions": {"administration": "write"}}),
        json!({"permissions": {"metadata": "write"}}),
        json!({"permissions": {"workflows": "write"}}),
        json!({"repositories": ["elsewhere"]}),
        json!({"repository_ids": [7]}),
    ] {
        assert_eq!(ask(body.clone()).await.status, 422, "{body}");
    }
    let reply = ask(json!({"repositories": ["greeter"], "permissions": {"issues": "read"}})).await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.body["permissions"], json!({"issues": "read", "metadata": "read"}));
    let expires: Timestamp = reply.body["expires_at"].as_str().unwrap().parse().unwrap();
    let seconds = expires.as_second() - Timestamp::now().as_second();
    assert!((3_590..=3_600).contains(&seconds), "{seconds}");
    assert!(reply.body["token"].as_str().unwrap().starts_with("ghs_"));
    let unknown = bench.send("POST", "/app/installations/7/access_tokens", Some(&jwt), json!({})).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn a_narrow_token_reads_what_it_was_made_for_and_nothing_else() {
    let bench = Bench::start().await;
    let files = [("README.md".to_owned(), b"# Elsewhere\n".to_vec())];
    bench.github.add_repository("octo-maintainer/elsewhere", RepositorySource::Files(&files)).unwrap();
    let issue = bench.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    let body = json!({"repositories": ["greeter"], "permissions": {"issues": "read"}});
    let token = bench.token_for(body).await;
    let comment = json!({"body": "Hello"});
    assert_eq!(bench.repo("GET", &format!("/issues/{issue}"), &token, Value::Null).await.status, 200);
    let written = bench.repo("POST", &format!("/issues/{issue}/comments"), &token, comment.clone()).await;
    assert_eq!(written.status, 403);
    assert_eq!(written.body["message"], "Resource not accessible by integration");
    assert_eq!(bench.repo("GET", "/git/ref/heads/main", &token, Value::Null).await.status, 403);
    let elsewhere = "/repos/octo-maintainer/elsewhere";
    let authorization = format!("token {token}");
    assert_eq!(bench.send("GET", elsewhere, Some(&authorization), Value::Null).await.status, 404);
    let listed = bench.send("GET", "/installation/repositories", Some(&authorization), Value::Null).await;
    assert_eq!(
        (&listed.body["total_count"], &listed.body["repository_selection"]),
        (&json!(1), &json!("selected"))
    );

    bench.github.expire_tokens();
    let late = bench.repo("GET", &format!("/issues/{issue}"), &token, Value::Null).await;
    assert_eq!((late.status, late.body["message"].as_str()), (401, Some("Bad credentials")));
    let fresh = bench.token().await;
    assert_eq!(bench.repo("GET", &format!("/issues/{issue}"), &fresh, Value::Null).await.status, 200);
    let revoked =
        bench.send("DELETE", "/installation/token", Some(&format!("Bearer {fresh}")), Value::Null).await;
    assert_eq!(revoked.status, 204);
    assert_eq!(bench.repo("GET", &format!("/issues/{issue}"), &fresh, Value::Null).await.status, 401);
}

#[tokio::test]
async fn permissions_of_people_are_answered_by_their_base_and_their_role() {
    let bench = Bench::start().await;
    let token = bench.token().await;
    let of = async |login: &str| {
        let reply =
            bench.repo("GET", &format!("/collaborators/{login}/permission"), &token, Value::Null).await;
        let text = |field: &str| reply.body[field].as_str().unwrap_or_default().to_owned();
        (reply.status, text("permission"), text("role_name"))
    };
    let expected = [
        ("octo-maintainer", "admin", "admin"),
        ("octo-writer", "write", "write"),
        ("octo-triager", "read", "triage"),
        ("octo-reader", "read", "read"),
        ("outsider", "none", "none"),
        ("ci-helper%5Bbot%5D", "write", "write"),
    ];
    for (login, permission, role) in expected {
        assert_eq!(of(login).await, (200, permission.to_owned(), role.to_owned()), "{login}");
    }
    assert_eq!(of("nobody").await.0, 404);
    bench.github.set_role("outsider", mendwright_emulator::github::Role::Maintain);
    assert_eq!(of("outsider").await, (200, "write".to_owned(), "maintain".to_owned()));
}

#[tokio::test]
async fn a_request_without_a_user_agent_or_with_broken_json_is_refused() {
    let bench = Bench::start().await;
    let nobody = reqwest::Client::builder().no_proxy().build().unwrap();
    let reply = nobody.get(format!("{}/rate_limit", bench.github.api_url())).send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 403);
    let token = bench.token().await;
    let address = format!("{}/repos/{REPOSITORY}/issues", bench.github.api_url());
    let request = bench.client.post(address).header("authorization", format!("Bearer {token}")).body("{");
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 400);
    let reply = bench.send("GET", "/no/such/route", Some(&format!("Bearer {token}")), Value::Null).await;
    assert_eq!((reply.status, reply.body["message"].as_str()), (404, Some("Not Found")));
}

#[tokio::test]
async fn the_rate_limit_is_counted_down_and_enforced() {
    let bench = Bench::start().await;
    let token = bench.token().await;
    let first = bench.repo("GET", "", &token, Value::Null).await;
    let second = bench.repo("GET", "", &token, Value::Null).await;
    let remaining = |reply: &super::Reply| reply.headers["x-ratelimit-remaining"].parse::<u64>().unwrap();
    assert_eq!(remaining(&first), remaining(&second) + 1);
    let address = format!("{}_emulator/rate_limit", bench.github.url());
    let change = bench.client.put(address).json(&json!({"max": 5000, "used": 5000}));
    assert_eq!(change.send().await.unwrap().status().as_u16(), 200);
    let third = bench.repo("GET", "", &token, Value::Null).await;
    assert_eq!((third.status, remaining(&third)), (403, 0));
    assert!(third.body["message"].as_str().unwrap().starts_with("API rate limit exceeded"));
    let limit = bench.send("GET", "/rate_limit", Some(&format!("Bearer {token}")), Value::Null).await;
    assert_eq!((limit.status, &limit.body["rate"]["remaining"]), (200, &json!(0)));
}
