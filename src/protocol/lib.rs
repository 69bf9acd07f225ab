//! The messages between the host and the toolbox. Both sides compile this crate.
//!
//! The pipe (the toolbox's standard input and output) carries one yamux connection, with the host as
//! its client. Each stream is one call: a request frame, for some calls raw bytes, and a response
//! frame. Paths are relative to `/workspace`; the toolbox follows no symlink out of it.

use serde::{Deserialize, Serialize};

pub mod frames;
mod map;
pub mod mux;
mod test_items;
mod tracked;

pub use map::{
    DefinitionText, FindSymbol, MapCounts, MapDefinition, RankedFile, RankedRepoMap, RepoMap, SymbolLocation,
    SymbolLocations, SyntaxError,
};
pub use test_items::{Mutant, Mutants, MutantsFound, TestItems, TestItemsMoved};
pub use tracked::{TrackedChange, TrackedChangeKind, TrackedChanges, TrackedChangesFound};

/// Changes whenever a message here does.
pub const PROTOCOL_VERSION: u32 = 9;

/// Where a sandbox finds a setup snapshot, in the directories [`SNAPSHOT_WORKSPACE`] and
/// [`SNAPSHOT_HOME`]. `init --prepared` copies them to `/workspace` and to the home directory.
pub const SNAPSHOT: &str = "/.mendwright/prepared";
/// The part of a snapshot for `/workspace`.
pub const SNAPSHOT_WORKSPACE: &str = "workspace";
/// The part of a snapshot for the home directory.
pub const SNAPSHOT_HOME: &str = "home";

/// The exit code of a toolbox that could not start because a file system was full.
pub const EXIT_DISK_FULL: u8 = 28;

/// The first frame of a stream: what the host requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Checks that the toolbox is the host's own. Always the first call. Response: [`Hello`].
    Hello(Hello),
    /// Response: [`FileWindow`].
    ReadFile(ReadFile),
    /// Response: [`FileListing`].
    ListFiles(ListFiles),
    /// Response: [`SearchHits`].
    Search(Search),
    /// Response: [`RankedRepoMap`].
    RepoMap(RepoMap),
    /// Response: [`SymbolLocations`].
    FindSymbol(FindSymbol),
    /// Response: [`EditResult`].
    EditFile(EditFile),
    /// Response: [`WriteResult`].
    WriteFile(WriteFile),
    /// Response: `()`.
    DeleteFile(DeleteFile),
    /// Response: `()`.
    MoveFile(MoveFile),
    /// Output as data frames while it runs, then the response [`RunResult`], then the tail of the output
    /// as data frames.
    Run(RunCommand),
    /// A tar stream follows as data frames and an end frame. Response: [`UnpackResult`].
    Unpack,
    /// Response: [`CollectResult`], then the files' bytes as data frames, in the order of the request, and an
    /// end frame.
    Collect(Collect),
    /// Response: [`ReportFiles`], then the files' bytes as data frames, one after the other, and an end
    /// frame.
    Reports(Reports),
    /// Response: [`TrackedChangesFound`].
    TrackedChanges(TrackedChanges),
    /// Response: [`TestItemsMoved`].
    TestItems(TestItems),
    /// Response: [`MutantsFound`].
    Mutants(Mutants),
    /// Moves the snapshot to [`SNAPSHOT`], for a backend that stores this file system: everything in
    /// `/workspace` that was not unpacked into it (changes to those files are dropped) and everything in
    /// the home directory. Both directories are empty afterwards. Response: [`SnapshotContents`].
    Seal,
    /// The same files as a tar stream, named `workspace/…` and `home/…`: data frames and an end frame,
    /// then the response [`SnapshotContents`].
    Pack(Pack),
    /// A tar stream from [`Request::Pack`] follows as data frames and an end frame. It is unpacked into
    /// [`SNAPSHOT`], which must be empty. Response: [`SnapshotContents`].
    UnpackPrepared(UnpackPrepared),
    /// Some files of build directories as a tar stream, named as below `/workspace`: data frames and an end
    /// frame, then the response [`SnapshotContents`].
    PackBuild(PackBuild),
    /// A tar stream from [`Request::PackBuild`] follows, for `/workspace`, in place of the build directories
    /// that are there. Response: [`SnapshotContents`].
    UnpackBuild(UnpackBuild),
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response<T> {
    /// It was done.
    Done(T),
    /// It could not be done. The reason, as a text for the model.
    Refused(String),
    /// It could not be done because a file system is full. The details.
    DiskFull(String),
}

/// The sender's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Which limits the toolbox can detect. The host sends the default.
    #[serde(default)]
    pub watched: LimitDetection,
}

/// Which limits the toolbox can detect while a command runs. It always detects a full disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitDetection {
    /// The kernel killed a process because memory ran out.
    pub memory_kills: bool,
    /// The kernel refused a process because there were too many.
    pub process_refusals: bool,
}

/// Run a command in `/workspace`. None of its processes run after the response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables in addition to the sandbox's own.
    pub env: Vec<(String, String)>,
    /// Milliseconds after which it is killed.
    pub deadline_ms: u64,
    /// How its output is returned.
    pub output: OutputMode,
}

/// How a command's output is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputMode {
    /// Both streams as one, in the order written. Only the head and the tail are kept.
    Bounded {
        /// Bytes kept: half of them for the head, half for the tail.
        bytes_max: u64,
    },
    /// Everything, as it is written, with the two streams separate. The command waits for the reader.
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
    /// It could not be started because there are too many processes.
    NoProcess,
    /// It could not be started.
    NotStarted {
        /// Why.
        why: String,
    },
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// How it ended.
    pub end: CommandEnd,
    /// The limits that were hit meanwhile, as far as the toolbox can detect them.
    pub hit: LimitsHit,
    /// Bytes between head and tail that were discarded.
    pub omitted_bytes: u64,
    /// Bytes of tail that follow as data frames.
    pub tail_bytes: u64,
}

/// The limits that any process of the sandbox hit while a command ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsHit {
    /// The kernel killed a process because memory ran out.
    pub memory: bool,
    /// The first writable file system that was found full.
    pub disk: Option<WritableDirectory>,
    /// A process or thread was refused because there were too many. If that is not counted: there were as
    /// many as are allowed.
    pub processes: bool,
}

/// A writable file system. One that is mounted at several of these paths is named after the first.
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
    /// The root, if it is writable.
    Root,
}

/// The result of unpacking a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackResult {
    /// Files, directories and symlinks created.
    pub entries: u64,
}

/// Export the setup snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// Most bytes of the tar stream. If there are more, the request is refused.
    pub bytes_max: u64,
}

/// Import a setup snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackPrepared {
    /// Most bytes of files.
    pub bytes_max: u64,
    /// Most files, directories and links.
    pub entries_max: u64,
}

/// Export what a build tool left in its own directories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackBuild {
    /// How such a directory is found, and what of it is exported.
    pub directories: BuildDirectories,
    /// Most bytes of the tar stream. If there are more, the request is refused.
    pub bytes_max: u64,
}

/// The directories of one build tool: untracked, directly in a tracked one, and with a certain file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildDirectories {
    /// The name of that file.
    pub marker: String,
    /// Globs of what is exported, relative to the build directory. `*` does not match `/`.
    pub files: Vec<String>,
}

/// Import what a build tool left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackBuild {
    /// The name of the file that tells a build directory, as in [`BuildDirectories`].
    pub marker: String,
    /// The bounds.
    pub bounds: UnpackPrepared,
}

/// The size of a setup snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotContents {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of the files. A file with several names counts once if that is detected.
    pub bytes: u64,
    /// What cannot be stored and was omitted: pipes, sockets, devices, paths that are too long.
    pub skipped: u64,
}

/// Request the current state of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collect {
    /// Their paths; at most [`COLLECT_PATHS_MAX`].
    pub paths: Vec<String>,
}

/// Most paths of one [`Collect`].
pub const COLLECT_PATHS_MAX: usize = 2_000;
/// Largest file a [`Collect`] may return.
pub const COLLECT_FILE_BYTES_MAX: u64 = 5 << 20;
/// Most bytes a [`Collect`] may return.
pub const COLLECT_TOTAL_BYTES_MAX: u64 = 20 << 20;

/// The state of the requested files, in the order of the request.
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

/// Request the report files that a command wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    /// Where they are.
    pub place: ReportLocation,
    /// Only files that were written after this time, in nanoseconds since 1970.
    pub since_ns: u64,
}

/// Where report files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportLocation {
    /// One file in `/tmp`.
    Tmp {
        /// Its name.
        name: String,
    },
    /// In the workspace, ignored by git or not.
    Workspace {
        /// Globs that match their paths.
        globs: Vec<String>,
    },
}

/// Most report files in one response.
pub const REPORT_FILES_MAX: usize = 500;
/// Largest report file.
pub const REPORT_FILE_BYTES_MAX: u64 = 16 << 20;
/// Most bytes of report files in one response.
pub const REPORTS_BYTES_MAX: u64 = 20 << 20;

/// The report files found, in path order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportFiles {
    /// Their sizes.
    pub files: Vec<u64>,
    /// How many more there are. They are too large or too many.
    pub left_out: u64,
}

/// Read a window of a text file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFile {
    /// The file.
    pub path: String,
    /// The first line, from 1.
    pub first_line: u64,
    /// Most lines.
    pub lines_max: u64,
}

/// A window of a text file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWindow {
    /// The lines, with their ends. Bytes that are not UTF-8 are replaced; long lines are cut, with a note.
    pub text: String,
    /// Number of the first line shown, from 1.
    pub first_line: u64,
    /// How many lines are shown.
    pub lines_shown: u64,
    /// How many lines the file has.
    pub lines_total: u64,
}

/// List files below a directory, without files that git ignores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFiles {
    /// The directory; empty for the root.
    pub path: String,
    /// Only paths that match this glob (`**/*.rs`).
    pub glob: Option<String>,
    /// Most entries.
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

/// Search file contents, without files that git ignores and binary files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// A regular expression (Rust's syntax), or literal text.
    pub pattern: String,
    /// Whether `pattern` is literal text.
    pub literal: bool,
    /// Directory or file to search; empty for everything.
    pub path: String,
    /// Only paths that match this glob.
    pub glob: Option<String>,
    /// Lines shown before and after each match.
    pub context_lines: u32,
    /// Most matches.
    pub matches_max: u32,
}

/// The matches of a search, in path order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchHits {
    /// Matching and context lines.
    pub lines: Vec<SearchLine>,
    /// Matching lines among them.
    pub matches: u32,
    /// Whether the search stopped at `matches_max`.
    pub more: bool,
    /// Files that were searched.
    pub files_searched: u64,
}

/// A line of a search result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchLine {
    /// Its file.
    pub path: String,
    /// Its number, from 1.
    pub line: u64,
    /// Its text, without the line end, cut at 500 characters.
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

/// One replacement or insertion. Insertions are made before replacements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Text that occurs exactly once. Empty in an insertion.
    pub old: String,
    /// The text that replaces it, or that is inserted.
    pub new: String,
    /// The line after which `new` is inserted, as the file is now. 0: before the first line.
    pub after_line: Option<u64>,
}

/// The result of an edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditResult {
    /// The changed lines with three lines of context, numbered, for the model.
    pub excerpt: String,
    /// What can no longer be parsed, if the language is known.
    pub faults: Vec<SyntaxError>,
}

/// Create or replace a file, with its parent directories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteFile {
    /// The file.
    pub path: String,
    /// Its whole content.
    pub content: String,
    /// Whether it is executable; `None`: unchanged, and not for a new file.
    pub executable: Option<bool>,
}

/// Delete a regular file, and the directories that become empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteFile {
    /// The file.
    pub path: String,
}

/// Move a regular file to a path where nothing exists. Creates missing directories, and removes those
/// that become empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveFile {
    /// Its path.
    pub from: String,
    /// Its new path.
    pub to: String,
}

/// The result of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteResult {
    /// Whether the file is new.
    pub created: bool,
    /// Its size.
    pub bytes: u64,
    /// What can no longer be parsed, if the language is known.
    pub faults: Vec<SyntaxError>,
}
