//! The verdict: whether a proposal is verified. The only place that can make a [`Verified`], and
//! it does so from the exit code of a test run in a fresh sandbox, never from anybody's word.

use crate::domain::{FailedTest, Flag, Sha, TestRun, Transcript};

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
