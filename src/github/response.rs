//! Turns responses into values, and refusals into errors that say what to do about them. Pure.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::backoff::retry_after_failure;
use super::error::GitHubError;
use super::rate_limit_response::{RateLimited, rate_limited};
use super::request::{ApiRequest, ApiResponse};

/// What GitHub asks for if a secondary limit comes without a number
/// (docs.github.com, "Rate limits for the REST API").
const SECONDARY_LIMIT_WAIT: Duration = Duration::from_secs(60);
const DETAIL_CHARS_MAX: usize = 500;

/// The response if its status is a success; otherwise the error that it means.
pub(super) async fn require_success(
    request: &ApiRequest,
    response: ApiResponse,
    now: Timestamp,
) -> Result<ApiResponse, GitHubError> {
    let limited = rate_limited(&response, now);
    if limited.is_none() && response.status.is_success() {
        return Ok(response);
    }
    let what = request.what.clone();
    let refusal = refusal(&response).await;
    let detail = describe(response.status, refusal.as_deref());
    if let Some(limited) = limited {
        let retry_after = match limited {
            RateLimited::For(wait) => wait,
            RateLimited::Unspecified => SECONDARY_LIMIT_WAIT,
        };
        return Err(GitHubError::Unavailable { what, detail: format!("rate limit: {detail}"), retry_after });
    }
    if is_too_quick(refusal.as_deref()) {
        return Err(GitHubError::Unavailable { what, detail, retry_after: SECONDARY_LIMIT_WAIT });
    }
    Err(match response.status {
        StatusCode::NOT_FOUND | StatusCode::GONE => GitHubError::NotFound { what, detail },
        StatusCode::UNAUTHORIZED => GitHubError::Forbidden {
            what,
            detail: format!("{detail}; check github.app_id, the App's private key and this machine's clock"),
        },
        StatusCode::FORBIDDEN => {
            let remedy = permission_remedy(&response.headers);
            GitHubError::Forbidden { what, detail: format!("{detail}; {remedy}") }
        }
        _ => GitHubError::Rejected { what, detail },
    })
}

/// Reads the response's JSON.
pub(super) fn read<T: DeserializeOwned>(
    request: &ApiRequest,
    response: &ApiResponse,
) -> Result<T, GitHubError> {
    serde_json::from_slice(&response.body).map_err(|error| unreadable(&request.what, &error))
}

/// A response whose JSON cannot be read. One that was cut off is worth another attempt.
pub(super) fn unreadable(what: &str, error: &serde_json::Error) -> GitHubError {
    let (what, detail) = (what.to_owned(), format!("the response cannot be read: {error}"));
    match error.is_eof() {
        true => GitHubError::Unavailable { what, detail, retry_after: retry_after_failure() },
        false => GitHubError::Rejected { what, detail },
    }
}

/// octocrab's reading of a response that is not a success.
async fn refusal(response: &ApiResponse) -> Option<Box<octocrab::GitHubError>> {
    let body = Full::new(response.body.clone()).map_err(|never| match never {}).boxed();
    let mut message = Response::new(body);
    *message.status_mut() = response.status;
    match octocrab::map_github_error(message).await {
        Err(octocrab::Error::GitHub { source, .. }) => Some(source),
        Ok(_) | Err(_) => None,
    }
}

/// Whether GitHub refuses content only because much was created lately. It says so in a 422, not as a rate limit.
fn is_too_quick(refusal: Option<&octocrab::GitHubError>) -> bool {
    const TOO_QUICK: &str = "submitted too quickly";
    let Some(refusal) = refusal else { return false };
    let mut errors = refusal.errors.iter().flatten().map(describe_one);
    refusal.message.contains(TOO_QUICK) || errors.any(|error| error.contains(TOO_QUICK))
}

/// GitHub's message and its list of errors, in one line.
fn describe(status: StatusCode, refusal: Option<&octocrab::GitHubError>) -> String {
    let mut text = String::new();
    if let Some(refusal) = refusal {
        // octocrab fills an empty message with the name of the status, which is there already.
        if Some(refusal.message.as_str()) != status.canonical_reason() {
            text.push_str(&refusal.message);
        }
        let errors: Vec<String> = refusal.errors.iter().flatten().map(describe_one).collect();
        if !errors.is_empty() {
            text = format!("{text}: {}", errors.join("; "));
        }
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.chars().take(DETAIL_CHARS_MAX).collect();
    if text.is_empty() { format!("status {status}") } else { format!("status {status}: {text}") }
}

/// An entry of `errors`: text, or an object with a message of its own or a field and a code.
/// Source: docs.github.com, "Troubleshooting the REST API", validation errors.
fn describe_one(error: &Value) -> String {
    let part = |key: &str| error.get(key).and_then(Value::as_str);
    match (error.as_str(), part("message")) {
        (Some(text), _) | (None, Some(text)) => text.to_owned(),
        (None, None) => {
            let parts = ["resource", "field", "code"].into_iter().filter_map(part);
            let text = parts.collect::<Vec<_>>().join(" ");
            if text.is_empty() { error.to_string() } else { text }
        }
    }
}

fn permission_remedy(headers: &HeaderMap) -> String {
    let needed = headers.get("x-accepted-github-permissions").and_then(|value| value.to_str().ok());
    match needed.map(str::trim).filter(|needed| !needed.is_empty()) {
        Some(needed) => format!(
            "it needs the permission {}: grant it in the App's settings, then accept it in the installation",
            needed.replace(';', " or")
        ),
        None => "is the installation suspended, or does it lack a permission?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn response(status: u16, headers: &[(&'static str, String)], body: &str) -> ApiResponse {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        ApiResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: body.to_owned().into(),
            url: "http://127.0.0.1/".parse().unwrap(),
        }
    }

    async fn error(status: u16, headers: &[(&'static str, String)], body: &str) -> GitHubError {
        let now = Timestamp::from_second(NOW).unwrap();
        let request = ApiRequest::get("reading x", "/x");
        require_success(&request, response(status, headers, body), now).await.unwrap_err()
    }

    async fn wait(status: u16, headers: &[(&'static str, String)], body: &str) -> u64 {
        match error(status, headers, body).await {
            GitHubError::Unavailable { retry_after, .. } => retry_after.as_secs(),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn rate_limit_gives_the_time_to_wait() {
        let header = |name, value: i64| (name, value.to_string());
        assert_eq!(wait(403, &[header("retry-after", 17)], "{}").await, 17);
        assert_eq!(wait(429, &[header("retry-after", 0)], "{}").await, 1);
        let primary = [header("x-ratelimit-remaining", 0), header("x-ratelimit-reset", NOW + 90)];
        assert_eq!(wait(403, &primary, "{}").await, 90);
        assert_eq!(wait(429, &primary, "{}").await, 90);
        let past = [header("x-ratelimit-remaining", 0), header("x-ratelimit-reset", NOW - 90)];
        assert_eq!(wait(403, &past, "{}").await, 1);
        let far = [header("x-ratelimit-remaining", 0), header("x-ratelimit-reset", i64::MAX)];
        assert_eq!(wait(403, &far, "{}").await, 65 * 60);
        assert_eq!(wait(429, &[], "").await, 60);
        let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        assert_eq!(wait(403, &[], secondary).await, 60);
        let date = ("date", "Mon, 21 Sep 2026 14:13:30 GMT".to_owned());
        let with_date = [primary[0].clone(), primary[1].clone(), date];
        assert_eq!(wait(403, &with_date, "{}").await, 80, "our clock is ten seconds behind");
        let plenty = [header("x-ratelimit-remaining", 4999), header("x-ratelimit-reset", NOW + 90)];
        assert!(matches!(error(403, &plenty, "{}").await, GitHubError::Forbidden { .. }));
    }

    #[tokio::test]
    async fn content_that_was_created_too_quickly_is_worth_a_retry() {
        let whole = r#"{"message":"Validation Failed: was submitted too quickly"}"#;
        assert_eq!(wait(422, &[], whole).await, 60);
        let in_list = r#"{"message":"Validation Failed","errors":[{"resource":"Issue","code":"custom","field":"base","message":"was submitted too quickly"}]}"#;
        assert_eq!(wait(422, &[], in_list).await, 60);
        let lasting = r#"{"message":"Draft pull requests are not supported in this repository."}"#;
        assert!(matches!(error(422, &[], lasting).await, GitHubError::Rejected { .. }));
    }

    #[tokio::test]
    async fn error_response_is_described_with_a_remedy() {
        let text = async |status, headers: &[(&'static str, String)], body: &str| {
            error(status, headers, body).await.to_string()
        };
        let needed = [("x-accepted-github-permissions", "issues=write; pull_requests=write".to_owned())];
        insta::assert_snapshot!(text(404, &[], r#"{"message":"Not Found"}"#).await, @"not found on GitHub (reading x): status 404 Not Found");
        insta::assert_snapshot!(text(410, &[], r#"{"message":"This issue was deleted"}"#).await, @"not found on GitHub (reading x): status 410 Gone: This issue was deleted");
        insta::assert_snapshot!(text(401, &[], r#"{"message":"Bad credentials"}"#).await, @"forbidden by GitHub (reading x): status 401 Unauthorized: Bad credentials; check github.app_id, the App's private key and this machine's clock");
        insta::assert_snapshot!(text(403, &needed, r#"{"message":"Resource not accessible by integration"}"#).await, @"forbidden by GitHub (reading x): status 403 Forbidden: Resource not accessible by integration; it needs the permission issues=write or pull_requests=write: grant it in the App's settings, then accept it in the installation");
        insta::assert_snapshot!(text(403, &[], "").await, @"forbidden by GitHub (reading x): status 403 Forbidden; is the installation suspended, or does it lack a permission?");
        insta::assert_snapshot!(text(422, &[], r#"{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"A pull request already exists for octo:x."},{"resource":"PullRequest","field":"head","code":"invalid"},"plain words",{"odd":1}]}"#).await, @r#"rejected by GitHub (reading x): status 422 Unprocessable Entity: Validation Failed: A pull request already exists for octo:x.; PullRequest head invalid; plain words; {"odd":1}"#);
        insta::assert_snapshot!(text(400, &[], "<html>\n <b>Whoa</b>\n").await, @"rejected by GitHub (reading x): status 400 Bad Request: <html> <b>Whoa</b>");
    }

    #[tokio::test]
    async fn endless_explanation_is_truncated() {
        let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(100_000));
        assert!(error(422, &[], &body).await.to_string().len() < 700);
    }

    #[test]
    fn truncated_json_is_worth_a_retry_and_wrong_json_is_not() {
        let request = ApiRequest::get("reading x", "/x");
        let truncated = read::<Vec<u64>>(&request, &response(200, &[], "[1, 2")).unwrap_err();
        assert!(matches!(truncated, GitHubError::Unavailable { .. }), "{truncated}");
        let wrong = read::<Vec<u64>>(&request, &response(200, &[], r#"{"a":1}"#)).unwrap_err();
        assert!(matches!(wrong, GitHubError::Rejected { .. }), "{wrong}");
    }
}
