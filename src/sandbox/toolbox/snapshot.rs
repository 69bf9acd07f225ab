//! Moves a setup snapshot, or what a build tool left, from one sandbox into another. The bytes pass through
//! this process, which never interprets them.

use std::time::Duration;

use mendwright_protocol::frames::Frame;
use mendwright_protocol::{
    BuildDirectories, Pack, PackBuild, Request, SnapshotContents, UnpackBuild, UnpackPrepared,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Toolbox;
use crate::sandbox::error::CallError;

/// For moving the snapshot on the sandbox's own disk.
const SEAL_MAX: Duration = Duration::from_secs(600);
/// For transferring the snapshot over the pipe.
const PACK_MAX: Duration = Duration::from_secs(1800);
/// Bytes that are buffered between the two sandboxes.
const BUFFER_BYTES: usize = 1 << 20;
/// Files, directories and links of one snapshot.
const ENTRIES_MAX: u64 = 2_000_000;

impl Toolbox {
    /// Moves the snapshot to [`SNAPSHOT`](mendwright_protocol::SNAPSHOT), for a backend that stores the
    /// sandbox's file system.
    pub(in crate::sandbox) async fn seal(&self) -> Result<SnapshotContents, CallError> {
        let sealing = async {
            let mut stream = self.rpc.start(&Request::Seal).await?;
            self.rpc.read_response(&mut stream).await
        };
        self.rpc.within(SEAL_MAX, sealing).await
    }

    /// Copies the snapshot to `writer`, another sandbox. [`CallError::RespondToModel`] if it is larger
    /// than `bytes_max`.
    pub(in crate::sandbox) async fn export_snapshot(
        &self,
        writer: &Toolbox,
        bytes_max: u64,
    ) -> Result<SnapshotContents, CallError> {
        let bounds = UnpackPrepared { bytes_max, entries_max: ENTRIES_MAX };
        let (export, import) = (Request::Pack(Pack { bytes_max }), Request::UnpackPrepared(bounds));
        self.transfer(writer, (&export, &import), bytes_max).await
    }

    /// Copies what a build tool left to `other`, another sandbox, in place of what is there. Nothing but the
    /// files that `directories` names arrives. [`CallError::RespondToModel`] if they have more than `bytes_max`
    /// bytes.
    pub async fn copy_build(
        &self,
        other: &Toolbox,
        directories: &BuildDirectories,
        bytes_max: u64,
    ) -> Result<SnapshotContents, CallError> {
        let bounds = UnpackPrepared { bytes_max, entries_max: ENTRIES_MAX };
        let import = UnpackBuild { marker: directories.marker.clone(), bounds };
        let export = PackBuild { directories: directories.clone(), bytes_max };
        let requests = (&Request::PackBuild(export), &Request::UnpackBuild(import));
        self.transfer(other, requests, bytes_max).await
    }

    /// Sends the tar stream that the one request asks for to the other sandbox with the other request.
    async fn transfer(
        &self,
        writer: &Toolbox,
        (export, import): (&Request, &Request),
        bytes_max: u64,
    ) -> Result<SnapshotContents, CallError> {
        let (mut from, mut to) = tokio::io::duplex(BUFFER_BYTES);
        let packing = async {
            let packed = self.pack(export, bytes_max, &mut from).await?;
            // The other side sees an end of the stream only if everything was packed.
            let closed = from.shutdown().await;
            closed
                .map_err(|e| CallError::RespondToModel(format!("the stream between the sandboxes: {e}")))?;
            Ok(packed)
        };
        let receiving = writer.unpack_as(import, &mut to);
        let (packed, received) = tokio::try_join!(packing, receiving)?;
        if (packed.entries, packed.bytes) != (received.entries, received.bytes) {
            return Err(CallError::RespondToModel(format!(
                "{} entries with {} bytes were sent, but {} with {} arrived",
                packed.entries, packed.bytes, received.entries, received.bytes
            )));
        }
        Ok(packed)
    }

    /// Writes what `request` asks for to `writer`, as a tar stream of at most `bytes_max` bytes.
    async fn pack(
        &self,
        request: &Request,
        bytes_max: u64,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<SnapshotContents, CallError> {
        let packing = async {
            let mut stream = self.rpc.start(request).await?;
            let mut bytes_left = bytes_max;
            loop {
                match self.rpc.read_frame(&mut stream).await? {
                    Frame::Data(bytes) => {
                        let Some(left) = bytes_left.checked_sub(bytes.len() as u64) else {
                            return Err(self.rpc.violated("more bytes than requested").into());
                        };
                        bytes_left = left;
                        let written = writer.write_all(&bytes).await;
                        written
                            .map_err(|e| CallError::RespondToModel(format!("it cannot be passed on: {e}")))?;
                    }
                    Frame::End => break,
                    Frame::ErrorData(_) | Frame::Message(_) => {
                        return Err(self.rpc.violated("another frame in a tar stream").into());
                    }
                }
            }
            self.rpc.read_response(&mut stream).await
        };
        self.rpc.within(PACK_MAX, packing).await
    }

    async fn unpack_as(
        &self,
        request: &Request,
        tar: &mut (impl AsyncRead + Unpin),
    ) -> Result<SnapshotContents, CallError> {
        let receiving = async {
            let mut stream = self.rpc.start(request).await?;
            self.rpc.send_all(&mut stream, tar).await?;
            self.rpc.read_response(&mut stream).await
        };
        self.rpc.within(PACK_MAX, receiving).await
    }
}
