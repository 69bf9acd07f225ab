//! The file systems that `bwrap` cannot make by itself (an overlay; one bound for all that is
//! written), mounted by the child in a mount namespace of its own before it becomes `bwrap`.
//!
//! Everything is prepared beforehand; what runs between fork and exec makes system calls only, and
//! few: until then the child has copies of all that this process has open, its locks too.
//! Nothing is mounted where the host would see it, and nothing lies on its disk.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;

/// Where the stage is mounted, in the child's eyes only: a directory that every Linux has, and of
/// which no sandbox shows anything.
const POINTS: [&str; 3] = ["/sys", "/mnt", "/srv"];
/// Beside what the inside may write: directories, what the overlay keeps for itself.
const OWN_BYTES: u64 = 1 << 20;
/// Files, directories and links, where the sandbox's memory does not bound them further.
const INODES_MAX: u64 = 4_000_000;
/// Of the kernel's memory for each, which is counted as the sandbox's.
const INODE_BYTES: u64 = 1 << 10;

/// The namespace in which it is mounted.
#[derive(Debug, Clone)]
pub(super) enum Privilege {
    /// Root's own user namespace.
    Root,
    /// A new one, in which this user alone is root.
    Own,
    /// One that was made for many sandboxes, in which this user is root and others are subordinate.
    Joined(Arc<OwnedFd>),
}

/// What is mounted and made, in order.
#[derive(Debug)]
pub(super) struct Stage {
    point: &'static str,
    privilege: Privilege,
    identity: [CString; 2],
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Mount { source: CString, target: CString, kind: &'static CStr, flags: libc::c_ulong, data: CString },
    Directory { path: CString, mode: libc::mode_t, owner: Option<u32> },
}

impl Stage {
    /// An empty one that takes `bytes_max` in all; none where there is no place for it. Of a bounded
    /// memory no more than a quarter goes to files without content: those that took all of it would not
    /// be gone when the kernel has ended everything else for them.
    pub(super) fn new(privilege: Privilege, bytes_max: u64, memory_bytes_max: Option<u64>) -> Option<Self> {
        let point = POINTS.into_iter().find(|point| Path::new(point).is_dir())?;
        let one = |number: u32| text(&format!("0 {number} 1\n"));
        let identity = [one(nix::unistd::geteuid().as_raw()), one(nix::unistd::getegid().as_raw())];
        let mut stage = Self { point, privilege, identity, steps: Vec::new() };
        let bytes = bytes_max.saturating_add(OWN_BYTES);
        let inodes = memory_bytes_max.map_or(INODES_MAX, |memory| INODES_MAX.min(memory / 4 / INODE_BYTES));
        stage.steps.push(Step::Mount {
            source: text("tmpfs"),
            target: text(point),
            kind: c"tmpfs",
            flags: libc::MS_NOSUID | libc::MS_NODEV,
            data: text(&format!("mode=0755,size={bytes},nr_inodes={inodes}")),
        });
        for (name, mode) in [("workspace", 0o755), ("home", 0o755), ("tmp", 0o1777), ("shm", 0o1777)] {
            stage.directory(name, mode, None);
        }
        Some(stage)
    }

    /// Lays a writable layer over `lower`, at [`Stage::path`] of `name`. Its topmost directory
    /// belongs to `owner`, who owns the files below.
    pub(super) fn overlay(&mut self, name: &str, lower: &Path, owner: Option<u32>) -> Result<(), String> {
        let place = format!("{}/{name}", self.point);
        let is_there =
            |step: &Step| matches!(step, Step::Directory { path, .. } if path.to_bytes() == place.as_bytes());
        if !self.steps.iter().any(is_there) {
            self.directory(name, 0o755, None);
        }
        self.directory(&format!("{name}.upper"), 0o755, owner);
        self.directory(&format!("{name}.work"), 0o700, None);
        let escaped = escape(lower.as_os_str().as_bytes());
        let mut data = b"lowerdir=".to_vec();
        data.extend(escaped);
        data.extend(format!(",upperdir={place}.upper,workdir={place}.work").bytes());
        if !matches!(self.privilege, Privilege::Root) {
            // The marks of an overlay, where one may not write those of the system.
            data.extend(b",userxattr");
        }
        if data.len() >= MOUNT_DATA_BYTES_MAX {
            return Err(format!("the path {} is too long to be mounted", lower.display()));
        }
        let data = CString::new(data).map_err(|e| e.to_string())?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        self.steps.push(Step::Mount {
            source: text("overlay"),
            target: text(&place),
            kind: c"overlay",
            flags,
            data,
        });
        Ok(())
    }

    fn directory(&mut self, name: &str, mode: libc::mode_t, owner: Option<u32>) {
        let path = text(&format!("{}/{name}", self.point));
        self.steps.push(Step::Directory { path, mode, owner });
    }

    /// Where something of it is, for `bwrap`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        Path::new(self.point).join(name)
    }

    /// Makes it, in a process that has just been forked and is about to become `bwrap`. Allocates
    /// nothing and takes no lock.
    pub(super) fn enter(&self) -> io::Result<()> {
        match &self.privilege {
            Privilege::Root => call(unshare(libc::CLONE_NEWNS))?,
            Privilege::Own => {
                call(unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS))?;
                write_to(c"/proc/self/setgroups", b"deny")?;
                write_to(c"/proc/self/uid_map", self.identity[0].as_bytes())?;
                write_to(c"/proc/self/gid_map", self.identity[1].as_bytes())?;
            }
            Privilege::Joined(namespace) => {
                // SAFETY: passes numbers only.
                call(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWUSER) })?;
                // SAFETY: as above; the null pointer stands for an empty list.
                call(unsafe { libc::setgroups(0, std::ptr::null()) })?;
                call(unshare(libc::CLONE_NEWNS))?;
            }
        }
        // What is mounted from here on is seen by nobody else.
        mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")?;
        // SAFETY: changes a number of this process.
        let mask = unsafe { libc::umask(0) };
        self.steps.iter().try_for_each(Step::take)?;
        // SAFETY: as above.
        unsafe { libc::umask(mask) };
        Ok(())
    }
}

/// A page, which is what the kernel takes.
const MOUNT_DATA_BYTES_MAX: usize = 4096;

impl Step {
    fn take(&self) -> io::Result<()> {
        match self {
            Self::Mount { source, target, kind, flags, data } => mount(source, target, kind, *flags, data),
            Self::Directory { path, mode, owner } => {
                // SAFETY: the path is a string that outlives the call.
                call(unsafe { libc::mkdir(path.as_ptr(), *mode) })?;
                match owner {
                    // SAFETY: as above.
                    Some(owner) => call(unsafe { libc::chown(path.as_ptr(), *owner, *owner) }),
                    None => Ok(()),
                }
            }
        }
    }
}

fn call(answer: libc::c_int) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn unshare(namespaces: libc::c_int) -> libc::c_int {
    // SAFETY: passes a number only.
    unsafe { libc::unshare(namespaces) }
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, data: &CStr) -> io::Result<()> {
    // SAFETY: five arguments as mount(2) takes them; the strings outlive the call.
    call(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) })
}

fn write_to(path: &CStr, content: &[u8]) -> io::Result<()> {
    // SAFETY: the path is a string that outlives the call.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    call(file)?;
    let outcome = write_all(file, content);
    // SAFETY: it was opened above, and nobody else knows it.
    unsafe { libc::close(file) };
    outcome
}

fn write_all(file: libc::c_int, mut content: &[u8]) -> io::Result<()> {
    while !content.is_empty() {
        // SAFETY: as many bytes as there are.
        let written = unsafe { libc::write(file, content.as_ptr().cast(), content.len()) };
        if written <= 0 {
            return Err(io::Error::last_os_error());
        }
        content = &content[written as usize..];
    }
    Ok(())
}

fn text(content: &str) -> CString {
    CString::new(content).expect("what this file writes holds no zero byte")
}

/// What separates layers and options in an overlay's options is itself marked with a backslash.
fn escape(path: &[u8]) -> Vec<u8> {
    let mark = |byte: &u8| matches!(byte, b'\\' | b':' | b',').then_some(b'\\').into_iter().chain([*byte]);
    path.iter().flat_map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_layer_whatever_is_in_it() {
        assert_eq!(escape(b"/a:b,c\\d"), b"/a\\:b\\,c\\\\d");
        let mut stage = Stage::new(Privilege::Own, 1 << 20, None).unwrap();
        stage.overlay("root", Path::new("/images/a,b"), None).unwrap();
        let Some(Step::Mount { data, .. }) = stage.steps.last() else { panic!("{:?}", stage.steps) };
        let point = stage.point;
        let expected =
            format!("lowerdir=/images/a\\,b,upperdir={point}/root.upper,workdir={point}/root.work,userxattr");
        assert_eq!(data.to_str().unwrap(), expected);
        assert!(stage.overlay("home", Path::new(&"/x".repeat(3000)), None).is_err());
    }
}
