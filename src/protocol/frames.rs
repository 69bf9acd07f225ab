//! Frames on one stream: a byte for the kind, four bytes for the length, and the payload. Every length
//! is checked before the payload is read, so that a peer cannot make us read more than a frame's limit.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest message: enough for a file of 5 MiB of text with its escapes, or for 2,000 long paths.
pub const MESSAGE_BYTES_MAX: usize = 12 << 20;
/// The largest data frame.
pub const DATA_BYTES_MAX: usize = 64 << 10;

/// The bytes before a payload.
pub const HEADER_BYTES: usize = 5;

/// A frame's kind and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message in JSON.
    Message(Vec<u8>),
    /// Raw bytes. For a command: its standard output, or both of its streams.
    Data(Vec<u8>),
    /// Raw bytes of a command's standard error.
    ErrorData(Vec<u8>),
    /// No more data.
    End,
}

/// Why no frame could be read.
#[derive(Debug)]
pub enum FrameError {
    /// The stream broke or ended.
    Ended,
    /// The peer sent something that is not a frame; what is wrong with it.
    Malformed(String),
}

/// Reads one frame.
pub async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> Result<Frame, FrameError> {
    let mut header = [0; HEADER_BYTES];
    reader.read_exact(&mut header).await.map_err(|_| FrameError::Ended)?;
    let [kind, length @ ..] = header;
    let length = u32::from_be_bytes(length) as usize;
    let length_max = match kind {
        b'm' => MESSAGE_BYTES_MAX,
        b'd' | b'e' => DATA_BYTES_MAX,
        b'.' => 0,
        unknown => return Err(FrameError::Malformed(format!("a frame of unknown kind {unknown}"))),
    };
    if length > length_max {
        return Err(FrameError::Malformed(format!(
            "a frame of {length} bytes, over the {length_max} allowed"
        )));
    }
    // Memory for a data frame is reserved at once; for a message only as its bytes arrive.
    let mut payload = Vec::with_capacity(length.min(DATA_BYTES_MAX));
    let read = reader.take(length as u64).read_to_end(&mut payload).await;
    if read.is_ok_and(|read| read < length) || payload.len() < length {
        return Err(FrameError::Ended);
    }
    Ok(match kind {
        b'm' => Frame::Message(payload),
        b'd' => Frame::Data(payload),
        b'e' => Frame::ErrorData(payload),
        _ => Frame::End,
    })
}

/// Reads one frame that must be a message.
pub async fn read_message<T: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin),
) -> Result<T, FrameError> {
    match read_frame(reader).await? {
        Frame::Message(json) => serde_json::from_slice(&json)
            .map_err(|e| FrameError::Malformed(format!("an invalid message: {e}"))),
        Frame::Data(_) | Frame::ErrorData(_) | Frame::End => {
            Err(FrameError::Malformed("data where a message should be".to_owned()))
        }
    }
}

/// Writes a message. If it is too large, nothing is written and the error is
/// [`io::ErrorKind::InvalidInput`].
pub async fn write_message<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    let json = serde_json::to_vec(message).map_err(io::Error::other)?;
    if json.len() > MESSAGE_BYTES_MAX {
        let why = format!("{} bytes in one message, over the {MESSAGE_BYTES_MAX} allowed", json.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    write_parts(writer, b'm', &json).await
}

/// Writes bytes, in as many data frames as they need.
pub async fn write_data(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.chunks(DATA_BYTES_MAX) {
        write_parts(writer, b'd', chunk).await?;
    }
    Ok(())
}

/// Writes one frame. Its payload must be within the limit.
pub async fn write_frame(writer: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    match frame {
        Frame::Message(json) => write_parts(writer, b'm', json).await,
        Frame::Data(bytes) => write_parts(writer, b'd', bytes).await,
        Frame::ErrorData(bytes) => write_parts(writer, b'e', bytes).await,
        Frame::End => write_parts(writer, b'.', &[]).await,
    }
}

async fn write_parts(writer: &mut (impl AsyncWrite + Unpin), kind: u8, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes();
    let header = [kind, length[0], length[1], length[2], length[3]];
    // Each write becomes a frame of the multiplexer, which costs more than a copy.
    if payload.len() <= DATA_BYTES_MAX {
        writer.write_all(&[&header, payload].concat()).await?;
    } else {
        writer.write_all(&header).await?;
        writer.write_all(payload).await?;
    }
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frame_with_a_length_over_the_limit_is_malformed() {
        for (kind, length) in [(b'm', MESSAGE_BYTES_MAX + 1), (b'd', DATA_BYTES_MAX + 1), (b'.', 1)] {
            let mut bytes = vec![kind];
            bytes.extend((length as u32).to_be_bytes());
            let error = read_frame(&mut bytes.as_slice()).await.unwrap_err();
            assert!(matches!(error, FrameError::Malformed(_)), "{error:?}");
        }
    }

    #[tokio::test]
    async fn frame_that_is_cut_short_is_the_end_of_the_stream() {
        let bytes = [b'd', 0, 0, 0, 9, 1, 2];
        assert!(matches!(read_frame(&mut bytes.as_slice()).await, Err(FrameError::Ended)));
    }

    #[tokio::test]
    async fn written_frames_are_read_back_unchanged() {
        let mut wire = Vec::new();
        let big: Vec<u8> = (0..DATA_BYTES_MAX + 3).map(|n| n as u8).collect();
        write_data(&mut wire, &big).await.unwrap();
        write_frame(&mut wire, &Frame::ErrorData(b"oh".to_vec())).await.unwrap();
        write_message(&mut wire, &vec!["a"]).await.unwrap();
        write_frame(&mut wire, &Frame::End).await.unwrap();
        let mut wire = wire.as_slice();
        assert_eq!(read_frame(&mut wire).await.unwrap(), Frame::Data(big[..DATA_BYTES_MAX].to_vec()));
        assert_eq!(read_frame(&mut wire).await.unwrap(), Frame::Data(big[DATA_BYTES_MAX..].to_vec()));
        assert_eq!(read_frame(&mut wire).await.unwrap(), Frame::ErrorData(b"oh".to_vec()));
        assert_eq!(read_message::<Vec<String>>(&mut wire).await.unwrap(), ["a"]);
        assert_eq!(read_frame(&mut wire).await.unwrap(), Frame::End);
    }
}
