//! Ending everything in a cgroup, and removing it: the second way, beside the process namespace's
//! own, so that nothing outlives a sandbox.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Between two looks at a group whose last process is just leaving, or freezing.
const PAUSE: Duration = Duration::from_millis(5);
const ATTEMPTS_MAX: u32 = 400;

/// Ends every process in the group: at one stroke where the kernel offers it (version 2, Linux 5.14
/// and later), else frozen where there is a freezer, so that none can make another meanwhile.
pub(super) fn end_all(group: &Path) {
    let everybody = || processes(group).is_some_and(|processes| !processes.is_empty());
    if !everybody() || fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let freezer = group.join("freezer.state");
    for _ in 0..ATTEMPTS_MAX {
        if freezer.exists() {
            freeze(&freezer);
        }
        for process in processes(group).into_iter().flatten() {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        if freezer.exists() {
            // The frozen die when they thaw.
            let _ = fs::write(&freezer, "THAWED");
        }
        if !everybody() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

fn freeze(state: &Path) {
    for _ in 0..ATTEMPTS_MAX {
        // Asking again helps what was making a process when it was asked first.
        let asked = fs::write(state, "FROZEN");
        if asked.is_err() || fs::read_to_string(state).is_ok_and(|state| state.trim() == "FROZEN") {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Numbers of those that we can see; 0 stands for one of another namespace.
fn processes(group: &Path) -> Option<Vec<i32>> {
    let list = fs::read_to_string(group.join("cgroup.procs")).ok()?;
    Some(list.lines().filter_map(|line| line.parse().ok()).filter(|process| *process > 0).collect())
}

/// Removes a group, waiting a moment for its last process to leave. Says whether it was there and
/// is gone now.
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
