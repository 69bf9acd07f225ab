//! What tools work with, and the proposal that they build. Only what the tools write, delete or move
//! is proposed: it is held on our side, and whatever a command does to a file changes nothing of it.

use std::collections::BTreeMap;

use super::super::results::Results;
use crate::domain::{Change, ChangedContent, FileMode, JobSettings, RepoPath, TestRun, TranscriptEvent};
use crate::sandbox::protocol::WriteFile;
use crate::sandbox::{CallError, SandboxError, Toolbox};
use crate::workspace::{Workspace, WorkspaceError};

/// What tools work with, and what they leave behind for the transcript.
pub struct Hands<'a> {
    /// The sandbox.
    pub toolbox: &'a Toolbox,
    /// The base, and our own object store.
    pub workspace: &'a Workspace,
    /// The job's rules.
    pub settings: &'a JobSettings,
    /// The last test run, to tell what changed since.
    pub last_run: Option<TestRun>,
    /// What the tools answered so far, in full. The call being carried out is its next one.
    pub results: Results,
    /// What was written, deleted and moved so far: the proposal.
    pub written: BTreeMap<RepoPath, ChangedContent>,
    /// Events to record with the results.
    pub events: Vec<TranscriptEvent>,
}

/// A file as the base and the tools made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) mode: FileMode,
    pub(super) bytes: Vec<u8>,
}

impl Hands<'_> {
    /// The file that a proposal would have at `path`; `None` where it would have none.
    pub(super) async fn proposed(&self, path: &RepoPath) -> Result<Option<Settled>, CallError> {
        match self.written.get(path) {
            Some(ChangedContent::File { mode, bytes }) => {
                Ok(Some(Settled { mode: *mode, bytes: bytes.clone() }))
            }
            Some(ChangedContent::Absent) => Ok(None),
            None => self.at_base(path).await,
        }
    }

    async fn at_base(&self, path: &RepoPath) -> Result<Option<Settled>, CallError> {
        let tree = self.workspace.base_tree().await.map_err(unreachable_base)?;
        let found = self.workspace.content(&tree, path).await.map_err(unreachable_base)?;
        Ok(found.map(|(mode, bytes)| Settled { mode, bytes }))
    }

    /// Before an edit, a move or a deletion: the file is brought back to what the base and the tools
    /// made of it, should a command have changed it since. `None`: there is no such file.
    pub(super) async fn settle(&self, path: &RepoPath) -> Result<Option<Settled>, CallError> {
        let Some(settled) = self.proposed(path).await? else {
            return match self.found(path).await? {
                None => Ok(None),
                Some(_) => Err(CallError::RespondToModel(format!(
                    "{path} is not part of the repository; a command made it, and no proposal will hold it. To \
                     propose a file there, write it with write_file."
                ))),
            };
        };
        if self.found(path).await?.as_ref() != Some(&settled.bytes) {
            let content = String::from_utf8(settled.bytes.clone()).map_err(|_| {
                CallError::RespondToModel(format!("{path} is not text and was changed by a command."))
            })?;
            let executable = Some(settled.mode == FileMode::Executable);
            self.toolbox.write_file(&WriteFile { path: path.to_string(), content, executable }).await?;
        }
        Ok(Some(settled))
    }

    /// After a write: what now stands there is held on our side. A path that no proposal can hold
    /// is told.
    pub(super) async fn hold(&mut self, path: RepoPath, mode: FileMode) -> Result<(), CallError> {
        let Some(bytes) = self.found(&path).await? else {
            return Err(CallError::RespondToModel(format!("{path} was written and is gone again.")));
        };
        let content = ChangedContent::File { mode, bytes };
        self.check(&[Change { path: path.clone(), content: content.clone() }]).await?;
        self.written.insert(path, content);
        Ok(())
    }

    /// Holds that there is no file at `path` any more.
    pub(super) async fn let_go(&mut self, path: RepoPath) -> Result<(), CallError> {
        match self.at_base(&path).await? {
            Some(_) => self.written.insert(path, ChangedContent::Absent),
            // It was the tools' own; without it there is nothing to propose.
            None => self.written.remove(&path),
        };
        Ok(())
    }

    /// Tells what of `changes` no proposal can hold.
    pub(super) async fn check(&self, changes: &[Change]) -> Result<(), CallError> {
        match self.workspace.propose(changes.to_vec()).await {
            Ok(_) => Ok(()),
            Err(error @ WorkspaceError::RefusedChange { .. }) => {
                Err(CallError::RespondToModel(format!("This cannot be part of a proposal: {error}.")))
            }
            Err(error) => Err(unreachable_base(error)),
        }
    }

    /// The paths that the tools wrote and that now hold something else, or nothing: a command changed
    /// them.
    pub(super) async fn changed_behind(&self) -> Result<Vec<RepoPath>, CallError> {
        let paths: Vec<RepoPath> = self.written.keys().cloned().collect();
        let found = self.toolbox.collect(&paths).await?;
        let same = |change: &Change| match (&change.content, self.written.get(&change.path)) {
            (ChangedContent::File { bytes, .. }, Some(ChangedContent::File { bytes: held, .. })) => {
                bytes == held
            }
            (ChangedContent::Absent, Some(ChangedContent::Absent)) => true,
            (ChangedContent::File { .. } | ChangedContent::Absent, _) => false,
        };
        Ok(found.into_iter().filter(|change| !same(change)).map(|change| change.path).collect())
    }

    pub(super) async fn found(&self, path: &RepoPath) -> Result<Option<Vec<u8>>, CallError> {
        let collected = self.toolbox.collect(std::slice::from_ref(path)).await?;
        Ok(collected.into_iter().find_map(|change| match change.content {
            ChangedContent::File { bytes, .. } => Some(bytes),
            ChangedContent::Absent => None,
        }))
    }
}

/// What was written, as a proposal.
pub fn changes_of(written: &BTreeMap<RepoPath, ChangedContent>) -> Vec<Change> {
    let change = |(path, content): (&RepoPath, &ChangedContent)| Change {
        path: path.clone(),
        content: content.clone(),
    };
    written.iter().map(change).collect()
}

/// Our own object store failing ends the run, as a lost sandbox does.
pub(super) fn unreachable_base(error: WorkspaceError) -> CallError {
    CallError::Fatal(SandboxError::Gone(error.to_string()))
}
