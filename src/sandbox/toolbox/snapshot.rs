//! What a set-up made, out of one sandbox and into another. The bytes pass through this process
//! and are never understood by it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{Toolbox, UNPACK_STEP_MAX};
use crate::sandbox::frames::{self, DATA_BYTES_MAX, Frame};
use crate::sandbox::mux::Stream;
use crate::sandbox::protocol::{Pack, Request, SnapshotContents, UnpackPrepared};
use crate::sandbox::{CallError, SandboxError};

/// For everything that a set-up made to be moved on the sandbox's own disk.
const SEAL_MAX: Duration = Duration::from_secs(600);
/// For everything that a set-up made to pass the pipe.
const PACK_MAX: Duration = Duration::from_secs(1800);
/// Bytes on their way from one sandbox to another.
const ON_THE_WAY_BYTES: usize = 1 << 20;
/// Files, directories and links of one set-up.
const ENTRIES_MAX: u64 = 2_000_000;

impl Toolbox {
    /// Moves what a set-up made to [`protocol::SNAPSHOT`](crate::sandbox::protocol::PREPARED), for a
    /// backend that keeps the sandbox's file system.
    pub(in crate::sandbox) async fn seal(&self) -> Result<SnapshotContents, CallError> {
        let sealing = async {
            let mut stream = self.link.start(&Request::Seal).await?;
            self.link.answer(&mut stream).await
        };
        self.link.within(SEAL_MAX, sealing).await
    }

    /// Pours what a set-up made here into `keeper`, another sandbox. [`CallError::RespondToModel`] where it is
    /// more than `bytes_max`.
    pub(in crate::sandbox) async fn pour_into(
        &self,
        keeper: &Toolbox,
        bytes_max: u64,
    ) -> Result<SnapshotContents, CallError> {
        let (mut from, mut to) = tokio::io::duplex(ON_THE_WAY_BYTES);
        let packing = async {
            let packed = self.pack(bytes_max, &mut from).await?;
            // Only what was packed to its end is an end.
            let closed = from.shutdown().await;
            closed
                .map_err(|e| CallError::RespondToModel(format!("the stream between the sandboxes: {e}")))?;
            Ok(packed)
        };
        let receiving = keeper.unpack_prepared(&mut to, bytes_max);
        let (packed, received) = tokio::try_join!(packing, receiving)?;
        if (packed.entries, packed.bytes) != (received.entries, received.bytes) {
            return Err(CallError::RespondToModel(format!(
                "{} entries with {} bytes were sent and {} with {} arrived",
                packed.entries, packed.bytes, received.entries, received.bytes
            )));
        }
        Ok(packed)
    }

    /// Writes what a set-up made to `writer`, as a tar stream of `bytes_max` bytes at most.
    async fn pack(
        &self,
        bytes_max: u64,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<SnapshotContents, CallError> {
        let packing = async {
            let mut stream = self.link.start(&Request::Pack(Pack { bytes_max })).await?;
            let mut bytes_left = bytes_max;
            loop {
                match self.link.frame(&mut stream).await? {
                    Frame::Data(bytes) => {
                        let Some(left) = bytes_left.checked_sub(bytes.len() as u64) else {
                            return Err(self.link.violated("more bytes than were asked for").into());
                        };
                        bytes_left = left;
                        let written = writer.write_all(&bytes).await;
                        written
                            .map_err(|e| CallError::RespondToModel(format!("it cannot be passed on: {e}")))?;
                    }
                    Frame::End => break,
                    Frame::ErrorData(_) | Frame::Message(_) => {
                        return Err(self.link.violated("words where a tar stream should be").into());
                    }
                }
            }
            self.link.answer(&mut stream).await
        };
        self.link.within(PACK_MAX, packing).await
    }

    async fn unpack_prepared(
        &self,
        tar: &mut (impl AsyncRead + Unpin),
        bytes_max: u64,
    ) -> Result<SnapshotContents, CallError> {
        let request = UnpackPrepared { bytes_max, entries_max: ENTRIES_MAX };
        let receiving = async {
            let mut stream = self.link.start(&Request::UnpackPrepared(request)).await?;
            self.send_all(&mut stream, tar).await?;
            self.link.answer(&mut stream).await
        };
        self.link.within(PACK_MAX, receiving).await
    }

    /// Sends everything that `reader` has as data frames, and an end frame.
    pub(super) async fn send_all(
        &self,
        stream: &mut Stream,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), CallError> {
        let mut chunk = vec![0; DATA_BYTES_MAX];
        loop {
            let read = reader.read(&mut chunk).await;
            let read =
                read.map_err(|e| CallError::RespondToModel(format!("the tar stream broke off: {e}")))?;
            let sent = async {
                match read {
                    0 => frames::write_frame(stream, &Frame::End).await,
                    _ => frames::write_data(stream, &chunk[..read]).await,
                }
            };
            match timeout(UNPACK_STEP_MAX, sent).await {
                Ok(Ok(())) if read == 0 => return Ok(()),
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(self.link.lost().await.into()),
                Err(_) => {
                    return Err(SandboxError::Gone("it takes no more of the tree".to_owned()).into());
                }
            }
        }
    }
}
