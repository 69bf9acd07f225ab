//! A user namespace with this account's subordinate users (/etc/subuid, /etc/subgid), so that everything
//! inside runs as another host user than this process. It is created once and joined by many sandboxes.
//! Without it, each sandbox has a namespace with one user.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::libc;

use crate::sandbox::find_program;

/// With fewer users, sandboxes would share users.
const USERS_MIN: u32 = 4_096;

/// The namespace. Its root is the user of this process; users from 1 on are subordinate.
#[derive(Debug, Clone)]
pub(super) struct SubordinateUsers {
    pub namespace: Arc<OwnedFd>,
    /// How many users it has.
    pub users: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: u32,
    count: u32,
}

impl SubordinateUsers {
    /// Creates the namespace. `None` if this account has no range, or if `newuidmap` is missing.
    pub(super) fn create() -> Result<Option<Self>, String> {
        let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let name = nix::unistd::User::from_uid(user).ok().flatten().map(|user| user.name);
        let range = |file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            largest_range(&text, name.as_deref(), user.as_raw())
        };
        let (Some(users), Some(groups)) = (range("/etc/subuid"), range("/etc/subgid")) else {
            return Ok(None);
        };
        let helpers = ["newuidmap", "newgidmap"].map(find_program);
        if users.count.min(groups.count) < USERS_MIN || helpers.iter().any(|helper| !helper.is_file()) {
            return Ok(None);
        }
        let mut holder = Command::new(find_program("cat"));
        holder.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: one system call with a number.
        unsafe {
            holder.pre_exec(|| match libc::unshare(libc::CLONE_NEWUSER) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            })
        };
        let mut holder = holder.spawn().map_err(|e| format!("a user namespace cannot be created: {e}"))?;
        let process = holder.id();
        let mapped = map(&helpers[0], process, user.as_raw(), users)
            .and_then(|()| map(&helpers[1], process, group.as_raw(), groups))
            .and_then(|()| {
                let namespace = fs::File::open(format!("/proc/{process}/ns/user"));
                namespace.map_err(|e| format!("the user namespace cannot be opened: {e}"))
            });
        // It ends when its input ends. The namespace exists as long as it is open here.
        drop(holder.stdin.take());
        let _ = holder.wait();
        let users = users.count.min(groups.count);
        Ok(Some(Self { namespace: Arc::new(mapped?.into()), users }))
    }
}

/// The largest range of the account.
fn largest_range(text: &str, name: Option<&str>, user: u32) -> Option<Range> {
    let number = user.to_string();
    let ranges = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let account = fields.next()?;
        let is_ours = Some(account) == name || account == number;
        let (start, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        is_ours.then_some(Range { start, count })
    });
    ranges.max_by_key(|range| range.count)
}

fn map(helper: &Path, process: u32, ours: u32, range: Range) -> Result<(), String> {
    let arguments = [process, 0, ours, 1, 1, range.start, range.count].map(|number| number.to_string());
    let mut command = Command::new(helper);
    let output = command.args(arguments).env_clear().stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{} cannot be started: {e}", helper.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", helper.display(), String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_range_of_the_account_is_used() {
        let text = "other:1:2\nme:100000:65536\n# me:1:1\nme:300000:9\n1000:500000:70000\nme:x:y\n";
        assert_eq!(largest_range(text, Some("me"), 1), Some(Range { start: 100_000, count: 65_536 }));
        assert_eq!(largest_range(text, Some("me"), 1000), Some(Range { start: 500_000, count: 70_000 }));
        assert_eq!(largest_range(text, None, 1), None);
    }
}
