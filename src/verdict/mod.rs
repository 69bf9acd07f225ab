//! The verdict on a proposal: what is verified, and by which run.

use crate::domain::{FailedTest, Sha, TestRun};

/// A proposal that held in a fresh sandbox. Only this module can make one, and publishing a
/// pull request demands one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    tree: Sha,
    run: TestRun,
    proof: Option<Vec<FailedTest>>,
    explanation: String,
}

impl Verified {
    /// The tree that was judged, and the only one that may be pushed.
    pub fn tree(&self) -> &Sha {
        &self.tree
    }

    /// The run of the suite at that tree.
    pub fn run(&self) -> &TestRun {
        &self.run
    }

    /// The tests that fail on the base and pass on the proposal, where a proof was asked for.
    pub fn proof(&self) -> Option<&[FailedTest]> {
        self.proof.as_deref()
    }

    /// Why it holds, in words for people.
    pub fn explanation(&self) -> &str {
        &self.explanation
    }
}
