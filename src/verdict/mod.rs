//! The verdict: whether a proposal is verified. The only module that can make a [`Verified`], from the exit
//! code of a test run in a fresh sandbox, never from anybody's claim.

use crate::domain::{FailedTest, Flag, RecordedEvent, Sha, TestRun, TranscriptEvent};

mod compare;
mod known_failures;
mod proof;
mod rules;
mod suspicion;
mod verifier;

pub use rules::{TestPaths, forbidden_path};
pub use verifier::{Rejected, Verdict, Verifier};

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
    pub fn from_transcript(transcript: &[RecordedEvent]) -> Option<Self> {
        let last = transcript.iter().rev().find_map(|recorded| match &recorded.event {
            TranscriptEvent::VerdictReached { verified, tree, explanation, run, proof, flags } => {
                Some((*verified, tree, explanation, run, proof, flags))
            }
            _ => None,
        });
        match last {
            Some((true, tree, explanation, Some(run), proof, flags))
                if run.is_green() || flags.iter().any(|flag| matches!(flag, Flag::StillFailing { .. })) =>
            {
                Some(Self {
                    tree: tree.clone(),
                    run: run.clone(),
                    proof: proof.clone(),
                    explanation: explanation.clone(),
                    flags: flags.clone(),
                })
            }
            Some(_) | None => None,
        }
    }
}
