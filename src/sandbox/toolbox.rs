//! The host's side of the pipe to one running sandbox.

use tokio::io::AsyncRead;

use super::protocol::{
    EditFile, Edited, FileListing, FileWindow, ListFiles, ReadFile, Search, SearchHits, WriteFile, Written,
};
use super::{CallError, CommandSpec, SandboxError};
use crate::domain::{Change, CommandResult, RepoPath};

/// A running sandbox. Dropping it kills everything inside.
pub struct Toolbox {}

impl Toolbox {
    /// The root file system and the limits that were applied, in words.
    pub fn description(&self) -> &str {
        todo!()
    }

    /// Unpacks a tar stream into `/workspace`.
    pub async fn unpack(&self, tar: impl AsyncRead + Send + Unpin) -> Result<(), SandboxError> {
        let _ = tar;
        todo!()
    }

    /// Reads a window of a text file.
    pub async fn read_file(&self, request: &ReadFile) -> Result<FileWindow, CallError> {
        let _ = request;
        todo!()
    }

    /// Lists files.
    pub async fn list_files(&self, request: &ListFiles) -> Result<FileListing, CallError> {
        let _ = request;
        todo!()
    }

    /// Searches file contents.
    pub async fn search(&self, request: &Search) -> Result<SearchHits, CallError> {
        let _ = request;
        todo!()
    }

    /// Replaces exact text in a file; all edits or none.
    pub async fn edit_file(&self, request: &EditFile) -> Result<Edited, CallError> {
        let _ = request;
        todo!()
    }

    /// Creates or replaces a file.
    pub async fn write_file(&self, request: &WriteFile) -> Result<Written, CallError> {
        let _ = request;
        todo!()
    }

    /// Runs a command and waits for its end. Nothing of it runs on afterwards.
    pub async fn run(&self, command: &CommandSpec) -> Result<CommandResult, CallError> {
        let _ = command;
        todo!()
    }

    /// The present state of the named paths. Bounded: a file over `bytes_max_per_file`, more than
    /// `bytes_max_total`, a symlink or a special file at (or on the way to) a path is
    /// [`CallError::Told`].
    pub async fn collect(&self, paths: &[RepoPath]) -> Result<Vec<Change>, CallError> {
        let _ = paths;
        todo!()
    }

    /// Ends the sandbox and waits until nothing of it is left.
    pub async fn shut_down(self) {}
}
