//! Transfers a tar stream over one stream of the pipe: from the host to a thread that unpacks it, or from a thread
//! that packs it to the host.

use std::io::{self, Write};

use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use mendwright_protocol::frames::{DATA_BYTES_MAX, Frame, FrameError, read_frame, write_data, write_frame};
use mendwright_protocol::mux::Stream;

/// Data frames that are buffered between the pipe and the disk.
const FRAMES_MAX: usize = 16;

/// Gives the data frames to `work`, on a thread of its own. The outer `Err` means that the connection is lost; the
/// inner one is reported to the peer.
pub async fn receive<T: Send + 'static, E: From<String> + Send + 'static>(
    stream: &mut Stream,
    work: impl FnOnce(&mut dyn io::Read) -> Result<T, E> + Send + 'static,
) -> io::Result<Result<T, E>> {
    let (sender, receiver) = mpsc::channel::<io::Result<io::Cursor<Vec<u8>>>>(FRAMES_MAX);
    let chunks = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let mut reader = SyncIoBridge::new(StreamReader::new(Box::pin(chunks)));
    let working = tokio::task::spawn_blocking(move || -> Result<T, E> {
        let done = work(&mut reader)?;
        // A tar stream ends with padding that is not needed but still arrives.
        io::copy(&mut reader, &mut io::sink()).map_err(|e| format!("the end of the tar stream: {e}"))?;
        Ok(done)
    });
    loop {
        match read_frame(stream).await {
            // After the thread has stopped, the rest is read and dropped.
            Ok(Frame::Data(bytes)) => drop(sender.send(Ok(io::Cursor::new(bytes))).await),
            Ok(Frame::End) => break,
            Ok(Frame::Message(_) | Frame::ErrorData(_)) | Err(FrameError::Malformed(_)) => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Err(FrameError::Ended) => {
                // Not an end: an incomplete tree must not be accepted as complete.
                drop(sender.send(Err(io::ErrorKind::UnexpectedEof.into())).await);
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    drop(sender);
    Ok(working.await.unwrap_or_else(|broken| Err(format!("the toolbox failed: {broken}").into())))
}

/// Sends what `work` writes, on a thread of its own, as data frames and an end frame. The outer `Err` means that
/// the connection is lost; the inner one is reported to the peer.
pub async fn send<T: Send + 'static>(
    stream: &mut Stream,
    work: impl FnOnce(&mut dyn Write) -> Result<T, String> + Send + 'static,
) -> io::Result<Result<T, String>> {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(FRAMES_MAX);
    let working = tokio::task::spawn_blocking(move || {
        let mut writer = io::BufWriter::with_capacity(DATA_BYTES_MAX, Chunks(sender));
        let done = work(&mut writer)?;
        writer.flush().map_err(|e| format!("the stream: {e}"))?;
        Ok(done)
    });
    while let Some(bytes) = receiver.recv().await {
        // Dropping the receiver ends the thread.
        write_data(stream, &bytes).await?;
    }
    write_frame(stream, &Frame::End).await?;
    Ok(working.await.unwrap_or_else(|broken| Err(format!("the toolbox failed: {broken}"))))
}

/// Sends what is written to it over a channel.
struct Chunks(mpsc::Sender<Vec<u8>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(bytes.to_vec());
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
