//! The fail→pass proof: a test that the change brings must fail without the change.

use crate::domain::{Change, ChangedContent, FailedTest, RepoPath, TestRun};
use crate::workspace::Proposal;

use super::rules::TestPaths;

/// The part of a proposal that is tests, to be put on the base alone. Empty: it brings none.
pub(super) fn test_changes_of(changes: &[Change], proposal: &Proposal, tests: &TestPaths) -> Vec<Change> {
    let brought = |change: &&Change| {
        proposal.paths.contains(&change.path)
            && tests.contains(&change.path)
            && matches!(change.content, ChangedContent::File { .. })
    };
    changes.iter().filter(brought).cloned().collect()
}

/// What the run of the new tests on the old source shows. `Err` is the words for the model.
pub(super) fn judge_proof(on_base: &TestRun, test_paths: &[RepoPath]) -> Result<Vec<FailedTest>, String> {
    use crate::domain::Ending;
    let named = test_paths.iter().map(RepoPath::as_str).collect::<Vec<_>>().join(", ");
    match on_base.result.ending {
        Ending::Exited { code: 0 } => Err(format!(
            "The tests you changed ({named}) pass on the base, too, without your change to the source. They \
             do not show the bug. Write a test that fails before the fix."
        )),
        Ending::Exited { .. } => Ok(on_base.failed.clone()),
        Ending::Signalled { .. } | Ending::TimedOut | Ending::OutOfMemory => Err(format!(
            "The tests you changed ({named}), run on the base without your change to the source, did not end \
             with a test failure but were cut off: {}. That proves nothing. Write a test that fails quickly.",
            on_base.result.ending.describe()
        )),
    }
}
