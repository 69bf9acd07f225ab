//! The first process of a namespace inherits every orphan: this takes them all in, and tells who
//! waits for a child of ours how it ended.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, WaitOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::processes::{kill_all, send, strays};

/// For the end of strays; past it everything goes but us.
const CLEANUP_MAX: Duration = Duration::from_secs(5);

/// The children that somebody waits for.
#[derive(Default)]
pub struct Reaper {
    waiting: Mutex<HashMap<i32, oneshot::Sender<()>>>,
}

impl Reaper {
    /// Takes in what has ended, for ever.
    pub async fn reap(&self) -> io::Result<()> {
        let mut child_ended = signal(SignalKind::child())?;
        loop {
            while let Ok(Some((pid, _))) = rustix::process::wait(WaitOptions::NOHANG) {
                if let Some(waiting) = self.waiting().remove(&pid.as_raw_pid()) {
                    // Whoever waited may have given up.
                    let _ = waiting.send(());
                }
            }
            child_ended.recv().await;
        }
    }

    /// Resolves when the child `pid` has ended. To be called before anything is awaited after the
    /// child was started, or [`Reaper::reap`] may have taken it in already.
    pub fn wait_for(&self, pid: i32) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(pid, sender);
        receiver
    }

    /// Ends every process that no live child of ours accounts for: what a supervisor left that was
    /// itself killed.
    pub async fn end_strays(&self) {
        let until = Instant::now() + CLEANUP_MAX;
        loop {
            let kept: HashSet<i32> = self.waiting().keys().copied().collect();
            match kill_all(|| strays(&kept)) {
                Ok(0) => return,
                Ok(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(2)).await,
                Ok(_) | Err(_) => {
                    // All but us, in one step of the kernel's: also what other commands run, which
                    // will see it as a signal. Better than a process that nobody can end.
                    // SAFETY: kill(2) touches no memory of ours.
                    unsafe { libc::kill(-1, libc::SIGKILL) };
                    return;
                }
            }
        }
    }

    /// Ends one child at once.
    pub fn kill(&self, pid: i32) {
        if self.waiting().contains_key(&pid) {
            send(pid, Signal::KILL);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<i32, oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
