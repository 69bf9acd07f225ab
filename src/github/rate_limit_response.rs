//! What a response says about GitHub's rate limits. Pure.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::request::ApiResponse;

/// The primary limit resets every hour; a later reset comes from a wrong clock.
const WAIT_MAX: Duration = Duration::from_secs(65 * 60);

/// A response that refuses a request because of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RateLimited {
    /// GitHub says how long to wait.
    For(Duration),
    /// GitHub does not say how long to wait.
    Unspecified,
}

/// Whether the response refuses the request because of a rate limit.
pub(super) fn rate_limited(response: &ApiResponse, now: Timestamp) -> Option<RateLimited> {
    let contains = |text: &str| String::from_utf8_lossy(&response.body).to_lowercase().contains(text);
    let is_throttled = match response.status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => false,
        // GraphQL refuses with a success status.
        status if status.is_success() && response.url.path().ends_with("/graphql") => {
            if !contains("\"rate_limited\"") {
                return None;
            }
            true
        }
        _ => return None,
    };
    if let Some(seconds) = number(response, "retry-after") {
        return Some(RateLimited::For(wait(seconds)));
    }
    if let Some(wait) = exhausted_for(response, now) {
        return Some(RateLimited::For(wait));
    }
    (is_throttled || contains("secondary rate limit")).then_some(RateLimited::Unspecified)
}

/// How long no requests are left, if the response used up the last one.
pub(super) fn exhausted_for(response: &ApiResponse, now: Timestamp) -> Option<Duration> {
    if number(response, "x-ratelimit-remaining") != Some(0) {
        return None;
    }
    let reset = number(response, "x-ratelimit-reset")?;
    // GitHub's own clock, because ours may be wrong.
    Some(wait(reset.saturating_sub(response.date().unwrap_or(now).as_second())))
}

fn number(response: &ApiResponse, header: &str) -> Option<i64> {
    response.header(header)?.trim().parse().ok()
}

fn wait(seconds: i64) -> Duration {
    Duration::from_secs(seconds.max(1).unsigned_abs()).min(WAIT_MAX)
}
