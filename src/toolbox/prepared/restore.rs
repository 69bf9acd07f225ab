//! Giving what a set-up made its own permission bits again, where it lies below a layer of this
//! sandbox's instead of being copied: only what was private was kept with others.

use std::ffi::CStr;
use std::io;

use rustix::fs::{AtFlags, FileType, Mode};

use super::place::{Place, kind};
use super::{DEPTH_MAX, Roots, restored_mode};
use mendwright_protocol::{SNAPSHOT_HOME, SNAPSHOT_WORKSPACE};

/// For all that `roots.prepared` holds, which is seen in `roots.workspace` and `roots.home`, too.
pub fn restore_modes(roots: &Roots) -> Result<(), String> {
    for (name, to) in [(SNAPSHOT_WORKSPACE, &roots.workspace), (SNAPSHOT_HOME, &roots.home)] {
        let from = roots.prepared.join(name);
        let opened = Place::open(&from).and_then(|from| Ok((from, Place::open(to)?)));
        let restored = opened.and_then(|(from, to)| restore_below(&from, &to, 0));
        restored.map_err(|e| format!("{}: {e}", from.display()))?;
    }
    Ok(())
}

fn restore_below(from: &Place, to: &Place, depth: usize) -> io::Result<()> {
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

fn restore(to: &Place, name: &CStr, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmodat(to, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
}
