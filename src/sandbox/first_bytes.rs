//! Limits what may come over the pipe before the toolbox has answered the first call. It needs a few hundred bytes for
//! that. Whoever sends more is not our toolbox, and must not keep a worker waiting until the call's time is over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes before the first answer. Less than a pipe holds: a flood that waits for answers in return stops there.
const FIRST_BYTES_MAX: usize = 32 << 10;

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct FirstBytes {
    received: AtomicUsize,
    is_answered: AtomicBool,
}

impl FirstBytes {
    /// The first call was answered: from here on, other limits apply.
    pub(super) fn end(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    /// The violation, if too much came.
    pub(super) fn violation(&self) -> Option<String> {
        let is_over = !self.is_answered.load(Ordering::Relaxed)
            && self.received.load(Ordering::Relaxed) > FIRST_BYTES_MAX;
        is_over
            .then(|| format!("it sent more than {FIRST_BYTES_MAX} bytes before it answered the first call"))
    }
}

/// A pipe that breaks if too much comes.
pub(super) struct LimitedPipe<P> {
    pub(super) pipe: P,
    pub(super) first: Arc<FirstBytes>,
}

impl<P: AsyncRead + Unpin> AsyncRead for LimitedPipe<P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(context, buffer))?;
        if !self.first.is_answered.load(Ordering::Relaxed) {
            self.first.received.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        }
        Poll::Ready(match self.first.violation() {
            Some(why) => {
                // Who gets an error gets no bytes.
                buffer.set_filled(before);
                Err(io::Error::other(why))
            }
            None => Ok(()),
        })
    }
}

impl<P: AsyncWrite + Unpin> AsyncWrite for LimitedPipe<P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn pipe_breaks_if_more_comes_before_the_first_answer() {
        let more = vec![7; FIRST_BYTES_MAX + 1];
        let first = Arc::new(FirstBytes::default());
        let mut pipe = LimitedPipe { pipe: more.as_slice(), first: Arc::clone(&first) };
        let error = pipe.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("before it answered the first call"), "{error}");
        assert!(first.violation().is_some());

        let first = Arc::new(FirstBytes::default());
        let mut pipe = LimitedPipe { pipe: &more[1..], first: Arc::clone(&first) };
        assert_eq!(pipe.read_to_end(&mut Vec::new()).await.unwrap(), FIRST_BYTES_MAX);
        first.end();
        let mut pipe = LimitedPipe { pipe: more.as_slice(), first };
        assert_eq!(pipe.read_to_end(&mut Vec::new()).await.unwrap(), more.len());
    }
}
