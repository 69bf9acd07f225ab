//! A connection to the outside whose bytes are counted and limited, and which ends if it is idle too long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::Egress;

/// Counts the bytes of one connection against the quota.
pub(super) struct Meter {
    egress: Egress,
    host: String,
    port: u16,
    up: AtomicU64,
    down: AtomicU64,
    exceeded: AtomicBool,
}

impl Meter {
    pub(super) fn new(egress: Egress, host: &str, port: u16) -> Arc<Self> {
        Arc::new(Self {
            egress,
            host: host.to_owned(),
            port,
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            exceeded: AtomicBool::new(false),
        })
    }

    fn count(&self, direction: &AtomicU64, bytes: usize) -> io::Result<()> {
        direction.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.egress.spend(bytes as u64) {
            return Ok(());
        }
        if !self.exceeded.swap(true, Ordering::Relaxed) {
            self.egress.refuse(&self.host, self.port, &self.egress.quota_exceeded());
        }
        Err(io::Error::other(self.egress.quota_exceeded()))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let bytes = (*self.up.get_mut(), *self.down.get_mut());
        self.egress.0.decisions.add_bytes(&self.host, self.port, bytes);
    }
}

/// The connection.
pub(super) struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
    idle: Pin<Box<Sleep>>,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, meter: Arc<Meter>) -> Self {
        let idle = Box::pin(sleep(meter.egress.0.policy.idle_max));
        Self { stream, meter, idle }
    }

    fn reset_idle(&mut self) {
        let until = Instant::now() + self.meter.egress.0.policy.idle_max;
        self.idle.as_mut().reset(until);
    }

    /// An error once no byte has passed for too long.
    fn check_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the connection was idle for too long"))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                self.reset_idle();
                Poll::Ready(self.meter.count(&self.meter.down, buffer.filled().len() - before))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.check_idle(context).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.reset_idle();
        Poll::Ready(self.meter.count(&self.meter.up, written).map(|()| written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
