//! Packs a setup snapshot, or what a build tool left, into a tar stream. Changes nothing but the permissions of
//! what it could not read.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io::{self, Read, Write};

use rustix::fs::{FileType, Stat};
use tar::{EntryType, Header};

use super::seal::check_depth;
use super::tracked::{Tracked, TrackedPaths};
use super::{ENTRIES_MAX, PATH_BYTES_MAX, Roots, at, joined};
use crate::directory::{OpenDirectory, kind};
use mendwright_protocol::{SNAPSHOT_HOME, SNAPSHOT_WORKSPACE, SnapshotContents};

/// Files with several names that are remembered. Further ones are packed as copies.
const LINKED_MAX: usize = 1_000_000;
/// The fields of a header.
const NAME_BYTES_MAX: usize = 100;
const BLOCK_BYTES: u64 = 512;

/// Writes the snapshot to `writer`. It is an error if it has more than `bytes_max` bytes.
pub fn pack(
    roots: &Roots,
    tracked: &TrackedPaths,
    writer: impl Write,
    bytes_max: u64,
) -> Result<SnapshotContents, String> {
    tracked.complete()?;
    let mut packer = Packer::new(writer, bytes_max);
    let none = TrackedPaths::default();
    for (root, name, tracked) in
        [(&roots.workspace, SNAPSHOT_WORKSPACE, tracked), (&roots.home, SNAPSHOT_HOME, &none)]
    {
        let directory = OpenDirectory::open(root).map_err(|e| format!("{}: {e}", root.display()))?;
        packer.walk(&directory, name.as_bytes(), b"", tracked, 0)?;
    }
    packer.finish()
}

pub(super) struct Packer<W> {
    writer: W,
    bytes_left: u64,
    bytes_max: u64,
    /// By device and inode, the name under which a file was packed first.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Directories of the repository that are packed only if something in them is.
    pending: Vec<(Vec<u8>, Header)>,
    selected: SnapshotContents,
}

impl<W: Write> Packer<W> {
    /// Writes to `writer`, at most `bytes_max` bytes.
    pub(super) fn new(writer: W, bytes_max: u64) -> Self {
        Self {
            writer,
            bytes_left: bytes_max,
            bytes_max,
            linked: HashMap::new(),
            pending: Vec::new(),
            selected: SnapshotContents::default(),
        }
    }

    /// Ends the stream: with two empty blocks.
    pub(super) fn finish(mut self) -> Result<SnapshotContents, String> {
        self.write(&[0; 2 * BLOCK_BYTES as usize])?;
        self.writer.flush().map_err(|e| at(b"the stream", e))?;
        Ok(self.selected)
    }

    /// Packs what `wanted` accepts below the directory `path`, and the directories that lead to it.
    pub(super) fn walk_wanted(
        &mut self,
        directory: &OpenDirectory,
        path: &[u8],
        wanted: &impl Fn(&[u8]) -> bool,
        depth: usize,
    ) -> Result<(), String> {
        check_depth(path, depth)?;
        for name in directory.names().map_err(|e| at(path, e))? {
            let inner = joined(path, name.to_bytes());
            let Some(stat) = directory.stat(&name).map_err(|e| at(&inner, e))? else { continue };
            if inner.len() > PATH_BYTES_MAX {
                self.selected.skipped += 1;
            } else if kind(&stat) == FileType::Directory {
                let below = directory.enter(&name).map_err(|e| at(&inner, e))?;
                let is_wanted = wanted(&inner);
                self.within(&inner, &stat, |packer| {
                    // Programs expect the directory that they made, even if it is empty.
                    if is_wanted {
                        packer.flush_pending()?;
                    }
                    packer.walk_wanted(&below, &inner, wanted, depth + 1)
                })?;
            } else if wanted(&inner) {
                self.pack(directory, &name, &inner, &stat)?;
            }
        }
        Ok(())
    }

    /// Packs what `inside` packs, and before it the directory at `path`, if that is anything.
    pub(super) fn within(
        &mut self,
        path: &[u8],
        stat: &Stat,
        inside: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.pending.push((path.to_vec(), header(stat, EntryType::Directory)));
        inside(self)?;
        // Not there any more if anything was packed.
        self.pending.pop();
        Ok(())
    }

    fn walk(
        &mut self,
        directory: &OpenDirectory,
        part: &[u8],
        path: &[u8],
        tracked: &TrackedPaths,
        depth: usize,
    ) -> Result<(), String> {
        check_depth(path, depth)?;
        for name in directory.names().map_err(|e| at(path, e))? {
            let inner = joined(path, name.to_bytes());
            let stat = directory.stat(&name).map_err(|e| at(&inner, e))?;
            let known = tracked.kind(&inner);
            let Some(stat) = stat.filter(|_| known != Tracked::Leaf) else { continue };
            if inner.len() > PATH_BYTES_MAX {
                self.selected.skipped += 1;
                continue;
            }
            let packed = joined(part, &inner);
            if kind(&stat) != FileType::Directory {
                self.pack(directory, &name, &packed, &stat)?;
                continue;
            }
            let below = directory.enter(&name).map_err(|e| at(&inner, e))?;
            self.pending.push((packed, header(&stat, EntryType::Directory)));
            if known == Tracked::No {
                self.flush_pending()?;
            }
            self.walk(&below, part, &inner, tracked, depth + 1)?;
            // Not there any more if anything was packed.
            self.pending.pop();
        }
        Ok(())
    }

    fn pack(
        &mut self,
        directory: &OpenDirectory,
        name: &CStr,
        packed: &[u8],
        stat: &Stat,
    ) -> Result<(), String> {
        let failed = |e: io::Error| at(packed, e);
        match kind(stat) {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new());
                let target = target.map_err(|e| failed(e.into()))?;
                self.flush_pending()?;
                self.entry(packed, header(stat, EntryType::Symlink), Some(target.to_bytes()), 0)
            }
            FileType::RegularFile => {
                self.flush_pending()?;
                if stat.st_nlink > 1 {
                    let identity = (stat.st_dev, stat.st_ino);
                    if let Some(first) = self.linked.get(&identity).cloned() {
                        return self.entry(packed, header(stat, EntryType::Link), Some(&first), 0);
                    }
                    if self.linked.len() < LINKED_MAX {
                        self.linked.insert(identity, packed.to_vec());
                    }
                }
                let mut file = directory.read(name).map_err(failed)?;
                let bytes = stat.st_size as u64;
                self.entry(packed, header(stat, EntryType::Regular), None, bytes)?;
                self.content(&mut file, bytes, packed)
            }
            _ => {
                self.selected.skipped += 1;
                Ok(())
            }
        }
    }

    fn flush_pending(&mut self) -> Result<(), String> {
        for (path, header) in std::mem::take(&mut self.pending) {
            self.entry(&path, header, None, 0)?;
        }
        Ok(())
    }

    /// Writes a header, after those that hold what does not fit its fields.
    fn entry(
        &mut self,
        path: &[u8],
        mut header: Header,
        target: Option<&[u8]>,
        bytes: u64,
    ) -> Result<(), String> {
        self.selected.entries += 1;
        if self.selected.entries > ENTRIES_MAX {
            return Err(format!("the setup created over {ENTRIES_MAX} files and directories"));
        }
        for (value, long) in [(target, EntryType::GNULongLink), (Some(path), EntryType::GNULongName)] {
            let Some(value) = value else { continue };
            if value.len() > NAME_BYTES_MAX {
                self.long(long, value)?;
            }
        }
        let fields = header.as_old_mut();
        let fill = |field: &mut [u8], value: &[u8]| {
            let fitting = value.len().min(field.len());
            field[..fitting].copy_from_slice(&value[..fitting]);
        };
        fill(&mut fields.name, path);
        fill(&mut fields.linkname, target.unwrap_or_default());
        header.set_size(bytes);
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn long(&mut self, kind: EntryType, value: &[u8]) -> Result<(), String> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
        header.set_mode(0o644);
        header.set_size(value.len() as u64 + 1);
        header.set_cksum();
        self.write(header.as_bytes())?;
        self.write(value)?;
        self.write(&[0])?;
        self.pad(value.len() as u64 + 1)
    }

    fn content(&mut self, file: &mut impl Read, bytes: u64, path: &[u8]) -> Result<(), String> {
        let mut chunk = vec![0; 64 << 10];
        let mut left = bytes;
        while left > 0 {
            let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = file.read(&mut chunk[..most]).map_err(|e| at(path, e))?;
            if read == 0 {
                return Err(at(path, io::Error::other("it became shorter while it was packed")));
            }
            self.write(&chunk[..read])?;
            left -= read as u64;
        }
        self.selected.bytes += bytes;
        self.pad(bytes)
    }

    fn pad(&mut self, bytes: u64) -> Result<(), String> {
        let padding = bytes.next_multiple_of(BLOCK_BYTES) - bytes;
        self.write(&[0; BLOCK_BYTES as usize][..padding as usize])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes_left = self.bytes_left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            format!("the setup snapshot is larger than the {} MiB that are allowed", self.bytes_max >> 20)
        })?;
        self.writer.write_all(bytes).map_err(|e| at(b"the stream", e))
    }
}

/// A header without name, size and checksum.
fn header(stat: &Stat, entry_type: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(stat.st_mode & 0o777);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header
}
