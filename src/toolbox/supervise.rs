//! The supervisor of one command: a process whose descendants are exactly the command's processes.
//!
//! As their nearest "subreaper" it inherits every process that the command leaves behind, even a detached one
//! (`setsid`, double fork), and ends it. The supervisor ends last. It writes how the command ended to its
//! standard input (the toolbox's pipe), and never touches other processes.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};

use crate::init::hide_from_commands;
use crate::limit_watch::is_crowded;
use crate::processes::{descendants, kill_all, reap_ended};
use mendwright_protocol::CommandEnd;

/// Between SIGTERM at a command's deadline and SIGKILL.
pub const GRACE: Duration = Duration::from_millis(500);
/// Time to end everything that a command left. After it the toolbox ends the rest.
pub const CLEANUP_MAX: Duration = Duration::from_secs(5);
/// If memory runs out, commands are killed before the toolbox and its supervisors.
const OOM_SCORE: &str = "300";

static TIMED_OUT: AtomicBool = AtomicBool::new(false);
static ENDED: AtomicBool = AtomicBool::new(false);

/// What a supervisor reports at its end.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// How the command ended.
    pub end: CommandEnd,
    /// Whether the limit on processes was reached when it ended.
    pub crowded: bool,
}

/// Runs `argv` until it ends or the deadline passes. `tasks_max`: the limit on processes if they have to be
/// counted, because nothing reports refusals; otherwise 0.
pub fn supervise(deadline: Duration, tasks_max: u64, argv: &[OsString]) -> Result<(), String> {
    let words = |e: &dyn std::fmt::Display| format!("the supervisor cannot be set up: {e}");
    hide_from_commands().map_err(|e| words(&e))?;
    let report = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(|e| words(&e))?;
    let us = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(us)).map_err(|e| words(&e))?;
    let (program, arguments) = argv.split_first().ok_or("no command was given")?;
    let mut crowded = false;
    let end = match Command::new(program).args(arguments).stdin(Stdio::null()).process_group(0).spawn() {
        Ok(child) => {
            let child = child.id() as i32;
            // Best effort: without it the kernel kills by size alone.
            let _ = std::fs::write(format!("/proc/{child}/oom_score_adj"), OOM_SCORE);
            close_output().map_err(|e| words(&e))?;
            thread::spawn(move || enforce_deadline(deadline, us.as_raw_pid(), child));
            let end = wait_for(child);
            ENDED.store(true, Ordering::SeqCst);
            // Before what it has left is ended.
            crowded = tasks_max > 0 && is_crowded(tasks_max);
            end_descendants(us.as_raw_pid());
            end
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => CommandEnd::NoProcess,
        Err(error) => {
            CommandEnd::NotStarted { why: format!("cannot run '{}': {error}", program.to_string_lossy()) }
        }
    };
    let report_json = serde_json::to_vec(&Report { end, crowded }).map_err(|e| words(&e))?;
    File::from(report).write_all(&report_json).map_err(|e| format!("the report cannot be written: {e}"))
}

/// The output's pipe must end when the command's own processes have closed it.
fn close_output() -> std::io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

fn wait_for(child: i32) -> CommandEnd {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_pid() == child => return describe(status),
            // A process that the command left behind, or an interruption.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                return CommandEnd::NotStarted { why: format!("waiting for the command failed: {error}") };
            }
        }
    }
}

fn describe(status: WaitStatus) -> CommandEnd {
    if TIMED_OUT.load(Ordering::SeqCst) {
        return CommandEnd::TimedOut;
    }
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => CommandEnd::Exited { code },
        (None, Some(signal)) => CommandEnd::Signalled { signal },
        (None, None) => CommandEnd::NotStarted { why: format!("it ended in an unknown way: {status:?}") },
    }
}

fn enforce_deadline(deadline: Duration, us: i32, child: i32) {
    thread::sleep(deadline);
    if ENDED.load(Ordering::SeqCst) {
        return;
    }
    TIMED_OUT.store(true, Ordering::SeqCst);
    if let Some(group) = Pid::from_raw(child) {
        let _ = rustix::process::kill_process_group(group, Signal::TERM);
    }
    thread::sleep(GRACE);
    while !ENDED.load(Ordering::SeqCst) {
        // Fails only if /proc cannot be read; then the toolbox ends this process and its descendants.
        let _ = kill_all(|| descendants(us));
        thread::sleep(Duration::from_millis(10));
    }
}

fn end_descendants(us: i32) {
    let until = Instant::now() + CLEANUP_MAX;
    while reap_ended() && Instant::now() < until {
        let _ = kill_all(|| descendants(us));
        thread::sleep(Duration::from_millis(1));
    }
}
