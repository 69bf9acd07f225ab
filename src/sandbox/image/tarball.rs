//! The entries of a layer's tar, read one after the other with everything in them bounded. Creates
//! nothing.
//!
//! Understands what builders of images write: ustar, GNU's long names, pax headers. Not sparse
//! files, which no builder writes, and whose size on disk no one has sent.

use tar::{EntryType, Header};

use super::Bounds;
use super::fault::Fault;
use super::layer::LayerStream;

const BLOCK_BYTES: usize = 512;
/// Extended attributes lie in pax headers, too; the kernel's own bound for one is 64 KiB.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;
/// Extension headers before one entry: each kind once is what is written.
const EXTENSIONS_MAX: usize = 8;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
    pub kind: Kind,
    /// As it is written there.
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
    bounds: &'a Bounds,
    content_left: u64,
    padding: usize,
}

/// What the extension headers before an entry say.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    bytes: Option<u64>,
    modified: Option<i64>,
}

impl<'a> Tarball<'a> {
    pub(super) fn new(stream: &'a mut LayerStream, bounds: &'a Bounds) -> Self {
        Self { stream, bounds, content_left: 0, padding: 0 }
    }

    /// The next entry; whatever is left of the one before is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Fault> {
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

    /// The next part of the entry's content; none at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let wanted = usize::try_from(self.content_left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.stream.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(malformed("it ends within an entry"));
        }
        self.content_left -= read as u64;
        Ok(read)
    }

    fn skip(&mut self) -> Result<(), Fault> {
        let mut buffer = [0; 16 * 1024];
        while self.read(&mut buffer)? > 0 {}
        let padding = std::mem::take(&mut self.padding);
        if self.stream.fill(&mut buffer[..padding])? < padding {
            return Err(malformed("it ends within an entry"));
        }
        Ok(())
    }

    /// The next header block; none at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, Fault> {
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
        // The sum is taken with its own field as spaces.
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(malformed("the checksum of a header is wrong: it is no tar, or damaged"));
        }
        Ok(Some(header))
    }

    fn expect_content(&mut self, bytes: u64) -> Result<(), Fault> {
        // What is claimed must still fit what may come, or it is no use to begin.
        if !self.stream.has_room_for(bytes) {
            return Err(Fault::over("the uncompressed size of its layers", "what an image may have"));
        }
        self.content_left = bytes;
        let tail = (bytes % BLOCK_BYTES as u64) as usize;
        self.padding = if tail == 0 { 0 } else { BLOCK_BYTES - tail };
        Ok(())
    }

    fn extension(&mut self, bytes: u64) -> Result<Vec<u8>, Fault> {
        if bytes > EXTENSION_BYTES_MAX {
            return Err(Fault::over(
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

    fn long_name(&mut self, bytes: u64) -> Result<Vec<u8>, Fault> {
        let mut name = self.extension(bytes)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, Fault> {
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match header.entry_type() {
            // Before ustar, a directory was a file with a '/' at its end.
            EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::HardLink,
            EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
            EntryType::GNUSparse => {
                return Err(Fault::entry(&path, "is a sparse file, as no builder of images writes"));
            }
            other => {
                let why = format!("is of a kind that is unknown in a layer (type {})", other.as_byte());
                return Err(Fault::entry(&path, why));
            }
        };
        let target = extensions
            .target
            .or_else(|| header.link_name_bytes().map(|name| name.into_owned()))
            .unwrap_or_default();
        if target.len() > self.bounds.path_bytes_max {
            let bound = format!("{} bytes", self.bounds.path_bytes_max);
            return Err(Fault::over("the length of a link's target", bound));
        }
        let bytes = match kind {
            Kind::File => extensions.bytes.map_or_else(|| header.entry_size(), Ok).map_err(malformed)?,
            // Nothing follows these, whatever their size field holds.
            Kind::Directory | Kind::Symlink | Kind::HardLink | Kind::Special => 0,
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
    fn read_pax(&mut self, mut records: &[u8]) -> Result<(), Fault> {
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

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let number = || std::str::from_utf8(value).ok().map(|text| text.split('.').next().unwrap_or(text));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.target = Some(value.to_vec()),
            b"size" => {
                let bytes = number().and_then(|digits| digits.parse().ok());
                self.bytes =
                    Some(bytes.ok_or_else(|| malformed("a pax header has a size that is no number"))?);
            }
            b"mtime" => self.modified = number().and_then(|digits| digits.parse().ok()),
            sparse if sparse.starts_with(b"GNU.sparse.") => {
                return Err(malformed("it has a sparse file, as no builder of images writes"));
            }
            // Owners, access times, extended attributes: not kept.
            _ => {}
        }
        Ok(())
    }
}

fn malformed(why: impl ToString) -> Fault {
    Fault::malformed("the tar of a layer", why)
}
