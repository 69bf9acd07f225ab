//! The context of tool calls, and the proposal that they build. Only what the tools write, delete or move is
//! proposed. It is staged outside the sandbox, so a command that changes a file does not change the
//! proposal.

use std::collections::BTreeMap;

use super::super::results::Results;
use crate::domain::{Change, ChangedContent, FileMode, JobSettings, RepoPath, TestRun, TranscriptEvent};
use crate::sandbox::protocol::WriteFile;
use crate::sandbox::{CallError, SandboxError, Toolbox};
use crate::setup::Environment;
use crate::workspace::{Workspace, WorkspaceError};

/// What a tool call works with, and what it leaves for the transcript.
pub struct ToolContext<'a> {
    /// The sandbox.
    pub toolbox: &'a Toolbox,
    /// The base, and our own object store.
    pub workspace: &'a Workspace,
    /// The job's rules.
    pub settings: &'a JobSettings,
    /// Starts sandboxes for scripts; `None`: there are none.
    pub scripts: Option<&'a Environment>,
    /// The suite's run at the base, to compare with.
    pub baseline: Option<TestRun>,
    /// The last run of the whole suite, to compare with.
    pub last_run: Option<TestRun>,
    /// The present plan, in Markdown.
    pub plan: Option<String>,
    /// The results so far, in full. The present call is the next one.
    pub results: Results,
    /// The changes so far: the proposal.
    pub written: BTreeMap<RepoPath, ChangedContent>,
    /// Events to record with the results.
    pub events: Vec<TranscriptEvent>,
}

/// A file as the base and the tools left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownFile {
    pub(super) mode: FileMode,
    pub(super) bytes: Vec<u8>,
}

impl ToolContext<'_> {
    /// The file that the proposal has at `path`, if any.
    pub(super) async fn proposed(&self, path: &RepoPath) -> Result<Option<KnownFile>, CallError> {
        match self.written.get(path) {
            Some(ChangedContent::File { mode, bytes }) => {
                Ok(Some(KnownFile { mode: *mode, bytes: bytes.clone() }))
            }
            Some(ChangedContent::Absent) => Ok(None),
            None => self.content_at_base(path).await,
        }
    }

    /// Refuses a path in a submodule before anything is changed there: a proposal could not hold it.
    pub(super) async fn refuse_in_submodule(&self, path: &RepoPath) -> Result<(), CallError> {
        match self.workspace.submodule_of(path).await.map_err(object_store_error)? {
            None => Ok(()),
            Some(submodule) => Err(CallError::RespondToModel(format!(
                "{path} is in the submodule {submodule}. Its files belong to another repository, and a proposal \
                 cannot change them. They can be read; solve the issue without changing them, or ask_human."
            ))),
        }
    }

    async fn content_at_base(&self, path: &RepoPath) -> Result<Option<KnownFile>, CallError> {
        let tree = self.workspace.base_tree().await.map_err(object_store_error)?;
        let content = self.workspace.content(&tree, path).await.map_err(object_store_error)?;
        Ok(content.map(|(mode, bytes)| KnownFile { mode, bytes }))
    }

    /// Restores a file before an edit, a move or a deletion: if a command has changed it, the content of the
    /// base and the tools is written back. `None`: there is no such file.
    pub(super) async fn restore(&self, path: &RepoPath) -> Result<Option<KnownFile>, CallError> {
        self.refuse_in_submodule(path).await?;
        let Some(file) = self.proposed(path).await? else {
            return match self.content_in_sandbox(path).await? {
                None => Ok(None),
                Some(_) => Err(CallError::RespondToModel(format!(
                    "{path} is not part of the repository; a command made it, and no proposal will hold it. To \
                     propose a file there, write it with write_file."
                ))),
            };
        };
        if self.content_in_sandbox(path).await?.as_ref() != Some(&file.bytes) {
            let content = String::from_utf8(file.bytes.clone()).map_err(|_| {
                CallError::RespondToModel(format!("{path} is not text and was changed by a command."))
            })?;
            let executable = Some(file.mode == FileMode::Executable);
            self.toolbox.write_file(&WriteFile { path: path.to_string(), content, executable }).await?;
        }
        Ok(Some(file))
    }

    /// Stages the content of `path` after a write. Refuses a path that a proposal cannot hold.
    pub(super) async fn stage_write(&mut self, path: RepoPath, mode: FileMode) -> Result<(), CallError> {
        let Some(bytes) = self.content_in_sandbox(&path).await? else {
            return Err(CallError::RespondToModel(format!("{path} was written and is gone again.")));
        };
        let content = ChangedContent::File { mode, bytes };
        self.check(&[Change { path: path.clone(), content: content.clone() }]).await?;
        self.written.insert(path, content);
        Ok(())
    }

    /// Stages the deletion of `path`.
    pub(super) async fn stage_delete(&mut self, path: RepoPath) -> Result<(), CallError> {
        match self.content_at_base(&path).await? {
            Some(_) => self.written.insert(path, ChangedContent::Absent),
            // The tools created it, so nothing is left to propose.
            None => self.written.remove(&path),
        };
        Ok(())
    }

    /// Refuses changes that a proposal cannot hold.
    pub(super) async fn check(&self, changes: &[Change]) -> Result<(), CallError> {
        match self.workspace.propose(changes.to_vec()).await {
            Ok(_) => Ok(()),
            Err(error @ WorkspaceError::RefusedChange { .. }) => {
                Err(CallError::RespondToModel(format!("This cannot be part of a proposal: {error}.")))
            }
            Err(error) => Err(object_store_error(error)),
        }
    }

    /// The paths whose content differs from what the tools wrote: a command changed them.
    pub(super) async fn externally_modified(&self) -> Result<Vec<RepoPath>, CallError> {
        let paths: Vec<RepoPath> = self.written.keys().cloned().collect();
        let current = self.toolbox.collect(&paths).await?;
        let same = |change: &Change| match (&change.content, self.written.get(&change.path)) {
            (ChangedContent::File { bytes, .. }, Some(ChangedContent::File { bytes: staged, .. })) => {
                bytes == staged
            }
            (ChangedContent::Absent, Some(ChangedContent::Absent)) => true,
            (ChangedContent::File { .. } | ChangedContent::Absent, _) => false,
        };
        Ok(current.into_iter().filter(|change| !same(change)).map(|change| change.path).collect())
    }

    pub(super) async fn content_in_sandbox(&self, path: &RepoPath) -> Result<Option<Vec<u8>>, CallError> {
        let collected = self.toolbox.collect(std::slice::from_ref(path)).await?;
        Ok(collected.into_iter().find_map(|change| match change.content {
            ChangedContent::File { bytes, .. } => Some(bytes),
            ChangedContent::Absent => None,
        }))
    }
}

/// The written files as a list of changes.
pub fn changes_of(written: &BTreeMap<RepoPath, ChangedContent>) -> Vec<Change> {
    let change = |(path, content): (&RepoPath, &ChangedContent)| Change {
        path: path.clone(),
        content: content.clone(),
    };
    written.iter().map(change).collect()
}

/// A failure of our own object store ends the run, as the loss of the sandbox does.
pub(super) fn object_store_error(error: WorkspaceError) -> CallError {
    CallError::Fatal(SandboxError::Gone(error.to_string()))
}
