//! One running `bwrap`, and the thread that stands guard over it.
//!
//! `--die-with-parent` ties the sandbox to the *thread* that started it, so each gets a thread
//! that lives as long. When that ends, nothing of the sandbox is left: it holds on to the first
//! process inside, and the kernel reports that one's end only after all others have ended.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::libc;
use serde::Deserialize;
use tokio::sync::{oneshot, watch};

use super::arguments::Arguments;
use super::cgroup::Cgroup;
use super::stage::Stage;
use crate::sandbox::UnpackedImage;

/// Of what `bwrap` or the toolbox say on standard error, for a person to read.
const LAST_WORDS_BYTES_MAX: usize = 4 << 10;
/// `bwrap` says in a few hundred bytes what it has started.
const INFORMATION_BYTES_MAX: usize = 64 << 10;

/// A running sandbox's processes.
pub(in crate::sandbox) struct Guarded {
    first: Arc<OwnedFd>,
    ended: watch::Receiver<bool>,
    cgroup: Arc<Cgroup>,
    said: Arc<Mutex<Vec<u8>>>,
}

/// What is to be started.
pub(super) struct Launch {
    pub program: PathBuf,
    pub arguments: Arguments,
    pub stage: Option<Stage>,
    pub cgroup: Arc<Cgroup>,
    pub label: String,
    /// Held as long as the sandbox runs, so that nobody removes it.
    pub image: Option<UnpackedImage>,
}

/// What was started.
pub(super) struct Started {
    pub guarded: Guarded,
    pub to_toolbox: ChildStdin,
    pub from_toolbox: ChildStdout,
}

/// Starts `bwrap` from a thread of its own and waits until it has made its first process.
pub(super) async fn start(launch: Launch) -> Result<Started, String> {
    let (sender, receiver) = oneshot::channel();
    let name = format!("sandbox {}", launch.label);
    thread::Builder::new()
        .name(name)
        .spawn(move || stand_guard(launch, sender))
        .map_err(|e| format!("no thread for the sandbox: {e}"))?;
    receiver.await.unwrap_or_else(|_| Err("the thread for the sandbox broke".to_owned()))
}

fn stand_guard(launch: Launch, started: oneshot::Sender<Result<Started, String>>) {
    let (ended_sender, ended) = watch::channel(false);
    let cgroup = Arc::clone(&launch.cgroup);
    let _image = launch.image.clone();
    let outcome = spawn(launch).and_then(|(mut child, first)| {
        let said = Arc::default();
        collect_words(child.stderr.take(), Arc::clone(&said));
        let guarded = Guarded { first: Arc::new(first), ended, cgroup: Arc::clone(&cgroup), said };
        let (Some(to_toolbox), Some(from_toolbox)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("bwrap was started without a pipe".to_owned());
        };
        Ok((child, Started { guarded, to_toolbox, from_toolbox }))
    });
    let (mut child, started_now) = match outcome {
        Ok(outcome) => outcome,
        Err(why) => {
            // Whoever asked may have given up waiting; then there is nobody to tell.
            let _ = started.send(Err(why));
            return;
        }
    };
    let first = Arc::clone(&started_now.guarded.first);
    if let Err(unwanted) = started.send(Ok(started_now)) {
        drop(unwanted);
        signal(&first, libc::SIGKILL);
    }
    // Ends when the first process does; or it was itself killed, and then that one has to go.
    let _ = child.wait();
    signal(&first, libc::SIGKILL);
    wait_until_gone(&first);
    // Nothing should be: this is the second way, should the first have a hole.
    cgroup.end_all();
    cgroup.remove();
    // All receivers may be gone already.
    let _ = ended_sender.send(true);
}

impl Guarded {
    /// Ends everything inside. Does not wait.
    pub(in crate::sandbox) fn kill(&self) {
        signal(&self.first, libc::SIGKILL);
    }

    /// Resolves when nothing is left.
    pub(in crate::sandbox) async fn ended(&self) {
        // An error would mean that the guard has ended without saying so; it is over either way.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// How often the kernel has killed something inside for memory.
    pub(in crate::sandbox) fn memory_kills(&self) -> u64 {
        self.cgroup.limit_events().memory_kills
    }

    /// How often the kernel has refused the inside a process or thread for their number.
    pub(in crate::sandbox) fn pid_refusals(&self) -> u64 {
        self.cgroup.limit_events().pid_refusals
    }

    /// Why it ended, as far as it said.
    pub(in crate::sandbox) fn last_words(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if !said.is_empty() {
            return said;
        }
        match self.memory_kills() {
            0 => "its first process was ended from outside".to_owned(),
            _ => "the kernel ended it for memory".to_owned(),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(launch: Launch) -> Result<(Child, OwnedFd), String> {
    let (information, information_end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
        .map_err(|e| format!("no pipe for bwrap's report: {e}"))?;
    let doors = launch.cgroup.doors().map_err(|e| format!("the cgroup cannot be entered: {e}"))?;
    let mut words: Vec<OsString> = vec!["--info-fd".into(), information_end.as_raw_fd().to_string().into()];
    words.extend(launch.arguments.words);
    let mut passed: Vec<RawFd> = launch.arguments.files.iter().map(AsRawFd::as_raw_fd).collect();
    passed.push(information_end.as_raw_fd());
    let mut command = Command::new(&launch.program);
    command.args(words).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let enter: Vec<RawFd> = doors.iter().map(AsRawFd::as_raw_fd).collect();
    let stage = launch.stage;
    // SAFETY: between fork and exec the closure makes system calls only, on memory and descriptors
    // that it owns or that stay open until `spawn` returns; it neither allocates nor locks.
    unsafe { command.pre_exec(move || prepare(&passed, &enter, stage.as_ref())) };
    let mut child =
        command.spawn().map_err(|e| format!("{} cannot be started: {e}", launch.program.display()))?;
    drop((information_end, launch.arguments.files, doors));
    match first_process(information.into()) {
        Ok(first) => Ok((child, first)),
        Err(why) => {
            // It has failed by itself, or is of no use.
            let _ = child.kill();
            let mut said = String::new();
            if let Some(stderr) = child.stderr.take() {
                let _ = stderr.take(LAST_WORDS_BYTES_MAX as u64).read_to_string(&mut said);
            }
            let _ = child.wait();
            Err(if said.trim().is_empty() { why } else { said.trim().to_owned() })
        }
    }
}

/// Runs `bwrap` to its end, outside any cgroup.
pub(super) fn try_out(program: &Path, arguments: Arguments, stage: Option<Stage>) -> Result<(), String> {
    let passed: Vec<RawFd> = arguments.files.iter().map(AsRawFd::as_raw_fd).collect();
    let mut command = Command::new(program);
    command.args(arguments.words).env_clear().current_dir("/").stdin(Stdio::null());
    // SAFETY: as in `spawn`; the files stay open until this function returns.
    unsafe { command.pre_exec(move || prepare(&passed, &[], stage.as_ref())) };
    let output = command.output().map_err(|e| format!("{} cannot be started: {e}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if said.is_empty() { output.status.to_string() } else { said })
}

/// In the child: into the cgroups, onto the stage, and nothing open that was not meant for `bwrap`.
fn prepare(passed: &[RawFd], enter: &[RawFd], stage: Option<&Stage>) -> io::Result<()> {
    for door in enter {
        // SAFETY: the buffer is a constant of one byte.
        if unsafe { libc::write(*door, b"0".as_ptr().cast(), 1) } != 1 {
            return Err(io::Error::last_os_error());
        }
    }
    if let Some(stage) = stage {
        stage.enter()?;
    }
    // Libraries in C may have opened files that a new program would inherit. An old kernel does
    // not know the call; there the toolbox closes what is left before any command runs.
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

/// Takes hold of the first process inside.
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
                format!("the first process cannot be held on to: {e} (a Linux of 5.3 or later is needed)")
            });
        }
        if read == 0 || json.len() > INFORMATION_BYTES_MAX {
            return Err("bwrap ended without a word".to_owned());
        }
    }
}

fn open_process(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor, touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) })
}

/// Signals a process that may have ended; the descriptor never means another one.
fn signal(process: &OwnedFd, number: i32) {
    // SAFETY: no memory of ours is touched; the null pointer stands for default information.
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

/// A process descriptor becomes readable when the process has ended; that of a namespace's first
/// process when all of the namespace has.
fn wait_until_gone(process: &OwnedFd) {
    let mut waited = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one element, alive for the call.
        let ready = unsafe { libc::poll(&raw mut waited, 1, -1) };
        if ready > 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// Keeps the end of what is said on standard error, and never lets the speaker wait.
fn collect_words(stderr: Option<ChildStderr>, said: Arc<Mutex<Vec<u8>>>) {
    let Some(mut stderr) = stderr else { return };
    let read_all = move || {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut chunk) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend_from_slice(&chunk[..read]);
            let excess = said.len().saturating_sub(LAST_WORDS_BYTES_MAX);
            said.drain(..excess);
        }
    };
    // Without a thread for it, its words are lost and nothing else.
    let _ = thread::Builder::new().name("sandbox words".to_owned()).spawn(read_all);
}
