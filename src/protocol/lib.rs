//! What host and toolbox say to each other: the one file that both sides compile.
//!
//! Over the pipe (the toolbox's standard input and output) runs one yamux connection, the host as
//! its client. Each stream is one call: a request frame, for some calls raw bytes, and a response
//! frame. Paths are relative to `/workspace`; the toolbox follows no symlink out of it.

use serde::{Deserialize, Serialize};

pub mod frames;
mod map;
pub mod mux;

pub use map::{
    FindSymbol, MapCounts, MapDefinition, RankedFile, RankedRepoMap, RepoMap, SymbolLocation,
    SymbolLocations, SyntaxError,
};

/// Changes whenever a message here does.
pub const PROTOCOL_VERSION: u32 = 6;

/// Where a sandbox finds what a set-up made, in the directories [`SNAPSHOT_WORKSPACE`] and
/// [`SNAPSHOT_HOME`]; `init --prepared` copies them to where they belong.
pub const SNAPSHOT: &str = "/.mendwright/prepared";
/// What belongs into `/workspace`.
pub const SNAPSHOT_WORKSPACE: &str = "workspace";
/// What belongs into the home directory.
pub const SNAPSHOT_HOME: &str = "home";

/// How the toolbox begins to say that a file system had no room for what it was to take in.
pub const NO_ROOM: &str = "there is no room for it: ";

/// The first frame of a stream, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Are you the toolbox I carry? Always the first call. Answer: [`Hello`].
    Hello(Hello),
    /// Answer: [`FileWindow`].
    ReadFile(ReadFile),
    /// Answer: [`FileListing`].
    ListFiles(ListFiles),
    /// Answer: [`SearchHits`].
    Search(Search),
    /// Answer: [`RankedRepoMap`].
    RepoMap(RepoMap),
    /// Answer: [`SymbolLocations`].
    FindSymbol(FindSymbol),
    /// Answer: [`EditResult`].
    EditFile(EditFile),
    /// Answer: [`WriteResult`].
    WriteFile(WriteFile),
    /// Answer: `()`.
    DeleteFile(DeleteFile),
    /// Answer: `()`.
    MoveFile(MoveFile),
    /// Output as data frames while it runs, then the answer: [`RunResult`], then the tail of the
    /// output as data frames.
    Run(RunCommand),
    /// A tar stream follows as data frames and an end frame. Answer: [`UnpackResult`].
    Unpack,
    /// Answer: [`CollectResult`], then the files' bytes as data frames, in the order asked for, and an
    /// end frame.
    Collect(Collect),
    /// Answer: [`ReportFiles`], then the files' bytes as data frames, one after the other, and an end
    /// frame.
    Reports(Reports),
    /// Move what a set-up made to [`SNAPSHOT`], for whoever keeps this file system: everything in
    /// `/workspace` that was not unpacked into it (what a set-up did to those files is dropped) and
    /// everything in the home directory. Nothing of either stays where it was. Answer: [`SnapshotContents`].
    Seal,
    /// The same selection as a tar stream, named `workspace/…` and `home/…`: data frames and an end
    /// frame, then the answer: [`SnapshotContents`].
    Pack(Pack),
    /// A tar stream as [`Request::Pack`] makes it follows as data frames and an end frame, and is
    /// unpacked into [`SNAPSHOT`], which must be empty. Answer: [`SnapshotContents`].
    UnpackPrepared(UnpackPrepared),
}

/// What comes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response<T> {
    /// It was done.
    Done(T),
    /// It could not be done, and why, in words for the model.
    Refused(String),
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// What the toolbox can know of the commands it runs; nothing from the host.
    #[serde(default)]
    pub watched: LimitDetection,
}

/// What the toolbox can know of the commands it runs. Full disks it always sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitDetection {
    /// That the kernel killed something for memory.
    pub memory_kills: bool,
    /// That a process was refused for their number.
    pub process_refusals: bool,
}

/// Run a command in `/workspace`. Nothing of it runs on after the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables beside the sandbox's own.
    pub env: Vec<(String, String)>,
    /// Milliseconds after which it is killed.
    pub deadline_ms: u64,
    /// What becomes of its output.
    pub output: OutputMode,
}

/// What becomes of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputMode {
    /// Both streams as one, in the order written; head and tail are kept.
    Bounded {
        /// Bytes kept: half of them for the head, half for the tail.
        bytes_max: u64,
    },
    /// Everything, as it comes, the two streams told apart. The command waits for the reader.
    Live,
}

/// How a command ended, as far as the toolbox can see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandEnd {
    /// It exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It was killed at its deadline.
    TimedOut,
    /// It could not be started for the number of processes that there are.
    NoProcess,
    /// It could not be started.
    NotStarted {
        /// Why.
        why: String,
    },
}

/// A command is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// How.
    pub end: CommandEnd,
    /// What was run into meanwhile, as far as can be seen from inside.
    pub hit: LimitsHit,
    /// Bytes between head and tail that were let go.
    pub omitted_bytes: u64,
    /// Bytes of tail that follow as data frames.
    pub tail_bytes: u64,
}

/// The limits that were hit while a command ran, by whichever process of the sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsHit {
    /// The kernel killed something for memory.
    pub memory: bool,
    /// The first writable file system that was seen full.
    pub disk: Option<WritableDirectory>,
    /// A process or thread was refused for their number, or, where nobody counts that, there were as
    /// many as there may be.
    pub processes: bool,
}

/// A writable file system; one that stands for several is named after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WritableDirectory {
    /// `/workspace`.
    Workspace,
    /// The home directory.
    Home,
    /// `/tmp`.
    Tmp,
    /// `/dev/shm`.
    SharedMemory,
    /// The root, where it is writable.
    Root,
}

/// A tree was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackResult {
    /// Files, directories and symlinks made.
    pub entries: u64,
}

/// Pack what a set-up made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// Most bytes of tar stream; past it the answer is a refusal.
    pub bytes_max: u64,
}

/// Take in what a set-up made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackPrepared {
    /// Most bytes of files.
    pub bytes_max: u64,
    /// Most files, directories and links.
    pub entries_max: u64,
}

/// What a set-up made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotContents {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of the files; a file with several names counts once where that is seen.
    pub bytes: u64,
    /// What cannot be kept and was left out: pipes, sockets, devices, paths that are too long.
    pub skipped: u64,
}

/// Ask for the present state of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collect {
    /// Which; at most [`COLLECT_PATHS_MAX`].
    pub paths: Vec<String>,
}

/// Most paths of one [`Collect`].
pub const COLLECT_PATHS_MAX: usize = 2_000;
/// Largest file a [`Collect`] may return.
pub const COLLECT_FILE_BYTES_MAX: u64 = 5 << 20;
/// Most bytes a [`Collect`] may return.
pub const COLLECT_TOTAL_BYTES_MAX: u64 = 20 << 20;

/// The state of the files asked for, in the order asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectResult {
    /// One for each path.
    pub files: Vec<CollectedFileState>,
}

/// The state of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectedFileState {
    /// There is no file at it.
    Absent,
    /// There is a regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its size.
        bytes: u64,
    },
}

/// Ask for the report files that a command left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    /// Where they lie.
    pub place: ReportLocation,
    /// Only what was written since then, in nanoseconds since 1970.
    pub since_ns: u64,
}

/// Where report files lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportLocation {
    /// In `/tmp`: one file.
    Tmp {
        /// Its name.
        name: String,
    },
    /// In the workspace, ignored by git or not.
    Workspace {
        /// What their paths match.
        globs: Vec<String>,
    },
}

/// Most report files of one answer.
pub const REPORT_FILES_MAX: usize = 500;
/// Largest report file.
pub const REPORT_FILE_BYTES_MAX: u64 = 16 << 20;
/// Most bytes of report files in one answer.
pub const REPORTS_BYTES_MAX: u64 = 20 << 20;

/// The report files found, in path order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportFiles {
    /// Their sizes.
    pub files: Vec<u64>,
    /// How many more there are that are too large or too many.
    pub left_out: u64,
}

/// Read a window of a text file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFile {
    /// The file.
    pub path: String,
    /// First line wanted, from 1.
    pub first_line: u64,
    /// Most lines wanted.
    pub lines_max: u64,
}

/// A window of a text file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWindow {
    /// The lines, each as in the file (line ends kept; bytes that are not UTF-8 replaced; lines
    /// over 2,000 characters cut with a note).
    pub text: String,
    /// Number of the first line shown, from 1.
    pub first_line: u64,
    /// How many lines are shown.
    pub lines_shown: u64,
    /// How many lines the file has.
    pub lines_total: u64,
}

/// List files below a directory, git-ignored ones left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFiles {
    /// The directory; empty for the root.
    pub path: String,
    /// Only paths that this glob matches (`**/*.rs`).
    pub glob: Option<String>,
    /// Most entries wanted.
    pub entries_max: u32,
}

/// Files found, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileListing {
    /// The files.
    pub entries: Vec<FileEntry>,
    /// How many more there are.
    pub omitted: u64,
}

/// A file found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the root.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it is a symlink (not followed).
    pub symlink: bool,
}

/// Search file contents, git-ignored and binary files left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// A regular expression (Rust's syntax), or literal text.
    pub pattern: String,
    /// Whether `pattern` is literal text.
    pub literal: bool,
    /// Directory or file to search; empty for everything.
    pub path: String,
    /// Only paths that this glob matches.
    pub glob: Option<String>,
    /// Lines shown before and after each match.
    pub context_lines: u32,
    /// Most matches wanted.
    pub matches_max: u32,
}

/// What a search found, in path order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchHits {
    /// Matching and context lines.
    pub lines: Vec<SearchLine>,
    /// Matching lines among them.
    pub matches: u32,
    /// Whether the search stopped at `matches_max`.
    pub more: bool,
    /// Files looked into.
    pub files_searched: u64,
}

/// A line of a search result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchLine {
    /// Its file.
    pub path: String,
    /// Its number, from 1.
    pub line: u64,
    /// Its text, without line end, cut at 500 characters.
    pub text: String,
    /// Whether it matches (otherwise it is context).
    pub is_match: bool,
}

/// Replace exact text in one file. All edits are applied, in order, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditFile {
    /// The file; it must exist.
    pub path: String,
    /// The edits.
    pub edits: Vec<Edit>,
}

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Text that occurs exactly once.
    pub old: String,
    /// What takes its place.
    pub new: String,
}

/// What an edit did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditResult {
    /// The changed lines with three lines around them, numbered, for the model.
    pub excerpt: String,
    /// What can no longer be parsed, where the language is known.
    pub faults: Vec<SyntaxError>,
}

/// Create or replace a file, with its parent directories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteFile {
    /// The file.
    pub path: String,
    /// Its whole content.
    pub content: String,
    /// Whether it may be executed; `None`: as before, and a new file not.
    pub executable: Option<bool>,
}

/// Delete a regular file, and the directories that are empty without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteFile {
    /// The file.
    pub path: String,
}

/// Move a regular file to where nothing is; makes directories on the way, and removes those that are
/// empty without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveFile {
    /// Where it is.
    pub from: String,
    /// Where it shall be.
    pub to: String,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteResult {
    /// Whether the file is new.
    pub created: bool,
    /// Its size.
    pub bytes: u64,
    /// What can no longer be parsed, where the language is known.
    pub faults: Vec<SyntaxError>,
}
