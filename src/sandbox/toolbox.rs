//! The host's side of the pipe to one running sandbox.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};

use super::bubblewrap::Lease;
use super::container::Container;
use super::egress::Egress;
use super::frames::Frame;
use super::link::{CALL_MAX, Link};
use super::mux::Stream;
use super::protocol::{
    COLLECT_FILE_BYTES_MAX, COLLECT_PATHS_MAX, COLLECT_TOTAL_BYTES_MAX, Collect, CollectResult,
    CollectedFileState, CommandEnd, DeleteFile, EditFile, EditResult, FileListing, FileWindow, Hello,
    LimitDetection, LimitsHit, ListFiles, MoveFile, NO_ROOM, OutputMode, PROTOCOL_VERSION,
    REPORT_FILE_BYTES_MAX, REPORT_FILES_MAX, REPORTS_BYTES_MAX, ReadFile, ReportFiles, ReportLocation,
    Reports, Request, Response, RunCommand, RunResult, Search, SearchHits, UnpackResult, WritableDirectory,
    WriteFile, WriteResult,
};
use super::{CallError, CommandSpec, SandboxError};
use crate::domain::{
    BoundedOutput, Change, ChangedContent, EgressReport, ExitStatus, FileMode, ProcessOutput, RepoPath,
    WritableMount,
};

mod map;
mod snapshot;

/// For a fresh toolbox to say hello, after it has copied what a set-up made.
const HELLO_MAX: Duration = Duration::from_secs(300);
/// For one piece of a tree to be taken in, and for the last of it to be on the sandbox's disk.
const UNPACK_STEP_MAX: Duration = Duration::from_secs(120);
/// Beyond a command's own deadline, for its end to be told: the toolbox needs a few seconds to end
/// a tree of processes that resists.
const RUN_MARGIN: Duration = Duration::from_secs(30);

/// A running sandbox. Dropping it kills everything inside.
pub struct Toolbox {
    link: Link,
    description: String,
    egress: Option<Egress>,
    /// Not to be removed as long as the sandbox runs.
    _lease: Option<Lease>,
}

/// Which stream a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl Toolbox {
    /// Takes the pipe to a container over, and makes sure that our toolbox is at its other end.
    pub(super) async fn connect(
        pipe: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        container: Container,
        description: String,
        egress: Option<Egress>,
    ) -> Result<Self, SandboxError> {
        let serving = egress.clone();
        let link = Link::open(pipe, container.into(), move |stream| match &serving {
            Some(egress) => {
                egress.serve(stream);
                Ok(())
            }
            None => Err("it opened a stream, and has no network to speak of".to_owned()),
        });
        let mut toolbox = Self { link, description, egress, _lease: None };
        let ours = Request::Hello(Hello { protocol: PROTOCOL_VERSION, watched: LimitDetection::default() });
        match toolbox.link.within(HELLO_MAX, toolbox.link.call::<Hello>(&ours)).await {
            Ok(theirs) if theirs.protocol == PROTOCOL_VERSION => {
                toolbox.describe_unknown(theirs.watched);
                Ok(toolbox)
            }
            Ok(theirs) => Err(toolbox.link.violated(format!(
                "the toolbox inside speaks version {}, and we speak {PROTOCOL_VERSION}",
                theirs.protocol
            ))),
            Err(CallError::RespondToModel(why)) => Err(toolbox.link.violated(why)),
            Err(CallError::Fatal(lost)) => Err(lost),
        }
    }

    /// Adds to the description what neither side can know of a command.
    fn describe_unknown(&mut self, watched: LimitDetection) {
        if !self.link.container.counts_pid_refusals() && !watched.process_refusals {
            self.description.push_str(
                "; nobody counts refused processes here, so running out of them looks like any other failure",
            );
        }
    }

    /// The root file system and the limits that were applied, in words.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What the inside asked of the network since this was last asked, and was answered.
    pub fn egress(&self) -> EgressReport {
        self.egress.as_ref().map(Egress::take_report).unwrap_or_default()
    }

    /// What it runs in, for the backend that made it.
    pub(super) fn container(&self) -> Arc<Container> {
        Arc::clone(&self.link.container)
    }

    /// Unpacks a tar stream into `/workspace`: regular files with their executable bit,
    /// directories, and symlinks as they are.
    pub async fn unpack(&self, mut tar: impl AsyncRead + Send + Unpin) -> Result<(), SandboxError> {
        let outcome = async {
            let mut stream = self.link.start(&Request::Unpack).await?;
            self.send_all(&mut stream, &mut tar).await?;
            self.link.within(UNPACK_STEP_MAX, self.link.answer::<UnpackResult>(&mut stream)).await
        };
        match outcome.await {
            Ok(_) => Ok(()),
            Err(CallError::Fatal(lost)) => Err(lost),
            Err(CallError::RespondToModel(why)) => {
                // With half a tree it is good for nothing.
                self.link.container.kill();
                Err(match why.strip_prefix(NO_ROOM) {
                    Some(why) => SandboxError::DiskFull(format!("the tree does not fit into it: {why}")),
                    None => SandboxError::Gone(format!("the tree could not be unpacked into it: {why}")),
                })
            }
        }
    }

    /// Reads a window of a text file.
    pub async fn read_file(&self, request: &ReadFile) -> Result<FileWindow, CallError> {
        self.link.call(&Request::ReadFile(request.clone())).await
    }

    /// Lists files.
    pub async fn list_files(&self, request: &ListFiles) -> Result<FileListing, CallError> {
        self.link.call(&Request::ListFiles(request.clone())).await
    }

    /// Searches file contents.
    pub async fn search(&self, request: &Search) -> Result<SearchHits, CallError> {
        self.link.call(&Request::Search(request.clone())).await
    }

    /// Replaces exact text in a file; all edits or none.
    pub async fn edit_file(&self, request: &EditFile) -> Result<EditResult, CallError> {
        self.link.call(&Request::EditFile(request.clone())).await
    }

    /// Creates or replaces a file.
    pub async fn write_file(&self, request: &WriteFile) -> Result<WriteResult, CallError> {
        self.link.call(&Request::WriteFile(request.clone())).await
    }

    /// Deletes a regular file.
    pub async fn delete_file(&self, request: &DeleteFile) -> Result<(), CallError> {
        self.link.call(&Request::DeleteFile(request.clone())).await
    }

    /// Moves a regular file to where nothing is.
    pub async fn move_file(&self, request: &MoveFile) -> Result<(), CallError> {
        self.link.call(&Request::MoveFile(request.clone())).await
    }

    /// Runs a command and waits for its end. Nothing of it runs on afterwards. Dropping the future
    /// ends the command, too.
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

    /// Runs a command as [`Toolbox::run`] does, and gives all of its output to `on_output` as it
    /// comes. The command waits while `on_output` is busy.
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

    /// How it ended, and how many bytes of output were let go. `take` says whether what it was given
    /// is still within bounds.
    async fn run_command(
        &self,
        command: &CommandSpec,
        output: OutputMode,
        tail: &mut Vec<u8>,
        mut take: impl FnMut(OutputStream, &[u8]) -> bool,
    ) -> Result<(ExitStatus, u64), CallError> {
        let container = &self.link.container;
        let (kills_before, refusals_before) = (container.memory_kills(), container.pid_refusals());
        let request = Request::Run(RunCommand {
            argv: command.argv.clone(),
            env: command.env.clone(),
            deadline_ms: u64::try_from(command.deadline.as_millis()).unwrap_or(u64::MAX),
            output,
        });
        let running = async {
            let mut stream = self.link.start(&request).await?;
            let ended: RunResult = loop {
                let (from, bytes) = match self.link.frame(&mut stream).await? {
                    Frame::Data(bytes) => (OutputStream::Output, bytes),
                    Frame::ErrorData(bytes) => (OutputStream::Error, bytes),
                    Frame::Message(json) => break self.parse_end(&json)?,
                    Frame::End => return Err(self.link.violated("an end without a result").into()),
                };
                if !take(from, &bytes) {
                    return Err(self.link.violated("more output than was asked for").into());
                }
            };
            if ended.tail_bytes > command.output_bytes_max as u64 {
                return Err(self.link.violated("more output than was asked for").into());
            }
            *tail = self.exactly(&mut stream, ended.tail_bytes).await?;
            Ok(ended)
        };
        let longest = command.deadline.saturating_add(RUN_MARGIN);
        let ended = self.link.within(longest, running).await?;
        // What the host can count itself does not rest on the toolbox's word.
        let hit = LimitsHit {
            memory: ended.hit.memory || container.memory_kills() > kills_before,
            disk: ended.hit.disk,
            processes: ended.hit.processes || container.pid_refusals() > refusals_before,
        };
        Ok((ending_of(ended.end, hit)?, ended.omitted_bytes))
    }

    fn parse_end(&self, json: &[u8]) -> Result<RunResult, CallError> {
        match serde_json::from_slice(json) {
            Ok(Response::Done(ended)) => Ok(ended),
            Ok(Response::Refused(why)) => Err(CallError::RespondToModel(why)),
            Err(error) => Err(self.link.violated(format!("a message that is none: {error}")).into()),
        }
    }

    /// The present state of the named paths. Bounded: a file over [`COLLECT_FILE_BYTES_MAX`], more
    /// than [`COLLECT_TOTAL_BYTES_MAX`] or [`COLLECT_PATHS_MAX`], a symlink or a special file at (or
    /// on the way to) a path is [`CallError::RespondToModel`]. A path at which there is nothing, or a
    /// directory, is absent.
    pub async fn collect(&self, paths: &[RepoPath]) -> Result<Vec<Change>, CallError> {
        if paths.len() > COLLECT_PATHS_MAX {
            return Err(CallError::RespondToModel(format!(
                "{} changed paths, over the {COLLECT_PATHS_MAX} allowed",
                paths.len()
            )));
        }
        let request = Collect { paths: paths.iter().map(|path| path.as_str().to_owned()).collect() };
        let collecting = async {
            let mut stream = self.link.start(&Request::Collect(request)).await?;
            let collected: CollectResult = self.link.answer(&mut stream).await?;
            if collected.files.len() != paths.len() {
                return Err(self.link.violated("another number of files than was asked for").into());
            }
            let (mut changes, mut total) = (Vec::with_capacity(paths.len()), 0);
            for (path, file) in paths.iter().zip(collected.files) {
                let content = match file {
                    CollectedFileState::Absent => ChangedContent::Absent,
                    CollectedFileState::File { executable, bytes } => {
                        total += bytes.min(COLLECT_TOTAL_BYTES_MAX + 1);
                        if bytes > COLLECT_FILE_BYTES_MAX || total > COLLECT_TOTAL_BYTES_MAX {
                            return Err(self.link.violated("more bytes than it may send").into());
                        }
                        let mode = if executable { FileMode::Executable } else { FileMode::Regular };
                        ChangedContent::File { mode, bytes: Vec::with_capacity(bytes as usize) }
                    }
                };
                changes.push((Change { path: path.clone(), content }, file));
            }
            // A file's bytes begin where the ones before it end, frames notwithstanding.
            let mut rest = self.exactly(&mut stream, total).await?.into_iter();
            if self.link.frame(&mut stream).await? != Frame::End {
                return Err(self.link.violated("more bytes than it announced").into());
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
        self.link.within(CALL_MAX, collecting).await
    }

    /// The report files that a command left since `since`, bounded: what is larger than
    /// [`REPORT_FILE_BYTES_MAX`], or too much in all, is left out, and counted.
    pub async fn reports(
        &self,
        place: ReportLocation,
        since: SystemTime,
    ) -> Result<(Vec<Vec<u8>>, u64), CallError> {
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let reading = async {
            let mut stream = self.link.start(&Request::Reports(Reports { place, since_ns })).await?;
            let ReportFiles { files: sizes, left_out } = self.link.answer(&mut stream).await?;
            let total = sizes.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
            let largest = sizes.iter().max().copied().unwrap_or(0);
            if sizes.len() > REPORT_FILES_MAX || largest > REPORT_FILE_BYTES_MAX || total > REPORTS_BYTES_MAX
            {
                return Err(self.link.violated("more bytes than it may send").into());
            }
            let mut rest = self.exactly(&mut stream, total).await?.into_iter();
            if self.link.frame(&mut stream).await? != Frame::End {
                return Err(self.link.violated("more bytes than it announced").into());
            }
            let files = sizes.iter().map(|bytes| rest.by_ref().take(*bytes as usize).collect()).collect();
            Ok((files, left_out))
        };
        self.link.within(CALL_MAX, reading).await
    }

    /// Reads as many bytes, in data frames that must add up to them.
    async fn exactly(&self, stream: &mut Stream, count: u64) -> Result<Vec<u8>, SandboxError> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < count {
            match self.link.frame(stream).await? {
                Frame::Data(more) if !more.is_empty() && (bytes.len() + more.len()) as u64 <= count => {
                    bytes.extend(more);
                }
                Frame::Data(_) | Frame::ErrorData(_) | Frame::Message(_) | Frame::End => {
                    return Err(self.link.violated("other bytes than it announced"));
                }
            }
        }
        Ok(bytes)
    }

    /// The same, holding on to what it was started from.
    pub(super) fn holding(self, lease: Lease) -> Self {
        Self { _lease: Some(lease), ..self }
    }

    /// Ends the sandbox and waits until nothing of it is left.
    pub async fn shut_down(self) {
        self.link.container.kill();
        self.link.container.ended().await;
    }
}

/// What is told of a command: the first that happened in [`ExitStatus`]'s order. The limits count
/// whoever else ran at that time: a run in which the kernel killed or refused something proves
/// nothing.
fn ending_of(end: CommandEnd, hit: LimitsHit) -> Result<ExitStatus, CallError> {
    Ok(match (end, hit.disk) {
        (CommandEnd::NotStarted { why }, _) => return Err(CallError::RespondToModel(why)),
        (CommandEnd::TimedOut, _) => ExitStatus::TimedOut,
        _ if hit.memory => ExitStatus::OutOfMemory,
        (_, Some(place)) => ExitStatus::DiskFull { place: domain_place(place) },
        (CommandEnd::NoProcess, None) => ExitStatus::ProcessLimit,
        _ if hit.processes => ExitStatus::ProcessLimit,
        (CommandEnd::Signalled { signal }, None) => ExitStatus::Signalled { signal },
        (CommandEnd::Exited { code }, None) => ExitStatus::Exited { code },
    })
}

fn domain_place(place: WritableDirectory) -> WritableMount {
    match place {
        WritableDirectory::Workspace => WritableMount::Workspace,
        WritableDirectory::Home => WritableMount::Home,
        WritableDirectory::Tmp => WritableMount::Tmp,
        WritableDirectory::SharedMemory => WritableMount::SharedMemory,
        WritableDirectory::Root => WritableMount::Root,
    }
}

/// Turns bytes into text. A character that the cut went through is counted as left out.
fn bounded_output(mut head: Vec<u8>, mut omitted_bytes: u64, mut tail: Vec<u8>) -> BoundedOutput {
    if omitted_bytes == 0 {
        head.append(&mut tail);
    } else {
        let whole = whole_characters(&head);
        let torn = tail.iter().take(3).take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count();
        // The count is what the other side says.
        omitted_bytes = omitted_bytes.saturating_add((head.len() - whole + torn) as u64);
        head.truncate(whole);
        tail.drain(..torn);
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    BoundedOutput { head: text(head), omitted_bytes, tail: text(tail) }
}

/// How many bytes there are without a character that was cut off at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    // Bytes that are wrong whatever comes next are not a character cut off.
    match last.map(|chunk| chunk.invalid()) {
        Some(torn) if std::str::from_utf8(torn).is_err_and(|e| e.error_len().is_none()) => {
            bytes.len() - torn.len()
        }
        Some(_) | None => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_things_that_happened_the_first_in_order_is_told() {
        let exited = || CommandEnd::Exited { code: 0 };
        let mut hit = LimitsHit { memory: true, disk: Some(WritableDirectory::Tmp), processes: true };
        assert_eq!(ending_of(CommandEnd::TimedOut, hit).unwrap(), ExitStatus::TimedOut);
        assert_eq!(ending_of(CommandEnd::NoProcess, hit).unwrap(), ExitStatus::OutOfMemory);
        hit.memory = false;
        assert_eq!(ending_of(exited(), hit).unwrap(), ExitStatus::DiskFull { place: WritableMount::Tmp });
        hit.disk = None;
        let signalled = CommandEnd::Signalled { signal: 9 };
        assert_eq!(ending_of(signalled.clone(), hit).unwrap(), ExitStatus::ProcessLimit);
        hit.processes = false;
        assert_eq!(ending_of(CommandEnd::NoProcess, hit).unwrap(), ExitStatus::ProcessLimit);
        assert_eq!(ending_of(signalled, hit).unwrap(), ExitStatus::Signalled { signal: 9 });
        assert_eq!(ending_of(exited(), hit).unwrap(), ExitStatus::Exited { code: 0 });
    }

    #[test]
    fn a_character_that_the_cut_tears_is_counted_not_garbled() {
        let smile = "🙂".as_bytes();
        let output = bounded_output([b"a", &smile[..2]].concat(), 10, [&smile[2..], b"z"].concat());
        let expected = BoundedOutput { head: "a".to_owned(), omitted_bytes: 14, tail: "z".to_owned() };
        assert_eq!(output, expected);
    }

    #[test]
    fn nothing_left_out_means_head_and_tail_are_one_text() {
        let smile = "🙂".as_bytes();
        let output = bounded_output(smile[..2].to_vec(), 0, smile[2..].to_vec());
        assert_eq!(output, BoundedOutput { head: "🙂".to_owned(), omitted_bytes: 0, tail: String::new() });
    }
}
