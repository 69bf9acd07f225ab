//! Many streams over the one pipe. Compiled by both sides; knows nothing of what the streams say.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
pub use yamux::Mode;
use yamux::{Config, Connection, ConnectionError};

use crate::frames::{DATA_BYTES_MAX, HEADER_BYTES};

/// One stream of the pipe. Dropping it tells the other side that nobody listens any more.
pub type Stream = Compat<yamux::Stream>;

/// Streams open at one time, both ways together.
const STREAMS_MAX: usize = 256;
/// Bytes that may wait unread, all streams together; yamux grants each stream 256 KiB of it.
const UNREAD_BYTES_MAX: usize = STREAMS_MAX * (256 << 10);
/// Payload of one yamux frame: a whole data frame of ours. Fewer, larger ones than yamux' own 16 KiB
/// make bulk cheaper.
const FRAME_BYTES_MAX: usize = DATA_BYTES_MAX + HEADER_BYTES;

/// Opens streams. When the last one is dropped, the connection ends.
#[derive(Debug, Clone)]
pub struct Opener(mpsc::Sender<oneshot::Sender<Stream>>);

/// What [`drive`] takes the wish for new streams from.
pub type Openings = mpsc::Receiver<oneshot::Sender<Stream>>;

/// An opener, and the end that [`drive`] needs.
pub fn opener() -> (Opener, Openings) {
    let (sender, receiver) = mpsc::channel(STREAMS_MAX);
    (Opener(sender), receiver)
}

impl Opener {
    /// A new stream, or none when the connection is over.
    pub async fn open(&self) -> Option<Stream> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(sender).await.ok()?;
        receiver.await.ok()
    }
}

/// Moves everything until the peer leaves, the pipe breaks or all openers are gone. `incoming`
/// gets the streams that the peer opens.
pub async fn drive(
    pipe: impl AsyncRead + AsyncWrite + Unpin,
    mode: Mode,
    mut openings: Openings,
    mut incoming: impl FnMut(Stream),
) -> Result<(), ConnectionError> {
    let mut config = Config::default();
    config.set_max_num_streams(STREAMS_MAX);
    config.set_max_connection_receive_window(Some(UNREAD_BYTES_MAX));
    config.set_split_send_size(FRAME_BYTES_MAX);
    let mut connection = Connection::new(pipe.compat(), config, mode);
    let mut wanted: VecDeque<oneshot::Sender<Stream>> = VecDeque::new();
    poll_fn(|context| {
        loop {
            if wanted.len() < STREAMS_MAX {
                match openings.poll_recv(context) {
                    Poll::Ready(Some(sender)) => {
                        wanted.push_back(sender);
                        continue;
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => {}
                }
            }
            if !wanted.is_empty()
                && let Poll::Ready(opened) = connection.poll_new_outbound(context)
            {
                let stream = opened?;
                if let Some(sender) = wanted.pop_front() {
                    // Whoever wanted it may have given up; then the stream is dropped, and closed.
                    let _ = sender.send(stream.compat());
                }
                continue;
            }
            match connection.poll_next_inbound(context) {
                Poll::Ready(Some(stream)) => incoming(stream?.compat()),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
