//! The host's side of the pipe to one running sandbox.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mendwright_protocol::frames::Frame;
use mendwright_protocol::mux::Stream;
use mendwright_protocol::{
    COLLECT_FILE_BYTES_MAX, COLLECT_PATHS_MAX, COLLECT_TOTAL_BYTES_MAX, Collect, CollectResult,
    CollectedFileState, CommandEnd, DeleteFile, EditFile, EditResult, FileListing, FileWindow, Hello,
    LimitDetection, LimitsHit, ListFiles, MoveFile, OutputMode, PROTOCOL_VERSION, REPORT_FILE_BYTES_MAX,
    REPORT_FILES_MAX, REPORTS_BYTES_MAX, ReadFile, ReportFiles, ReportLocation, Reports, Request, RunCommand,
    RunResult, Search, SearchHits, UnpackResult, WritableDirectory, WriteFile, WriteResult,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::egress::Egress;
use super::error::{CallError, SandboxError};
use super::rpc::{CALL_MAX, RpcClient, UNPACK_STEP_MAX};
use super::spec::{CommandSpec, ContainerHandle};
use crate::domain::{
    BoundedOutput, Change, ChangedContent, EgressReport, ExitStatus, FileMode, ProcessOutput, RepoPath,
    WritableMount,
};

mod repository;
mod snapshot;

/// For a new toolbox to respond to the first call, after it has copied the setup snapshot.
const HELLO_MAX: Duration = Duration::from_secs(300);
/// After a command's own deadline, for its result to arrive: the toolbox needs a few seconds to kill a
/// process tree that resists.
const RUN_MARGIN: Duration = Duration::from_secs(30);

/// A running sandbox. Dropping it kills everything inside.
pub struct Toolbox {
    rpc: RpcClient,
    description: String,
    egress: Option<Egress>,
    /// Keeps files that the sandbox uses from being removed while it runs.
    _lease: Option<Box<dyn Send + Sync>>,
}

/// The stream that a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl Toolbox {
    /// Takes over the pipe to a container, and checks that our toolbox is at its other end.
    pub(super) async fn connect(
        pipe: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        container: impl ContainerHandle,
        description: String,
        egress: Option<Egress>,
    ) -> Result<Self, SandboxError> {
        let proxy = egress.clone();
        let rpc = RpcClient::open(pipe, Arc::new(container), move |stream| match &proxy {
            Some(egress) => {
                egress.serve(stream);
                Ok(())
            }
            None => Err("it opened a stream, although it has no network".to_owned()),
        });
        let mut toolbox = Self { rpc, description, egress, _lease: None };
        let ours = Request::Hello(Hello { protocol: PROTOCOL_VERSION, watched: LimitDetection::default() });
        let exchange = async {
            let mut stream = toolbox.rpc.start(&ours).await?;
            toolbox.rpc.read_response::<Hello>(&mut stream).await
        };
        match toolbox.rpc.within(HELLO_MAX, exchange).await {
            Ok(theirs) if theirs.protocol == PROTOCOL_VERSION => {
                toolbox.rpc.first_call_answered();
                toolbox.describe_undetected_limits(theirs.watched);
                Ok(toolbox)
            }
            Ok(theirs) => Err(toolbox.rpc.violated(format!(
                "the toolbox inside speaks version {}, but the host speaks {PROTOCOL_VERSION}",
                theirs.protocol
            ))),
            Err(CallError::RespondToModel(why)) => Err(toolbox.rpc.violated(why)),
            Err(CallError::Fatal(lost)) => Err(lost),
        }
    }

    /// Adds to the description which limits neither side can detect.
    fn describe_undetected_limits(&mut self, detection: LimitDetection) {
        if !self.rpc.container.counts_pid_refusals() && !detection.process_refusals {
            self.description.push_str(
                "; refused processes are not counted here, so hitting that limit looks like any other failure",
            );
        }
    }

    /// The root file system and the limits that were applied, as text.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The network requests since the last call, with the proxy's decisions.
    pub fn take_egress_report(&self) -> EgressReport {
        self.egress.as_ref().map(Egress::take_report).unwrap_or_default()
    }

    /// The handle of its container, for the backend that started it.
    pub(super) fn container(&self) -> Arc<dyn ContainerHandle> {
        Arc::clone(&self.rpc.container)
    }

    /// Unpacks a tar stream into `/workspace`: regular files with their executable bit,
    /// directories, and symlinks as they are.
    pub async fn unpack(&self, mut tar: impl AsyncRead + Send + Unpin) -> Result<(), SandboxError> {
        let outcome = async {
            let mut stream = self.rpc.start(&Request::Unpack).await?;
            self.rpc.send_all(&mut stream, &mut tar).await?;
            self.rpc.within(UNPACK_STEP_MAX, self.rpc.read_response::<UnpackResult>(&mut stream)).await
        };
        match outcome.await {
            Ok(_) => Ok(()),
            Err(error) => {
                // A sandbox with only a part of the tree is useless.
                self.rpc.container.kill();
                Err(match error {
                    CallError::Fatal(SandboxError::DiskFull(why)) => {
                        SandboxError::DiskFull(format!("the tree does not fit: {why}"))
                    }
                    CallError::Fatal(lost) => lost,
                    CallError::RespondToModel(why) => {
                        SandboxError::Gone(format!("the tree could not be unpacked into it: {why}"))
                    }
                })
            }
        }
    }

    /// Reads a window of a text file.
    pub async fn read_file(&self, request: &ReadFile) -> Result<FileWindow, CallError> {
        self.rpc.call(&Request::ReadFile(request.clone())).await
    }

    /// Lists files.
    pub async fn list_files(&self, request: &ListFiles) -> Result<FileListing, CallError> {
        self.rpc.call(&Request::ListFiles(request.clone())).await
    }

    /// Searches file contents.
    pub async fn search(&self, request: &Search) -> Result<SearchHits, CallError> {
        self.rpc.call(&Request::Search(request.clone())).await
    }

    /// Replaces exact text in a file; all edits or none.
    pub async fn edit_file(&self, request: &EditFile) -> Result<EditResult, CallError> {
        self.rpc.call(&Request::EditFile(request.clone())).await
    }

    /// Creates or replaces a file.
    pub async fn write_file(&self, request: &WriteFile) -> Result<WriteResult, CallError> {
        self.rpc.call(&Request::WriteFile(request.clone())).await
    }

    /// Deletes a regular file.
    pub async fn delete_file(&self, request: &DeleteFile) -> Result<(), CallError> {
        self.rpc.call(&Request::DeleteFile(request.clone())).await
    }

    /// Moves a regular file to where nothing is.
    pub async fn move_file(&self, request: &MoveFile) -> Result<(), CallError> {
        self.rpc.call(&Request::MoveFile(request.clone())).await
    }

    /// Runs a command and waits until it ends. None of its processes survive it. Dropping the future
    /// also ends the command.
    pub async fn run(&self, command: &CommandSpec) -> Result<ProcessOutput, CallError> {
        let bytes_max = command.output_bytes_max;
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        let mode = OutputMode::Bounded { bytes_max: bytes_max as u64 };
        let started = Instant::now();
        let (ending, omitted_bytes) = self
            .run_command(command, mode, &mut tail, |_, bytes| {
                head.extend_from_slice(bytes);
                head.len() <= bytes_max
            })
            .await?;
        let output = bounded_output(head, omitted_bytes, tail);
        Ok(ProcessOutput { ending, output, duration: started.elapsed() })
    }

    /// Runs a command as [`Toolbox::run`] does, and passes all of its output to `on_output` as it
    /// arrives. The command waits while `on_output` is busy.
    pub async fn run_live(
        &self,
        command: &CommandSpec,
        mut on_output: impl FnMut(OutputStream, &[u8]),
    ) -> Result<ExitStatus, CallError> {
        let on_output = |stream, bytes: &[u8]| {
            on_output(stream, bytes);
            true
        };
        let (ending, _) = self.run_command(command, OutputMode::Live, &mut Vec::new(), on_output).await?;
        Ok(ending)
    }

    /// The exit status, and how many bytes of output were discarded. `accept` returns whether the output
    /// so far is within its limit.
    async fn run_command(
        &self,
        command: &CommandSpec,
        output: OutputMode,
        tail: &mut Vec<u8>,
        mut accept: impl FnMut(OutputStream, &[u8]) -> bool,
    ) -> Result<(ExitStatus, u64), CallError> {
        let container = &self.rpc.container;
        let (kills_before, refusals_before) = (container.memory_kills(), container.pid_refusals());
        let request = Request::Run(RunCommand {
            argv: command.argv.clone(),
            env: command.env.clone(),
            deadline_ms: u64::try_from(command.deadline.as_millis()).unwrap_or(u64::MAX),
            output,
        });
        let running = async {
            let mut stream = self.rpc.start(&request).await?;
            let ended: RunResult = loop {
                let (from, bytes) = match self.rpc.read_frame(&mut stream).await? {
                    Frame::Data(bytes) => (OutputStream::Output, bytes),
                    Frame::ErrorData(bytes) => (OutputStream::Error, bytes),
                    Frame::Message(json) => break self.rpc.parse_response(&json)?,
                    Frame::End => return Err(self.rpc.violated("an end frame without a result").into()),
                };
                if !accept(from, &bytes) {
                    return Err(self.rpc.violated("more output than requested").into());
                }
            };
            if ended.tail_bytes > command.output_bytes_max as u64 {
                return Err(self.rpc.violated("more output than requested").into());
            }
            *tail = self.read_exactly(&mut stream, ended.tail_bytes).await?;
            Ok(ended)
        };
        let time_max = command.deadline.saturating_add(RUN_MARGIN);
        let ended = self.rpc.within(time_max, running).await?;
        // The host's own counts do not depend on the toolbox.
        let hit = LimitsHit {
            memory: ended.hit.memory || container.memory_kills() > kills_before,
            disk: ended.hit.disk,
            processes: ended.hit.processes || container.pid_refusals() > refusals_before,
        };
        Ok((exit_status(ended.end, hit)?, ended.omitted_bytes))
    }

    /// The current state of the named paths. The result is [`CallError::RespondToModel`] if a file is over
    /// [`COLLECT_FILE_BYTES_MAX`], if there is more than [`COLLECT_TOTAL_BYTES_MAX`] or
    /// [`COLLECT_PATHS_MAX`], or if a symlink or a special file is at (or on the way to) a path. A path with
    /// nothing or a directory is absent.
    pub async fn collect(&self, paths: &[RepoPath]) -> Result<Vec<Change>, CallError> {
        if paths.len() > COLLECT_PATHS_MAX {
            return Err(CallError::RespondToModel(format!(
                "{} changed paths, over the {COLLECT_PATHS_MAX} allowed",
                paths.len()
            )));
        }
        let request = Collect { paths: paths.iter().map(|path| path.as_str().to_owned()).collect() };
        let collecting = async {
            let mut stream = self.rpc.start(&Request::Collect(request)).await?;
            let collected: CollectResult = self.rpc.read_response(&mut stream).await?;
            if collected.files.len() != paths.len() {
                return Err(self.rpc.violated("a different number of files than requested").into());
            }
            let (mut changes, mut total) = (Vec::with_capacity(paths.len()), 0);
            for (path, file) in paths.iter().zip(collected.files) {
                let content = match file {
                    CollectedFileState::Absent => ChangedContent::Absent,
                    CollectedFileState::File { executable, bytes } => {
                        total += bytes.min(COLLECT_TOTAL_BYTES_MAX + 1);
                        if bytes > COLLECT_FILE_BYTES_MAX || total > COLLECT_TOTAL_BYTES_MAX {
                            return Err(self.rpc.violated("more bytes than it may send").into());
                        }
                        let mode = if executable { FileMode::Executable } else { FileMode::Regular };
                        ChangedContent::File { mode, bytes: Vec::with_capacity(bytes as usize) }
                    }
                };
                changes.push((Change { path: path.clone(), content }, file));
            }
            // A file's bytes begin where those of the file before it end. Frames do not matter.
            let mut rest = self.read_exactly(&mut stream, total).await?.into_iter();
            if self.rpc.read_frame(&mut stream).await? != Frame::End {
                return Err(self.rpc.violated("more bytes than it announced").into());
            }
            for (change, file) in &mut changes {
                if let (ChangedContent::File { bytes, .. }, CollectedFileState::File { bytes: count, .. }) =
                    (&mut change.content, *file)
                {
                    bytes.extend(rest.by_ref().take(count as usize));
                }
            }
            Ok(changes.into_iter().map(|(change, _)| change).collect())
        };
        self.rpc.within(CALL_MAX, collecting).await
    }

    /// The report files that a command wrote after `since`, and how many were omitted because they are
    /// larger than [`REPORT_FILE_BYTES_MAX`] or too many.
    pub async fn reports(
        &self,
        location: ReportLocation,
        since: SystemTime,
    ) -> Result<(Vec<Vec<u8>>, u64), CallError> {
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let reading = async {
            let mut stream = self.rpc.start(&Request::Reports(Reports { place: location, since_ns })).await?;
            let ReportFiles { files: sizes, left_out } = self.rpc.read_response(&mut stream).await?;
            let total = sizes.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
            let largest = sizes.iter().max().copied().unwrap_or(0);
            if sizes.len() > REPORT_FILES_MAX || largest > REPORT_FILE_BYTES_MAX || total > REPORTS_BYTES_MAX
            {
                return Err(self.rpc.violated("more bytes than it may send").into());
            }
            let mut rest = self.read_exactly(&mut stream, total).await?.into_iter();
            if self.rpc.read_frame(&mut stream).await? != Frame::End {
                return Err(self.rpc.violated("more bytes than it announced").into());
            }
            let files = sizes.iter().map(|bytes| rest.by_ref().take(*bytes as usize).collect()).collect();
            Ok((files, left_out))
        };
        self.rpc.within(CALL_MAX, reading).await
    }

    /// Reads `count` bytes. The data frames must add up to exactly that.
    async fn read_exactly(&self, stream: &mut Stream, count: u64) -> Result<Vec<u8>, SandboxError> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < count {
            match self.rpc.read_frame(stream).await? {
                Frame::Data(more) if !more.is_empty() && (bytes.len() + more.len()) as u64 <= count => {
                    bytes.extend(more);
                }
                Frame::Data(_) | Frame::ErrorData(_) | Frame::Message(_) | Frame::End => {
                    return Err(self.rpc.violated("different bytes than announced"));
                }
            }
        }
        Ok(bytes)
    }

    /// The same toolbox, which keeps `lease` until the sandbox ends.
    pub(super) fn with_lease(self, lease: impl Send + Sync + 'static) -> Self {
        Self { _lease: Some(Box::new(lease)), ..self }
    }

    /// Kills the sandbox and waits until nothing of it is left.
    pub async fn shut_down(self) {
        self.rpc.container.kill();
        self.rpc.container.ended().await;
    }
}

/// How a command ended. If several things happened, the first in [`ExitStatus`]'s order counts. A limit
/// that another process hit at the same time counts too: a run in which the kernel killed or refused
/// something proves nothing.
fn exit_status(end: CommandEnd, hit: LimitsHit) -> Result<ExitStatus, CallError> {
    Ok(match (end, hit.disk) {
        (CommandEnd::NotStarted { why }, _) => return Err(CallError::RespondToModel(why)),
        (CommandEnd::TimedOut, _) => ExitStatus::TimedOut,
        _ if hit.memory => ExitStatus::OutOfMemory,
        (_, Some(directory)) => ExitStatus::DiskFull { place: writable_mount(directory) },
        (CommandEnd::NoProcess, None) => ExitStatus::ProcessLimit,
        _ if hit.processes => ExitStatus::ProcessLimit,
        (CommandEnd::Signalled { signal }, None) => ExitStatus::Signalled { signal },
        (CommandEnd::Exited { code }, None) => ExitStatus::Exited { code },
    })
}

fn writable_mount(directory: WritableDirectory) -> WritableMount {
    match directory {
        WritableDirectory::Workspace => WritableMount::Workspace,
        WritableDirectory::Home => WritableMount::Home,
        WritableDirectory::Tmp => WritableMount::Tmp,
        WritableDirectory::SharedMemory => WritableMount::SharedMemory,
        WritableDirectory::Root => WritableMount::Root,
    }
}

/// Turns bytes into text. A character that was cut in two counts as omitted.
fn bounded_output(mut head: Vec<u8>, mut omitted_bytes: u64, mut tail: Vec<u8>) -> BoundedOutput {
    if omitted_bytes == 0 {
        head.append(&mut tail);
    } else {
        let whole = complete_characters(&head);
        let cut = tail.iter().take(3).take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count();
        // The count comes from the sandbox and may be anything.
        omitted_bytes = omitted_bytes.saturating_add((head.len() - whole + cut) as u64);
        head.truncate(whole);
        tail.drain(..cut);
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    BoundedOutput { head: text(head), omitted_bytes, tail: text(tail) }
}

/// How many bytes there are without an incomplete character at the end.
fn complete_characters(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    // Bytes that no continuation makes valid are not an incomplete character.
    match last.map(|chunk| chunk.invalid()) {
        Some(cut) if std::str::from_utf8(cut).is_err_and(|e| e.error_len().is_none()) => {
            bytes.len() - cut.len()
        }
        Some(_) | None => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_that_hit_several_limits_reports_the_first_in_order() {
        let exited = || CommandEnd::Exited { code: 0 };
        let mut hit = LimitsHit { memory: true, disk: Some(WritableDirectory::Tmp), processes: true };
        assert_eq!(exit_status(CommandEnd::TimedOut, hit).unwrap(), ExitStatus::TimedOut);
        assert_eq!(exit_status(CommandEnd::NoProcess, hit).unwrap(), ExitStatus::OutOfMemory);
        hit.memory = false;
        assert_eq!(exit_status(exited(), hit).unwrap(), ExitStatus::DiskFull { place: WritableMount::Tmp });
        hit.disk = None;
        let signalled = CommandEnd::Signalled { signal: 9 };
        assert_eq!(exit_status(signalled.clone(), hit).unwrap(), ExitStatus::ProcessLimit);
        hit.processes = false;
        assert_eq!(exit_status(CommandEnd::NoProcess, hit).unwrap(), ExitStatus::ProcessLimit);
        assert_eq!(exit_status(signalled, hit).unwrap(), ExitStatus::Signalled { signal: 9 });
        assert_eq!(exit_status(exited(), hit).unwrap(), ExitStatus::Exited { code: 0 });
    }

    #[test]
    fn character_that_is_cut_in_two_counts_as_omitted() {
        let smile = "🙂".as_bytes();
        let output = bounded_output([b"a", &smile[..2]].concat(), 10, [&smile[2..], b"z"].concat());
        let expected = BoundedOutput { head: "a".to_owned(), omitted_bytes: 14, tail: "z".to_owned() };
        assert_eq!(output, expected);
    }

    #[test]
    fn output_without_omitted_bytes_is_one_text() {
        let smile = "🙂".as_bytes();
        let output = bounded_output(smile[..2].to_vec(), 0, smile[2..].to_vec());
        assert_eq!(output, BoundedOutput { head: "🙂".to_owned(), omitted_bytes: 0, tail: String::new() });
    }
}
