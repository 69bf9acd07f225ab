//! A user namespace with the subordinate users that this account was given (/etc/subuid,
//! /etc/subgid), so that what runs inside is another user of the host than this process. Made once,
//! joined by many sandboxes; without it there is a namespace of one user for each.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::libc;

use super::on_the_path;

/// Fewer are not worth the trouble: neighbours would have users in common.
const USERS_MIN: u32 = 4_096;

/// The namespace: its root is this process' user, and 1 and following are subordinate.
#[derive(Debug, Clone)]
pub(super) struct Subordinates {
    pub namespace: Arc<OwnedFd>,
    /// How many there are.
    pub users: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: u32,
    count: u32,
}

impl Subordinates {
    /// Makes the namespace. `None` where this account has no range, or `newuidmap` is not there.
    pub(super) fn make() -> Result<Option<Self>, String> {
        let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let name = nix::unistd::User::from_uid(user).ok().flatten().map(|user| user.name);
        let range = |file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            range_of(&text, name.as_deref(), user.as_raw())
        };
        let (Some(users), Some(groups)) = (range("/etc/subuid"), range("/etc/subgid")) else {
            return Ok(None);
        };
        let helpers = ["newuidmap", "newgidmap"].map(on_the_path);
        if users.count.min(groups.count) < USERS_MIN || helpers.iter().any(|helper| !helper.is_file()) {
            return Ok(None);
        }
        let mut holder = Command::new(on_the_path("cat"));
        holder.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: one system call with a number.
        unsafe {
            holder.pre_exec(|| match libc::unshare(libc::CLONE_NEWUSER) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            })
        };
        let mut holder = holder.spawn().map_err(|e| format!("no user namespace can be made: {e}"))?;
        let process = holder.id();
        let mapped = map(&helpers[0], process, user.as_raw(), users)
            .and_then(|()| map(&helpers[1], process, group.as_raw(), groups))
            .and_then(|()| {
                let namespace = fs::File::open(format!("/proc/{process}/ns/user"));
                namespace.map_err(|e| format!("the user namespace cannot be held: {e}"))
            });
        // At the end of its input it ends; the namespace stays as long as it is open here.
        drop(holder.stdin.take());
        let _ = holder.wait();
        let users = users.count.min(groups.count);
        Ok(Some(Self { namespace: Arc::new(mapped?.into()), users }))
    }
}

/// The largest range of that account.
fn range_of(text: &str, name: Option<&str>, user: u32) -> Option<Range> {
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
    let words = [process, 0, ours, 1, 1, range.start, range.count].map(|number| number.to_string());
    let mut command = Command::new(helper);
    let output = command.args(words).env_clear().stdin(Stdio::null()).output();
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
    fn the_largest_range_of_the_account_is_taken() {
        let text = "other:1:2\nme:100000:65536\n# me:1:1\nme:300000:9\n1000:500000:70000\nme:x:y\n";
        assert_eq!(range_of(text, Some("me"), 1), Some(Range { start: 100_000, count: 65_536 }));
        assert_eq!(range_of(text, Some("me"), 1000), Some(Range { start: 500_000, count: 70_000 }));
        assert_eq!(range_of(text, None, 1), None);
    }
}
