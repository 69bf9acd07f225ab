//! Authentication and authorization: App tokens, installation tokens, permissions, repositories.

use jiff::Timestamp;
use mendwright_emulator::github::RepositorySource;
use serde_json::{Value, json};

use super::{EmulatorTest, REPOSITORY};

#[tokio::test]
async fn app_token_is_accepted_only_if_it_is_valid_short_lived_and_signed_by_the_app() {
    let test = EmulatorTest::start().await;
    let now = Timestamp::now().as_second();
    let status = async |token: String| {
        let reply = test.send("GET", "/app", Some(&format!("Bearer {token}")), Value::Null).await;
        if reply.status == 401 {
            assert!(reply.body["message"].is_string() && reply.body["documentation_url"].is_string());
        }
        (reply.status, reply.body["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(status(test.jwt()).await.0, 200);
    let client_id = test.github.credentials().client_id.clone();
    assert_eq!(status(test.jwt_with(&json!({"iss": client_id}))).await.0, 200);
    let by_number = json!({"iss": test.github.credentials().app_id});
    assert_eq!(status(test.jwt_with(&by_number)).await.0, 200);

    let rejected = [
        (json!({"exp": now - 1}), "'Expiration time' claim ('exp') must be"),
        (json!({"exp": null}), "'Expiration time' claim ('exp') must be"),
        (json!({"exp": now + 700}), "'Expiration time' claim ('exp') is too far in the future"),
        (json!({"iat": now + 120}), "'Issued at' claim"),
        (json!({"iat": null}), "'Issued at' claim"),
        (json!({"iss": "7"}), "'Issuer' claim"),
    ];
    for (claims, message) in rejected {
        let (code, text) = status(test.jwt_with(&claims)).await;
        assert!(code == 401 && text.starts_with(message), "{claims}: {code} {text}");
    }
    // Good claims, with the signature of others: whoever has not the key can do no more.
    let (claims, signature) = (test.jwt(), test.jwt_with(&json!({"exp": now + 59})));
    let end = |token: &str| token.rfind('.').unwrap();
    let forged = format!("{}{}", &claims[..end(&claims)], &signature[end(&signature)..]);
    assert_ne!(forged, claims);
    assert_eq!(status(forged).await, (401, "A JSON web token could not be decoded".to_owned()));
    let installation = test.token().await;
    assert_eq!(status(installation).await.0, 401);
    assert_eq!(test.send("GET", "/app", None, Value::Null).await.status, 401);
}

#[tokio::test]
async fn installation_token_cannot_have_more_permissions_than_its_app() {
    let test = EmulatorTest::start().await;
    let installation = test.github.credentials().installation_id;
    let path = format!("/app/installations/{installation}/access_tokens");
    let jwt = format!("Bearer {}", test.jwt());
    let ask = async |body: Value| test.send("POST", &path, Some(&jwt), body).await;
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
    let unknown = test.send("POST", "/app/installations/7/access_tokens", Some(&jwt), json!({})).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn narrowed_token_is_limited_to_its_repositories_and_permissions() {
    let test = EmulatorTest::start().await;
    let files = [("README.md".to_owned(), b"# Elsewhere\n".to_vec())];
    test.github.add_repository("octo-maintainer/elsewhere", RepositorySource::Files(&files)).unwrap();
    let issue = test.github.open_issue("Bug", "It fails", "octo-reader").unwrap();
    let body = json!({"repositories": ["greeter"], "permissions": {"issues": "read"}});
    let token = test.token_for(body).await;
    let comment = json!({"body": "Hello"});
    assert_eq!(test.repo("GET", &format!("/issues/{issue}"), &token, Value::Null).await.status, 200);
    let written = test.repo("POST", &format!("/issues/{issue}/comments"), &token, comment.clone()).await;
    assert_eq!(written.status, 403);
    assert_eq!(written.body["message"], "Resource not accessible by integration");
    assert_eq!(test.repo("GET", "/git/ref/heads/main", &token, Value::Null).await.status, 403);
    let elsewhere = "/repos/octo-maintainer/elsewhere";
    let authorization = format!("token {token}");
    assert_eq!(test.send("GET", elsewhere, Some(&authorization), Value::Null).await.status, 404);
    let listed = test.send("GET", "/installation/repositories", Some(&authorization), Value::Null).await;
    assert_eq!(
        (&listed.body["total_count"], &listed.body["repository_selection"]),
        (&json!(1), &json!("selected"))
    );

    test.github.expire_tokens();
    let late = test.repo("GET", &format!("/issues/{issue}"), &token, Value::Null).await;
    assert_eq!((late.status, late.body["message"].as_str()), (401, Some("Bad credentials")));
    let fresh = test.token().await;
    assert_eq!(test.repo("GET", &format!("/issues/{issue}"), &fresh, Value::Null).await.status, 200);
    let revoked =
        test.send("DELETE", "/installation/token", Some(&format!("Bearer {fresh}")), Value::Null).await;
    assert_eq!(revoked.status, 204);
    assert_eq!(test.repo("GET", &format!("/issues/{issue}"), &fresh, Value::Null).await.status, 401);
}

#[tokio::test]
async fn permission_of_an_account_has_githubs_base_permission_and_role() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let of = async |login: &str| {
        let reply =
            test.repo("GET", &format!("/collaborators/{login}/permission"), &token, Value::Null).await;
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
    test.github.set_role("outsider", mendwright_emulator::github::Role::Maintain);
    assert_eq!(of("outsider").await, (200, "write".to_owned(), "maintain".to_owned()));
}

#[tokio::test]
async fn request_without_user_agent_or_with_invalid_json_is_rejected() {
    let test = EmulatorTest::start().await;
    let nobody = reqwest::Client::builder().no_proxy().build().unwrap();
    let reply = nobody.get(format!("{}/rate_limit", test.github.api_url())).send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 403);
    let token = test.token().await;
    let address = format!("{}/repos/{REPOSITORY}/issues", test.github.api_url());
    let request = test.client.post(address).header("authorization", format!("Bearer {token}")).body("{");
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 400);
    let reply = test.send("GET", "/no/such/route", Some(&format!("Bearer {token}")), Value::Null).await;
    assert_eq!((reply.status, reply.body["message"].as_str()), (404, Some("Not Found")));
}

#[tokio::test]
async fn rate_limit_is_counted_and_enforced() {
    let test = EmulatorTest::start().await;
    let token = test.token().await;
    let first = test.repo("GET", "", &token, Value::Null).await;
    let second = test.repo("GET", "", &token, Value::Null).await;
    let remaining = |reply: &super::ApiReply| reply.headers["x-ratelimit-remaining"].parse::<u64>().unwrap();
    assert_eq!(remaining(&first), remaining(&second) + 1);
    let address = format!("{}_emulator/rate_limit", test.github.url());
    let change = test.client.put(address).json(&json!({"max": 5000, "used": 5000}));
    assert_eq!(change.send().await.unwrap().status().as_u16(), 200);
    let third = test.repo("GET", "", &token, Value::Null).await;
    assert_eq!((third.status, remaining(&third)), (403, 0));
    assert!(third.body["message"].as_str().unwrap().starts_with("API rate limit exceeded"));
    let limit = test.send("GET", "/rate_limit", Some(&format!("Bearer {token}")), Value::Null).await;
    assert_eq!((limit.status, &limit.body["rate"]["remaining"]), (200, &json!(0)));
}
