//! User namespaces that say which host user an owner of files on disk is shown as. With one, a mount of a cached setup
//! or an image shows its files as those of one sandbox's own user, so that the kernel counts each sandbox's limits by
//! itself. Source: mount_setattr(2), "ID-mapped mounts".

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::libc;

use crate::sandbox::find_program;

/// The namespace of a mapping of one user, and the group of the same number.
#[derive(Debug, Clone)]
pub(super) struct OwnerMap(pub(super) Arc<OwnedFd>);

impl OwnerMap {
    /// Files of `on_disk` are shown as those of `shown`. Only root can create it.
    pub(super) fn new(on_disk: u32, shown: u32) -> io::Result<Self> {
        let mut holder = Command::new(find_program("cat"));
        holder.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: one system call with a number.
        unsafe {
            holder.pre_exec(|| match libc::unshare(libc::CLONE_NEWUSER) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            })
        };
        let mut holder = holder.spawn()?;
        let process = format!("/proc/{}", holder.id());
        let line = format!("{on_disk} {shown} 1\n");
        let namespace = fs::write(format!("{process}/uid_map"), &line)
            .and_then(|()| fs::write(format!("{process}/gid_map"), &line))
            .and_then(|()| fs::File::open(format!("{process}/ns/user")));
        // It ends when its input ends. The namespace exists as long as it is open here.
        drop(holder.stdin.take());
        let _ = holder.wait();
        Ok(Self(Arc::new(namespace?.into())))
    }
}
