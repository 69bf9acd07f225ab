//! What a process that holds secrets does first of all: it leaves no core dump, no other process of its user can read
//! its memory, and it may open as many files as the system allows.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Protects this process. Called before secrets are read. What the system refuses is logged, and the process goes on:
/// none of it is needed to work.
pub fn harden_process() {
    // Programs that it starts are dumpable again, as after every `execve`: bubblewrap and `newuidmap` need that.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        warn!(%error, "other processes of this user can read the memory of this one");
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        warn!(%error, "a crash may write a core dump");
    }
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files was not raised");
    }
}
