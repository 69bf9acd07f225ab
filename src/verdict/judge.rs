//! The judge: a proposal's changes in, a verdict out. Each run has a sandbox of its own.

use crate::domain::{Change, FailedTest, JobSettings, Sha, TestRun};
use crate::sandbox::{Sandbox, SandboxSpec};
use crate::workspace::{Proposal, Workspace};

use super::Verified;
use super::proof::{judge_proof, test_changes_of};
use super::rules::{TestPaths, forbidden_path};
use super::suite::{SuiteError, run_suite, start_fresh};

/// Everything a verdict rests on, besides the proposal itself.
pub struct Judge<'a> {
    /// Where the trees are.
    pub workspace: &'a Workspace,
    /// What starts the fresh sandboxes.
    pub sandbox: &'a dyn Sandbox,
    /// What they must be.
    pub spec: SandboxSpec,
    /// The rules, from the base branch.
    pub settings: &'a JobSettings,
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
#[derive(Debug)]
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
    /// Judges the base with `changes` applied.
    pub async fn judge(&self, changes: &[Change]) -> Result<Verdict, SuiteError> {
        let proposal = self.workspace.propose(changes.to_vec()).await?;
        if proposal.paths.is_empty() {
            return Ok(red(
                &proposal,
                "Nothing has been changed, so there is nothing to propose.".into(),
                false,
            ));
        }
        if let Some(path) = forbidden_path(self.settings, &proposal.paths) {
            return Ok(red(
                &proposal,
                format!(
                    "The proposal changes `{path}`, which is protected: no proposal may touch it. Undo that \
                     change and solve the issue without it."
                ),
                true,
            ));
        }
        let run = match self.run_at(&proposal.tree, "verdict").await? {
            Ok(run) => run,
            Err(explanation) => return Ok(red(&proposal, explanation, false)),
        };
        if !run.is_green() {
            let explanation = format!(
                "In a fresh sandbox with only the base and your changes, `{}` ended with {}, not with exit \
                 code 0.{}\nOnly files that you wrote with your tools are part of the proposal.",
                run.command,
                run.result.ending.describe(),
                failing_list(&run.failed),
            );
            return Ok(Verdict::Red(Red {
                tree: proposal.tree,
                explanation,
                run: Some(run),
                refused: false,
            }));
        }
        let proof = match self.proof(changes, &proposal).await? {
            Ok(proof) => proof,
            Err(explanation) => {
                return Ok(Verdict::Red(Red {
                    tree: proposal.tree,
                    explanation,
                    run: Some(run),
                    refused: false,
                }));
            }
        };
        let explanation = self.explain(&run, proof.as_deref());
        Ok(Verdict::Verified(Verified { tree: proposal.tree, run, proof, explanation }))
    }

    /// The proof, where one is asked for: the base was green and the repository does not waive it.
    async fn proof(
        &self,
        changes: &[Change],
        proposal: &Proposal,
    ) -> Result<Result<Option<Vec<FailedTest>>, String>, SuiteError> {
        if !self.baseline.is_green() || !self.settings.proof_required {
            return Ok(Ok(None));
        }
        let tests = test_changes_of(changes, proposal, &TestPaths::new(self.settings));
        if tests.is_empty() {
            return Ok(Err("The suite was green before your change, so the change must bring a test that fails \
                           without it. Add one in a test file of its own (for instance under `tests/`), since \
                           it is run against the old source by itself."
                .into()));
        }
        let on_base = self.workspace.propose(tests).await?;
        let run = match self.run_at(&on_base.tree, "proof").await? {
            Ok(run) => run,
            Err(explanation) => return Ok(Err(explanation)),
        };
        Ok(judge_proof(&run, &on_base.paths).map(Some))
    }

    /// Runs the suite at `tree` in a sandbox that is made for it and gone afterwards.
    async fn run_at(&self, tree: &Sha, purpose: &str) -> Result<Result<TestRun, String>, SuiteError> {
        let spec = SandboxSpec { label: format!("{}-{purpose}", self.spec.label), ..self.spec.clone() };
        let fresh = start_fresh(self.sandbox, &spec, self.workspace, tree, self.settings).await?;
        if let Some((command, result)) = fresh.setup_failure {
            fresh.toolbox.shut_down().await;
            return Ok(Err(format!(
                "The set-up command `{command}` fails with your changes: {}\n{}",
                result.ending.describe(),
                result.output.to_text()
            )));
        }
        let run = run_suite(&fresh.toolbox, self.settings).await;
        fresh.toolbox.shut_down().await;
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
            Some([]) => format!("{passed} The new tests, run on the old source, fail."),
            Some(tests) => format!("{passed} The new tests fail on the old source:{}", failing_list(tests)),
        }
    }
}

fn red(proposal: &Proposal, explanation: String, refused: bool) -> Verdict {
    Verdict::Red(Red { tree: proposal.tree.clone(), explanation, run: None, refused })
}

fn failing_list(failed: &[FailedTest]) -> String {
    const NAMED_MAX: usize = 20;
    if failed.is_empty() {
        return String::new();
    }
    let named: Vec<String> = failed.iter().take(NAMED_MAX).map(|test| format!("\n- {}", test.0)).collect();
    let more = failed.len().saturating_sub(NAMED_MAX);
    let more = if more == 0 { String::new() } else { format!("\n- and {more} more") };
    format!(" Failing:{}{more}", named.concat())
}
