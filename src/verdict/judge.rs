//! Gives the verdict on a proposal, in steps. Each step is a file in `steps` and has sandboxes of its own. It
//! rejects with [`StepError::Rejected`], or returns flags for the reviewer.

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{Change, FailedTest, Flag, SetupRecipe};
use crate::testing::SuiteError;
use crate::workspace::WorkspaceError;

use super::Verified;
use super::compare::flags as compare_reports;
use super::comparison::Comparison;
use super::explanation::explain;
use super::rewritten;
use super::rules::{TestPaths, forbidden_path};
use super::steps::{ChangedFile, JudgedProposal, NO_TEST, Rejection, StepError};
use super::verifier::{Rejected, Verdict, Verifier};

impl Verifier<'_> {
    /// Verifies the base with `changes` applied. `known` is the previous rejecting verdict: the same tree is
    /// not run again. A rejection that rests on sandboxes with the base's kept build is given only if the proposal
    /// is rejected without it as well.
    pub async fn judge(&self, changes: &[Change], known: Option<&Rejected>) -> Result<Verdict, SuiteError> {
        self.environment.forget_starts();
        let warm_before = self.environment.warm_starts();
        let mut verdict = self.evaluate(changes, known).await?;
        if self.environment.warm_starts() > warm_before {
            match &verdict {
                Verdict::Verified(_) => {
                    let remark = self.environment.kept_build_remark();
                    self.environment.remark(&remark);
                }
                Verdict::Rejected(_) => {
                    let _cold = self.environment.start_cold();
                    verdict = self.evaluate(changes, None).await?;
                }
            }
        }
        self.environment.note_starts();
        let explanation = match &mut verdict {
            Verdict::Verified(verified) => &mut verified.explanation,
            Verdict::Rejected(red) => &mut red.explanation,
        };
        for remark in self.environment.take_remarks() {
            explanation.push_str("\n\n");
            explanation.push_str(&remark);
        }
        Ok(verdict)
    }

    async fn evaluate(&self, changes: &[Change], known: Option<&Rejected>) -> Result<Verdict, SuiteError> {
        let workspace = self.environment.workspace();
        let proposal = match workspace.propose(changes.to_vec()).await {
            Err(refused @ WorkspaceError::RefusedChange { .. }) => {
                let explanation = format!("This cannot be a proposal: {refused}. Undo that change.");
                let tree = workspace.base_tree().await?;
                let rejected = Rejected { tree, explanation, run: None, refused: true };
                return Ok(Verdict::Rejected(Box::new(rejected)));
            }
            other => other?,
        };
        if let Some(known) = known.filter(|known| known.tree == proposal.tree) {
            return Ok(Verdict::Rejected(Box::new(known.clone())));
        }
        let places = TestPaths::new(self.environment.settings());
        let mut candidate =
            JudgedProposal::read(self.environment.workspace(), changes, proposal, places).await?;
        candidate.in_source = self.tests_in_source(&candidate).await?;
        match self.verified(&candidate).await {
            Ok(verified) => Ok(Verdict::Verified(Box::new(verified))),
            Err(StepError::Rejected(rejection)) => {
                let Rejection { explanation, run, refused } = *rejection;
                let tree = candidate.proposal.tree;
                Ok(Verdict::Rejected(Box::new(Rejected { tree, explanation, run, refused })))
            }
            Err(StepError::Failed(error)) => Err(error),
        }
    }

    /// All steps, in order.
    async fn verified(&self, candidate: &JudgedProposal<'_>) -> Result<Verified, StepError> {
        self.check_rules(candidate)?;
        self.check_places(candidate).await?;
        let mut more = Vec::new();
        let (run, comparison, reference) = self.run_proposal(candidate, &mut more).await?;
        more.extend(self.check_base_tests(candidate, &reference, (&run, &comparison)).await?);
        let proof = self.proof(candidate, &reference, &run, &comparison, &mut more).await?;
        let outcome = (&run, &comparison);
        let mut flags = self.check_source(candidate, &reference, outcome, proof.as_deref()).await?;
        flags.extend(more);
        if let Comparison::KnownFailures(known) = &comparison {
            let names = known.still.iter().take(FLAG_NAMES_MAX).cloned().collect();
            flags.push(Flag::StillFailing { names, count: known.still.len() as u64 });
        }
        let found = SetupRecipe::of_plan(self.environment.settings());
        flags.extend(found.map(|found| Flag::SetupFoundByAgent { setup: found.setup, test: found.test }));
        let missing =
            self.environment.workspace().checkout_gaps().await.map_err(SuiteError::from)?.describe();
        flags.extend((!missing.is_empty()).then_some(Flag::IncompleteCheckout { missing }));
        let tree = &candidate.proposal.tree;
        flags.extend(self.flag_if_setup_decides(tree, &reference, &comparison).await?);
        if self.defences.compared_tests {
            flags.extend(compare_reports(&reference.baseline.report, &run.report));
        }
        flags.extend(self.suspicious_changes(candidate, &run));
        flags.extend(self.touched(candidate));
        if self.defences.rewritten_files {
            flags.extend(rewritten::flag(&reference.baseline.report, &run.report, |path| {
                candidate.places.contains(path)
            }));
        }
        let fixed = || reference.fixed_by(&run).into_iter().map(FailedTest).collect();
        let showing: Vec<FailedTest> = proof.clone().unwrap_or_else(fixed);
        self.check_harness(candidate, &reference, &run, &showing).await?;
        flags.extend(self.check_expectations(candidate, &reference, &run, &showing).await?);
        flags.extend(self.mutation_evidence(candidate, &reference, &run, &showing).await?);
        let explanation = explain(&reference.baseline, &run, &comparison, proof.as_deref());
        Ok(Verified { tree: candidate.proposal.tree.clone(), run, proof, explanation, flags })
    }

    /// What needs no run: that something is changed, and that nothing protected is.
    fn check_rules(&self, candidate: &JudgedProposal<'_>) -> Result<(), StepError> {
        if candidate.proposal.paths.is_empty() {
            return Err(Rejection::new("Nothing has been changed, so there is nothing to propose.").into());
        }
        let forbidden = forbidden_path(self.environment.settings(), &candidate.proposal.paths);
        if let Some(path) = forbidden.filter(|_| self.defences.protected_paths) {
            let explanation = format!(
                "The proposal changes `{path}`, which is protected: no proposal may touch it. Undo that change and \
                 solve the issue without it."
            );
            return Err(Rejection::by_rule(explanation).into());
        }
        // Whether a new file is a test, only a run can tell; that nothing can be one is seen before.
        let writes_nothing = candidate.files.iter().all(ChangedFile::is_deleted);
        if self.proof_needed() && writes_nothing {
            return Err(Rejection::new(NO_TEST).into());
        }
        Ok(())
    }

    /// Whether the change must bring a test: it must if the suite passes at the base, even without any test.
    pub(super) fn proof_needed(&self) -> bool {
        !self.baseline.is_red() && self.environment.settings().proof_required && self.defences.proof
    }
}
