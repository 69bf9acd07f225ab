//! The repository as a whole: its map and its symbols. The responses are made inside the sandbox; they
//! are text for the model and nothing more.

use std::time::SystemTime;

use mendwright_protocol::{
    FindSymbol, Mutants, MutantsFound, RankedRepoMap, RepoMap, Request, SymbolLocations, TestItems,
    TestItemsMoved, TrackedChange, TrackedChangeKind, TrackedChanges, TrackedChangesFound,
};

use super::Toolbox;
use crate::domain::{RewrittenFile, TrackedFileChange};
use crate::sandbox::error::CallError;

/// Most changed files that are named.
const CHANGED_FILES_MAX: u32 = 1_000;

impl Toolbox {
    /// Ranks the files of the tree by how relevant they are to a text, and renders the best of them with
    /// their definitions, within a limit. A second map reads only what has changed.
    pub async fn repo_map(&self, request: &RepoMap) -> Result<RankedRepoMap, CallError> {
        self.rpc.call(&Request::RepoMap(request.clone())).await
    }

    /// Finds where a name is defined and used.
    pub async fn find_symbol(&self, request: &FindSymbol) -> Result<SymbolLocations, CallError> {
        self.rpc.call(&Request::FindSymbol(request.clone())).await
    }

    /// The tracked files that are not as they were unpacked, and how many could not be compared or named. A
    /// file that was written after `since` and has its content again is one of them.
    pub async fn changed_files(&self, since: SystemTime) -> Result<(Vec<RewrittenFile>, u64), CallError> {
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let request = TrackedChanges { since_ns, changes_max: CHANGED_FILES_MAX };
        let found: TrackedChangesFound = self.rpc.call(&Request::TrackedChanges(request)).await?;
        let changed = |TrackedChange { path, kind }| {
            let change = match kind {
                TrackedChangeKind::Rewritten => TrackedFileChange::Rewritten,
                TrackedChangeKind::Removed => TrackedFileChange::Removed,
                TrackedChangeKind::Touched => TrackedFileChange::Restored,
                TrackedChangeKind::Shadowed => TrackedFileChange::Shadowed,
            };
            RewrittenFile { path, change }
        };
        let named = found.changes.into_iter().take(CHANGED_FILES_MAX as usize).map(changed).collect();
        Ok((named, found.omitted.saturating_add(found.unchecked)))
    }

    /// Puts the test items of one version of a source file into another version of it.
    pub async fn move_test_items(&self, request: &TestItems) -> Result<TestItemsMoved, CallError> {
        self.rpc.call(&Request::TestItems(request.clone())).await
    }

    /// Mutants of some lines of a source file.
    pub async fn mutants(&self, request: &Mutants) -> Result<MutantsFound, CallError> {
        self.rpc.call(&Request::Mutants(request.clone())).await
    }
}
