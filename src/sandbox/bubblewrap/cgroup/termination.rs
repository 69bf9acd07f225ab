//! Kills everything in a cgroup, and removes it: the second line of defence after the process namespace,
//! so that no process outlives a sandbox.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Between two checks of a group whose last process is about to leave or to freeze.
const PAUSE: Duration = Duration::from_millis(5);
const ATTEMPTS_MAX: u32 = 400;

/// Kills every process in the group: in one step if the kernel supports that (version 2, Linux 5.14 and
/// later). Otherwise they are frozen first, if there is a freezer, so that none can start another.
pub(super) fn kill_all(group: &Path) {
    let has_processes = || processes(group).is_some_and(|processes| !processes.is_empty());
    if !has_processes() || fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let freezer = group.join("freezer.state");
    for _ in 0..ATTEMPTS_MAX {
        if freezer.exists() {
            freeze(&freezer);
        }
        for process in processes(group).into_iter().flatten() {
            // It may have ended already.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        if freezer.exists() {
            // Frozen processes die when they thaw.
            let _ = fs::write(&freezer, "THAWED");
        }
        if !has_processes() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

fn freeze(state: &Path) {
    for _ in 0..ATTEMPTS_MAX {
        // A second request also freezes processes that were being created during the first.
        let written = fs::write(state, "FROZEN");
        if written.is_err() || fs::read_to_string(state).is_ok_and(|state| state.trim() == "FROZEN") {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// The ids of the visible processes. The kernel lists processes of other namespaces as 0.
fn processes(group: &Path) -> Option<Vec<i32>> {
    let list = fs::read_to_string(group.join("cgroup.procs")).ok()?;
    Some(list.lines().filter_map(|line| line.parse().ok()).filter(|process| *process > 0).collect())
}

/// Removes a group, after waiting briefly for its last process to leave. Returns whether it existed and
/// was removed.
pub(super) fn remove(group: &Path) -> bool {
    for _ in 0..ATTEMPTS_MAX {
        match fs::remove_dir(group) {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(PAUSE),
            Err(_) => return false,
        }
    }
    false
}
