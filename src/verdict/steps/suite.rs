//! The run of the suite at the proposal, and its comparison with the base's run.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::domain::{ExitStatus, Flag, RepoPath, Sha, TestCase, TestRun};
use crate::sandbox::Toolbox;
use crate::testing::{SuiteError, run_suite_as_far_as_possible, run_suite_of_tree, run_suite_to_the_end};

use super::super::comparison::{Comparison, Reference};
use super::super::failures::first_names;
use super::super::known_failures::newly_red;
use super::super::rewritten;
use super::super::rules::TestPaths;
use super::super::test_files::TestFiles;
use super::super::verifier::Verifier;
use super::candidate::{JudgedProposal, Rejection, StepError};

impl Verifier<'_> {
    /// Runs the suite at the proposed tree; a failure that may be flaky counts only if it fails again.
    pub(in super::super) async fn run_proposal<'v>(
        &'v self,
        candidate: &JudgedProposal<'_>,
        flags: &mut Vec<Flag>,
    ) -> Result<(TestRun, Comparison, Reference<'v>), StepError> {
        let tree = &candidate.proposal.tree;
        let mut reference = Reference { baseline: Cow::Borrowed(self.baseline), to_the_end: false };
        let mut run = match self.run_at(tree, "verdict", &reference).await? {
            Ok(run) => run,
            Err(explanation) => return Err(Rejection::new(explanation).into()),
        };
        if is_possibly_flaky(&reference, &run)
            && let Ok(again) = self.run_at(tree, "verdict-again", &reference).await?
            && reference.compare(&again).is_ok()
        {
            flags.push(Flag::Flaky { names: first_names(&run.failed()) });
            run = again;
        }
        if let Some((longer, whole)) = self.run_to_the_end(&reference, &run, tree).await? {
            (reference, run) = (longer, whole);
        }
        match reference.compare(&run) {
            Ok(comparison) => Ok((run, comparison, reference)),
            Err(explanation) if run.is_green() => Err(Rejection::new(explanation).with_run(Some(run)).into()),
            Err(explanation) => {
                let explanation = format!(
                    "In a fresh sandbox with only the base and your changes, {explanation}\nOnly files that you wrote \
                     with your tools are part of the proposal.",
                );
                Err(Rejection::new(explanation).with_run(Some(run)).into())
            }
        }
    }

    /// A suite that stops at its first failure says nothing of the tests behind it. If the proposal's run names a
    /// failing test that the base's run never reached, or if it fails as the base does and a longer run names one, both
    /// trees are run again so that the runner goes on. `None`: there is no such test, or the runner cannot be told to.
    async fn run_to_the_end(
        &self,
        reference: &Reference<'_>,
        run: &TestRun,
        tree: &Sha,
    ) -> Result<Option<(Reference<'static>, TestRun)>, StepError> {
        let new = newly_red(&reference.baseline, run);
        let is_unknown = |case: &&TestCase| reference.baseline.report.same(case).is_none();
        let may_hide = match new.is_empty() {
            true => run.report.is_red(),
            false => new.iter().all(is_unknown),
        };
        if !reference.baseline.is_red() || !may_hide {
            return Ok(None);
        }
        let Ok(Some(whole)) = self.run_longer(tree, "verdict-to-the-end").await? else { return Ok(None) };
        if newly_red(&reference.baseline, &whole).is_empty() {
            return Ok(None);
        }
        let base = self.environment.workspace().base_tree().await?;
        let Ok(Some(baseline)) = self.run_longer(&base, "base-to-the-end").await? else { return Ok(None) };
        Ok(Some((Reference { baseline: Cow::Owned(baseline), to_the_end: true }, whole)))
    }

    /// Runs the suite at `tree` in a new sandbox, as the reference was run. `Err`: why the setup fails, or why the run does
    /// not count.
    pub(in super::super) async fn run_at(
        &self,
        tree: &Sha,
        purpose: &str,
        reference: &Reference<'_>,
    ) -> Result<Result<TestRun, String>, SuiteError> {
        let toolbox = match self.start(tree, purpose).await? {
            Ok(toolbox) => toolbox,
            Err(why) => return Ok(Err(why)),
        };
        let settings = self.environment.settings();
        let run = match reference.to_the_end {
            true => run_suite_as_far_as_possible(&toolbox, settings).await,
            false => run_suite_of_tree(&toolbox, settings).await,
        };
        self.end(toolbox, purpose).await;
        self.checked(tree, run?).await
    }

    /// Runs the suite so that it does not stop at its first failure. `None`: the runner cannot be told to.
    async fn run_longer(
        &self,
        tree: &Sha,
        purpose: &str,
    ) -> Result<Result<Option<TestRun>, String>, SuiteError> {
        let toolbox = match self.start(tree, purpose).await? {
            Ok(toolbox) => toolbox,
            Err(why) => return Ok(Err(why)),
        };
        let run = run_suite_to_the_end(&toolbox, self.environment.settings()).await;
        self.end(toolbox, purpose).await;
        let Some(run) = run? else { return Ok(Ok(None)) };
        Ok(self.checked(tree, run).await?.map(Some))
    }

    /// A new sandbox with `tree`, set up. `Err`: why the setup fails.
    async fn start(&self, tree: &Sha, purpose: &str) -> Result<Result<Toolbox, String>, SuiteError> {
        let started = self.environment.fresh(tree, purpose).await?;
        Ok(started.map_err(|failure| format!("The setup fails with your changes: {}", failure.describe())))
    }

    async fn end(&self, toolbox: Toolbox, purpose: &str) {
        self.environment.note_egress(purpose, &toolbox);
        toolbox.shut_down().await;
    }

    /// The run as the defences see it. `Err`: why it does not count.
    async fn checked(&self, tree: &Sha, run: TestRun) -> Result<Result<TestRun, String>, SuiteError> {
        let run = self.defences.seen(run);
        Ok(self.check_unchanged(tree, &run).await?.map(|()| run))
    }

    /// Whether the tests are what they were before the run, wherever they lie. `Err`: why the run does not count.
    async fn check_unchanged(&self, tree: &Sha, run: &TestRun) -> Result<Result<(), String>, SuiteError> {
        if !self.defences.unchanged_tests {
            return Ok(Ok(()));
        }
        let places = TestPaths::new(self.environment.settings());
        let base = &self.baseline.report;
        let tests = TestFiles::of(&places, &[base, &run.report]);
        let mut held = HashSet::new();
        for file in rewritten::new_changes(base, &run.report) {
            let Ok(path) = file.path.parse::<RepoPath>() else { continue };
            let content = self.environment.workspace().content(tree, &path).await?;
            if content.is_some_and(|(_, bytes)| tests.holds_tests(&path, &bytes)) {
                held.insert(path);
            }
        }
        let why =
            rewritten::rejection(base, &run.report, |path| places.contains(path) || held.contains(path));
        Ok(why.map_or(Ok(()), Err))
    }
}

/// Whether a failing run may be flaky: every new failure is named, and is a test that the base has.
fn is_possibly_flaky(reference: &Reference<'_>, run: &TestRun) -> bool {
    let new = newly_red(&reference.baseline, run);
    let is_known = |case: &&TestCase| reference.baseline.report.same(case).is_some();
    // A runner that does not name passing tests leaves it open.
    let all_known = !reference.baseline.report.names_all() || new.iter().all(is_known);
    matches!(run.result.ending, ExitStatus::Exited { .. }) && run.is_red() && !new.is_empty() && all_known
}
