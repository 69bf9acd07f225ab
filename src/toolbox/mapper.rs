//! The toolbox's connection to the process that makes the map. Starts it at the first request, and again after it
//! was lost. Sends one request at a time, each with a deadline.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::pipe::PipeFlags;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use crate::map::{CHECKED_BYTES_MAX, Check, Outcome, Task};
use crate::reaper::Reaper;
use mendwright_protocol::frames::{FrameError, read_message, write_message};
use mendwright_protocol::{FindSymbol, RankedRepoMap, RepoMap, Response, SymbolLocations, SyntaxError};

/// Time for a map or a symbol: the process limits its own reading to 30 s.
const MAP_MAX: Duration = Duration::from_secs(60);
/// Time to check a file. After it no fault is reported.
const CHECK_MAX: Duration = Duration::from_secs(5);
/// Our own executable, whatever it is called in this root file system.
const OURSELVES: &str = "/proc/self/exe";

const CROSSED: &str = "the map's process answered something else";

/// The process, if it runs.
#[derive(Default)]
pub struct Mapper {
    running: Mutex<Option<RunningMapper>>,
}

struct RunningMapper {
    pid: i32,
    to: Sender,
    from: Receiver,
    /// A process that is waited for is not killed as a stray.
    _ended: oneshot::Receiver<()>,
}

impl Mapper {
    /// The map.
    pub async fn map(&self, reaper: &Reaper, request: RepoMap) -> Result<RankedRepoMap, String> {
        match self.done(reaper, &Task::Map(request), MAP_MAX).await? {
            Outcome::Mapped(mapped) => Ok(mapped),
            Outcome::Found(_) | Outcome::Checked(_) => Err(CROSSED.to_owned()),
        }
    }

    /// The places of a name.
    pub async fn find(&self, reaper: &Reaper, request: FindSymbol) -> Result<SymbolLocations, String> {
        match self.done(reaper, &Task::Find(request), MAP_MAX).await? {
            Outcome::Found(found) => Ok(found),
            Outcome::Mapped(_) | Outcome::Checked(_) => Err(CROSSED.to_owned()),
        }
    }

    /// What an edit broke. An edit does not fail because the file cannot be checked.
    pub async fn check(&self, reaper: &Reaper, path: &str, before: &[u8], after: &[u8]) -> Vec<SyntaxError> {
        if before.len().max(after.len()) > CHECKED_BYTES_MAX {
            return Vec::new();
        }
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let check = Check { path: path.to_owned(), before: text(before), after: text(after) };
        match self.done(reaper, &Task::Check(check), CHECK_MAX).await {
            Ok(Outcome::Checked(faults)) => faults,
            Ok(Outcome::Mapped(_) | Outcome::Found(_)) | Err(_) => Vec::new(),
        }
    }

    async fn done(&self, reaper: &Reaper, task: &Task, longest: Duration) -> Result<Outcome, String> {
        let exchange = async {
            let mut idle = self.running.lock().await;
            if let Some(process) = idle.take() {
                let mut working = Working { reaper, process: Some(process) };
                // A process that ended since its last request, for instance because a command killed it,
                // does not fail this request.
                if let Ok(answer) = working.exchange(task).await {
                    *idle = working.process.take();
                    return Ok(answer);
                }
            }
            let process = RunningMapper::start(reaper)
                .map_err(|e| format!("the map's process cannot be started: {e}"))?;
            let mut working = Working { reaper, process: Some(process) };
            let answer = working.exchange(task).await?;
            *idle = working.process.take();
            Ok(answer)
        };
        match timeout(longest, exchange).await {
            Ok(answered) => answered.and_then(|answer| match answer {
                Response::Done(outcome) => Ok(outcome),
                Response::Refused(why) | Response::DiskFull(why) => Err(why),
            }),
            Err(_) => Err(format!("it was not done within {} s", longest.as_secs())),
        }
    }
}

/// A process that handles a request. If it is dropped before the answer, the process ends: its next answer would be
/// to the old request.
struct Working<'a> {
    reaper: &'a Reaper,
    process: Option<RunningMapper>,
}

impl Working<'_> {
    async fn exchange(&mut self, task: &Task) -> Result<Response<Outcome>, String> {
        let Some(process) = &mut self.process else { return Err(CROSSED.to_owned()) };
        write_message(&mut process.to, task)
            .await
            .map_err(|e| format!("the map's process takes nothing: {e}"))?;
        read_message(&mut process.from).await.map_err(|error| match error {
            FrameError::Ended => {
                "the map's process ended: it ran out of memory, or was ended by somebody".to_owned()
            }
            FrameError::Malformed(why) => format!("the map's process answered {why}"),
        })
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            self.reaper.kill(process.pid);
        }
    }
}

impl RunningMapper {
    fn start(reaper: &Reaper) -> io::Result<Self> {
        let (task, to) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (from, answer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let child = Command::new(OURSELVES)
            .arg0("toolbox")
            .arg("map")
            .env_clear()
            .stdin(task)
            .stdout(answer)
            .stderr(Stdio::null())
            .spawn()?;
        let pid = child.id() as i32;
        Ok(Self {
            pid,
            to: Sender::from_file(to.into())?,
            from: Receiver::from_file(from.into())?,
            _ended: reaper.wait_for(pid),
        })
    }
}
