//! Runs a command: starts its supervisor, forwards the output, and returns when no process of it is left.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::pipe::PipeFlags;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::limit_watch::LimitWatch;
use crate::output::HeadAndTail;
use crate::reaper::Reaper;
use crate::supervise::{CLEANUP_MAX, GRACE, Report};
use mendwright_protocol::frames::{DATA_BYTES_MAX, Frame, write_data, write_frame, write_message};
use mendwright_protocol::{CommandEnd, OutputMode, Response, RunCommand, RunResult};

/// Time to read what is still in the pipe when the command's processes have ended. Only another command could
/// hold it open longer, by opening it below `/proc`.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// As much as a pipe can hold (Linux' default for `/proc/sys/fs/pipe-max-size`).
const DRAIN_BYTES_MAX: usize = 1 << 20;
/// Longest report of a supervisor.
const REPORT_BYTES_MAX: u64 = 64 << 10;
/// Our own executable, whatever it is called in this root file system.
const OURSELVES: &str = "/proc/self/exe";

/// Runs `request` for the peer of `stream`. An error means that the connection is lost.
pub async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &RunCommand,
    reaper: &Reaper,
    watch: &LimitWatch,
) -> io::Result<()> {
    let (mut from_host, mut to_host) = tokio::io::split(stream);
    if let Err(why) = check(request) {
        return write_message(&mut to_host, &Response::<RunResult>::Refused(why)).await;
    }
    let mut command_watch = watch.start();
    let mut running = match RunningCommand::start(request, reaper, watch.tasks_max()) {
        Ok(running) => running,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let (end, hit) = (CommandEnd::NoProcess, command_watch.finish(true));
            let ended = RunResult { end, hit, omitted_bytes: 0, tail_bytes: 0 };
            return write_message(&mut to_host, &Response::Done(ended)).await;
        }
        Err(error) => {
            let refusal: Response<RunResult> =
                Response::Refused(format!("the command cannot be started: {error}"));
            return write_message(&mut to_host, &refusal).await;
        }
    };
    let forwarded = command_watch.during(running.forward_output(&mut from_host, &mut to_host, reaper)).await;
    if forwarded.is_err() {
        running.kill(reaper).await;
    }
    let report = running.report().await;
    if report.is_none() {
        // The supervisor was killed, so its processes must be ended here.
        reaper.end_strays().await;
    }
    forwarded?;
    let killed = Report { end: CommandEnd::Signalled { signal: libc::SIGKILL }, crowded: false };
    let Report { end, crowded } = report.unwrap_or(killed);
    if let CommandEnd::NotStarted { why } = end {
        return write_message(&mut to_host, &Response::<RunResult>::Refused(why)).await;
    }
    let (omitted_bytes, tail) = running.head_and_tail.map_or((0, Vec::new()), HeadAndTail::finish);
    let hit = command_watch.finish(crowded);
    let ended = RunResult { end, hit, omitted_bytes, tail_bytes: tail.len() as u64 };
    write_message(&mut to_host, &Response::Done(ended)).await?;
    write_data(&mut to_host, &tail).await
}

/// Rejects what the kernel would accept and then interpret in another way.
fn check(request: &RunCommand) -> Result<(), String> {
    if request.argv.is_empty() {
        return Err("no command was given".to_owned());
    }
    let wrong = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
    match request.env.iter().map(|(name, _)| name).find(wrong) {
        Some(name) => Err(format!("{name:?} cannot be the name of a variable")),
        None => Ok(()),
    }
}

struct RunningCommand {
    supervisor: i32,
    /// `None` after it has resolved.
    ended: Option<oneshot::Receiver<()>>,
    /// When the supervisor must have ended.
    lost_at: Instant,
    output: Option<Receiver>,
    error_output: Option<Receiver>,
    report: Receiver,
    head_and_tail: Option<HeadAndTail>,
}

impl RunningCommand {
    fn start(request: &RunCommand, reaper: &Reaper, tasks_max: Option<u64>) -> io::Result<Self> {
        let (output, stdout) = pipe()?;
        let (report, report_end) = pipe()?;
        let (error_output, stderr, head_and_tail) = match request.output {
            OutputMode::Bounded { bytes_max } => {
                (None, stdout.try_clone()?, Some(HeadAndTail::new(bytes_max)))
            }
            OutputMode::Live => {
                let (error_output, stderr) = pipe()?;
                (Some(error_output), stderr, None)
            }
        };
        let deadline = Duration::from_millis(request.deadline_ms.max(1));
        let child = Command::new(OURSELVES)
            .arg0("toolbox")
            .args(["supervise", &deadline.as_millis().to_string(), &tasks_max.unwrap_or(0).to_string(), "--"])
            .args(&request.argv)
            .envs(request.env.iter().map(|(name, value)| (name, value)))
            .stdin(report_end)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()?;
        let supervisor = child.id() as i32;
        Ok(Self {
            supervisor,
            ended: Some(reaper.wait_for(supervisor)),
            lost_at: Instant::now() + deadline + GRACE + CLEANUP_MAX + GRACE,
            output: Some(output),
            error_output,
            report,
            head_and_tail,
        })
    }

    /// Forwards output until the supervisor and the output have ended. The peer sends nothing more on its
    /// stream: the end of the stream means that the command is cancelled.
    async fn forward_output(
        &mut self,
        from_host: &mut (impl AsyncRead + Unpin),
        to_host: &mut (impl AsyncWrite + Unpin),
        reaper: &Reaper,
    ) -> io::Result<()> {
        let mut chunk = vec![0; DATA_BYTES_MAX];
        let mut error_chunk = vec![0; DATA_BYTES_MAX];
        let mut word = [0; 1];
        let mut drained_at = None;
        let mut drain_left = DRAIN_BYTES_MAX;
        while drained_at.is_none() || self.output.is_some() || self.error_output.is_some() {
            // In this order: endless output does not hide the other events, and available output is
            // forwarded before its time is up.
            let read = tokio::select! {
                biased;
                _ = from_host.read(&mut word) => return Err(io::ErrorKind::ConnectionReset.into()),
                () = end_of(&mut self.ended), if drained_at.is_none() => {
                    drained_at = Some(Instant::now() + DRAIN_MAX);
                    continue;
                }
                () = sleep_until(self.lost_at), if drained_at.is_none() => {
                    reaper.kill(self.supervisor);
                    self.lost_at += DRAIN_MAX;
                    continue;
                }
                read = read_some(&mut self.output, &mut chunk), if self.output.is_some() => {
                    let bytes = &chunk[..read];
                    let head = self.head_and_tail.as_mut().map_or(bytes, |kept| kept.take(bytes));
                    write_data(to_host, head).await?;
                    read
                }
                read = read_some(&mut self.error_output, &mut error_chunk), if self.error_output.is_some() => {
                    write_frame(to_host, &Frame::ErrorData(error_chunk[..read].to_vec())).await?;
                    read
                }
                () = sleep_until(drained_at.unwrap_or_else(Instant::now)), if drained_at.is_some() => break,
            };
            if drained_at.is_some() {
                drain_left = drain_left.saturating_sub(read);
                if drain_left == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn kill(&mut self, reaper: &Reaper) {
        reaper.kill(self.supervisor);
        end_of(&mut self.ended).await;
    }

    /// The supervisor's report; `None` if it was killed.
    async fn report(&mut self) -> Option<Report> {
        let mut json = Vec::new();
        let mut report = (&mut self.report).take(REPORT_BYTES_MAX);
        timeout(DRAIN_MAX, report.read_to_end(&mut json)).await.ok()?.ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// Waits for the supervisor's end, if it has not come.
async fn end_of(ended: &mut Option<oneshot::Receiver<()>>) {
    if let Some(pending) = ended {
        // An error would mean that the reaper is gone, and we with it.
        let _ = pending.await;
        *ended = None;
    }
}

/// Reads what there is; at the end takes the pipe away and returns 0.
async fn read_some(pipe: &mut Option<Receiver>, chunk: &mut [u8]) -> usize {
    let Some(open) = pipe else { return 0 };
    let read = open.read(chunk).await.unwrap_or(0);
    if read == 0 {
        *pipe = None;
    }
    read
}

/// A pipe: our end, which does not block, and the child's.
fn pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Receiver::from_file(File::from(read))?, write))
}
