//! The verdict: whether a proposal is verified. The only module that can make a [`Verified`], from the exit
//! code of a test run in a fresh sandbox, never from anybody's claim.

use crate::domain::{FailedTest, Flag, Sha, TestRun, Transcript};

mod compare;
mod comparison;
mod expectations;
mod explanation;
mod failures;
mod judge;
mod known_failures;
mod path_kinds;
mod proof;
mod rewritten;
mod rules;
mod setup_effect;
mod steps;
mod suspicion;
mod test_files;
mod verifier;

pub use rules::{TestPaths, forbidden_path};
pub use verifier::{Defences, Rejected, Verdict, Verifier};

/// Proof that a tree passed the suite in a fresh sandbox and, if proof was required, that it brings a test
/// which fails without the change. If the base failed for other reasons, its failures may remain, and are
/// flagged. `publish::draft_pr` demands this type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    tree: Sha,
    run: TestRun,
    proof: Option<Vec<FailedTest>>,
    explanation: String,
    flags: Vec<Flag>,
}

impl Verified {
    /// The verified tree.
    pub fn tree(&self) -> &Sha {
        &self.tree
    }

    /// The run that it passed.
    pub fn run(&self) -> &TestRun {
        &self.run
    }

    /// The tests that fail on the base and pass on the proposal; `None` if no proof was required (the base
    /// failed, or the repository waives it).
    pub fn proof(&self) -> Option<&[FailedTest]> {
        self.proof.as_deref()
    }

    /// What a reviewer must look at first.
    pub fn flags(&self) -> &[Flag] {
        &self.flags
    }

    /// Why it is verified, in words for people.
    pub fn explanation(&self) -> &str {
        &self.explanation
    }

    /// The last recorded verdict, if it accepted the proposal: for a worker that continues after a crash
    /// between verdict and publication.
    pub fn from_transcript(transcript: Transcript<'_>) -> Option<Self> {
        let last = transcript.last_verdict().filter(|verdict| verdict.verified)?;
        let run = last.run?;
        let is_good =
            run.is_green() || last.flags.iter().any(|flag| matches!(flag, Flag::StillFailing { .. }));
        is_good.then(|| Self {
            tree: last.tree.clone(),
            run: run.clone(),
            proof: last.proof.map(<[_]>::to_vec),
            explanation: last.explanation.to_owned(),
            flags: last.flags.to_vec(),
        })
    }
}
