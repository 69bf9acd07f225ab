//! Restores the permission bits of a setup snapshot that is a lower layer of this sandbox's file system
//! instead of a copy. Only the bits of private files differ in a snapshot.

use std::ffi::CStr;
use std::io;

use rustix::fs::{AtFlags, FileType, Mode};

use super::{Roots, restored_mode};
use crate::directory::{DEPTH_MAX, OpenDirectory, kind};
use mendwright_protocol::{SNAPSHOT_HOME, SNAPSHOT_WORKSPACE};

/// Restores the bits of everything in `roots.snapshot`, which is visible in `roots.workspace` and `roots.home`.
pub fn restore_modes(roots: &Roots) -> Result<(), String> {
    for (name, to) in [(SNAPSHOT_WORKSPACE, &roots.workspace), (SNAPSHOT_HOME, &roots.home)] {
        let from = roots.snapshot.join(name);
        let opened = OpenDirectory::open(&from).and_then(|from| Ok((from, OpenDirectory::open(to)?)));
        let restored = opened.and_then(|(from, to)| restore_below(&from, &to, 0));
        restored.map_err(|e| format!("{}: {e}", from.display()))?;
    }
    Ok(())
}

fn restore_below(from: &OpenDirectory, to: &OpenDirectory, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("it is nested too deeply"));
    }
    for name in from.names()? {
        let Some(stat) = from.stat(&name)? else { continue };
        if kind(&stat) == FileType::Directory {
            restore_below(&from.enter(&name)?, &to.enter(&name)?, depth + 1)?;
        }
        let mode = stat.st_mode & 0o7777;
        if kind(&stat) != FileType::Symlink && restored_mode(mode) != mode {
            restore(to, &name, restored_mode(mode))?;
        }
    }
    Ok(())
}

fn restore(to: &OpenDirectory, name: &CStr, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmodat(to, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
}
