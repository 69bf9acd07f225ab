//! Copies a setup snapshot to `/workspace` and the home directory, before anything else runs in the sandbox.
//! A snapshot usually has many small files, so several threads share the work.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Mode, Stat, Timestamps};

use super::{Roots, restored_mode};
use crate::directory::{DEPTH_MAX, OpenDirectory, changed, kind};
use crate::failure::Failure;
use mendwright_protocol::{SNAPSHOT_HOME, SNAPSHOT_WORKSPACE};

/// More threads do not make a disk faster.
const THREADS_MAX: usize = 8;
/// A file up to this size is read by one call and written by one call.
const SMALL_BYTES: usize = 64 << 10;

/// Copies everything in `roots.snapshot`.
pub fn copy_snapshot(roots: &Roots) -> Result<(), Failure> {
    let work = CopyWork::default();
    for (name, to) in [(SNAPSHOT_WORKSPACE, &roots.workspace), (SNAPSHOT_HOME, &roots.home)] {
        let from = roots.snapshot.join(name);
        if !from.is_dir() {
            return Err(format!("{} is no directory: there is no snapshot", from.display()).into());
        }
        work.push(DirectoryCopy { from, to: to.clone(), depth: 0 });
    }
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(THREADS_MAX));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| work.help());
        }
        work.help();
    });
    let state = work.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(why) = state.failed {
        return Err(why);
    }
    let mut first_names: HashMap<(u64, u64), (PathBuf, CString)> = HashMap::new();
    for linked in state.linked {
        linked.copy(&mut first_names)?;
    }
    // Creating an entry changes the time of its directory, so the times are set when all entries exist.
    for (directory, stat) in state.directories {
        let failed = |e: io::Error| Failure::at(directory.display(), &e);
        let opened = OpenDirectory::open(&directory).map_err(failed)?;
        let times = Timestamps { last_access: changed(&stat), last_modification: changed(&stat) };
        rustix::fs::futimens(&opened, &times).map_err(|e| failed(e.into()))?;
        let mode = Mode::from_raw_mode(restored_mode(stat.st_mode));
        rustix::fs::fchmod(&opened, mode).map_err(|e| failed(e.into()))?;
    }
    Ok(())
}

/// Copies `name` and everything below it, with modes and times.
pub fn copy_as_it_is(from: &OpenDirectory, to: &OpenDirectory, name: &CStr) -> io::Result<()> {
    copy_below(from, to, name, 0)
}

fn copy_below(from: &OpenDirectory, to: &OpenDirectory, name: &CStr, depth: usize) -> io::Result<()> {
    let Some(stat) = from.stat(name)? else { return Ok(()) };
    if depth > DEPTH_MAX {
        return Err(io::Error::other("it is nested too deeply"));
    }
    if kind(&stat) != FileType::Directory {
        return copy_leaf(from, to, name, &stat, stat.st_mode & 0o1777, &mut vec![0; SMALL_BYTES]);
    }
    let (below, to_below) = (from.enter(name)?, to.make(name)?);
    for inner in below.names()? {
        copy_below(&below, &to_below, &inner, depth + 1)?;
    }
    rustix::fs::fchmod(&to_below, Mode::from_raw_mode(stat.st_mode & 0o1777))?;
    to.set_times(name, changed(&stat))
}

struct DirectoryCopy {
    from: PathBuf,
    to: PathBuf,
    depth: usize,
}

/// A file with several names. It is copied under its first name, and the others become links.
struct Linked {
    from: PathBuf,
    to: PathBuf,
    name: CString,
    stat: Stat,
}

#[derive(Default)]
struct CopyState {
    waiting: Vec<DirectoryCopy>,
    busy: usize,
    linked: Vec<Linked>,
    directories: Vec<(PathBuf, Stat)>,
    failed: Option<Failure>,
}

#[derive(Default)]
struct CopyWork {
    state: Mutex<CopyState>,
    more: Condvar,
}

impl CopyWork {
    fn lock(&self) -> MutexGuard<'_, CopyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, directory: DirectoryCopy) {
        self.lock().waiting.push(directory);
        self.more.notify_one();
    }

    /// Copies directories until none is left, or one has failed.
    fn help(&self) {
        let mut buffer = vec![0; SMALL_BYTES];
        loop {
            let mut state = self.lock();
            let directory = loop {
                if state.failed.is_some() {
                    return;
                }
                if let Some(directory) = state.waiting.pop() {
                    break directory;
                }
                if state.busy == 0 {
                    return;
                }
                state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            state.busy += 1;
            drop(state);
            let outcome = self.copy_directory(&directory, &mut buffer);
            let mut state = self.lock();
            state.busy -= 1;
            if let Err(why) = outcome {
                state.failed.get_or_insert(why);
            }
            // The last busy thread must wake the others, or they would wait for ever.
            self.more.notify_all();
        }
    }

    fn copy_directory(&self, directory: &DirectoryCopy, buffer: &mut [u8]) -> Result<(), Failure> {
        let failed = |path: &Path, e: io::Error| Failure::at(path.display(), &e);
        let from = OpenDirectory::open(&directory.from).map_err(|e| failed(&directory.from, e))?;
        let to = OpenDirectory::open(&directory.to).map_err(|e| failed(&directory.to, e))?;
        for name in from.names().map_err(|e| failed(&directory.from, e))? {
            let path = std::ffi::OsStr::from_bytes(name.to_bytes());
            let outcome = self.copy_one(directory, &from, &to, &name, buffer);
            outcome.map_err(|e| failed(&directory.from.join(path), e))?;
        }
        Ok(())
    }

    fn copy_one(
        &self,
        directory: &DirectoryCopy,
        from: &OpenDirectory,
        to: &OpenDirectory,
        name: &CStr,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let Some(stat) = from.stat(name)? else { return Ok(()) };
        let path = std::ffi::OsStr::from_bytes(name.to_bytes());
        match kind(&stat) {
            FileType::Directory if directory.depth >= DEPTH_MAX => {
                Err(io::Error::other("it is nested too deeply"))
            }
            FileType::Directory => {
                if to.stat(name)?.is_some_and(|there| kind(&there) != FileType::Directory) {
                    to.remove(name)?;
                }
                to.make(name)?;
                let to = directory.to.join(path);
                self.lock().directories.push((to.clone(), stat));
                self.push(DirectoryCopy { from: directory.from.join(path), to, depth: directory.depth + 1 });
                Ok(())
            }
            FileType::RegularFile if stat.st_nlink > 1 => {
                let (from, to) = (directory.from.clone(), directory.to.clone());
                self.lock().linked.push(Linked { from, to, name: name.to_owned(), stat });
                Ok(())
            }
            _ => copy_leaf(from, to, name, &stat, restored_mode(stat.st_mode), buffer),
        }
    }
}

impl Linked {
    fn copy(self, first_names: &mut HashMap<(u64, u64), (PathBuf, CString)>) -> Result<(), Failure> {
        let outcome = || -> io::Result<()> {
            let to = OpenDirectory::open(&self.to)?;
            to.remove(&self.name)?;
            if let Some((directory, name)) = first_names.get(&(self.stat.st_dev, self.stat.st_ino)) {
                let first = OpenDirectory::open(directory)?;
                let flags = rustix::fs::AtFlags::empty();
                // Links cannot cross file systems: that name gets a copy.
                if rustix::fs::linkat(&first, &**name, &to, &*self.name, flags).is_ok() {
                    return Ok(());
                }
            }
            let mode = restored_mode(self.stat.st_mode);
            copy_leaf(
                &OpenDirectory::open(&self.from)?,
                &to,
                &self.name,
                &self.stat,
                mode,
                &mut vec![0; SMALL_BYTES],
            )
        };
        outcome().map_err(|e| Failure::at(self.to.display(), &e))?;
        first_names.entry((self.stat.st_dev, self.stat.st_ino)).or_insert((self.to, self.name));
        Ok(())
    }
}

/// Copies a file or a symlink, and replaces what is there. Anything else is skipped.
fn copy_leaf(
    from: &OpenDirectory,
    to: &OpenDirectory,
    name: &CStr,
    stat: &Stat,
    mode: u32,
    buffer: &mut [u8],
) -> io::Result<()> {
    match kind(stat) {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            if rustix::fs::symlinkat(&*target, to, name).is_err() {
                to.remove(name)?;
                rustix::fs::symlinkat(&*target, to, name)?;
            }
            to.set_times(name, changed(stat))
        }
        FileType::RegularFile => {
            let source = from.read(name)?;
            let copy = match to.create(name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    to.remove(name)?;
                    to.create(name)?
                }
                other => other?,
            };
            copy_content(source, &copy, stat.st_size as u64, buffer)?;
            rustix::fs::fchmod(&copy, Mode::from_raw_mode(mode))?;
            let times = Timestamps { last_access: changed(stat), last_modification: changed(stat) };
            Ok(rustix::fs::futimens(&copy, &times)?)
        }
        _ => Ok(()),
    }
}

fn copy_content(mut source: File, mut copy: &File, bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
    if bytes > buffer.len() as u64 {
        io::copy(&mut source, &mut copy)?;
        return Ok(());
    }
    loop {
        match source.read(buffer)? {
            0 => return Ok(()),
            read => copy.write_all(&buffer[..read])?,
        }
    }
}
