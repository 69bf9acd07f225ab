//! Turns GitHub's refusals into errors that say what can be done about them. Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::GitHubError;
use super::transport::{Answer, Call, after_trouble};

/// What GitHub asks for when a secondary limit comes without a number
/// (docs.github.com, "Rate limits for the REST API").
const SECONDARY_LIMIT_WAIT: Duration = Duration::from_secs(60);
/// The primary limit is by the hour; a reset further away than that is somebody's wrong clock.
const LIMIT_WAIT_MAX: Duration = Duration::from_secs(65 * 60);
const DETAIL_CHARS_MAX: usize = 500;

/// The answer, when it is a success; else the error it stands for.
pub(super) fn accepted(call: &Call, answer: Answer, now: Timestamp) -> Result<Answer, GitHubError> {
    let what = call.what.clone();
    if let Some(limited) = limited(&answer, now) {
        let retry_after = match limited {
            Limited::For(wait) => wait,
            Limited::Unsaid => SECONDARY_LIMIT_WAIT,
        };
        let detail = format!("rate limit: {}", explanation(&answer));
        return Err(GitHubError::Unavailable { what, detail, retry_after });
    }
    if answer.status.is_success() {
        return Ok(answer);
    }
    let detail = explanation(&answer);
    Err(match answer.status {
        StatusCode::NOT_FOUND | StatusCode::GONE => GitHubError::NotFound { what, detail },
        StatusCode::UNAUTHORIZED => GitHubError::Forbidden {
            what,
            detail: format!("{detail}; check github.app_id, the App's private key and this machine's clock"),
        },
        StatusCode::FORBIDDEN => {
            let remedy = permission_remedy(&answer.headers);
            GitHubError::Forbidden { what, detail: format!("{detail}; {remedy}") }
        }
        _ => GitHubError::Rejected { what, detail },
    })
}

/// Reads the answer's JSON into the few fields that are needed.
pub(super) fn read<T: DeserializeOwned>(call: &Call, answer: &Answer) -> Result<T, GitHubError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        let what = call.what.clone();
        let detail = format!("the answer ({} bytes) cannot be read: {error}", answer.body.len());
        if error.is_eof() {
            return GitHubError::Unavailable { what, detail, retry_after: after_trouble() };
        }
        GitHubError::Rejected { what, detail }
    })
}

/// A refusal for a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limited {
    /// GitHub says how long.
    For(Duration),
    /// It does not.
    Unsaid,
}

/// Whether the answer is a refusal for a rate limit.
pub(super) fn limited(answer: &Answer, now: Timestamp) -> Option<Limited> {
    let says = |words: &str| String::from_utf8_lossy(&answer.body).to_lowercase().contains(words);
    let throttled = match answer.status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => false,
        // GraphQL refuses with success.
        status if status.is_success() && answer.address.path().ends_with("/graphql") => {
            if !says("\"rate_limited\"") {
                return None;
            }
            true
        }
        _ => return None,
    };
    if let Some(after) = number(answer, "retry-after") {
        return Some(Limited::For(wait(after)));
    }
    if let Some(wait) = used_up_for(answer, now) {
        return Some(Limited::For(wait));
    }
    (throttled || says("secondary rate limit")).then_some(Limited::Unsaid)
}

/// How long it is until there are requests again, where the answer took the last one.
pub(super) fn used_up_for(answer: &Answer, now: Timestamp) -> Option<Duration> {
    if number(answer, "x-ratelimit-remaining") != Some(0) {
        return None;
    }
    let reset = number(answer, "x-ratelimit-reset")?;
    // GitHub's own clock, for ours may be wrong.
    let date = answer.headers.get(http::header::DATE).and_then(|value| value.to_str().ok());
    let date = date.and_then(|text| rfc2822::parse(text).ok()).map(|zoned| zoned.timestamp());
    Some(wait(reset.saturating_sub(date.unwrap_or(now).as_second())))
}

fn number(answer: &Answer, header: &str) -> Option<i64> {
    answer.headers.get(header)?.to_str().ok()?.trim().parse().ok()
}

fn wait(seconds: i64) -> Duration {
    Duration::from_secs(seconds.max(1).unsigned_abs()).min(LIMIT_WAIT_MAX)
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

#[derive(Deserialize)]
struct ErrorBody {
    message: Option<String>,
    errors: Option<Vec<Value>>,
}

/// GitHub's message and its list of errors, in one line.
fn explanation(answer: &Answer) -> String {
    let words = match serde_json::from_slice::<ErrorBody>(&answer.body) {
        Ok(body) => {
            let errors = body.errors.unwrap_or_default();
            let list = errors.iter().map(one_error).collect::<Vec<_>>().join("; ");
            match (body.message, list.is_empty()) {
                (Some(message), true) => message,
                (Some(message), false) => format!("{message}: {list}"),
                (None, _) => list,
            }
        }
        Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let words: String = words.chars().take(DETAIL_CHARS_MAX).collect();
    let status = answer.status;
    if words.is_empty() { format!("status {status}") } else { format!("status {status}: {words}") }
}

/// An entry of `errors`: text, or an object with a message of its own or a field and a code.
/// Source: docs.github.com, "Troubleshooting the REST API", validation errors.
fn one_error(error: &Value) -> String {
    let part = |key: &str| error.get(key).and_then(Value::as_str);
    match (error.as_str(), part("message")) {
        (Some(text), _) | (None, Some(text)) => text.to_owned(),
        (None, None) => {
            let parts = ["resource", "field", "code"].into_iter().filter_map(part);
            let words = parts.collect::<Vec<_>>().join(" ");
            if words.is_empty() { error.to_string() } else { words }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn refused(status: u16, headers: &[(&'static str, String)], body: &str) -> GitHubError {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: body.as_bytes().to_vec(),
            address: "http://127.0.0.1/".parse().unwrap(),
        };
        let now = Timestamp::from_second(NOW).unwrap();
        accepted(&Call::get("reading x", "/x"), answer, now).unwrap_err()
    }
    fn wait(error: &GitHubError) -> u64 {
        match error {
            GitHubError::Unavailable { retry_after, .. } => retry_after.as_secs(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn rate_limits_say_when_to_come_back() {
        let header = |name, value: i64| (name, value.to_string());
        assert_eq!(wait(&refused(403, &[header("retry-after", 17)], "{}")), 17);
        assert_eq!(wait(&refused(429, &[header("retry-after", 0)], "{}")), 1);
        let primary = [header("x-ratelimit-remaining", 0), header("x-ratelimit-reset", NOW + 90)];
        assert_eq!(wait(&refused(403, &primary, "{}")), 90);
        assert_eq!(wait(&refused(429, &primary, "{}")), 90);
        let past = [header("x-ratelimit-remaining", 0), header("x-ratelimit-reset", NOW - 90)];
        assert_eq!(wait(&refused(403, &past, "{}")), 1);
        let far = [header("x-ratelimit-remaining", 0), header("x-ratelimit-reset", i64::MAX)];
        assert_eq!(wait(&refused(403, &far, "{}")), 65 * 60);
        assert_eq!(wait(&refused(429, &[], "")), 60);
        let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        assert_eq!(wait(&refused(403, &[], secondary)), 60);
        let date = ("date", "Mon, 21 Sep 2026 14:13:30 GMT".to_owned());
        let by_githubs_clock = [primary[0].clone(), primary[1].clone(), date];
        assert_eq!(wait(&refused(403, &by_githubs_clock, "{}")), 80, "ours is ten seconds behind");
        let plenty = [header("x-ratelimit-remaining", 4999), header("x-ratelimit-reset", NOW + 90)];
        assert!(matches!(refused(403, &plenty, "{}"), GitHubError::Forbidden { .. }));
    }

    #[test]
    fn refusals_are_told_with_githubs_words_and_a_remedy() {
        let told = |status, headers: &[(&'static str, String)], body: &str| {
            refused(status, headers, body).to_string()
        };
        let needed = [("x-accepted-github-permissions", "issues=write; pull_requests=write".to_owned())];
        insta::assert_snapshot!(told(404, &[], r#"{"message":"Not Found"}"#), @"GitHub does not know it (reading x): status 404 Not Found: Not Found");
        insta::assert_snapshot!(told(410, &[], r#"{"message":"This issue was deleted"}"#), @"GitHub does not know it (reading x): status 410 Gone: This issue was deleted");
        insta::assert_snapshot!(told(401, &[], r#"{"message":"Bad credentials"}"#), @"GitHub refuses it (reading x): status 401 Unauthorized: Bad credentials; check github.app_id, the App's private key and this machine's clock");
        insta::assert_snapshot!(told(403, &needed, r#"{"message":"Resource not accessible by integration"}"#), @"GitHub refuses it (reading x): status 403 Forbidden: Resource not accessible by integration; it needs the permission issues=write or pull_requests=write: grant it in the App's settings, then accept it in the installation");
        insta::assert_snapshot!(told(403, &[], "{}"), @"GitHub refuses it (reading x): status 403 Forbidden; is the installation suspended, or does it lack a permission?");
        insta::assert_snapshot!(told(422, &[], r#"{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"A pull request already exists for octo:x."},{"resource":"PullRequest","field":"head","code":"invalid"},"plain words",{"odd":1}]}"#), @r#"GitHub did not accept it (reading x): status 422 Unprocessable Entity: Validation Failed: A pull request already exists for octo:x.; PullRequest head invalid; plain words; {"odd":1}"#);
        insta::assert_snapshot!(told(400, &[], "<html>\n <b>Whoa</b>\n"), @"GitHub did not accept it (reading x): status 400 Bad Request: <html> <b>Whoa</b>");
    }

    #[test]
    fn an_endless_explanation_is_cut() {
        let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(100_000));
        assert!(refused(422, &[], &body).to_string().len() < 700);
    }

    #[test]
    fn an_answer_that_was_cut_is_worth_another_try_and_a_wrong_one_is_not() {
        let answer = |body: &str| Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
            address: "http://127.0.0.1/".parse().unwrap(),
        };
        let call = Call::get("reading x", "/x");
        let cut = read::<Vec<u64>>(&call, &answer("[1, 2")).unwrap_err();
        assert!(matches!(cut, GitHubError::Unavailable { .. }), "{cut}");
        let wrong = read::<Vec<u64>>(&call, &answer(r#"{"a":1}"#)).unwrap_err();
        assert!(matches!(wrong, GitHubError::Rejected { .. }), "{wrong}");
    }
}
