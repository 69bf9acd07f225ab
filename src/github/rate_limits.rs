//! The rate limits of each installation, shared by all jobs of this process, and the spacing of writes.
//! octocrab knows one request at a time; these limits hold across jobs and restarts, so that a limit that
//! one job hits stops the others too. Sleeps only until a write's turn; a request during a pause fails
//! with the time to retry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::GitHubError;
use super::rate_limit_response::{RateLimited, exhausted_for, rate_limited};
use super::request::{ApiRequest, ApiResponse};
use crate::domain::InstallationId;

/// A write does not wait for a turn later than this: its job is requeued instead.
const TURN_WAIT_MAX: Duration = Duration::from_secs(60);
/// The wait that GitHub asks for if a secondary limit comes without a number. It doubles each time that
/// the limit is hit again. Source: docs.github.com, "Best practices for using the REST API", "Handle rate limit
/// errors appropriately".
const UNSPECIFIED_WAIT: Duration = Duration::from_secs(60);
const UNSPECIFIED_WAIT_MAX: Duration = Duration::from_secs(16 * 60);
/// The number of installations to remember. Above it, those that wait for nothing are dropped.
const INSTALLATIONS_KEPT_MAX: usize = 1000;

/// Saves that nothing may be sent for an installation before a time, so that the limit survives a
/// restart.
pub type SaveRateLimit = Arc<dyn Fn(InstallationId, Timestamp) -> BoxFuture<'static, ()> + Send + Sync>;

/// The limits of all installations.
pub struct RateLimits {
    between_writes: Duration,
    save: Option<SaveRateLimit>,
    installations: Mutex<HashMap<InstallationId, Limit>>,
}

#[derive(Default)]
struct Limit {
    /// Nothing is sent before this time.
    paused_until: Option<Timestamp>,
    /// No write is sent before this instant.
    next_write: Option<Instant>,
    /// How many secondary limits without a number were hit in a row.
    unspecified: u32,
}

/// What a request waits for.
enum Wait {
    Nothing,
    Turn(Instant),
    /// It is not admitted.
    Pause(Duration),
}

impl Default for RateLimits {
    /// As github.com requires: one write per second. Nothing is saved.
    fn default() -> Self {
        Self::new(Duration::from_secs(1))
    }
}

impl RateLimits {
    /// With this time between two writes of one installation.
    /// Source: docs.github.com, "Best practices for using the REST API", "Pause between mutative requests".
    pub fn new(between_writes: Duration) -> Self {
        Self { between_writes, save: None, installations: Mutex::default() }
    }

    /// Starts with the saved limits and saves new ones.
    #[must_use]
    pub fn with_saved(
        self,
        saved: impl IntoIterator<Item = (InstallationId, Timestamp)>,
        save: SaveRateLimit,
    ) -> Self {
        for (installation, until) in saved {
            self.installations.lock().entry(installation).or_default().paused_until = Some(until);
        }
        Self { save: Some(save), ..self }
    }

    /// Admits a request; a write waits for its turn. During a pause nothing is admitted.
    pub(super) async fn admit(
        &self,
        installation: InstallationId,
        request: &ApiRequest,
        now: impl Fn() -> Timestamp,
    ) -> Result<(), GitHubError> {
        let wait = match self.wait_of(installation, request, now(), Instant::now()) {
            Wait::Nothing => None,
            Wait::Turn(turn) => {
                tokio::time::sleep_until(turn).await;
                // Another job may have hit a limit meanwhile.
                self.paused(installation, now())
            }
            Wait::Pause(wait) => Some(wait),
        };
        let Some(retry_after) = wait else { return Ok(()) };
        let detail = format!("the rate limit of installation {installation}");
        Err(GitHubError::Unavailable { what: request.what.clone(), detail, retry_after })
    }

    fn wait_of(
        &self,
        installation: InstallationId,
        request: &ApiRequest,
        now: Timestamp,
        instant: Instant,
    ) -> Wait {
        let mut limits = self.installations.lock();
        if limits.len() >= INSTALLATIONS_KEPT_MAX {
            limits.retain(|_, limit| limit.is_waiting(now));
        }
        let limit = limits.entry(installation).or_default();
        if let Some(wait) = limit.pause(now) {
            return Wait::Pause(wait);
        }
        if request.method == Method::GET || self.between_writes.is_zero() {
            return Wait::Nothing;
        }
        if limit.next_write.is_some_and(|next| next > instant + TURN_WAIT_MAX) {
            return Wait::Pause(TURN_WAIT_MAX);
        }
        let turn = limit.take_turn(instant, self.between_writes);
        if request.unspaced { Wait::Nothing } else { Wait::Turn(turn) }
    }

    /// Records what a response says about GitHub's limits. Returns how long to wait if a limit refused the
    /// request.
    pub(super) async fn record(
        &self,
        installation: InstallationId,
        response: &ApiResponse,
        now: Timestamp,
    ) -> Option<Duration> {
        let (is_refused, wait) = {
            let mut limits = self.installations.lock();
            let limit = limits.entry(installation).or_default();
            match rate_limited(response, now) {
                Some(RateLimited::For(wait)) => (true, Some(wait)),
                Some(RateLimited::Unspecified) => (true, Some(limit.unspecified_wait(now))),
                // It used the last request that was left: GitHub would refuse the next one.
                None => (false, exhausted_for(response, now)),
            }
        };
        let Some(wait) = wait else {
            if response.status.is_success()
                && let Some(limit) = self.installations.lock().get_mut(&installation)
            {
                limit.unspecified = 0;
            }
            return None;
        };
        let until = now + SignedDuration::try_from(wait).unwrap_or_default();
        let is_new = {
            let mut limits = self.installations.lock();
            let limit = limits.entry(installation).or_default();
            let is_new = limit.paused_until.is_none_or(|known| known < until);
            limit.paused_until = limit.paused_until.max(Some(until));
            is_new
        };
        if is_new {
            tracing::warn!(%installation, %until, "GitHub rate limit reached");
            if let Some(save) = &self.save {
                save(installation, until).await;
            }
        }
        is_refused.then_some(wait)
    }

    /// How long nothing may be sent for an installation.
    pub(super) fn paused(&self, installation: InstallationId, now: Timestamp) -> Option<Duration> {
        self.installations.lock().get(&installation).and_then(|limit| limit.pause(now))
    }
}

impl Limit {
    fn pause(&self, now: Timestamp) -> Option<Duration> {
        let until = self.paused_until.filter(|until| *until > now)?;
        // Rounded up: a request that is a moment too early would have to wait again.
        Some(until.duration_since(now).unsigned_abs() + Duration::from_millis(1))
    }

    fn take_turn(&mut self, now: Instant, between_writes: Duration) -> Instant {
        let turn = self.next_write.map_or(now, |next| next.max(now));
        self.next_write = Some(turn + between_writes);
        turn
    }

    /// Requests that were in flight together count as one hit of the limit.
    fn unspecified_wait(&mut self, now: Timestamp) -> Duration {
        if let Some(wait) = self.pause(now) {
            return wait;
        }
        let wait = UNSPECIFIED_WAIT.saturating_mul(1 << self.unspecified.min(10)).min(UNSPECIFIED_WAIT_MAX);
        self.unspecified += 1;
        wait
    }

    fn is_waiting(&self, now: Timestamp) -> bool {
        self.pause(now).is_some() || self.next_write.is_some_and(|next| next > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: InstallationId = InstallationId(1);
    const OTHER: InstallationId = InstallationId(2);
    const NOW: Timestamp = Timestamp::constant(1_790_000_000, 0);

    fn response(status: u16, headers: &[(&'static str, String)]) -> ApiResponse {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        ApiResponse {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: bytes::Bytes::new(),
            url: "http://127.0.0.1/".parse().unwrap(),
        }
    }

    fn after(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    async fn refused(limits: &RateLimits, installation: InstallationId, at: Timestamp) -> Option<u64> {
        match limits.admit(installation, &ApiRequest::get("reading", "/x"), || at).await {
            Ok(()) => None,
            Err(GitHubError::Unavailable { retry_after, .. }) => Some(retry_after.as_secs()),
            Err(other) => panic!("{other}"),
        }
    }

    /// How many milliseconds a request waits that is made `at` milliseconds after `started`; `None` if it
    /// is not admitted.
    fn waits(
        limits: &RateLimits,
        whose: InstallationId,
        request: &ApiRequest,
        started: Instant,
        at: u64,
    ) -> Option<u128> {
        let instant = started + Duration::from_millis(at);
        match limits.wait_of(whose, request, NOW, instant) {
            Wait::Nothing => Some(0),
            Wait::Turn(turn) => Some(turn.duration_since(instant).as_millis()),
            Wait::Pause(_) => None,
        }
    }

    #[test]
    fn writes_of_an_installation_are_spaced_by_a_second() {
        let (limits, started) = (RateLimits::default(), Instant::now());
        let (write, read) = (ApiRequest::patch("editing", "/x", "".into()), ApiRequest::get("reading", "/x"));
        let reaction = ApiRequest::post("reacting", "/x", "".into()).unspaced();
        let waits = |whose, request: &ApiRequest, at| waits(&limits, whose, request, started, at).unwrap();
        assert_eq!([0, 0, 0].map(|at| waits(OURS, &write, at)), [0, 1_000, 2_000]);
        assert_eq!((waits(OURS, &read, 0), waits(OTHER, &write, 0)), (0, 0));
        assert_eq!(waits(OURS, &write, 2_600), 400);
        // A reaction does not wait, but the next write waits for it.
        assert_eq!([&reaction, &write].map(|request| waits(OURS, request, 3_000)), [0, 2_000]);
        assert_eq!(waits(OURS, &write, 60_000), 0);
    }

    #[test]
    fn write_with_a_turn_beyond_the_maximum_is_not_admitted() {
        let (limits, started) = (RateLimits::new(Duration::from_secs(20)), Instant::now());
        let write = ApiRequest::patch("editing", "/x", "".into());
        let all = [0; 6].map(|at| waits(&limits, OURS, &write, started, at));
        assert_eq!(all, [Some(0), Some(20_000), Some(40_000), Some(60_000), None, None]);
        assert_eq!(waits(&limits, OURS, &write, started, 25_000), Some(55_000));
    }

    #[tokio::test]
    async fn limit_hit_while_a_write_waits_for_its_turn_stops_the_write() {
        let limits = RateLimits::new(Duration::from_millis(50));
        let write = ApiRequest::patch("editing", "/x", "".into());
        limits.admit(OURS, &write, || NOW).await.unwrap();
        let limited = response(429, &[("retry-after", "9".into())]);
        let (second, _) =
            tokio::join!(limits.admit(OURS, &write, || NOW), limits.record(OURS, &limited, NOW));
        assert!(matches!(second, Err(GitHubError::Unavailable { .. })), "{second:?}");
    }

    #[tokio::test]
    async fn pause_stops_its_installation_only_and_until_it_ends() {
        let limits = RateLimits::default();
        let limited = |seconds: u32| response(403, &[("retry-after", seconds.to_string())]);
        assert_eq!(limits.record(OURS, &limited(90), NOW).await.map(|wait| wait.as_secs()), Some(90));
        // A shorter one does not shorten it.
        limits.record(OURS, &limited(20), NOW).await;
        assert_eq!(refused(&limits, OURS, after(30)).await, Some(60));
        assert_eq!(refused(&limits, OTHER, after(30)).await, None);
        assert_eq!(refused(&limits, OURS, after(90)).await, None);
    }

    #[tokio::test]
    async fn exhausted_limit_stops_the_next_request() {
        let limits = RateLimits::default();
        let last =
            [("x-ratelimit-remaining", "0".into()), ("x-ratelimit-reset", (1_790_000_000 + 600).to_string())];
        assert_eq!(
            limits.record(OURS, &response(200, &last), NOW).await,
            None,
            "the response itself is a success"
        );
        assert_eq!(refused(&limits, OURS, after(599)).await, Some(1));
        assert_eq!(refused(&limits, OURS, after(600)).await, None);
    }

    #[tokio::test]
    async fn wait_for_an_unspecified_limit_doubles_each_time() {
        let limits = RateLimits::default();
        let wait = async |at| limits.record(OURS, &response(429, &[]), at).await.unwrap().as_secs();
        assert_eq!(wait(NOW).await, 60);
        assert_eq!(wait(after(1)).await, 59, "requests in flight together count as one");
        assert_eq!(wait(after(61)).await, 120);
        assert_eq!(wait(after(200)).await, 240);
        limits.record(OURS, &response(200, &[]), after(500)).await;
        assert_eq!(wait(after(501)).await, 60);
    }

    #[tokio::test]
    async fn limit_is_saved_once_and_restored() {
        let saved: Arc<Mutex<Vec<(InstallationId, Timestamp)>>> = Arc::default();
        let save: SaveRateLimit = {
            let saved = saved.clone();
            Arc::new(move |installation, until| {
                saved.lock().push((installation, until));
                Box::pin(async {})
            })
        };
        let limits = RateLimits::default().with_saved([], save.clone());
        let limited = response(403, &[("retry-after", "90".into())]);
        limits.record(OURS, &limited, NOW).await;
        limits.record(OURS, &limited, NOW).await;
        let known = saved.lock().clone();
        assert_eq!(known, [(OURS, after(90))]);
        let limits = RateLimits::default().with_saved(known, save);
        assert_eq!(refused(&limits, OURS, after(80)).await, Some(10));
    }
}
