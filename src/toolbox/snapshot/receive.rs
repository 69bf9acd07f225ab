//! Unpacks a setup snapshot, or a part of one, from a tar stream. The stream is not trusted: its entries are
//! created in the two directories of a snapshot (or below one directory) or nowhere, and no symlink is followed.

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, Timespec, Timestamps};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::{PATH_BYTES_MAX, at, kept_mode};
use crate::directory::{DEPTH_MAX, OpenDirectory};
use mendwright_protocol::{SNAPSHOT_HOME, SNAPSHOT_WORKSPACE, SnapshotContents, UnpackPrepared};

/// Unpacks all entries of `reader` into the directory `snapshot`.
pub fn receive(
    snapshot: &Path,
    reader: impl Read,
    bounds: &UnpackPrepared,
) -> Result<SnapshotContents, String> {
    let mut receiver = Receiver::new(snapshot, StreamLayout::Snapshot)?;
    for part in [SNAPSHOT_WORKSPACE, SNAPSHOT_HOME] {
        receiver.directory(&[part.as_bytes()], 0o755, Timespec { tv_sec: 0, tv_nsec: 0 })?;
    }
    // The times of these two do not matter.
    receiver.directories.clear();
    receiver.take_all(reader, bounds)
}

/// Unpacks all entries of `reader` below `directory`. A directory that is there already and holds a file `marker` is
/// removed first: what the stream does not name was removed where it was packed.
pub fn receive_below(
    directory: &Path,
    marker: &str,
    reader: impl Read,
    bounds: &UnpackPrepared,
) -> Result<SnapshotContents, String> {
    let replaced = Some(CString::new(marker).map_err(|e| e.to_string())?);
    Receiver { replaced, ..Receiver::new(directory, StreamLayout::Directory)? }.take_all(reader, bounds)
}

/// What the entries of a stream are relative to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamLayout {
    /// The two directories of a snapshot.
    Snapshot,
    /// One directory.
    Directory,
}

struct Receiver {
    root: OpenDirectory,
    place: StreamLayout,
    /// The file that tells a directory which is replaced.
    replaced: Option<CString>,
    /// The directory of the previous entry, which usually is the directory of the next one.
    last: Option<(Vec<u8>, OpenDirectory)>,
    /// Directories, and the times that they get when all entries exist.
    directories: Vec<(Vec<u8>, Timespec)>,
}

impl Receiver {
    fn new(root: &Path, place: StreamLayout) -> Result<Self, String> {
        let root = OpenDirectory::open(root).map_err(|e| format!("{}: {e}", root.display()))?;
        Ok(Self { root, place, replaced: None, last: None, directories: Vec::new() })
    }

    fn take_all(mut self, reader: impl Read, bounds: &UnpackPrepared) -> Result<SnapshotContents, String> {
        let broken = |e: io::Error| format!("the tar stream cannot be read: {e}");
        let mut selected = SnapshotContents::default();
        for entry in Archive::new(reader).entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            selected.entries += 1;
            selected.bytes = selected.bytes.saturating_add(entry.size());
            if selected.entries > bounds.entries_max || selected.bytes > bounds.bytes_max {
                return Err(format!(
                    "the tar stream holds more than {} entries or {} bytes",
                    bounds.entries_max, bounds.bytes_max
                ));
            }
            self.take(&mut entry)?;
        }
        self.finish()?;
        Ok(selected)
    }

    /// The parts of a name.
    fn parts<'p>(&self, path: &'p [u8]) -> Result<Vec<&'p [u8]>, String> {
        checked_parts(path, self.place)
    }

    /// The permission bits of an entry. In a snapshot, everybody can read them.
    fn mode(&self, mode: u32, directory: bool) -> Mode {
        Mode::from_raw_mode(match self.place {
            StreamLayout::Snapshot => kept_mode(mode, directory),
            StreamLayout::Directory => mode & 0o777 | if directory { 0o700 } else { 0 },
        })
    }

    fn take(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), String> {
        let path = entry.path_bytes().into_owned();
        let failed = |e: io::Error| at(&path, e);
        let parts = self.parts(&path)?;
        let header = entry.header();
        let mode = header.mode().map_err(failed)?;
        let seconds = i64::try_from(header.mtime().map_err(failed)?).unwrap_or(0);
        let changed = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let kind = header.entry_type();
        if kind == EntryType::Directory {
            return self.directory(&parts, mode, changed);
        }
        let file_mode = self.mode(mode, false);
        let (name, parent) = self.parent(&parts)?;
        match kind {
            EntryType::Regular => {
                let mut file = parent.create(&name).map_err(failed)?;
                io::copy(entry, &mut file).map_err(failed)?;
                rustix::fs::fchmod(&file, file_mode).map_err(|e| failed(e.into()))?;
                let times = Timestamps { last_access: changed, last_modification: changed };
                rustix::fs::futimens(&file, &times).map_err(|e| failed(e.into()))
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or_else(|| nameless(&path))?;
                rustix::fs::symlinkat(&*target, parent, &*name).map_err(|e| failed(e.into()))?;
                parent.set_times(&name, changed).map_err(failed)
            }
            EntryType::Link => {
                let first = entry.link_name_bytes().ok_or_else(|| nameless(&path))?.into_owned();
                let (first_name, first_parent) = self.walk_to(&self.parts(&first)?)?;
                // Without AT_SYMLINK_FOLLOW: another name for a symlink is a symlink.
                let (_, parent) = self.parent(&parts)?;
                rustix::fs::linkat(&first_parent, &*first_name, parent, &*name, AtFlags::empty())
                    .map_err(|e| failed(e.into()))
            }
            other => Err(format!(
                "'{}' has a type that a snapshot cannot contain: {other:?}",
                String::from_utf8_lossy(&path)
            )),
        }
    }

    fn directory(&mut self, parts: &[&[u8]], mode: u32, changed: Timespec) -> Result<(), String> {
        let path = parts.join(&b'/');
        let (mode, replaced) = (self.mode(mode, true), self.replaced.clone());
        let (name, parent) = self.parent(parts)?;
        let holds = |marker: &CString| {
            parent.enter(&name).is_ok_and(|old| old.stat(marker).is_ok_and(|stat| stat.is_some()))
        };
        if replaced.is_some_and(|marker| holds(&marker)) {
            parent.remove(&name).map_err(|e| at(&path, e))?;
        }
        let directory = parent.make(&name).map_err(|e| at(&path, e))?;
        rustix::fs::fchmod(&directory, mode).map_err(|e| at(&path, e))?;
        self.directories.push((path.clone(), changed));
        self.last = Some((path, directory));
        Ok(())
    }

    /// The name of an entry, and its directory.
    fn parent(&mut self, parts: &[&[u8]]) -> Result<(CString, &OpenDirectory), String> {
        let (name, directories) = parts.split_last().ok_or("a name that is empty")?;
        let name = CString::new(*name).map_err(|e| e.to_string())?;
        if directories.is_empty() {
            return Ok((name, &self.root));
        }
        let path = directories.join(&b'/');
        if self.last.as_ref().is_none_or(|(last, _)| *last != path) {
            self.last = Some((path, self.walk(directories)?));
        }
        match &self.last {
            Some((_, parent)) => Ok((name, parent)),
            None => Err("a directory was lost".to_owned()),
        }
    }

    /// As [`Receiver::parent`], but the directory is not remembered.
    fn walk_to(&self, parts: &[&[u8]]) -> Result<(CString, OpenDirectory), String> {
        let (name, directories) = parts.split_last().ok_or("a name that is empty")?;
        Ok((CString::new(*name).map_err(|e| e.to_string())?, self.walk(directories)?))
    }

    fn walk(&self, directories: &[&[u8]]) -> Result<OpenDirectory, String> {
        let mut parent: Option<OpenDirectory> = None;
        for (depth, part) in directories.iter().enumerate() {
            let name = CString::new(*part).map_err(|e| e.to_string())?;
            let above = parent.as_ref().unwrap_or(&self.root);
            let below = enter_or_make(above, &name).map_err(|e| at(&directories[..=depth].join(&b'/'), e))?;
            parent = Some(below);
        }
        match parent {
            Some(parent) => Ok(parent),
            None => OpenDirectory::of(&self.root).map_err(|e| at(b".", e)),
        }
    }

    /// Sets the times of directories, the deepest first.
    fn finish(mut self) -> Result<(), String> {
        for (path, changed) in std::mem::take(&mut self.directories).into_iter().rev() {
            let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
            let (name, parent) = self.walk_to(&parts)?;
            parent.set_times(&name, changed).map_err(|e| at(&path, e))?;
        }
        Ok(())
    }
}

fn enter_or_make(above: &OpenDirectory, name: &CStr) -> io::Result<OpenDirectory> {
    match above.enter(name) {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
            let below = above.make(name)?;
            rustix::fs::fchmod(&below, Mode::from_raw_mode(0o755))?;
            Ok(below)
        }
        other => other,
    }
}

/// The parts of a name, which must lie in its place.
fn checked_parts(path: &[u8], place: StreamLayout) -> Result<Vec<&[u8]>, String> {
    let refuse = |why| Err(format!("the name '{}' {why}", String::from_utf8_lossy(path)));
    if path.len() > PATH_BYTES_MAX + SNAPSHOT_WORKSPACE.len() + 2 {
        return refuse("is too long");
    }
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let is_known = [SNAPSHOT_WORKSPACE, SNAPSHOT_HOME].iter().any(|part| parts[0] == part.as_bytes());
    if place == StreamLayout::Snapshot && (!is_known || parts.len() < 2) {
        return refuse("is in neither directory of a snapshot");
    }
    if parts.len() > DEPTH_MAX + 2 {
        return refuse("is nested too deeply");
    }
    if parts.iter().any(|part| matches!(*part, b"" | b"." | b"..") || part.contains(&0)) {
        return refuse("has an invalid part");
    }
    Ok(parts)
}

fn nameless(path: &[u8]) -> String {
    format!("'{}': a link to nothing", String::from_utf8_lossy(path))
}
