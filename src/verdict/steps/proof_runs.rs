//! The runs that prove a change: its tests on the base's source.

use std::borrow::Cow;

use crate::domain::{Change, FailedTest, Flag, TestRun};

use super::super::comparison::{Comparison, Reference};
use super::super::failures::first_names;
use super::super::proof::ProofRuns;
use super::super::verifier::Verifier;
use super::candidate::{JudgedProposal, Rejection, StepError};

impl Verifier<'_> {
    /// The proof, if it is required: the base passed and the repository does not waive it, or the base
    /// failed for other reasons, so that none of its tests shows what the change is for.
    pub(in super::super) async fn proof(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
        run: &TestRun,
        comparison: &Comparison,
        flags: &mut Vec<Flag>,
    ) -> Result<Option<Vec<FailedTest>>, StepError> {
        let fixes_nothing = comparison.fixes_nothing();
        if !self.proof_needed() && !fixes_nothing {
            return Ok(None);
        }
        let refused = |why: &str| StepError::from(Rejection::new(why).with_run(Some(run.clone())));
        let tests = candidate.test_changes(&[&reference.baseline.report, &run.report]);
        if tests.is_empty() && fixes_nothing {
            return Err(refused(
                "What failed at the base still fails, and your change brings no test. Fix what the issue is about, \
                 or, where no failing test shows it, add one that fails without your change.",
            ));
        }
        if tests.is_empty() {
            return Err(refused(NO_TEST));
        }
        // A suite that stops at a failure of the base does not reach the new tests.
        let to_the_end = reference.to_the_end || reference.baseline.is_red();
        let longer = Reference { baseline: Cow::Borrowed(&*reference.baseline), to_the_end };
        let mut brought = tests.clone();
        brought
            .extend(candidate.documentation().filter(|one| tests.iter().all(|test| test.path != one.path)));
        let on_base = self.environment.workspace().propose(brought).await?;
        let mut runs = Vec::new();
        for purpose in ["proof", "proof-again"] {
            match self.run_at(&on_base.tree, purpose, &longer).await? {
                Ok(run) => runs.push(run),
                Err(explanation) => return Err(refused(&explanation)),
            }
        }
        let paths = tests.iter().map(|change| change.path.as_str()).collect::<Vec<_>>().join(", ");
        let judged =
            ProofRuns { base: &reference.baseline, first: &runs[0], second: &runs[1], proposal: run, paths };
        match judged.judge() {
            Ok(own) if own.is_empty() && fixes_nothing => Err(refused(
                "What failed at the base still fails, and none of the tests that you brought is named as failing \
                 without your change and passing with it. Fix what the issue is about, or add a test that shows it.",
            )),
            Ok(own) => {
                let adds_only = tests.iter().all(|test| candidate.is_added(test));
                let is_known = |test: &FailedTest| reference.baseline.report.case(&test.0).is_some();
                if !own.is_empty() && adds_only && own.iter().all(is_known) {
                    flags.push(Flag::ProvedByOldTests { names: first_names(&own) });
                }
                Ok(Some(own))
            }
            Err(why) => Err(refused(&why)),
        }
    }
}

/// What a change without a test is answered.
pub(in super::super) const NO_TEST: &str = "The suite was green before your change, so the change must bring a test that fails without it. Add one in a test \
     file of its own (for instance under `tests/`), or among the tests that stand in the changed source file, since it is run \
     against the old source by itself.";

impl JudgedProposal<'_> {
    /// Whether a change adds a file that the base does not have.
    fn is_added(&self, change: &Change) -> bool {
        self.files.iter().any(|file| file.path() == &change.path && !file.exists)
    }
}
