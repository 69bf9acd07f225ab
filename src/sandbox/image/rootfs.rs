//! A root file system that is being created, and the only code that changes it meanwhile.
//!
//! A path is walked part by part. Each part is opened relative to the one before, without following a
//! symlink, so that nothing outside the directory is created, changed, linked or removed, whatever earlier
//! entries of the image contain. Symlinks are never followed, even if they stay inside.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};

use super::error::ImageError;

/// The owner of everything in an image that root unpacked: an id that no distribution assigns. A sandbox in
/// an image runs as that user, and changes the files in its own layer.
pub(super) const OWNER: u32 = 1_899_999;
/// The mount points of a sandbox. They become directories, whatever the image has there.
pub(super) const MOUNT_POINTS: [&str; 9] =
    ["dev", "proc", "sys", "etc", "workspace", "home/agent", "tmp", ".mendwright", "run"];
/// Files of `/etc` that a sandbox mounts its own files over. They become regular files, whatever the image
/// has there.
pub(super) const MOUNTED_FILES: [&str; 6] =
    ["etc/passwd", "etc/group", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/nsswitch.conf"];

/// For walking only: nothing is read or written through it.
const STEP: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NEW_FILE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
/// The mode of directories that no layer has an entry for.
const DIRECTORY_MODE: u32 = 0o755;

/// A checked path: no `..`, no empty part, relative to the root.
pub(super) type Parts = Vec<Vec<u8>>;

/// A name, and the directory it is in.
type Named<'p> = (&'p [u8], Arc<OwnedFd>);

/// The directory that the image is unpacked into.
pub(super) struct RootFs {
    root: Arc<OwnedFd>,
    owner: Option<u32>,
    /// The directory of the previous entry. Most entries have the same.
    parent: Option<(Parts, Arc<OwnedFd>)>,
    /// Directories that were created because an entry needed them.
    implicit_directories: u64,
}

impl RootFs {
    /// In an empty directory of ours. If we are root, everything in it will belong to [`OWNER`], unless that
    /// user does not exist (in a user namespace); otherwise to us.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let root: OwnedFd = File::open(path)?.into();
        let is_root = nix::unistd::geteuid().is_root();
        let owner = (is_root && own(root.as_fd(), OWNER).is_ok()).then_some(OWNER);
        fchmod(&root, Mode::from_bits_truncate(DIRECTORY_MODE))?;
        Ok(Self { root: Arc::new(root), owner, parent: None, implicit_directories: 0 })
    }

    pub(super) fn implicit_directories(&self) -> u64 {
        self.implicit_directories
    }

    /// Creates a directory, or changes the mode of an existing one.
    pub(super) fn put_directory(&mut self, path: &Parts, mode: u32) -> Result<(), ImageError> {
        let Some((name, parent)) = self.create_parent(path)? else { return Ok(()) };
        let full = joined(path);
        match kind(&parent, name, &full)? {
            Some(SFlag::S_IFDIR) => {}
            Some(_) => {
                self.remove_entry(parent.as_fd(), name, &full)?;
                self.create_directory(parent.as_fd(), name, &full)?;
            }
            None => self.create_directory(parent.as_fd(), name, &full)?,
        }
        let directory =
            openat(&*parent, name, DIRECTORY, Mode::empty()).map_err(|e| ImageError::system(&full, e))?;
        // We must be able to write into it and to remove it, whatever the image says.
        fchmod(&directory, Mode::from_bits_truncate(mode & 0o777 | 0o700))
            .map_err(|e| ImageError::system(&full, e))
    }

    /// Creates a regular file with the content that `write` writes. An existing entry is removed first.
    pub(super) fn put_file(
        &mut self,
        path: &Parts,
        mode: u32,
        modified: i64,
        write: impl FnOnce(&mut File) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let full = joined(path);
        let Some((name, parent)) = self.create_parent(path)? else {
            return Err(ImageError::entry(&full, "would replace the root directory"));
        };
        self.remove_entry(parent.as_fd(), name, &full)?;
        let failed = |error| ImageError::system(&full, error);
        let file = openat(&*parent, name, NEW_FILE, Mode::from_bits_truncate(0o600)).map_err(failed)?;
        let mut file = File::from(file);
        write(&mut file)?;
        if let Some(owner) = self.owner {
            own(file.as_fd(), owner).map_err(failed)?;
        }
        // After the owner, because changing the owner clears some mode bits.
        fchmod(&file, Mode::from_bits_truncate(mode & 0o777 | 0o400)).map_err(failed)?;
        // Interpreters compare the time with that of compiled files.
        let modified = TimeSpec::new(modified.clamp(0, i64::from(u32::MAX)), 0);
        futimens(&file, &TimeSpec::UTIME_OMIT, &modified).map_err(failed)
    }

    /// Creates a symlink. It is never followed, so its target may be anything.
    pub(super) fn put_symlink(&mut self, path: &Parts, target: &[u8]) -> Result<(), ImageError> {
        let full = joined(path);
        let Some((name, parent)) = self.create_parent(path)? else {
            return Err(ImageError::entry(&full, "would replace the root directory"));
        };
        if target.is_empty() || target.contains(&0) {
            return Err(ImageError::entry(&full, "is a symlink to nothing"));
        }
        self.remove_entry(parent.as_fd(), name, &full)?;
        symlinkat(target, &*parent, name).map_err(|error| ImageError::system(&full, error))?;
        self.own_entry(parent.as_fd(), name, &full)
    }

    /// Creates another name for `target`. If that is a symlink, for the symlink itself.
    pub(super) fn put_hard_link(&mut self, path: &Parts, target: &Parts) -> Result<(), ImageError> {
        let full = joined(path);
        let (Some((name, parent)), Some((target_name, directories))) =
            (self.create_parent(path)?, target.split_last())
        else {
            return Err(ImageError::entry(&full, "is a hard link from or to the root directory"));
        };
        if path == target {
            return Err(ImageError::entry(&full, "is a hard link to itself"));
        }
        let nothing = || ImageError::entry(&full, "is a hard link to something that is not in the image");
        let target_parent = self.walk(directories)?.ok_or_else(nothing)?;
        match kind(&target_parent, target_name, &full)? {
            Some(SFlag::S_IFREG | SFlag::S_IFLNK) => {}
            Some(_) => return Err(ImageError::entry(&full, "is a hard link to something other than a file")),
            None => return Err(nothing()),
        }
        self.remove_entry(parent.as_fd(), name, &full)?;
        let target_name = target_name.as_slice();
        // Without AT_SYMLINK_FOLLOW.
        match linkat(&*target_parent, target_name, &*parent, name, AtFlags::empty()) {
            // The target was below the entry that the link replaced.
            Err(Errno::ENOENT) => Err(nothing()),
            linked => linked.map_err(|error| ImageError::system(&full, error)),
        }
    }

    /// Removes the entry, with everything in it, if it exists.
    pub(super) fn remove(&mut self, path: &Parts) -> Result<(), ImageError> {
        let Some((name, directories)) = path.split_last() else {
            return Err(ImageError::entry(b"/", "would remove the root directory"));
        };
        match self.walk(directories)? {
            Some(parent) => self.remove_entry(parent.as_fd(), name, &joined(path)),
            None => Ok(()),
        }
    }

    /// Removes everything in a directory, if it exists.
    pub(super) fn empty(&mut self, path: &Parts) -> Result<(), ImageError> {
        let Some(directory) = self.walk(path)? else { return Ok(()) };
        self.parent = None;
        remove_children(directory.as_fd(), &joined(path))
    }

    /// Creates the mount points of a sandbox as real directories and files, whatever the image has there.
    pub(super) fn create_mount_points(&mut self) -> Result<(), ImageError> {
        let parts = |path: &str| -> Parts { path.split('/').map(|part| part.as_bytes().to_vec()).collect() };
        for path in MOUNT_POINTS {
            let path = parts(path);
            for depth in 1..=path.len() {
                self.create_real_directory(&path[..depth])?;
            }
        }
        for path in MOUNTED_FILES {
            let path = parts(path);
            let Some((name, parent)) = self.create_parent(&path)? else { continue };
            if kind(&parent, name, &joined(&path))? != Some(SFlag::S_IFREG) {
                self.put_file(&path, 0o644, 0, |_| Ok(()))?;
            }
        }
        Ok(())
    }

    fn create_real_directory(&mut self, path: &[Vec<u8>]) -> Result<(), ImageError> {
        let Some((name, parent)) = self.create_parent(path)? else { return Ok(()) };
        let full = joined(path);
        if kind(&parent, name, &full)? == Some(SFlag::S_IFDIR) {
            return Ok(());
        }
        self.remove_entry(parent.as_fd(), name, &full)?;
        self.create_directory(parent.as_fd(), name, &full)
    }

    /// The directory of an entry, created if it is missing, and the entry's name in it; `None` for the root
    /// itself.
    fn create_parent<'p>(&mut self, path: &'p [Vec<u8>]) -> Result<Option<Named<'p>>, ImageError> {
        let Some((name, directories)) = path.split_last() else { return Ok(None) };
        if let Some((known, parent)) = &self.parent
            && known == directories
        {
            return Ok(Some((name, Arc::clone(parent))));
        }
        let mut directory = Arc::clone(&self.root);
        for (depth, part) in directories.iter().enumerate() {
            let part = part.as_slice();
            let next = match openat(&*directory, part, STEP, Mode::empty()) {
                Err(Errno::ENOENT) => {
                    let full = joined(&directories[..=depth]);
                    self.create_directory(directory.as_fd(), part, &full)?;
                    self.implicit_directories += 1;
                    openat(&*directory, part, STEP, Mode::empty())
                }
                other => other,
            };
            directory = Arc::new(next.map_err(|error| not_a_directory(path, &directories[..=depth], error))?);
        }
        self.parent = Some((directories.to_vec(), Arc::clone(&directory)));
        Ok(Some((name, directory)))
    }

    /// An existing directory; `None` if there is none, or something else.
    fn walk(&self, directories: &[Vec<u8>]) -> Result<Option<Arc<OwnedFd>>, ImageError> {
        let mut directory = Arc::clone(&self.root);
        for (depth, part) in directories.iter().enumerate() {
            directory = match openat(&*directory, part.as_slice(), STEP, Mode::empty()) {
                Ok(next) => Arc::new(next),
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
                Err(error) => return Err(ImageError::system(&joined(&directories[..=depth]), error)),
            };
        }
        Ok(Some(directory))
    }

    fn create_directory(&self, parent: BorrowedFd, name: &[u8], full: &[u8]) -> Result<(), ImageError> {
        let failed = |error| ImageError::system(full, error);
        mkdirat(parent, name, Mode::from_bits_truncate(DIRECTORY_MODE)).map_err(failed)?;
        let directory = openat(parent, name, DIRECTORY, Mode::empty()).map_err(failed)?;
        if let Some(owner) = self.owner {
            own(directory.as_fd(), owner).map_err(failed)?;
        }
        // The umask restricts the mode of mkdir(2).
        fchmod(&directory, Mode::from_bits_truncate(DIRECTORY_MODE)).map_err(failed)
    }

    fn own_entry(&self, parent: BorrowedFd, name: &[u8], full: &[u8]) -> Result<(), ImageError> {
        let Some(owner) = self.owner else { return Ok(()) };
        let (user, group) = (Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)));
        fchownat(parent, name, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|error| ImageError::system(full, error))
    }

    fn remove_entry(&mut self, parent: BorrowedFd, name: &[u8], full: &[u8]) -> Result<(), ImageError> {
        let failed = |error| ImageError::system(full, error);
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR) => {}
            Err(error) => return Err(failed(error)),
        }
        // It may be the cached directory, or above it.
        self.parent = None;
        remove_directory(parent, name, full)
    }
}

fn remove_directory(parent: BorrowedFd, name: &[u8], full: &[u8]) -> Result<(), ImageError> {
    let failed = |error| ImageError::system(full, error);
    let directory = openat(parent, name, STEP, Mode::empty()).map_err(failed)?;
    remove_children(directory.as_fd(), full)?;
    unlinkat(parent, name, UnlinkatFlags::RemoveDir).map_err(failed)
}

/// Goes as deep as the tree is, which the bound of a path's parts limits.
fn remove_children(directory: BorrowedFd, full: &[u8]) -> Result<(), ImageError> {
    let failed = |error| ImageError::system(full, error);
    let mut listing = Dir::openat(directory, ".", DIRECTORY, Mode::empty()).map_err(failed)?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    drop(listing);
    for name in names {
        let name = name.as_slice();
        match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => {}
            Err(Errno::EISDIR) => remove_directory(directory, name, full)?,
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

fn kind(parent: &OwnedFd, name: &[u8], full: &[u8]) -> Result<Option<SFlag>, ImageError> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(FileStat { st_mode, .. }) => Ok(Some(SFlag::from_bits_truncate(st_mode) & SFlag::S_IFMT)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(ImageError::system(full, error)),
    }
}

fn not_a_directory(path: &[Vec<u8>], at: &[Vec<u8>], error: Errno) -> ImageError {
    match error {
        Errno::ENOTDIR | Errno::ELOOP => {
            let at = super::error::shown_bytes(&joined(at));
            ImageError::entry(&joined(path), format!("lies beneath '{at}', which is a symlink or a file"))
        }
        other => ImageError::system(&joined(path), other),
    }
}

fn own(file: BorrowedFd, owner: u32) -> nix::Result<()> {
    fchown(file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))
}

fn joined(path: &[Vec<u8>]) -> Vec<u8> {
    path.join(&b'/')
}
