//! Waits for child processes. The first process of a namespace inherits every orphan: all are waited for, and
//! whoever waits for a child is notified when it has ended.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, WaitOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::processes::{kill_all, send, strays};

/// Time to end strays. After it everything but the toolbox is killed.
const CLEANUP_MAX: Duration = Duration::from_secs(5);

/// The children that somebody waits for.
#[derive(Default)]
pub struct Reaper {
    waiting: Mutex<HashMap<i32, oneshot::Sender<()>>>,
}

impl Reaper {
    /// Waits for every child that ends, for ever.
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
    /// child was started, or [`Reaper::reap`] may have waited for it already.
    pub fn wait_for(&self, pid: i32) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(pid, sender);
        receiver
    }

    /// Ends every process that belongs to no live child: what a supervisor left that was itself killed.
    pub async fn end_strays(&self) {
        let until = Instant::now() + CLEANUP_MAX;
        loop {
            let kept: HashSet<i32> = self.waiting().keys().copied().collect();
            match kill_all(|| strays(&kept)) {
                Ok(0) => return,
                Ok(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(2)).await,
                Ok(_) | Err(_) => {
                    // Kills all processes but this one at once, also those of other commands, which are
                    // reported as killed. That is better than a process that nothing can end.
                    // SAFETY: kill(2) accesses no memory of this process.
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
