//! What GitHub lets an installation do, shared by all jobs of this process: a limit that one of them
//! met is not met by the others, too, and what they write together is spaced. Sleeps at most for a
//! write's turn; whoever meets a pause is told when to come back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::GitHubError;
use super::refusal::{Limited, limited, used_up_for};
use super::transport::{Answer, Call};
use crate::domain::InstallationId;

/// A turn further away than this is not waited for: the job is better put back.
const TURN_WAIT_MAX: Duration = Duration::from_secs(60);
/// What GitHub asks for when a secondary limit comes without a number; longer each time that it is
/// met again. Source: docs.github.com, "Best practices for using the REST API", "Handle rate limit
/// errors appropriately".
const UNSAID_WAIT: Duration = Duration::from_secs(60);
const UNSAID_WAIT_MAX: Duration = Duration::from_secs(16 * 60);
/// Installations that are remembered; beyond it those are let go that wait for nothing.
const INSTALLATIONS_KEPT_MAX: usize = 1000;

/// Puts down that nothing may be sent for an installation before a time, so that a restart does not
/// forget it.
pub type SaveRateLimit = Arc<dyn Fn(InstallationId, Timestamp) -> BoxFuture<'static, ()> + Send + Sync>;

/// The limits of all installations.
pub struct RateLimits {
    between_writes: Duration,
    keep: Option<SaveRateLimit>,
    installations: Mutex<HashMap<InstallationId, Limit>>,
}

#[derive(Default)]
struct Limit {
    /// Nothing is sent before.
    paused_until: Option<Timestamp>,
    /// Nothing is written before.
    next_write: Option<Instant>,
    /// Secondary limits without a number that were met one after the other.
    unsaid: u32,
}

/// What a call has to wait for.
enum Wait {
    Nothing,
    Turn(Instant),
    /// It is not let through.
    Pause(Duration),
}

impl Default for RateLimits {
    /// As github.com wants it: a write a second. Nothing is kept.
    fn default() -> Self {
        Self::new(Duration::from_secs(1))
    }
}

impl RateLimits {
    /// With so long between two writes of one installation.
    /// Source: docs.github.com, "Best practices for using the REST API", "Pause between mutative requests".
    pub fn new(between_writes: Duration) -> Self {
        Self { between_writes, keep: None, installations: Mutex::default() }
    }

    /// The same, with the pauses that are known, and a place where new ones are put down.
    #[must_use]
    pub fn with_saved(
        self,
        known: impl IntoIterator<Item = (InstallationId, Timestamp)>,
        keep: SaveRateLimit,
    ) -> Self {
        for (installation, until) in known {
            self.lock().entry(installation).or_default().paused_until = Some(until);
        }
        Self { keep: Some(keep), ..self }
    }

    /// Lets a call through, a write when it is its turn. During a pause nothing is sent.
    pub(super) async fn admit(
        &self,
        installation: InstallationId,
        call: &Call,
        now: impl Fn() -> Timestamp,
    ) -> Result<(), GitHubError> {
        let wait = match self.wait_of(installation, call, now(), Instant::now()) {
            Wait::Nothing => None,
            Wait::Turn(turn) => {
                tokio::time::sleep_until(turn).await;
                // Somebody may have met a limit meanwhile.
                self.paused(installation, now())
            }
            Wait::Pause(wait) => Some(wait),
        };
        let Some(retry_after) = wait else { return Ok(()) };
        let detail = format!("the rate limit of installation {installation}");
        Err(GitHubError::Unavailable { what: call.what.clone(), detail, retry_after })
    }

    fn wait_of(&self, installation: InstallationId, call: &Call, now: Timestamp, instant: Instant) -> Wait {
        let mut limits = self.lock();
        if limits.len() >= INSTALLATIONS_KEPT_MAX {
            limits.retain(|_, limit| limit.waits(now));
        }
        let limit = limits.entry(installation).or_default();
        if let Some(wait) = limit.pause(now) {
            return Wait::Pause(wait);
        }
        if call.method == Method::GET || self.between_writes.is_zero() {
            return Wait::Nothing;
        }
        if limit.next_write.is_some_and(|next| next > instant + TURN_WAIT_MAX) {
            return Wait::Pause(TURN_WAIT_MAX);
        }
        let turn = limit.take_turn(instant, self.between_writes);
        if call.at_once { Wait::Nothing } else { Wait::Turn(turn) }
    }

    /// Takes from an answer what GitHub says of its limits. Answers with how long to wait where the
    /// answer is a refusal for one.
    pub(super) async fn heed(
        &self,
        installation: InstallationId,
        answer: &Answer,
        now: Timestamp,
    ) -> Option<Duration> {
        let (refused, wait) = {
            let mut limits = self.lock();
            let limit = limits.entry(installation).or_default();
            match limited(answer, now) {
                Some(Limited::For(wait)) => (true, Some(wait)),
                Some(Limited::Unsaid) => (true, Some(limit.unsaid_wait(now))),
                // The last request that there was: the next would only be refused.
                None => (false, used_up_for(answer, now)),
            }
        };
        let Some(wait) = wait else {
            if answer.status.is_success()
                && let Some(limit) = self.lock().get_mut(&installation)
            {
                limit.unsaid = 0;
            }
            return None;
        };
        let until = now + SignedDuration::try_from(wait).unwrap_or_default();
        let is_new = {
            let mut limits = self.lock();
            let limit = limits.entry(installation).or_default();
            let is_new = limit.paused_until.is_none_or(|known| known < until);
            limit.paused_until = limit.paused_until.max(Some(until));
            is_new
        };
        if is_new {
            tracing::warn!(%installation, %until, "GitHub's rate limit: nothing is sent for this installation");
            if let Some(keep) = &self.keep {
                keep(installation, until).await;
            }
        }
        refused.then_some(wait)
    }

    /// How long nothing may be sent for an installation.
    pub(super) fn paused(&self, installation: InstallationId, now: Timestamp) -> Option<Duration> {
        self.lock().get(&installation).and_then(|limit| limit.pause(now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstallationId, Limit>> {
        // A panic elsewhere leaves the map whole: every change to it is one assignment.
        self.installations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limit {
    fn pause(&self, now: Timestamp) -> Option<Duration> {
        let until = self.paused_until.filter(|until| *until > now)?;
        // Rounded up: who comes back a moment too early comes back twice.
        Some(until.duration_since(now).unsigned_abs() + Duration::from_millis(1))
    }

    fn take_turn(&mut self, now: Instant, between_writes: Duration) -> Instant {
        let turn = self.next_write.map_or(now, |next| next.max(now));
        self.next_write = Some(turn + between_writes);
        turn
    }

    /// Requests that were under way together meet one limit, not several.
    fn unsaid_wait(&mut self, now: Timestamp) -> Duration {
        if let Some(wait) = self.pause(now) {
            return wait;
        }
        let wait = UNSAID_WAIT.saturating_mul(1 << self.unsaid.min(10)).min(UNSAID_WAIT_MAX);
        self.unsaid += 1;
        wait
    }

    fn waits(&self, now: Timestamp) -> bool {
        self.pause(now).is_some() || self.next_write.is_some_and(|next| next > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: InstallationId = InstallationId(1);
    const OTHER: InstallationId = InstallationId(2);
    const NOW: Timestamp = Timestamp::constant(1_790_000_000, 0);

    fn answer(status: u16, headers: &[(&'static str, String)]) -> Answer {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: Vec::new(),
            address: "http://127.0.0.1/".parse().unwrap(),
        }
    }

    fn after(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    async fn refused(limits: &RateLimits, installation: InstallationId, at: Timestamp) -> Option<u64> {
        match limits.admit(installation, &Call::get("reading", "/x"), || at).await {
            Ok(()) => None,
            Err(GitHubError::Unavailable { retry_after, .. }) => Some(retry_after.as_secs()),
            Err(other) => panic!("{other}"),
        }
    }

    /// How many milliseconds a call waits that is made so many milliseconds after `started`; `None`: it
    /// is not let through.
    fn waits(
        limits: &RateLimits,
        whose: InstallationId,
        call: &Call,
        started: Instant,
        at: u64,
    ) -> Option<u128> {
        let instant = started + Duration::from_millis(at);
        match limits.wait_of(whose, call, NOW, instant) {
            Wait::Nothing => Some(0),
            Wait::Turn(turn) => Some(turn.duration_since(instant).as_millis()),
            Wait::Pause(_) => None,
        }
    }

    #[test]
    fn an_installation_writes_once_a_second_and_the_first_time_at_once() {
        let (limits, started) = (RateLimits::default(), Instant::now());
        let (write, read) = (Call::patch("editing", "/x", "".into()), Call::get("reading", "/x"));
        let reaction = Call::post("reacting", "/x", "".into()).at_once();
        let waits = |whose, call: &Call, at| waits(&limits, whose, call, started, at).unwrap();
        assert_eq!([0, 0, 0].map(|at| waits(OURS, &write, at)), [0, 1_000, 2_000]);
        assert_eq!((waits(OURS, &read, 0), waits(OTHER, &write, 0)), (0, 0));
        assert_eq!(waits(OURS, &write, 2_600), 400);
        // A reaction waits for nobody, and the next write waits for it.
        assert_eq!([&reaction, &write].map(|call| waits(OURS, call, 3_000)), [0, 2_000]);
        assert_eq!(waits(OURS, &write, 60_000), 0);
    }

    #[test]
    fn a_write_whose_turn_is_far_away_is_put_back() {
        let (limits, started) = (RateLimits::new(Duration::from_secs(20)), Instant::now());
        let write = Call::patch("editing", "/x", "".into());
        let all = [0; 6].map(|at| waits(&limits, OURS, &write, started, at));
        assert_eq!(all, [Some(0), Some(20_000), Some(40_000), Some(60_000), None, None]);
        assert_eq!(waits(&limits, OURS, &write, started, 25_000), Some(55_000));
    }

    #[tokio::test]
    async fn a_write_that_meets_a_limit_while_it_waits_for_its_turn_is_not_sent() {
        let limits = RateLimits::new(Duration::from_millis(50));
        let write = Call::patch("editing", "/x", "".into());
        limits.admit(OURS, &write, || NOW).await.unwrap();
        let meeting = answer(429, &[("retry-after", "9".into())]);
        let (second, _) = tokio::join!(limits.admit(OURS, &write, || NOW), limits.heed(OURS, &meeting, NOW));
        assert!(matches!(second, Err(GitHubError::Unavailable { .. })), "{second:?}");
    }

    #[tokio::test]
    async fn a_pause_holds_for_its_installation_until_it_is_over() {
        let limits = RateLimits::default();
        let said = |seconds: u32| answer(403, &[("retry-after", seconds.to_string())]);
        assert_eq!(limits.heed(OURS, &said(90), NOW).await.map(|wait| wait.as_secs()), Some(90));
        // A shorter one does not shorten it.
        limits.heed(OURS, &said(20), NOW).await;
        assert_eq!(refused(&limits, OURS, after(30)).await, Some(60));
        assert_eq!(refused(&limits, OTHER, after(30)).await, None);
        assert_eq!(refused(&limits, OURS, after(90)).await, None);
    }

    #[tokio::test]
    async fn the_last_request_that_there_was_is_followed_by_none() {
        let limits = RateLimits::default();
        let last =
            [("x-ratelimit-remaining", "0".into()), ("x-ratelimit-reset", (1_790_000_000 + 600).to_string())];
        assert_eq!(limits.heed(OURS, &answer(200, &last), NOW).await, None, "the answer itself is good");
        assert_eq!(refused(&limits, OURS, after(599)).await, Some(1));
        assert_eq!(refused(&limits, OURS, after(600)).await, None);
    }

    #[tokio::test]
    async fn a_secondary_limit_without_a_number_is_waited_for_longer_each_time() {
        let limits = RateLimits::default();
        let wait = async |at| limits.heed(OURS, &answer(429, &[]), at).await.unwrap().as_secs();
        assert_eq!(wait(NOW).await, 60);
        assert_eq!(wait(after(1)).await, 59, "requests that were under way together meet one limit");
        assert_eq!(wait(after(61)).await, 120);
        assert_eq!(wait(after(200)).await, 240);
        limits.heed(OURS, &answer(200, &[]), after(500)).await;
        assert_eq!(wait(after(501)).await, 60);
    }

    #[tokio::test]
    async fn a_pause_is_put_down_once_and_known_again() {
        let kept: Arc<Mutex<Vec<(InstallationId, Timestamp)>>> = Arc::default();
        let keep: SaveRateLimit = {
            let kept = kept.clone();
            Arc::new(move |installation, until| {
                kept.lock().unwrap().push((installation, until));
                Box::pin(async {})
            })
        };
        let limits = RateLimits::default().with_saved([], keep.clone());
        let said = answer(403, &[("retry-after", "90".into())]);
        limits.heed(OURS, &said, NOW).await;
        limits.heed(OURS, &said, NOW).await;
        let known = kept.lock().unwrap().clone();
        assert_eq!(known, [(OURS, after(90))]);
        let limits = RateLimits::default().with_saved(known, keep);
        assert_eq!(refused(&limits, OURS, after(80)).await, Some(10));
    }
}
