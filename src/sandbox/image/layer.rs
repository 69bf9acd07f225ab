//! Reads a layer's bytes: decompresses, counts, limits and hashes them. Does not parse tar.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::digest::Hasher;
use super::error::ImageError;
use super::limits::Deadline;
use super::manifest::Compression;

const BUFFER_BYTES: usize = 128 * 1024;
/// The header of a frame with the smallest window. See [`ZstdFrames::new`].
const SMALLEST_ZSTD_HEADER: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00];

/// The uncompressed tar of a layer.
pub(super) struct LayerStream {
    inner: Box<dyn Read>,
    hash: Hasher,
    bytes: u64,
    bytes_max: u64,
    deadline: Deadline,
}

impl LayerStream {
    /// Opens a layer in a file. At most `bytes_max` bytes can be read from it.
    pub(super) fn open(file: File, compression: Compression, bytes_max: u64, deadline: &Deadline) -> Self {
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        let inner: Box<dyn Read> = match compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(MultiGzDecoder::new(file)),
            Compression::Zstd => Box::new(ZstdFrames::new(file)),
        };
        Self { inner, hash: Hasher::new(), bytes: 0, bytes_max, deadline: deadline.clone() }
    }

    /// Reads the next bytes. Returns 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        self.deadline.check()?;
        let read = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ImageError::malformed("the compressed data of a layer", error)),
                Ok(read) => break read,
            }
        };
        self.bytes += read as u64;
        if self.bytes > self.bytes_max {
            return Err(ImageError::over(
                "the uncompressed size of its layers",
                "what is allowed for an image",
            ));
        }
        self.hash.update(&buffer[..read]);
        Ok(read)
    }

    /// Fills the buffer unless the stream ends before.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Whether so many more bytes may be read.
    pub(super) fn allows(&self, bytes: u64) -> bool {
        bytes <= self.bytes_max.saturating_sub(self.bytes)
    }

    /// Reads the rest. Returns the digest and the size of all bytes.
    pub(super) fn finish(mut self) -> Result<(String, u64), ImageError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.read(&mut buffer)? > 0 {}
        Ok((self.hash.finish(), self.bytes))
    }
}

/// Consecutive Zstandard frames, without skippable ones: the content of a file (RFC 8878, section 3), as
/// builders of seekable layers write it.
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        // The decoder checks the window size against its limit only from the second frame on.
        decoder.reset(&SMALLEST_ZSTD_HEADER[..]).expect("the header is a valid one");
        Self { source, decoder, in_frame: false }
    }

    /// Begins the next frame. Returns false at the end of the source.
    fn begin(&mut self) -> io::Result<bool> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let mut skipped = (&mut self.source).take(u64::from(length));
                if io::copy(&mut skipped, &mut io::sink())? < u64::from(length) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(invalid(error)),
        }
        Ok(true)
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.in_frame {
                if self.decoder.can_collect() > 0 {
                    return self.decoder.read(buffer);
                }
                if !self.decoder.is_finished() {
                    let strategy = BlockDecodingStrategy::UptoBytes(BUFFER_BYTES);
                    self.decoder.decode_blocks(&mut self.source, strategy).map_err(invalid)?;
                    continue;
                }
                self.in_frame = false;
            }
            if !self.begin()? {
                return Ok(0);
            }
        }
    }
}

fn invalid(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
