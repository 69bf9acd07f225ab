//! Reads the bodies of deliveries within bounds of memory and time. Anybody can send a body, and only
//! its end tells whether it is signed, so nothing that an unsigned sender does may make a signed
//! delivery wait: there is no queue. If too many bytes are in flight, the body that has been in flight
//! for the longest is dropped: GitHub sends a whole body within moments.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

/// GitHub caps payloads at 25 MB (docs.github.com, "Webhook events and payloads").
pub const PAYLOAD_BYTES_MAX: usize = 25 * 1024 * 1024;

/// GitHub gives up on a delivery after 10 s (docs.github.com, "Handling webhook deliveries"). A body
/// that takes longer is not GitHub's.
pub(super) const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// A body of at most this size is never dropped: the number of connections bounds how much memory such
/// bodies take together.
const SMALL_BODY_BYTES: usize = 64 * 1024;

/// Bytes of larger bodies in memory at one moment.
const LARGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    TooSlow,
    Truncated,
    /// Newer bodies needed its memory.
    Dropped,
}

/// The bodies that are being read. Every clone counts the same ones.
#[derive(Debug, Clone)]
pub struct BodyReader {
    large: Arc<Mutex<LargeBodies>>,
    time_max: Duration,
}

impl Default for BodyReader {
    fn default() -> Self {
        Self { large: Arc::default(), time_max: BODY_TIME_MAX }
    }
}

/// The larger bodies that are in memory, the oldest first.
#[derive(Debug, Default)]
struct LargeBodies {
    next_id: u64,
    bytes: usize,
    by_age: BTreeMap<u64, LargeBody>,
}

#[derive(Debug)]
struct LargeBody {
    bytes: usize,
    dropped: CancellationToken,
}

impl BodyReader {
    /// Reads `body` to its end.
    pub(super) async fn read(&self, body: Body) -> Result<Vec<u8>, BodyError> {
        tokio::time::timeout(self.time_max, self.collect(body)).await.map_err(|_| BodyError::TooSlow)?
    }

    async fn collect(&self, mut body: Body) -> Result<Vec<u8>, BodyError> {
        let mut payload = Vec::new();
        let mut share: Option<Share> = None;
        loop {
            let frame = match &share {
                None => body.frame().await,
                Some(share) => tokio::select! {
                    biased;
                    () = share.dropped.cancelled() => return Err(BodyError::Dropped),
                    frame = body.frame() => frame,
                },
            };
            let Some(frame) = frame else { return Ok(payload) };
            let Ok(data) = frame.map_err(|_| BodyError::Truncated)?.into_data() else { continue };
            let bytes = payload.len() + data.len();
            if bytes > PAYLOAD_BYTES_MAX {
                return Err(BodyError::TooLarge);
            }
            if bytes > SMALL_BODY_BYTES {
                share.get_or_insert_with(|| Share::begin(self.large.clone())).grow_to(bytes);
            }
            payload.extend_from_slice(&data);
        }
    }
}

/// One body's share of the memory for large bodies. Dropping it gives the share back.
struct Share {
    id: u64,
    dropped: CancellationToken,
    large: Arc<Mutex<LargeBodies>>,
}

impl Share {
    fn begin(large: Arc<Mutex<LargeBodies>>) -> Self {
        let dropped = CancellationToken::new();
        let id = {
            let mut bodies = lock(&large);
            bodies.next_id += 1;
            let id = bodies.next_id;
            bodies.by_age.insert(id, LargeBody { bytes: 0, dropped: dropped.clone() });
            id
        };
        Self { id, dropped, large }
    }

    fn grow_to(&self, bytes: usize) {
        lock(&self.large).grow(self.id, bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        lock(&self.large).remove(self.id);
    }
}

impl LargeBodies {
    /// Drops the oldest bodies until this one fits.
    fn grow(&mut self, id: u64, bytes: usize) {
        // It may have been dropped itself; its reader finds out at the next frame.
        let Some(body) = self.by_age.get_mut(&id) else { return };
        self.bytes += bytes - body.bytes;
        body.bytes = bytes;
        while self.bytes > LARGE_BYTES_MAX {
            let Some(oldest) = self.by_age.keys().copied().find(|other| *other != id) else { return };
            if let Some(body) = self.remove(oldest) {
                body.dropped.cancel();
            }
        }
    }

    fn remove(&mut self, id: u64) -> Option<LargeBody> {
        let body = self.by_age.remove(&id)?;
        self.bytes -= body.bytes;
        Some(body)
    }
}

fn lock(large: &Mutex<LargeBodies>) -> MutexGuard<'_, LargeBodies> {
    large.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use futures_util::{StreamExt, stream};
    use tokio::task::JoinHandle;

    use super::*;

    /// A body that begins with `bytes` and then neither goes on nor ends.
    fn unfinished(bytes: usize) -> Body {
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes]))]);
        Body::from_stream(first.chain(stream::pending()))
    }

    /// Begins to read a body and waits until what has arrived of it is counted.
    async fn begin(reader: &BodyReader, bytes: usize) -> JoinHandle<Result<Vec<u8>, BodyError>> {
        let reading = tokio::spawn({
            let reader = reader.clone();
            async move { reader.read(unfinished(bytes)).await }
        });
        tokio::task::yield_now().await;
        reading
    }

    fn bytes_counted(reader: &BodyReader) -> usize {
        lock(&reader.large).bytes
    }

    #[tokio::test]
    async fn unfinished_small_bodies_never_delay_another_body() {
        let reader = BodyReader::default();
        for _ in 0..1_000 {
            begin(&reader, SMALL_BODY_BYTES).await;
        }
        assert_eq!(reader.read(Body::from("signed")).await, Ok(b"signed".to_vec()));
        assert_eq!(bytes_counted(&reader), 0);
    }

    #[tokio::test]
    async fn unfinished_large_bodies_are_dropped_when_a_newer_body_needs_their_memory() {
        let reader = BodyReader::default();
        let (first, second) =
            (begin(&reader, PAYLOAD_BYTES_MAX).await, begin(&reader, PAYLOAD_BYTES_MAX).await);
        let largest = vec![b'x'; PAYLOAD_BYTES_MAX];
        assert_eq!(reader.read(Body::from(largest)).await.map(|body| body.len()), Ok(PAYLOAD_BYTES_MAX));
        assert_eq!(first.await.unwrap(), Err(BodyError::Dropped));
        assert!(!second.is_finished());
        assert_eq!(bytes_counted(&reader), PAYLOAD_BYTES_MAX);
    }

    #[tokio::test]
    async fn body_that_does_not_end_in_time_is_refused_and_its_memory_is_free_again() {
        let reader = BodyReader { time_max: Duration::from_millis(1), ..BodyReader::default() };
        let slow = begin(&reader, 2 * SMALL_BODY_BYTES).await;
        assert_eq!(slow.await.unwrap(), Err(BodyError::TooSlow));
        assert_eq!(bytes_counted(&reader), 0);
    }

    #[tokio::test]
    async fn body_over_the_limit_is_refused_without_waiting_for_its_end() {
        let reader = BodyReader::default();
        assert_eq!(reader.read(unfinished(PAYLOAD_BYTES_MAX + 1)).await, Err(BodyError::TooLarge));
    }
}
