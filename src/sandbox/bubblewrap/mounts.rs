//! The file systems that `bwrap` cannot mount by itself (an overlay; one limit for all writes). The child
//! mounts them in its own mount namespace before it executes `bwrap`.
//!
//! Everything is prepared beforehand; between fork and exec the child makes only system calls, and few:
//! until then it has copies of all that this process has open, including its locks. The host sees none of
//! these mounts, and nothing is written to its disk.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc;

/// Where the plan is mounted, visible only to the child: a directory that every Linux has, and that no
/// sandbox shows.
const MOUNT_POINTS: [&str; 3] = ["/sys", "/mnt", "/srv"];
/// In addition to what the sandbox may write: directories, and what the overlay stores for itself.
const OWN_BYTES: u64 = 1 << 20;
/// Files, directories and links, unless the sandbox's memory limits them further.
const INODES_MAX: u64 = 4_000_000;
/// The kernel's memory for each of them, which counts as the sandbox's.
const INODE_BYTES: u64 = 1 << 10;

/// The user namespace in which the plan is mounted.
#[derive(Debug, Clone)]
pub(super) enum MountNamespace {
    /// Root's own user namespace.
    Root,
    /// A new one, in which only this user exists, as root.
    Own,
    /// One that many sandboxes share, in which this user is root and the others are subordinate.
    Joined(Arc<OwnedFd>),
}

/// The mounts and directories to create, in order.
#[derive(Debug)]
pub(super) struct MountPlan {
    point: &'static str,
    namespace: MountNamespace,
    identity: [CString; 2],
    steps: Vec<MountStep>,
}

#[derive(Debug)]
enum MountStep {
    Mount { source: CString, target: CString, kind: &'static CStr, flags: libc::c_ulong, data: CString },
    Directory { path: CString, mode: libc::mode_t, owner: Option<u32> },
}

impl MountPlan {
    /// An empty plan with `bytes_max` in total; `None` if there is no mount point for it. If memory is
    /// limited, at most a quarter of it is available for files without content: they would still exist
    /// after the kernel has killed everything else to free memory.
    pub(super) fn new(
        namespace: MountNamespace,
        bytes_max: u64,
        memory_bytes_max: Option<u64>,
    ) -> Option<Self> {
        let point = MOUNT_POINTS.into_iter().find(|point| Path::new(point).is_dir())?;
        let one = |number: u32| text(&format!("0 {number} 1\n"));
        let identity = [one(nix::unistd::geteuid().as_raw()), one(nix::unistd::getegid().as_raw())];
        let mut plan = Self { point, namespace, identity, steps: Vec::new() };
        let bytes = bytes_max.saturating_add(OWN_BYTES);
        let inodes = memory_bytes_max.map_or(INODES_MAX, |memory| INODES_MAX.min(memory / 4 / INODE_BYTES));
        plan.steps.push(MountStep::Mount {
            source: text("tmpfs"),
            target: text(point),
            kind: c"tmpfs",
            flags: libc::MS_NOSUID | libc::MS_NODEV,
            data: text(&format!("mode=0755,size={bytes},nr_inodes={inodes}")),
        });
        for (name, mode) in [("workspace", 0o755), ("home", 0o755), ("tmp", 0o1777), ("shm", 0o1777)] {
            plan.directory(name, mode, None);
        }
        Some(plan)
    }

    /// Mounts a writable layer over `lower`, at [`MountPlan::path`] of `name`. Its topmost directory
    /// belongs to `owner`, who owns the files below.
    pub(super) fn overlay(&mut self, name: &str, lower: &Path, owner: Option<u32>) -> Result<(), String> {
        let target = format!("{}/{name}", self.point);
        let exists = |step: &MountStep| matches!(step, MountStep::Directory { path, .. } if path.to_bytes() == target.as_bytes());
        if !self.steps.iter().any(exists) {
            self.directory(name, 0o755, None);
        }
        self.directory(&format!("{name}.upper"), 0o755, owner);
        self.directory(&format!("{name}.work"), 0o700, None);
        let escaped = escape(lower.as_os_str().as_bytes());
        let mut data = b"lowerdir=".to_vec();
        data.extend(escaped);
        data.extend(format!(",upperdir={target}.upper,workdir={target}.work").bytes());
        if !matches!(self.namespace, MountNamespace::Root) {
            // The overlay's own attributes, where the system's attributes may not be written.
            data.extend(b",userxattr");
        }
        if data.len() >= MOUNT_DATA_BYTES_MAX {
            return Err(format!("the path {} is too long to be mounted", lower.display()));
        }
        let data = CString::new(data).map_err(|e| e.to_string())?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        self.steps.push(MountStep::Mount {
            source: text("overlay"),
            target: text(&target),
            kind: c"overlay",
            flags,
            data,
        });
        Ok(())
    }

    fn directory(&mut self, name: &str, mode: libc::mode_t, owner: Option<u32>) {
        let path = text(&format!("{}/{name}", self.point));
        self.steps.push(MountStep::Directory { path, mode, owner });
    }

    /// The path of one of its directories, for `bwrap`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        Path::new(self.point).join(name)
    }

    /// Mounts everything, in a process that has just been forked and is about to execute `bwrap`.
    /// Allocates nothing and takes no lock.
    pub(super) fn apply(&self) -> io::Result<()> {
        match &self.namespace {
            MountNamespace::Root => check(unshare(libc::CLONE_NEWNS))?,
            MountNamespace::Own => {
                check(unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS))?;
                write_to(c"/proc/self/setgroups", b"deny")?;
                write_to(c"/proc/self/uid_map", self.identity[0].as_bytes())?;
                write_to(c"/proc/self/gid_map", self.identity[1].as_bytes())?;
            }
            MountNamespace::Joined(namespace) => {
                // SAFETY: passes numbers only.
                check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWUSER) })?;
                // SAFETY: as above; the null pointer stands for an empty list.
                check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
                check(unshare(libc::CLONE_NEWNS))?;
            }
        }
        // No other process sees the mounts from here on.
        mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")?;
        // SAFETY: changes a number of this process.
        let mask = unsafe { libc::umask(0) };
        self.steps.iter().try_for_each(MountStep::apply)?;
        // SAFETY: as above.
        unsafe { libc::umask(mask) };
        Ok(())
    }
}

/// One page, which is the kernel's limit.
const MOUNT_DATA_BYTES_MAX: usize = 4096;

impl MountStep {
    fn apply(&self) -> io::Result<()> {
        match self {
            Self::Mount { source, target, kind, flags, data } => mount(source, target, kind, *flags, data),
            Self::Directory { path, mode, owner } => {
                // SAFETY: the path is a string that outlives the call.
                check(unsafe { libc::mkdir(path.as_ptr(), *mode) })?;
                match owner {
                    // SAFETY: as above.
                    Some(owner) => check(unsafe { libc::chown(path.as_ptr(), *owner, *owner) }),
                    None => Ok(()),
                }
            }
        }
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn unshare(namespaces: libc::c_int) -> libc::c_int {
    // SAFETY: passes a number only.
    unsafe { libc::unshare(namespaces) }
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, data: &CStr) -> io::Result<()> {
    // SAFETY: five arguments as mount(2) takes them; the strings outlive the call.
    check(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    })
}

fn write_to(path: &CStr, content: &[u8]) -> io::Result<()> {
    // SAFETY: the path is a string that outlives the call.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    check(file)?;
    let outcome = write_all(file, content);
    // SAFETY: it was opened above, and nothing else uses it.
    unsafe { libc::close(file) };
    outcome
}

fn write_all(file: libc::c_int, mut content: &[u8]) -> io::Result<()> {
    while !content.is_empty() {
        // SAFETY: as many bytes as there are.
        let written = unsafe { libc::write(file, content.as_ptr().cast(), content.len()) };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if written < 0 {
            return Err(io::Error::last_os_error());
        }
        content = &content[written as usize..];
    }
    Ok(())
}

fn text(content: &str) -> CString {
    CString::new(content).expect("texts of this file contain no zero byte")
}

/// Escapes the characters that separate layers and options in an overlay's options.
fn escape(path: &[u8]) -> Vec<u8> {
    let escaped = |byte: &u8| matches!(byte, b'\\' | b':' | b',').then_some(b'\\').into_iter().chain([*byte]);
    path.iter().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlay_path_with_separators_is_one_layer() {
        assert_eq!(escape(b"/a:b,c\\d"), b"/a\\:b\\,c\\\\d");
        let mut plan = MountPlan::new(MountNamespace::Own, 1 << 20, None).unwrap();
        plan.overlay("root", Path::new("/images/a,b"), None).unwrap();
        let Some(MountStep::Mount { data, .. }) = plan.steps.last() else { panic!("{:?}", plan.steps) };
        let point = plan.point;
        let expected =
            format!("lowerdir=/images/a\\,b,upperdir={point}/root.upper,workdir={point}/root.work,userxattr");
        assert_eq!(data.to_str().unwrap(), expected);
        assert!(plan.overlay("home", Path::new(&"/x".repeat(3000)), None).is_err());
    }
}
