//! The verdict: whether a proposal is verified. The only place that can make a [`Verified`], and
//! it does so from the exit code of a test run in a fresh sandbox, never from anybody's word.

use crate::domain::{FailedTest, Flag, RecordedEvent, Sha, TestRun, TranscriptEvent};

mod compare;
mod known_failures;
mod proof;
mod rules;
mod suspicion;
mod verifier;

pub use rules::{TestPaths, forbidden_path};
pub use verifier::{Rejected, Verdict, Verifier};

/// Proof that a tree passed the suite in a fresh sandbox, and, where one was asked for, that it
/// brings a test which fails without the change. Where the base was red for more than that, what failed
/// before may still fail, and is flagged. `publish::draft_pr` demands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    tree: Sha,
    run: TestRun,
    proof: Option<Vec<FailedTest>>,
    explanation: String,
    flags: Vec<Flag>,
}

impl Verified {
    /// The tree that was judged.
    pub fn tree(&self) -> &Sha {
        &self.tree
    }

    /// The run that it passed.
    pub fn run(&self) -> &TestRun {
        &self.run
    }

    /// The tests that fail on the base and pass on the proposal; `None` where no proof was asked
    /// for (the base was red, or the repository waives it).
    pub fn proof(&self) -> Option<&[FailedTest]> {
        self.proof.as_deref()
    }

    /// What a reviewer must look at before anything else.
    pub fn flags(&self) -> &[Flag] {
        &self.flags
    }

    /// Why it is verified, in words for people.
    pub fn explanation(&self) -> &str {
        &self.explanation
    }

    /// The verdict recorded last, when it was a good one: for a worker that goes on after a crash
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
