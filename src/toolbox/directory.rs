//! An open directory, whose entries are used by name. Never follows a symlink.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Directories below one another. No package manager creates deeper ones.
pub const DEPTH_MAX: usize = 256;

/// An open directory.
pub struct OpenDirectory(OwnedFd);

impl AsFd for OpenDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl OpenDirectory {
    /// The directory at `path`, whose last part must be no symlink.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?))
    }

    /// Opens a directory that is already open, perhaps only as a path, for reading.
    pub fn of(directory: impl AsFd) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty())?))
    }

    /// Opens the directory `name` in this one. If its owner may not enter it, its permissions are changed first.
    pub fn enter(&self, name: &CStr) -> io::Result<Self> {
        let open = || rustix::fs::openat(self, name, DIRECTORY, Mode::empty());
        let opened = match open() {
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(self, name, Mode::RWXU, AtFlags::empty())?;
                open()
            }
            other => other,
        };
        Ok(Self(opened?))
    }

    /// Opens the directory `name`, which is created if it does not exist.
    pub fn make(&self, name: &CStr) -> io::Result<Self> {
        match rustix::fs::mkdirat(self, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => self.enter(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates the file `name`, which must not exist. Only its owner may read it.
    pub fn create(&self, name: &CStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Opens the file `name` for reading. If its owner may not read it, its permissions are changed first.
    pub fn read(&self, name: &CStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(self, name, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(self, name, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
                open()
            }
            other => other,
        };
        Ok(opened?.into())
    }

    /// The names of its entries, sorted.
    pub fn names(&self) -> io::Result<Vec<CString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The metadata of `name`, or `None` if it does not exist.
    pub fn stat(&self, name: &CStr) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes `name` and everything below it, if it exists.
    pub fn remove(&self, name: &CStr) -> io::Result<()> {
        self.remove_below(name, 0)
    }

    fn remove_below(&self, name: &CStr, depth: usize) -> io::Result<()> {
        match rustix::fs::unlinkat(self, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // EISDIR, or EPERM where a file system follows POSIX to the letter.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        if depth >= DEPTH_MAX {
            return Err(io::Error::other("it is nested too deeply to be removed"));
        }
        let directory = self.enter(name)?;
        for inner in directory.names()? {
            if let Err(error) = directory.remove_below(&inner, depth + 1) {
                if error.kind() != io::ErrorKind::PermissionDenied {
                    return Err(error);
                }
                // Its owner made the directory read-only.
                rustix::fs::fchmod(&directory, Mode::RWXU)?;
                directory.remove_below(&inner, depth + 1)?;
            }
        }
        Ok(rustix::fs::unlinkat(self, name, AtFlags::REMOVEDIR)?)
    }

    /// Sets the time at which `name` was last modified.
    pub fn set_times(&self, name: &CStr, changed: Timespec) -> io::Result<()> {
        let times = Timestamps { last_access: changed, last_modification: changed };
        Ok(rustix::fs::utimensat(self, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// The file type.
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The time of the last modification.
pub fn changed(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ }
}
