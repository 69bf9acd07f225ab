//! One running `bwrap`, and the thread that supervises it.
//!
//! `--die-with-parent` ties the sandbox to the *thread* that started it, so each sandbox has its own
//! thread. When that thread ends, nothing of the sandbox is left: it holds a descriptor of the first
//! process inside, and the kernel reports the end of that process only after all others have ended.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;

use async_trait::async_trait;
use nix::libc;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{oneshot, watch};

use super::arguments::Arguments;
use super::cgroup::Cgroup;
use super::mounts::MountPlan;
use crate::sandbox::{ContainerHandle, UnpackedImage};

/// How much of the standard error of `bwrap` and the toolbox is kept, for a person to read.
const STDERR_TAIL_BYTES_MAX: usize = 4 << 10;
/// The report of `bwrap` has a few hundred bytes.
const INFORMATION_BYTES_MAX: usize = 64 << 10;

/// A sandbox's processes.
pub(super) struct SandboxProcess {
    first: Arc<OwnedFd>,
    ended: watch::Receiver<bool>,
    cgroup: Arc<Cgroup>,
    stderr_tail: Arc<Mutex<Vec<u8>>>,
    exit_code: Arc<OnceLock<i64>>,
}

/// What to start.
pub(super) struct Launch {
    pub program: PathBuf,
    pub arguments: Arguments,
    pub mounts: Option<MountPlan>,
    pub cgroup: Arc<Cgroup>,
    pub label: String,
    /// Held while the sandbox runs, so that the image is not removed.
    pub image: Option<UnpackedImage>,
}

/// What was started.
pub(super) struct StartedProcess {
    pub process: SandboxProcess,
    pub to_toolbox: ChildStdin,
    pub from_toolbox: ChildStdout,
}

/// Starts `bwrap` on a new thread and waits until it has started its first process.
pub(super) async fn start(launch: Launch) -> Result<StartedProcess, String> {
    let (sender, receiver) = oneshot::channel();
    let name = format!("sandbox {}", launch.label);
    thread::Builder::new()
        .name(name)
        .spawn(move || supervise(launch, sender))
        .map_err(|e| format!("no thread for the sandbox: {e}"))?;
    receiver.await.unwrap_or_else(|_| Err("the thread for the sandbox panicked".to_owned()))
}

fn supervise(launch: Launch, started: oneshot::Sender<Result<StartedProcess, String>>) {
    let (ended_sender, ended) = watch::channel(false);
    let cgroup = Arc::clone(&launch.cgroup);
    let _image = launch.image.clone();
    let outcome = spawn(launch).and_then(|(mut child, first)| {
        let stderr_tail = Arc::default();
        collect_stderr(child.stderr.take(), Arc::clone(&stderr_tail));
        let process = SandboxProcess {
            first: Arc::new(first),
            ended,
            cgroup: Arc::clone(&cgroup),
            stderr_tail,
            exit_code: Arc::default(),
        };
        let (Some(to_toolbox), Some(from_toolbox)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("bwrap was started without a pipe".to_owned());
        };
        Ok((child, StartedProcess { process, to_toolbox, from_toolbox }))
    });
    let (mut child, new) = match outcome {
        Ok(outcome) => outcome,
        Err(why) => {
            // The caller may have given up waiting.
            let _ = started.send(Err(why));
            return;
        }
    };
    let (first, exit_code) = (Arc::clone(&new.process.first), Arc::clone(&new.process.exit_code));
    if let Err(unused) = started.send(Ok(new)) {
        drop(unused);
        signal(&first, libc::SIGKILL);
    }
    // It ends with the first process. If it was killed itself, the first process must be killed.
    if let Some(code) = child.wait().ok().and_then(|status| status.code()) {
        let _ = exit_code.set(i64::from(code));
    }
    signal(&first, libc::SIGKILL);
    wait_until_ended(&first);
    // Nothing should be left. This is the second line of defence.
    cgroup.kill_all();
    cgroup.remove();
    // All receivers may be gone already.
    let _ = ended_sender.send(true);
}

#[async_trait]
impl ContainerHandle for SandboxProcess {
    fn kill(&self) {
        signal(&self.first, libc::SIGKILL);
    }

    async fn ended(&self) {
        // An error would mean that the supervisor has ended without reporting it. It is over either way.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    fn memory_kills(&self) -> u64 {
        self.cgroup.limit_events().memory_kills
    }

    fn pid_refusals(&self) -> u64 {
        self.cgroup.limit_events().pid_refusals
    }

    fn counts_pid_refusals(&self) -> bool {
        // By its cgroup. Without one, the toolbox counts processes.
        true
    }

    fn exit_code(&self) -> Option<i64> {
        self.exit_code.get().copied()
    }

    fn exit_reason(&self) -> String {
        let stderr = self.stderr_tail.lock();
        let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
        if !stderr.is_empty() {
            return stderr;
        }
        match self.memory_kills() {
            0 => "its first process was killed from outside".to_owned(),
            _ => "the kernel killed it because memory ran out".to_owned(),
        }
    }
}

impl Drop for SandboxProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(launch: Launch) -> Result<(Child, OwnedFd), String> {
    let (information, information_end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
        .map_err(|e| format!("no pipe for bwrap's report: {e}"))?;
    let cgroup_fds =
        launch.cgroup.membership_files().map_err(|e| format!("the cgroup cannot be entered: {e}"))?;
    let mut arguments: Vec<OsString> =
        vec!["--info-fd".into(), information_end.as_raw_fd().to_string().into()];
    arguments.extend(launch.arguments.words);
    let mut passed: Vec<RawFd> = launch.arguments.files.iter().map(AsRawFd::as_raw_fd).collect();
    passed.push(information_end.as_raw_fd());
    let mut command = Command::new(&launch.program);
    command.args(arguments).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let enter: Vec<RawFd> = cgroup_fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mounts = launch.mounts;
    // SAFETY: between fork and exec the closure makes system calls only, on memory and descriptors
    // that it owns or that stay open until `spawn` returns; it neither allocates nor locks.
    unsafe { command.pre_exec(move || prepare(&passed, &enter, mounts.as_ref())) };
    let mut child =
        command.spawn().map_err(|e| format!("{} cannot be started: {e}", launch.program.display()))?;
    drop((information_end, launch.arguments.files, cgroup_fds));
    match first_process(information.into()) {
        Ok(first) => Ok((child, first)),
        Err(why) => {
            // It has failed by itself, or is useless.
            let _ = child.kill();
            let mut message = String::new();
            if let Some(stderr) = child.stderr.take() {
                let _ = stderr.take(STDERR_TAIL_BYTES_MAX as u64).read_to_string(&mut message);
            }
            let _ = child.wait();
            Err(if message.trim().is_empty() { why } else { message.trim().to_owned() })
        }
    }
}

/// Runs `bwrap` to its end, outside any cgroup.
pub(super) fn probe(program: &Path, arguments: Arguments, mounts: Option<MountPlan>) -> Result<(), String> {
    let passed: Vec<RawFd> = arguments.files.iter().map(AsRawFd::as_raw_fd).collect();
    let mut command = Command::new(program);
    command.args(arguments.words).env_clear().current_dir("/").stdin(Stdio::null());
    // SAFETY: as in `spawn`; the files stay open until this function returns.
    unsafe { command.pre_exec(move || prepare(&passed, &[], mounts.as_ref())) };
    let output = command.output().map_err(|e| format!("{} cannot be started: {e}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if message.is_empty() { output.status.to_string() } else { message })
}

/// In the child: joins the cgroups, applies the mount plan, and keeps only the files open that are meant
/// for `bwrap`.
fn prepare(passed: &[RawFd], enter: &[RawFd], mounts: Option<&MountPlan>) -> io::Result<()> {
    for file in enter {
        // SAFETY: the buffer is a constant of one byte.
        if unsafe { libc::write(*file, b"0".as_ptr().cast(), 1) } != 1 {
            return Err(io::Error::last_os_error());
        }
    }
    if let Some(mounts) = mounts {
        mounts.apply()?;
    }
    // C libraries may have opened files that a new program would inherit. An old kernel does not have
    // the call; then the toolbox closes these files before any command runs.
    // SAFETY: marks descriptors, closes none.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    for descriptor in passed {
        // SAFETY: changes a flag of a descriptor that is open.
        if unsafe { libc::fcntl(*descriptor, libc::F_SETFD, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Opens a descriptor of the first process inside.
fn first_process(mut information: File) -> Result<OwnedFd, String> {
    #[derive(Deserialize)]
    struct Information {
        #[serde(rename = "child-pid")]
        first: i32,
    }
    let mut json = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let read = information.read(&mut chunk).map_err(|e| format!("bwrap's report cannot be read: {e}"))?;
        json.extend_from_slice(&chunk[..read]);
        if let Ok(information) = serde_json::from_slice::<Information>(&json) {
            return open_process(information.first).map_err(|e| {
                format!("the first process cannot be opened: {e} (Linux 5.3 or later is required)")
            });
        }
        if read == 0 || json.len() > INFORMATION_BYTES_MAX {
            return Err("bwrap ended without a report".to_owned());
        }
    }
}

fn open_process(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: creates a descriptor, and uses no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just created it, and nothing else uses it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) })
}

/// Signals a process that may have ended. The descriptor never refers to another process.
fn signal(process: &OwnedFd, number: i32) {
    // SAFETY: no memory of ours is used; the null pointer means default information.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
}

/// A process descriptor becomes readable when the process has ended. For a namespace's first process, that
/// is when all processes of the namespace have ended.
fn wait_until_ended(process: &OwnedFd) {
    let mut waited = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one element, alive for the call.
        let ready = unsafe { libc::poll(&raw mut waited, 1, -1) };
        if ready > 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// Keeps the end of standard error, without ever blocking its writer.
fn collect_stderr(stderr: Option<ChildStderr>, tail: Arc<Mutex<Vec<u8>>>) {
    let Some(mut stderr) = stderr else { return };
    let read_all = move || {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut chunk) {
            let mut tail = tail.lock();
            tail.extend_from_slice(&chunk[..read]);
            let excess = tail.len().saturating_sub(STDERR_TAIL_BYTES_MAX);
            tail.drain(..excess);
        }
    };
    // Without this thread only the message is lost.
    let _ = thread::Builder::new().name("sandbox stderr".to_owned()).spawn(read_all);
}
