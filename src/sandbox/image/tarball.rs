//! Reads the entries of a layer's tar one after the other, with limits for everything in them. Creates
//! nothing.
//!
//! Supports the formats that image builders write: ustar, GNU's long names, pax headers. Does not support
//! sparse files, which no builder writes, and whose size on disk is larger than what was sent.

use tar::{EntryType, Header};

use super::error::ImageError;
use super::layer::LayerStream;
use super::limits::ImageLimits;

const BLOCK_BYTES: usize = 512;
/// Pax headers also contain extended attributes; the kernel's limit for one of them is 64 KiB.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;
/// Extension headers before one entry. Builders write each kind once.
const EXTENSIONS_MAX: usize = 8;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Directory,
    Symlink,
    HardLink,
    /// A device or a pipe.
    Special,
}

/// An entry, before its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub kind: EntryKind,
    /// As it is in the tar.
    pub path: Vec<u8>,
    /// Target of a symlink or hard link.
    pub target: Vec<u8>,
    pub bytes: u64,
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: i64,
}

/// The entries of a layer.
pub(super) struct Tarball<'a> {
    stream: &'a mut LayerStream,
    limits: &'a ImageLimits,
    content_left: u64,
    padding: usize,
}

/// The extension headers before an entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    bytes: Option<u64>,
    modified: Option<i64>,
}

impl<'a> Tarball<'a> {
    pub(super) fn new(stream: &'a mut LayerStream, limits: &'a ImageLimits) -> Self {
        Self { stream, limits, content_left: 0, padding: 0 }
    }

    /// The next entry; whatever is left of the one before is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, ImageError> {
        let mut extensions = Extensions::default();
        for _ in 0..EXTENSIONS_MAX {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let bytes = header.entry_size().map_err(malformed)?;
            match header.entry_type() {
                EntryType::XHeader => extensions.read_pax(&self.extension(bytes)?)?,
                EntryType::GNULongName => extensions.path = Some(self.long_name(bytes)?),
                EntryType::GNULongLink => extensions.target = Some(self.long_name(bytes)?),
                EntryType::XGlobalHeader => drop(self.extension(bytes)?),
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
        Err(malformed(format!("there are {EXTENSIONS_MAX} extension headers in a row")))
    }

    /// Reads the next part of the entry's content. Returns 0 at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let length = usize::try_from(self.content_left).unwrap_or(usize::MAX).min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let read = self.stream.read(&mut buffer[..length])?;
        if read == 0 {
            return Err(malformed("it ends within an entry"));
        }
        self.content_left -= read as u64;
        Ok(read)
    }

    fn skip(&mut self) -> Result<(), ImageError> {
        let mut buffer = [0; 16 * 1024];
        while self.read(&mut buffer)? > 0 {}
        let padding = std::mem::take(&mut self.padding);
        if self.stream.fill(&mut buffer[..padding])? < padding {
            return Err(malformed("it ends within an entry"));
        }
        Ok(())
    }

    /// The next header block; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, ImageError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        match self.stream.fill(block)? {
            0 => return Ok(None),
            BLOCK_BYTES => {}
            _ => return Err(malformed("it ends within a header")),
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The checksum is computed with spaces in its own field.
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(malformed("the checksum of a header is wrong: it is not a tar, or it is damaged"));
        }
        Ok(Some(header))
    }

    fn expect_content(&mut self, bytes: u64) -> Result<(), ImageError> {
        // Fails early if the announced size exceeds what may still be read.
        if !self.stream.allows(bytes) {
            return Err(ImageError::over(
                "the uncompressed size of its layers",
                "what is allowed for an image",
            ));
        }
        self.content_left = bytes;
        let tail = (bytes % BLOCK_BYTES as u64) as usize;
        self.padding = if tail == 0 { 0 } else { BLOCK_BYTES - tail };
        Ok(())
    }

    fn extension(&mut self, bytes: u64) -> Result<Vec<u8>, ImageError> {
        if bytes > EXTENSION_BYTES_MAX {
            return Err(ImageError::over(
                "an extension header in a layer",
                format!("{EXTENSION_BYTES_MAX} bytes"),
            ));
        }
        self.expect_content(bytes)?;
        let mut content = vec![0; bytes as usize];
        let mut filled = 0;
        while filled < content.len() {
            filled += self.read(&mut content[filled..])?;
        }
        Ok(content)
    }

    fn long_name(&mut self, bytes: u64) -> Result<Vec<u8>, ImageError> {
        let mut name = self.extension(bytes)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, ImageError> {
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match header.entry_type() {
            // Before ustar, a directory was a file with a '/' at its end.
            EntryType::Regular if path.ends_with(b"/") => EntryKind::Directory,
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink,
            EntryType::Link => EntryKind::HardLink,
            EntryType::Char | EntryType::Block | EntryType::Fifo => EntryKind::Special,
            EntryType::GNUSparse => {
                return Err(ImageError::entry(&path, "is a sparse file, which no image builder writes"));
            }
            other => {
                let why = format!("is of an unknown kind (type {})", other.as_byte());
                return Err(ImageError::entry(&path, why));
            }
        };
        let target = extensions
            .target
            .or_else(|| header.link_name_bytes().map(|name| name.into_owned()))
            .unwrap_or_default();
        if target.len() > self.limits.path_bytes_max {
            let bound = format!("{} bytes", self.limits.path_bytes_max);
            return Err(ImageError::over("the length of a link's target", bound));
        }
        let bytes = match kind {
            EntryKind::File => extensions.bytes.map_or_else(|| header.entry_size(), Ok).map_err(malformed)?,
            // These have no content, whatever their size field says.
            EntryKind::Directory | EntryKind::Symlink | EntryKind::HardLink | EntryKind::Special => 0,
        };
        self.expect_content(bytes)?;
        let mode = header.mode().map_err(malformed)?;
        let modified = match extensions.modified {
            Some(modified) => modified,
            None => i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0),
        };
        Ok(Entry { kind, path, target, bytes, mode, modified })
    }
}

impl Extensions {
    /// Records of `LENGTH KEY=VALUE\n`, where a value may hold any byte (POSIX, pax).
    fn read_pax(&mut self, mut records: &[u8]) -> Result<(), ImageError> {
        let broken = || malformed("a pax header is damaged");
        while !records.is_empty() {
            let space = records.iter().take(10).position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length: usize = std::str::from_utf8(&records[..space])
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(broken)?;
            let record = records.get(space + 1..length).ok_or_else(broken)?;
            let Some((b'\n', record)) = record.split_last() else { return Err(broken()) };
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            self.take(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), ImageError> {
        let number = || std::str::from_utf8(value).ok().map(|text| text.split('.').next().unwrap_or(text));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.target = Some(value.to_vec()),
            b"size" => {
                let bytes = number().and_then(|digits| digits.parse().ok());
                self.bytes =
                    Some(bytes.ok_or_else(|| malformed("a pax header has a size that is not a number"))?);
            }
            b"mtime" => self.modified = number().and_then(|digits| digits.parse().ok()),
            sparse if sparse.starts_with(b"GNU.sparse.") => {
                return Err(malformed("it has a sparse file, which no image builder writes"));
            }
            // Owners, access times and extended attributes are ignored.
            _ => {}
        }
        Ok(())
    }
}

fn malformed(why: impl ToString) -> ImageError {
    ImageError::malformed("the tar of a layer", why)
}
