//! The judge: a proposal's changes in, a verdict out. Each run has a sandbox of its own.

use crate::domain::{Change, FailedTest, Sha, TestRun};
use crate::workspace::Proposal;

use super::Verified;
use super::environment::Environment;
use super::proof::{judge_proof, test_changes_of};
use super::rules::{TestPaths, bears_on_existing_tests, forbidden_path};
use super::suite::{SuiteError, run_suite};

/// Everything a verdict rests on, besides the proposal itself.
pub struct Judge<'a> {
    /// Where the trees and the fresh sandboxes come from, with the rules of the base branch.
    pub environment: &'a Environment,
    /// The suite's run before any change.
    pub baseline: &'a TestRun,
}

/// What the judge found.
#[derive(Debug)]
pub enum Verdict {
    /// It may be published.
    Verified(Verified),
    /// It may not; the words go back to the model.
    Red(Red),
}

/// A proposal that may not be published.
#[derive(Debug, Clone)]
pub struct Red {
    /// The tree that was judged.
    pub tree: Sha,
    /// Why not, in words for the model and for people.
    pub explanation: String,
    /// The run, where it came so far.
    pub run: Option<TestRun>,
    /// Whether a rule forbids the proposal, whatever its tests say.
    pub refused: bool,
}

impl Judge<'_> {
    /// Judges the base with `changes` applied. `known` is the red verdict before this one: the same
    /// tree is not run again.
    pub async fn judge(&self, changes: &[Change], known: Option<&Red>) -> Result<Verdict, SuiteError> {
        let mut verdict = self.weigh(changes, known).await?;
        let explanation = match &mut verdict {
            Verdict::Verified(verified) => &mut verified.explanation,
            Verdict::Red(red) => &mut red.explanation,
        };
        for remark in self.environment.take_remarks() {
            explanation.push_str("\n\n");
            explanation.push_str(&remark);
        }
        Ok(verdict)
    }

    async fn weigh(&self, changes: &[Change], known: Option<&Red>) -> Result<Verdict, SuiteError> {
        let (workspace, settings) = (self.environment.workspace(), self.environment.settings());
        let proposal = workspace.propose(changes.to_vec()).await?;
        if let Some(known) = known.filter(|known| known.tree == proposal.tree) {
            return Ok(Verdict::Red(known.clone()));
        }
        let red = |explanation: String, run: Option<TestRun>, refused: bool| {
            Ok(Verdict::Red(Red { tree: proposal.tree.clone(), explanation, run, refused }))
        };
        if proposal.paths.is_empty() {
            return red("Nothing has been changed, so there is nothing to propose.".into(), None, false);
        }
        if let Some(path) = forbidden_path(settings, &proposal.paths) {
            let explanation = format!(
                "The proposal changes `{path}`, which is protected: no proposal may touch it. Undo that change and \
                 solve the issue without it."
            );
            return red(explanation, None, true);
        }
        let tests = test_changes_of(changes, &proposal, &TestPaths::new(settings));
        if self.proof_needed() && tests.is_empty() {
            let explanation = "The suite was green before your change, so the change must bring a test that fails \
                               without it. Add one in a test file of its own (for instance under `tests/`), since it \
                               is run against the old source by itself.";
            return red(explanation.into(), None, false);
        }
        let run = match self.run_at(&proposal.tree, "verdict").await? {
            Ok(run) => run,
            Err(explanation) => return red(explanation, None, false),
        };
        if !run.is_green() {
            let explanation = format!(
                "In a fresh sandbox with only the base and your changes, {}\nOnly files that you wrote with your \
                 tools are part of the proposal.",
                not_green(&run),
            );
            return red(explanation, Some(run), false);
        }
        if let Some((explanation, run)) = self.without_changed_tests(changes, &proposal).await? {
            return red(explanation, run, false);
        }
        let proof = match self.proof(&tests).await? {
            Ok(proof) => proof,
            Err(explanation) => return red(explanation, Some(run), false),
        };
        let explanation = self.explain(&run, proof.as_deref());
        Ok(Verdict::Verified(Verified { tree: proposal.tree, run, proof, explanation }))
    }

    fn proof_needed(&self) -> bool {
        self.baseline.is_green() && self.environment.settings().proof_required
    }

    /// Where the base was red: the suite must also be green with the tests that the base has, as
    /// the base has them. Otherwise a red test could be "mended" by changing the test, or what runs
    /// it. `None`: it is, or there is nothing to hold back.
    async fn without_changed_tests(
        &self,
        changes: &[Change],
        proposal: &Proposal,
    ) -> Result<Option<(String, Option<TestRun>)>, SuiteError> {
        if self.baseline.is_green() {
            return Ok(None);
        }
        let (workspace, settings) = (self.environment.workspace(), self.environment.settings());
        let tests = TestPaths::new(settings);
        let (mut kept, mut held_back) = (Vec::new(), Vec::new());
        for change in changes {
            let exists = workspace.base_has(&change.path).await?;
            let changed = proposal.paths.contains(&change.path);
            match changed && bears_on_existing_tests(&tests, settings, &change.path, exists) {
                true => held_back.push(change.path.as_str()),
                false => kept.push(change.clone()),
            }
        }
        if held_back.is_empty() {
            return Ok(None);
        }
        let strict = workspace.propose(kept).await?;
        let (outcome, run) = match self.run_at(&strict.tree, "base-tests").await? {
            Ok(run) if run.is_green() => return Ok(None),
            Ok(run) => (not_green(&run), Some(run)),
            Err(setup) => (setup, None),
        };
        let explanation = format!(
            "The suite is green only with your changes to existing tests, or to what runs them ({}). With these as \
             the base has them, {outcome}\nMend the source so that the tests pass as they are; add new tests in \
             files of their own. If an existing test itself is wrong, ask_human.",
            held_back.join(", "),
        );
        Ok(Some((explanation, run)))
    }

    /// The proof, where one is asked for: the base was green and the repository does not waive it.
    async fn proof(&self, tests: &[Change]) -> Result<Result<Option<Vec<FailedTest>>, String>, SuiteError> {
        if !self.proof_needed() {
            return Ok(Ok(None));
        }
        let on_base = self.environment.workspace().propose(tests.to_vec()).await?;
        let mut runs = Vec::new();
        for purpose in ["proof", "proof-again"] {
            match self.run_at(&on_base.tree, purpose).await? {
                Ok(run) => runs.push(run),
                Err(explanation) => return Ok(Err(explanation)),
            }
        }
        Ok(judge_proof(&runs[0], &runs[1], tests).map(Some))
    }

    /// Runs the suite at `tree` in a sandbox that is made for it and gone afterwards.
    async fn run_at(&self, tree: &Sha, purpose: &str) -> Result<Result<TestRun, String>, SuiteError> {
        let toolbox = match self.environment.fresh(tree, purpose).await? {
            Ok(toolbox) => toolbox,
            Err(failure) => {
                return Ok(Err(format!("The set-up fails with your changes: {}", failure.in_words())));
            }
        };
        let run = run_suite(&toolbox, self.environment.settings()).await;
        self.environment.note_egress(purpose, &toolbox);
        toolbox.shut_down().await;
        Ok(Ok(run?))
    }

    fn explain(&self, run: &TestRun, proof: Option<&[FailedTest]>) -> String {
        let before = self.baseline.result.ending.describe();
        let passed = format!(
            "`{}` ended with exit code 0 in a fresh sandbox at the proposed tree (before the change: {before}).",
            run.command
        );
        match proof {
            None => passed,
            Some([]) => format!(
                "{passed} With the new tests and the old source the suite does not pass; no single test is named in \
                 the output that was kept."
            ),
            Some(tests) => format!("{passed} The new tests fail on the old source:{}", names(tests)),
        }
    }
}

fn not_green(run: &TestRun) -> String {
    let advice = run.result.ending.advice().map(|advice| format!(" {advice}")).unwrap_or_default();
    let failed = run.failed();
    let failing = if failed.is_empty() { String::new() } else { format!(" Failing:{}", names(&failed)) };
    let lost = match run.names_may_be_lost() {
        true => "\nIts output was cut: tests may have failed that are not named.",
        false => "",
    };
    format!(
        "`{}` ended with {}, not with exit code 0.{advice}{failing}{lost}",
        run.command,
        run.result.ending.describe(),
    )
}

/// The tests' names, a line each, the first of them.
fn names(tests: &[FailedTest]) -> String {
    const NAMED_MAX: usize = 20;
    let named: String = tests.iter().take(NAMED_MAX).map(|test| format!("\n- {}", test.0)).collect();
    match tests.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named}\n- and {more} more"),
    }
}
