//! The work tree, and the only way to open anything in it by a name that came over the pipe.
//!
//! A path is opened part by part, each relative to the one before and without following a symlink. So nothing
//! outside the tree is opened, whatever the repository or a running command puts there. Never follows a
//! symlink, not even one that stays inside.

use std::ffi::CString;
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use crate::directory::OpenDirectory;

/// Where the tree is in every sandbox.
pub const WORKSPACE: &str = "/workspace";
/// As Linux' `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4095;
const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The work tree.
pub struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

/// Why a path in the tree cannot be used; `Display` is for the model.
#[derive(Debug)]
pub enum TreeError {
    /// Nothing is there.
    Missing(String),
    /// A part before the last is a file.
    NotDirectory(String),
    /// A part is a symlink.
    Symlink(String),
    /// A directory is where a file should be.
    Directory(String),
    /// The path exists already.
    Exists(String),
    /// A pipe, socket or device is where a file should be.
    Special(String),
    /// The path itself is wrong.
    Path(String, &'static str),
    /// A system call failed.
    Io(String, io::Error),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(at) => write!(f, "there is no '{at}'"),
            Self::NotDirectory(at) => write!(f, "'{at}' is a file, not a directory"),
            Self::Symlink(at) => write!(
                f,
                "'{at}' is a symlink, and symlinks are not followed: name the file it stands for by its own path"
            ),
            Self::Directory(at) => write!(f, "'{at}' is a directory, not a file"),
            Self::Exists(at) => write!(f, "'{at}' exists already"),
            Self::Special(at) => write!(f, "'{at}' is not a regular file (a pipe, socket or device)"),
            Self::Path(path, why) => write!(f, "the path '{path}' cannot be used: {why}"),
            Self::Io(at, error) => write!(f, "'{at}': {error}"),
        }
    }
}

impl From<TreeError> for String {
    fn from(error: TreeError) -> String {
        error.to_string()
    }
}

/// What was opened.
pub struct OpenFile {
    /// For reading.
    pub file: File,
    /// Its size when opened.
    pub bytes: u64,
    /// Its permission bits.
    pub mode: u32,
}

impl Tree {
    /// The tree at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// Its directory, for walkers (which must not follow symlinks either).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file for reading.
    pub fn open_file(&self, path: &str) -> Result<OpenFile, TreeError> {
        let parts = self.parts(path)?;
        let (directory, name) = self.parent(&parts, Missing::Refuse)?;
        let at = parts.join("/");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::LOOP) => return Err(TreeError::Symlink(at)),
            Err(Errno::NOENT) => return Err(TreeError::Missing(at)),
            Err(Errno::NXIO) => return Err(TreeError::Special(at)),
            Err(error) => return Err(TreeError::Io(at, error.into())),
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| TreeError::Io(at.clone(), e.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(TreeError::Directory(at)),
            _ => return Err(TreeError::Special(at)),
        }
        Ok(OpenFile { file: file.into(), bytes: stat.st_size as u64, mode: stat.st_mode & 0o7777 })
    }

    /// Whether a directory (true) or a file (false) is at `path`; the root is a directory.
    pub fn is_directory(&self, path: &str) -> Result<bool, TreeError> {
        let parts = self.parts_or_root(path)?;
        if parts.is_empty() {
            return Ok(true);
        }
        let (directory, name) = self.parent(&parts, Missing::Refuse)?;
        match self.kind(directory.as_fd(), name, &parts)? {
            Some(FileType::Directory) => Ok(true),
            Some(FileType::RegularFile) => Ok(false),
            Some(FileType::Symlink) => Err(TreeError::Symlink(parts.join("/"))),
            Some(_) => Err(TreeError::Special(parts.join("/"))),
            None => Err(TreeError::Missing(parts.join("/"))),
        }
    }

    /// Writes `content` to `path` atomically, and creates missing directories. An existing file keeps its
    /// permission bits. Returns whether the file is new.
    pub fn write_file(&self, path: &str, content: &[u8]) -> Result<bool, TreeError> {
        self.write_file_as(path, content, None)
    }

    /// The same, and sets whether the file is executable.
    pub fn write_file_as(
        &self,
        path: &str,
        content: &[u8],
        executable: Option<bool>,
    ) -> Result<bool, TreeError> {
        let parts = self.parts(path)?;
        let (directory, name) = self.parent(&parts, Missing::Make)?;
        let at = parts.join("/");
        let (mode, created) = match self.kind(directory.as_fd(), name, &parts)? {
            None => (0o644, true),
            Some(FileType::RegularFile) => {
                let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| TreeError::Io(at.clone(), e.into()))?;
                (stat.st_mode & 0o777, false)
            }
            Some(FileType::Directory) => return Err(TreeError::Directory(at)),
            Some(FileType::Symlink) => return Err(TreeError::Symlink(at)),
            Some(_) => return Err(TreeError::Special(at)),
        };
        let mode = match executable {
            // Everyone who may read it may execute it, as with git.
            Some(true) => mode | (mode & 0o444) >> 2,
            Some(false) => mode & !0o111,
            None => mode,
        };
        let temporary = temporary_name();
        let written = create(directory.as_fd(), &temporary, mode, content)
            .and_then(|()| Ok(rustix::fs::renameat(&directory, &temporary, &directory, name)?));
        if let Err(error) = written {
            // It may not exist. The first error matters.
            let _ = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
            return Err(TreeError::Io(at, error));
        }
        Ok(created)
    }

    /// Removes a regular file, and the directories that are empty afterwards.
    pub fn remove_file(&self, path: &str) -> Result<(), TreeError> {
        let parts = self.parts(path)?;
        let (directory, name) = self.regular(&parts)?;
        rustix::fs::unlinkat(&directory, name, AtFlags::empty())
            .map_err(|e| TreeError::Io(parts.join("/"), e.into()))?;
        self.remove_empty_above(&parts);
        Ok(())
    }

    /// Moves a regular file to a path that does not exist. Creates missing directories, and removes those that
    /// are empty afterwards. The file is modified now: with its old time, a build tool would take what was built
    /// from an earlier file at the new path for up to date.
    pub fn move_file(&self, from: &str, to: &str) -> Result<(), TreeError> {
        let (from, to) = (self.parts(from)?, self.parts(to)?);
        let (old_directory, old_name) = self.regular(&from)?;
        let (directory, name) = self.parent(&to, Missing::Make)?;
        rustix::fs::renameat_with(&old_directory, old_name, &directory, name, RenameFlags::NOREPLACE)
            .map_err(|error| match error {
                Errno::EXIST => TreeError::Exists(to.join("/")),
                other => TreeError::Io(to.join("/"), other.into()),
            })?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(&directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| TreeError::Io(to.join("/"), e.into()))?;
        self.remove_empty_above(&from);
        Ok(())
    }

    /// The directory and the name of a regular file.
    fn regular<'a>(&self, parts: &[&'a str]) -> Result<(OwnedFd, &'a str), TreeError> {
        let (directory, name) = self.parent(parts, Missing::Refuse)?;
        let at = || parts.join("/");
        match self.kind(directory.as_fd(), name, parts)? {
            Some(FileType::RegularFile) => Ok((directory, name)),
            Some(FileType::Directory) => Err(TreeError::Directory(at())),
            Some(FileType::Symlink) => Err(TreeError::Symlink(at())),
            Some(_) => Err(TreeError::Special(at())),
            None => Err(TreeError::Missing(at())),
        }
    }

    /// Git knows no empty directories, so a fresh tree would not have them either.
    fn remove_empty_above(&self, parts: &[&str]) {
        for depth in (1..parts.len()).rev() {
            let Ok((directory, name)) = self.parent(&parts[..depth], Missing::Refuse) else { return };
            if rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }

    /// Creates a regular file, open for writing. Replaces anything but a directory.
    pub fn create_file(&self, path: &[u8], executable: bool) -> Result<File, TreeError> {
        let parts = self.byte_parts(path)?;
        let (directory, name) = self.parent(&parts, Missing::Make)?;
        let at = || shown(&parts);
        let mode = if executable { 0o755 } else { 0o644 };
        let open = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(mode))
        };
        let file = match open() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&directory, name, AtFlags::empty())
                    .map_err(|e| TreeError::Io(at(), e.into()))?;
                open()
            }
            other => other,
        };
        let file = File::from(file.map_err(|e| TreeError::Io(at(), e.into()))?);
        // The umask limits the mode that is given to openat(2).
        file.set_permissions(Permissions::from_mode(mode)).map_err(|e| TreeError::Io(at(), e))?;
        Ok(file)
    }

    /// Creates a symlink. It is never followed, so its target may be anything.
    pub fn create_symlink(&self, path: &[u8], target: &[u8]) -> Result<(), TreeError> {
        let parts = self.byte_parts(path)?;
        let (directory, name) = self.parent(&parts, Missing::Make)?;
        let link = || rustix::fs::symlinkat(target, &directory, name);
        let made = match link() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&directory, name, AtFlags::empty()).and_then(|()| link())
            }
            other => other,
        };
        made.map_err(|e| TreeError::Io(shown(&parts), e.into()))
    }

    /// Creates a directory and those above it, if they do not exist.
    pub fn create_directory(&self, path: &[u8]) -> Result<(), TreeError> {
        let mut parts = self.byte_parts_or_root(path)?;
        parts.push(b".");
        self.parent(&parts, Missing::Make).map(drop)
    }

    /// Sets the times of a directory.
    pub fn set_directory_times(&self, path: &[u8], times: &Timestamps) -> Result<(), TreeError> {
        let mut parts = self.byte_parts_or_root(path)?;
        parts.push(b".");
        let (directory, _) = self.parent(&parts, Missing::Refuse)?;
        rustix::fs::utimensat(&directory, ".", times, AtFlags::empty())
            .map_err(|e| TreeError::Io(shown(&parts), e.into()))
    }

    /// Removes what prevents a file (or a directory) from being created at a path: the first part that is no
    /// directory, or the directory at its end. Never removes a path for which `kept` is true. Returns whether
    /// anything was removed.
    pub fn clear_way(
        &self,
        parts: &[&[u8]],
        directory: bool,
        kept: impl Fn(&[u8]) -> bool,
    ) -> Result<bool, TreeError> {
        for depth in 1..=parts.len() {
            let (parts, is_last) = (&parts[..depth], depth == parts.len());
            let (parent, name) = self.parent(parts, Missing::Refuse)?;
            let in_the_way = match self.kind(parent.as_fd(), name, parts)? {
                None => return Ok(false),
                Some(FileType::Directory) => is_last && !directory,
                Some(_) => true,
            };
            if in_the_way {
                if kept(&parts.join(&b'/')) {
                    return Ok(false);
                }
                let failed = |e: io::Error| TreeError::Io(shown(parts), e);
                let name = CString::new(name).map_err(|e| failed(e.into()))?;
                let opened = OpenDirectory::of(&parent).map_err(failed)?;
                opened.remove(&name).map_err(failed)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The names in the deepest directory of `path` that exists, and that directory.
    pub fn nearest_names(&self, path: &str, names_max: usize) -> Option<(String, Vec<String>)> {
        let parts = self.parts(path).ok()?;
        let (depth, directory) = (1..=parts.len()).rev().find_map(|depth| {
            let (directory, _) = self.parent(&parts[..depth], Missing::Refuse).ok()?;
            Some((depth - 1, directory))
        })?;
        let readable = rustix::fs::openat(
            &directory,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let mut names: Vec<String> = rustix::fs::Dir::read_from(readable.ok()?)
            .ok()?
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "." && name != "..")
            .take(10_000)
            .collect();
        names.sort_unstable();
        names.truncate(names_max);
        Some((parts[..depth].join("/"), names))
    }

    /// The path's parts; at least one.
    fn parts<'a>(&self, path: &'a str) -> Result<Vec<&'a str>, TreeError> {
        let parts = self.parts_or_root(path)?;
        if parts.is_empty() {
            return Err(TreeError::Path(path.to_owned(), "it names no file"));
        }
        Ok(parts)
    }

    /// The path's parts; none for the root. `/workspace/a` is `a`.
    pub fn parts_or_root<'a>(&self, path: &'a str) -> Result<Vec<&'a str>, TreeError> {
        let relative = match path.strip_prefix(WORKSPACE) {
            Some("") => "",
            Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
            Some(_) | None => path,
        };
        let is_part = |part: &&str| !part.is_empty() && *part != ".";
        let parts: Vec<&str> = relative.split('/').filter(is_part).collect();
        // The same rules as for names that are not text.
        self.byte_parts_or_root(relative.as_bytes()).map(|_| parts)
    }

    /// The parts of a path of the repository, whose names need not be UTF-8; at least one.
    fn byte_parts<'a>(&self, path: &'a [u8]) -> Result<Vec<&'a [u8]>, TreeError> {
        let parts = self.byte_parts_or_root(path)?;
        if parts.is_empty() {
            return Err(TreeError::Path(shown(&[path]), "it names no file"));
        }
        Ok(parts)
    }

    /// The same; none for the root.
    pub fn byte_parts_or_root<'a>(&self, path: &'a [u8]) -> Result<Vec<&'a [u8]>, TreeError> {
        let refuse = |why| Err(TreeError::Path(shown(&[path]).chars().take(200).collect(), why));
        if path.starts_with(b"/") {
            return refuse("it is absolute; paths are relative to the repository's root");
        }
        if path.len() > PATH_BYTES_MAX {
            return refuse("it is longer than 4,095 bytes");
        }
        if path.contains(&0) {
            return refuse("it has a NUL character");
        }
        let is_part = |part: &&[u8]| !part.is_empty() && *part != b".";
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(is_part).collect();
        if parts.contains(&b"..".as_slice()) {
            return refuse("it has a '..' part");
        }
        Ok(parts)
    }

    fn parent<'a, P: PathPart + ?Sized>(
        &self,
        parts: &[&'a P],
        missing: Missing,
    ) -> Result<(OwnedFd, &'a P), TreeError> {
        let (name, directories) = parts.split_last().expect("a path has at least one part");
        let mut directory = self.root.try_clone().map_err(|e| TreeError::Io(".".to_owned(), e))?;
        for (depth, part) in directories.iter().enumerate() {
            let part = part.name();
            directory = match rustix::fs::openat(&directory, part, DIRECTORY, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) if missing == Missing::Make => {
                    let at = || shown(&directories[..=depth]);
                    match rustix::fs::mkdirat(&directory, part, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(TreeError::Io(at(), error.into())),
                    }
                    rustix::fs::openat(&directory, part, DIRECTORY, Mode::empty())
                        .map_err(|e| TreeError::Io(at(), e.into()))?
                }
                Err(error) => {
                    let at = shown(&directories[..=depth]);
                    return Err(match error {
                        Errno::NOENT => TreeError::Missing(at),
                        Errno::NOTDIR | Errno::LOOP => {
                            match self.kind(directory.as_fd(), directories[depth], &directories[..=depth])? {
                                Some(FileType::Symlink) => TreeError::Symlink(at),
                                Some(_) | None => TreeError::NotDirectory(at),
                            }
                        }
                        other => TreeError::Io(at, other.into()),
                    });
                }
            };
        }
        Ok((directory, name))
    }

    fn kind<P: PathPart + ?Sized>(
        &self,
        directory: BorrowedFd,
        name: &P,
        parts: &[&P],
    ) -> Result<Option<FileType>, TreeError> {
        match rustix::fs::statat(directory, name.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(TreeError::Io(shown(parts), error.into())),
        }
    }
}

/// A part of a path: text from a tool call, or a repository's name, which need not be UTF-8.
trait PathPart {
    /// Its bytes.
    fn name(&self) -> &[u8];
}

impl PathPart for str {
    fn name(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PathPart for [u8] {
    fn name(&self) -> &[u8] {
        self
    }
}

/// A path for people.
fn shown<P: PathPart + ?Sized>(parts: &[&P]) -> String {
    let names: Vec<&[u8]> = parts.iter().map(|part| part.name()).collect();
    String::from_utf8_lossy(&names.join(&b'/')).into_owned()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Refuse,
    Make,
}

fn create(directory: BorrowedFd, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))
}

/// The name of a temporary file, which is renamed or removed before the call ends.
fn temporary_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(".mendwright-{}.tmp", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests;
