//! Many streams over one pipe. Does not interpret what the streams carry.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
pub use yamux::Mode;
use yamux::{Config, Connection, ConnectionError};

use crate::frames::{DATA_BYTES_MAX, HEADER_BYTES};

/// One stream of the pipe. Dropping it resets the stream for the other side.
pub type Stream = Compat<yamux::Stream>;

/// Streams that may be open at the same time, in both directions together.
const STREAMS_MAX: usize = 256;
/// Unread bytes of all streams together; yamux grants each stream 256 KiB of them.
const UNREAD_BYTES_MAX: usize = STREAMS_MAX * (256 << 10);
/// The payload of one yamux frame: a whole data frame of ours. Larger frames than yamux' default of
/// 16 KiB make large transfers cheaper.
const FRAME_BYTES_MAX: usize = DATA_BYTES_MAX + HEADER_BYTES;

/// Opens streams. When the last opener is dropped, the connection ends.
#[derive(Debug, Clone)]
pub struct Opener(mpsc::Sender<oneshot::Sender<Stream>>);

/// The requests for new streams, which [`drive`] serves.
pub type Openings = mpsc::Receiver<oneshot::Sender<Stream>>;

/// An opener, and the receiver that [`drive`] needs.
pub fn opener() -> (Opener, Openings) {
    let (sender, receiver) = mpsc::channel(STREAMS_MAX);
    (Opener(sender), receiver)
}

impl Opener {
    /// A new stream, or `None` if the connection has ended.
    pub async fn open(&self) -> Option<Stream> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(sender).await.ok()?;
        receiver.await.ok()
    }
}

/// Moves all data until the peer closes the connection, the pipe breaks, or all openers are dropped.
/// `incoming` receives the streams that the peer opens.
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
    let mut pending: VecDeque<oneshot::Sender<Stream>> = VecDeque::new();
    poll_fn(|context| {
        loop {
            if pending.len() < STREAMS_MAX {
                match openings.poll_recv(context) {
                    Poll::Ready(Some(sender)) => {
                        pending.push_back(sender);
                        continue;
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => {}
                }
            }
            if !pending.is_empty()
                && let Poll::Ready(opened) = connection.poll_new_outbound(context)
            {
                let stream = opened?;
                if let Some(sender) = pending.pop_front() {
                    // The receiver may be gone. Then the stream is dropped, which closes it.
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
