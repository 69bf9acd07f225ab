//! Which failures are retried, how long to wait before a retry, and when to give up.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::ModelError;
use crate::domain::Usage;

/// How a call is retried. Tests use short delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of attempts, the first included; at least one is made.
    pub attempts_max: u32,
    /// The wait after the first failure. It doubles after each further failure.
    pub delay_first: Duration,
    /// The longest wait that we choose ourselves.
    pub delay_max: Duration,
    /// The longest wait that a provider's `retry-after` can request.
    pub retry_after_max: Duration,
    /// All attempts and waits together.
    pub call_time_max: Duration,
}

impl Default for RetryPolicy {
    /// Six attempts within about a minute, in which an overload usually ends. A whole call, reasoning
    /// included, may take a quarter of an hour.
    fn default() -> Self {
        Self {
            attempts_max: 6,
            delay_first: Duration::from_secs(2),
            delay_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(120),
            call_time_max: Duration::from_secs(15 * 60),
        }
    }
}

/// Why an attempt brought no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// It cost nothing, and another attempt may succeed: no connection, overload, rate limit.
    Transient {
        /// What went wrong.
        detail: String,
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// It may have been billed: a response had begun, or may have.
    Interrupted {
        /// What went wrong.
        detail: String,
        /// The tokens that the provider had counted.
        usage: Option<Usage>,
        /// Whether another attempt may succeed.
        is_transient: bool,
    },
    /// It cost nothing, and another attempt would fail too.
    Permanent(ModelError),
}

impl Failure {
    /// A transient failure, from a provider that names no time to wait.
    pub(super) fn transient(detail: impl Into<String>) -> Self {
        Self::Transient { detail: detail.into(), retry_after: None }
    }

    /// A response that was interrupted before anything was counted.
    pub(super) fn interrupted(detail: impl Into<String>) -> Self {
        Self::Interrupted { detail: detail.into(), usage: None, is_transient: true }
    }

    /// The failure after a part of the response was read: it may have been billed.
    pub(super) fn after_partial_response(self, counted: Option<Usage>) -> Self {
        let (detail, usage, is_transient) = match self {
            Self::Transient { detail, .. } => (detail, None, true),
            Self::Interrupted { detail, usage, is_transient } => (detail, usage, is_transient),
            Self::Permanent(error) => (error.to_string(), None, false),
        };
        Self::Interrupted { detail, usage: usage.or(counted), is_transient }
    }
}

impl RetryPolicy {
    /// Repeats an attempt until it succeeds, fails permanently, may have been billed, or no attempts or time
    /// are left.
    pub(super) async fn run<T, A, F>(&self, url: &str, mut attempt: A) -> Result<T, ModelError>
    where
        A: FnMut() -> F,
        F: Future<Output = Result<T, Failure>>,
    {
        let deadline = Instant::now() + self.call_time_max;
        let unavailable =
            |attempts, detail| ModelError::Unavailable { url: url.to_owned(), attempts, detail };
        let mut attempts = 0;
        let mut earlier_failure = String::new();
        loop {
            attempts += 1;
            let (detail, retry_after) = match tokio::time::timeout_at(deadline, attempt()).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(Failure::Permanent(error))) => return Err(error),
                Ok(Err(Failure::Transient { detail, retry_after })) => (detail, retry_after),
                Ok(Err(Failure::Interrupted { detail, usage, is_transient })) => {
                    let wait = self.delay(attempts, None, random_fraction());
                    let retry_after = is_transient.then_some(wait);
                    let detail = format!("{detail}{earlier_failure}");
                    return Err(ModelError::Interrupted { url: url.to_owned(), detail, usage, retry_after });
                }
                Err(_) => {
                    let detail =
                        format!("no complete reply within {:?}{earlier_failure}", self.call_time_max);
                    let url = url.to_owned();
                    return Err(ModelError::Interrupted { url, detail, usage: None, retry_after: None });
                }
            };
            let delay = self.delay(attempts, retry_after, random_fraction());
            if attempts >= self.attempts_max || Instant::now() + delay >= deadline {
                return Err(unavailable(attempts, detail));
            }
            let milliseconds = delay.as_millis() as u64;
            tracing::warn!(attempt = attempts, retry_after_ms = milliseconds, %detail, "model call failed and is retried");
            earlier_failure = format!("; before that: {detail}");
            tokio::time::sleep(delay).await;
        }
    }

    /// The wait after `failures` failures: what the provider requested, up to our bound, and at least our own
    /// doubled delay. Half of that delay is random (`fraction` from 0 to 1), so that several jobs do not
    /// retry together.
    fn delay(&self, failures: u32, retry_after: Option<Duration>, fraction: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let ceiling = self.delay_first.saturating_mul(1 << doublings).min(self.delay_max);
        let own = ceiling.mul_f64(0.5 + fraction.clamp(0.0, 1.0) / 2.0);
        let requested = retry_after.unwrap_or_default().min(self.retry_after_max);
        own.max(requested)
    }
}

/// From 0 to 1, from the randomness of a version 4 UUID.
fn random_fraction() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    (high >> 32) as f64 / f64::from(u32::MAX)
}

/// `Retry-After` of RFC 9110, section 10.2.3: seconds, or an HTTP date.
pub(super) fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 4,
            delay_first: Duration::from_millis(1),
            delay_max: Duration::from_millis(2),
            retry_after_max: Duration::from_millis(3),
            call_time_max: Duration::from_secs(60),
        }
    }

    #[test]
    fn configuration_says_how_long_a_call_may_take() {
        let minutes = RetryPolicy::default().call_time_max.as_secs() / 60;
        let mut keys = crate::config::SECTIONS.iter().flat_map(|section| section.keys);
        let turns = keys.find(|key| key.name == "budget.turns").unwrap();
        assert!(turns.description.contains(&format!("{minutes} minutes")), "{}", turns.description);
    }

    #[test]
    fn delay_doubles_up_to_its_bound_and_half_of_it_is_random() {
        let policy = RetryPolicy::default();
        let seconds = |failures, fraction| policy.delay(failures, None, fraction).as_secs_f64();
        assert_eq!([1, 2, 3, 4].map(|n| seconds(n, 1.0)), [2.0, 4.0, 8.0, 16.0]);
        assert_eq!([5, 6, 1000].map(|n| seconds(n, 1.0)), [30.0, 30.0, 30.0]);
        assert_eq!(seconds(1, 0.0), 1.0);
    }

    #[test]
    fn provider_wait_is_respected_up_to_the_bound() {
        let policy = RetryPolicy::default();
        let wait = |seconds| policy.delay(1, Some(Duration::from_secs(seconds)), 1.0).as_secs();
        assert_eq!(wait(17), 17);
        assert_eq!(wait(0), 2);
        assert_eq!(wait(86_400), 120);
    }

    #[test]
    fn retry_after_header_is_read_as_seconds_or_as_a_date() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let parse = |text| parse_retry_after(text, now).map(|wait| wait.as_secs_f64());
        assert_eq!(parse("7"), Some(7.0));
        assert_eq!(parse("0.5"), Some(0.5));
        assert_eq!(parse("Sun, 22 Nov 2026 10:00:30 GMT"), Some(30.0));
        assert_eq!(parse("Sun, 22 Nov 2026 09:00:00 GMT"), Some(0.0));
        assert_eq!(parse("-3"), None);
        assert_eq!(parse("soon"), None);
    }

    #[tokio::test]
    async fn attempts_end_with_success_a_permanent_failure_or_the_maximum() {
        let transient = || Err(Failure::transient("529"));
        let run = async |outcomes: Vec<Result<u32, Failure>>| {
            let mut outcomes = outcomes.into_iter();
            let mut made = 0;
            let result = quick()
                .run("http://provider", || {
                    made += 1;
                    std::future::ready(outcomes.next().expect("no more attempts are made"))
                })
                .await;
            (made, result)
        };
        let (made, result) = run(vec![transient(), transient(), Ok(5)]).await;
        assert_eq!((made, result.unwrap()), (3, 5));

        let refused =
            || Failure::Permanent(ModelError::ContextOverflow { model: "m".into(), detail: "long".into() });
        let (made, result) = run(vec![transient(), Err(refused())]).await;
        assert_eq!(made, 2);
        assert!(matches!(result, Err(ModelError::ContextOverflow { .. })));

        let (made, result) = run((0..4).map(|_| transient()).collect()).await;
        assert_eq!(made, 4);
        assert!(matches!(result, Err(ModelError::Unavailable { attempts: 4, .. })));
    }

    #[tokio::test]
    async fn endless_attempt_ends_at_the_bound_on_the_whole_call() {
        let policy = RetryPolicy { call_time_max: Duration::from_millis(5), ..quick() };
        let result: Result<(), _> = policy.run("http://provider", std::future::pending).await;
        assert!(matches!(result, Err(ModelError::Interrupted { usage: None, retry_after: None, .. })));
    }

    #[tokio::test]
    async fn interrupted_response_is_not_retried() {
        let mut made = 0;
        let result: Result<(), _> = quick()
            .run("http://provider", || {
                made += 1;
                let failure = match made {
                    1 => Failure::transient("status 529"),
                    _ => Failure::interrupted("the stream was cut off"),
                };
                std::future::ready(Err(failure))
            })
            .await;
        assert_eq!(made, 2);
        let error = result.unwrap_err();
        assert!(matches!(error, ModelError::Interrupted { usage: None, retry_after: Some(_), .. }));
        insta::assert_snapshot!(error, @"the model provider at http://provider interrupted its response: the stream was cut off; before that: status 529");
    }
}
