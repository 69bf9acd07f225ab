//! The pipe that breaks: cut in the middle of a frame, killed under load, never answered.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use mendwright::sandbox::protocol::ReadFile;
use mendwright::sandbox::{Bubblewrap, CallError, CommandSpec, Sandbox, SandboxError};

use super::{Backend, DEADLINE, eventually, has_groups, in_default_sandbox, ok, spec, tar_of, unique};

on_every_backend! {
    a_toolbox_that_dies_under_load_loses_every_call_at_once,
    a_tree_on_its_way_into_a_dying_sandbox_is_lost_not_hung,
}

fn is_gone<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> bool {
    matches!(outcome, Err(CallError::Fatal(SandboxError::Gone(_))))
}

/// The first process of the sandbox in which `marker` runs, as the host numbers it: a command inside
/// cannot end it.
fn end_sandbox_with(marker: &str) {
    let inside = super::processes_with(marker).into_iter().next().unwrap();
    let first = super::lifetime::first_process_above(inside);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), nix::sys::signal::Signal::SIGKILL).unwrap();
}

async fn a_toolbox_that_dies_under_load_loses_every_call_at_once(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let marker = unique("load");
        toolbox.unpack(tar_of([("big".to_owned(), vec![b'x'; 4 << 20])], &[]).as_slice()).await.unwrap();
        // Frames are on their way on all streams when it dies.
        let floods = (0..8).map(|n| {
            let (toolbox, marker) = (&toolbox, marker.clone());
            async move {
                let mut seen = 0;
                let command = CommandSpec::shell(&format!(": {marker}; cat /dev/zero; true"), DEADLINE);
                let outcome = toolbox.run_live(&command, |_, bytes| {
                    seen += bytes.len();
                    if n == 0 && seen > 10 << 20 {
                        seen = 0;
                        if !super::processes_with(&marker).is_empty() {
                            end_sandbox_with(&marker);
                        }
                    }
                });
                assert!(is_gone(outcome.await));
            }
        });
        let reads = (0..8).map(|_| async {
            let path = ["big".parse().unwrap()];
            // Until the sandbox is lost.
            while toolbox.collect(&path).await.is_ok() {}
        });
        let calls = async {
            tokio::join!(futures_util::future::join_all(floods), futures_util::future::join_all(reads))
        };
        tokio::time::timeout(DEADLINE, calls).await.expect("no call waits for a lost sandbox");
        let request = ReadFile { path: "big".to_owned(), first_line: 1, lines_max: 1 };
        assert!(is_gone(toolbox.read_file(&request).await));
        toolbox
    })
    .await;
}

async fn a_tree_on_its_way_into_a_dying_sandbox_is_lost_not_hung(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let marker = unique("tree");
        let command =
            CommandSpec::shell(&format!(": {marker}; echo up; while :; do sleep 1; done"), DEADLINE);
        let up = tokio::sync::Notify::new();
        let waiting = toolbox.run_live(&command, |_, _| up.notify_one());
        // An endless tree, of which every piece is accepted.
        let unpacking = async {
            up.notified().await;
            let tree = EndlessTar::new(|| end_sandbox_with(&marker));
            toolbox.unpack(tree).await
        };
        let (waited, unpacked) = tokio::join!(waiting, unpacking);
        assert!(is_gone(waited));
        assert!(matches!(unpacked, Err(SandboxError::Gone(_))), "{unpacked:?}");
        toolbox
    })
    .await;
}

/// A tar stream of one huge file. It calls `act` once some of it has been read.
struct EndlessTar<F> {
    header: Vec<u8>,
    read: usize,
    act: Option<F>,
}

impl<F: FnOnce()> EndlessTar<F> {
    /// The bytes after which `act` is called.
    const ACT_AT: usize = 20 << 20;

    fn new(act: F) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_path("endless").unwrap();
        header.set_size(1 << 40);
        header.set_mode(0o644);
        header.set_cksum();
        Self { header: header.as_bytes().to_vec(), read: 0, act: Some(act) }
    }
}

impl<F: FnOnce() + Unpin> tokio::io::AsyncRead for EndlessTar<F> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        if self.read == 0 {
            buffer.put_slice(&self.header);
        } else {
            let room = buffer.remaining();
            buffer.initialize_unfilled_to(room);
            buffer.advance(room);
        }
        self.read += buffer.filled().len() - before;
        if self.read > Self::ACT_AT
            && let Some(act) = self.act.take()
        {
            act();
        }
        std::task::Poll::Ready(Ok(()))
    }
}

/// A `bwrap` whose toolbox output is cut off after so many bytes: `dd` alone has the pipe to the host, which
/// ends with the last byte. No descriptor is numbered here: the ones that `bwrap` is given can have any number.
fn cut_off_after(bytes: u32, directory: &tempfile::TempDir) -> PathBuf {
    let program = directory.path().join(format!("bwrap-{bytes}"));
    let fifo = program.with_extension("fifo");
    let script = format!(
        "#!/bin/sh\nexport PATH=/usr/bin:/bin\n[ \"$1\" = --info-fd ] || exec bwrap \"$@\"\n\
         mkfifo {fifo}\ndd bs=1 count={bytes} status=none <{fifo} &\nexec bwrap \"$@\" >{fifo}\n",
        fifo = fifo.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[tokio::test]
async fn pipe_cut_within_a_frame_is_a_lost_sandbox() {
    let directory = tempfile::tempdir().unwrap();
    // In a header of the multiplexer, in the first response, in a frame, and in the middle of a file: none
    // may count as a response, and no call may wait for the rest.
    for bytes in [0, 5, 12, 20, 40, 100, 300, 5_000, 70_000, 200_000] {
        let sandbox = Bubblewrap::with_program(cut_off_after(bytes, &directory)).unwrap();
        let label = unique("cut");
        let spec = spec(Backend::Bubblewrap, &label);
        match sandbox.start(&spec).await {
            Err(error) => assert!(matches!(error, SandboxError::Gone(_)), "{bytes}: {error}"),
            Ok(toolbox) => {
                let tree = tar_of([("big".to_owned(), vec![b'x'; 1 << 20])], &[]);
                let lost = match toolbox.unpack(tree.as_slice()).await {
                    Err(error) => matches!(error, SandboxError::Gone(_)),
                    Ok(()) => is_gone(toolbox.collect(&["big".parse().unwrap()]).await),
                };
                assert!(lost, "{bytes} bytes were enough for a megabyte");
                toolbox.shut_down().await;
            }
        }
        // If the start failed, there is no toolbox whose end could be awaited.
        eventually("the removal of the cgroups", || !has_groups(&label)).await;
    }
}

#[tokio::test]
async fn broken_sandbox_does_not_affect_another_one() {
    in_default_sandbox(Backend::Bubblewrap, async |toolbox| {
        let directory = tempfile::tempdir().unwrap();
        let broken = Bubblewrap::with_program(cut_off_after(0, &directory)).unwrap();
        assert!(broken.start(&spec(Backend::Bubblewrap, &unique("beside"))).await.is_err());
        assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
        toolbox
    })
    .await;
}
