//! A proposal under judgement, and how a step ends the judgement.

use std::collections::HashSet;

use crate::domain::{Change, ChangedContent, RepoPath, TestReport, TestRun};
use crate::testing::SuiteError;
use crate::workspace::{Proposal, Workspace, WorkspaceError};

use super::super::path_kinds::is_documentation;
use super::super::rules::TestPaths;
use super::super::test_files::TestFiles;
use super::in_source::InSource;

/// A proposal under judgement.
pub(in super::super) struct JudgedProposal<'c> {
    /// The base with the changes applied.
    pub(in super::super) proposal: Proposal,
    /// Where tests usually are.
    pub(in super::super) places: TestPaths,
    /// The changes that differ from the base.
    pub(in super::super) files: Vec<ChangedFile<'c>>,
    /// The tests in source files that it adds or changes.
    pub(in super::super) in_source: InSource,
}

/// A file that differs from the base.
pub(in super::super) struct ChangedFile<'c> {
    /// The change.
    pub(in super::super) change: &'c Change,
    /// Whether the base has something at its path.
    pub(in super::super) exists: bool,
    /// What the base has there, if it is a regular file.
    pub(in super::super) before: Vec<u8>,
}

impl ChangedFile<'_> {
    /// Its path.
    pub(in super::super) fn path(&self) -> &RepoPath {
        &self.change.path
    }

    /// Its new content; empty if it is deleted.
    pub(in super::super) fn after(&self) -> &[u8] {
        match &self.change.content {
            ChangedContent::File { bytes, .. } => bytes,
            ChangedContent::Absent => &[],
        }
    }

    /// Whether it is deleted.
    pub(in super::super) fn is_deleted(&self) -> bool {
        matches!(self.change.content, ChangedContent::Absent)
    }
}

impl<'c> JudgedProposal<'c> {
    /// Reads what the base has in place of the changes.
    pub(in super::super) async fn read(
        workspace: &Workspace,
        changes: &'c [Change],
        proposal: Proposal,
        places: TestPaths,
    ) -> Result<Self, WorkspaceError> {
        let base = workspace.base_tree().await?;
        let paths: HashSet<&RepoPath> = proposal.paths.iter().collect();
        let mut files = Vec::new();
        for change in changes.iter().filter(|change| paths.contains(&change.path)) {
            let exists = workspace.base_contains(&change.path).await?;
            let before = workspace.content(&base, &change.path).await?;
            files.push(ChangedFile {
                change,
                exists,
                before: before.map(|(_, bytes)| bytes).unwrap_or_default(),
            });
        }
        Ok(Self { proposal, places, files, in_source: InSource::default() })
    }

    /// The changes that differ from the base.
    pub(in super::super) fn changes(&self) -> Vec<Change> {
        self.files.iter().map(|file| file.change.clone()).collect()
    }

    /// The documentation that it adds or changes. No program should read it, but a test can.
    pub(in super::super) fn documentation(&self) -> impl Iterator<Item = Change> {
        let is_written =
            |file: &&ChangedFile<'_>| !file.is_deleted() && is_documentation(file.path().as_str());
        self.files.iter().filter(is_written).map(|file| file.change.clone())
    }

    /// The part of the proposal that is tests, and what lies beside them. `reports`: of runs that name tests.
    pub(in super::super) fn test_changes(&self, reports: &[&TestReport]) -> Vec<Change> {
        let tests = TestFiles::of(&self.places, reports);
        let is_test =
            |file: &&ChangedFile<'_>| !file.is_deleted() && tests.contains(file.path(), file.after());
        let mut brought: Vec<Change> =
            self.files.iter().filter(is_test).map(|file| file.change.clone()).collect();
        for change in self.in_source.brought() {
            if brought.iter().all(|known| known.path != change.path) {
                brought.push(change);
            }
        }
        brought
    }
}

/// Why a step ends the judgement.
pub(in super::super) enum StepError {
    /// The proposal may not be published.
    Rejected(Box<Rejection>),
    /// The judgement itself failed.
    Failed(SuiteError),
}

/// Why a proposal may not be published.
pub(in super::super) struct Rejection {
    /// In words for the model and for people.
    pub(in super::super) explanation: String,
    /// The run that shows it.
    pub(in super::super) run: Option<TestRun>,
    /// Whether a rule forbids the proposal, whatever its tests do.
    pub(in super::super) refused: bool,
}

impl Rejection {
    pub(in super::super) fn new(explanation: impl Into<String>) -> Self {
        Self { explanation: explanation.into(), run: None, refused: false }
    }

    /// A rule forbids it, whatever the tests do.
    pub(in super::super) fn by_rule(explanation: impl Into<String>) -> Self {
        Self { refused: true, ..Self::new(explanation) }
    }

    pub(in super::super) fn with_run(self, run: Option<TestRun>) -> Self {
        Self { run, ..self }
    }
}

impl From<Rejection> for StepError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(Box::new(rejection))
    }
}

impl From<SuiteError> for StepError {
    fn from(error: SuiteError) -> Self {
        Self::Failed(error)
    }
}

impl From<WorkspaceError> for StepError {
    fn from(error: WorkspaceError) -> Self {
        Self::Failed(error.into())
    }
}
