//! How long to wait before another attempt.

use std::time::Duration;

/// How long to wait after a failure for which GitHub names no time, before jitter.
const FAILURE_RETRY_AFTER: Duration = Duration::from_secs(10);

/// How long to wait after a failure for which GitHub names no time.
pub(super) fn retry_after_failure() -> Duration {
    jittered(FAILURE_RETRY_AFTER)
}

/// Half to one and a half of a delay, so that workers that failed together do not retry together.
pub(super) fn jittered(delay: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_bytes()[0];
    delay.mul_f64(0.5 + f64::from(random) / 255.0)
}
