//! Moves what a setup installed to the snapshot directory, for a backend that saves the whole file system.

use std::ffi::{CStr, CString};
use std::io;

use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;

use super::tracked::{Tracked, TrackedPaths};
use super::{ENTRIES_MAX, PATH_BYTES_MAX, Roots, at, copy, joined, kept_mode};
use crate::directory::{DEPTH_MAX, OpenDirectory, changed, kind};
use mendwright_protocol::{SNAPSHOT_HOME, SNAPSHOT_WORKSPACE, SnapshotContents};

/// Moves everything that belongs to the snapshot to `roots.snapshot`, and removes what was there before.
pub fn seal(roots: &Roots, tracked: &TrackedPaths) -> Result<SnapshotContents, String> {
    tracked.complete()?;
    let path = roots.snapshot.as_path();
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(format!("{} cannot be created: {error}", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let open =
        |path: &std::path::Path| OpenDirectory::open(path).map_err(|e| format!("{}: {e}", path.display()));
    let snapshot = open(path)?;
    for name in snapshot.names().map_err(|e| at(b"snapshot", e))? {
        snapshot.remove(&name).map_err(|e| at(name.to_bytes(), e))?;
    }
    let mut sealer = Sealer { tracked, selected: SnapshotContents::default() };
    let none = TrackedPaths::default();
    for (from, name, tracked) in
        [(&roots.workspace, SNAPSHOT_WORKSPACE, tracked), (&roots.home, SNAPSHOT_HOME, &none)]
    {
        let to_name = CString::new(name).map_err(|e| e.to_string())?;
        let to = snapshot.make(&to_name).map_err(|e| at(name.as_bytes(), e))?;
        sealer.tracked = tracked;
        sealer.take(&open(from)?, &to, b"", 0)?;
        let everybody = Mode::from_raw_mode(0o755);
        rustix::fs::fchmod(&to, everybody).map_err(|e| at(name.as_bytes(), e))?;
    }
    Ok(sealer.selected)
}

struct Sealer<'a> {
    tracked: &'a TrackedPaths,
    selected: SnapshotContents,
}

impl Sealer<'_> {
    /// Empties a directory: files of the repository are removed, the rest is moved. Returns how many entries were
    /// moved.
    fn take(
        &mut self,
        from: &OpenDirectory,
        to: &OpenDirectory,
        path: &[u8],
        depth: usize,
    ) -> Result<u64, String> {
        check_depth(path, depth)?;
        let mut moved = 0;
        for name in from.names().map_err(|e| at(path, e))? {
            let inner = joined(path, name.to_bytes());
            let failed = |e: io::Error| at(&inner, e);
            let Some(stat) = from.stat(&name).map_err(failed)? else { continue };
            match self.tracked.kind(&inner) {
                Tracked::Leaf => from.remove(&name).map_err(failed)?,
                Tracked::Directory if kind(&stat) == FileType::Directory => {
                    let (below, to_below) =
                        (from.enter(&name).map_err(failed)?, to.make(&name).map_err(failed)?);
                    if self.take(&below, &to_below, &inner, depth + 1)? == 0 {
                        to.remove(&name).map_err(failed)?;
                    } else {
                        let mode = Mode::from_raw_mode(kept_mode(stat.st_mode, true));
                        rustix::fs::fchmod(&to_below, mode).map_err(|e| failed(e.into()))?;
                        to.set_times(&name, changed(&stat)).map_err(failed)?;
                        self.count(0)?;
                        moved += 1;
                    }
                    from.remove(&name).map_err(failed)?;
                }
                Tracked::Directory | Tracked::No => {
                    if self.prepare_entry(from, &name, &stat, &inner, depth)? {
                        move_over(from, to, &name).map_err(failed)?;
                        moved += 1;
                    }
                }
            }
        }
        Ok(moved)
    }

    /// Gives an entry, and everything below it, the permissions that it needs in a snapshot. Returns false, and
    /// removes the entry, if a snapshot cannot contain it.
    fn prepare_entry(
        &mut self,
        from: &OpenDirectory,
        name: &CStr,
        stat: &Stat,
        path: &[u8],
        depth: usize,
    ) -> Result<bool, String> {
        let failed = |e: io::Error| at(path, e);
        let kind = kind(stat);
        let can_be_kept = matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink);
        if !can_be_kept || path.len() > PATH_BYTES_MAX {
            from.remove(name).map_err(failed)?;
            self.selected.skipped += 1;
            return Ok(false);
        }
        if kind == FileType::Symlink {
            self.count(0)?;
            return Ok(true);
        }
        let is_directory = kind == FileType::Directory;
        let mode = kept_mode(stat.st_mode, is_directory);
        if mode != stat.st_mode & 0o7777 {
            let mode = Mode::from_raw_mode(mode);
            rustix::fs::chmodat(from, name, mode, AtFlags::empty()).map_err(|e| failed(e.into()))?;
        }
        if is_directory {
            check_depth(path, depth + 1)?;
            let directory = from.enter(name).map_err(failed)?;
            for inner in directory.names().map_err(failed)? {
                let inner_path = joined(path, inner.to_bytes());
                let stat = directory.stat(&inner).map_err(|e| at(&inner_path, e))?;
                if let Some(stat) = stat {
                    self.prepare_entry(&directory, &inner, &stat, &inner_path, depth + 1)?;
                }
            }
            self.count(0)?;
        } else {
            self.count(stat.st_size as u64)?;
        }
        Ok(true)
    }

    fn count(&mut self, bytes: u64) -> Result<(), String> {
        self.selected.entries += 1;
        self.selected.bytes += bytes;
        if self.selected.entries > ENTRIES_MAX {
            return Err(format!("the setup created over {ENTRIES_MAX} files and directories"));
        }
        Ok(())
    }
}

/// Renames, or copies if the file systems differ.
fn move_over(from: &OpenDirectory, to: &OpenDirectory, name: &CStr) -> io::Result<()> {
    match rustix::fs::renameat(from, name, to, name) {
        Ok(()) => Ok(()),
        Err(Errno::XDEV) => {
            copy::copy_as_it_is(from, to, name)?;
            from.remove(name)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn check_depth(path: &[u8], depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        let path = String::from_utf8_lossy(&path[..path.len().min(100)]).into_owned();
        return Err(format!("'{path}…' is nested over {DEPTH_MAX} directories deep"));
    }
    Ok(())
}
