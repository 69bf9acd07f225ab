//! The judge: a proposal's changes in, a verdict out. Each run has a sandbox of its own.

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{Change, ChangedContent, Ending, FailedTest, Flag, Sha, TestRun};
use crate::workspace::Proposal;

use super::Verified;
use super::compare::{flags as compare_reports, refuses};
use super::environment::Environment;
use super::proof::{is_brought, judge_proof, test_changes_of};
use super::rules::{TestPaths, bears_on_existing_tests, forbidden_path, is_harness};
use super::suite::{SuiteError, run_suite};
use super::suspicion::suspicious_lines;

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
    Verified(Box<Verified>),
    /// It may not; the words go back to the model.
    Red(Box<Red>),
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

/// What the suite says with the base's own tests.
enum BaseTests {
    /// They are not changed.
    Untouched,
    /// It is red, and must not be.
    Refused(String, Box<Option<TestRun>>),
    /// What a reviewer must know of it.
    Flagged(Vec<Flag>),
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
            return Ok(Verdict::Red(Box::new(known.clone())));
        }
        let red = |explanation: String, run: Option<TestRun>, refused: bool| {
            Ok(Verdict::Red(Box::new(Red { tree: proposal.tree.clone(), explanation, run, refused })))
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
        let paths = TestPaths::new(settings);
        let tests = test_changes_of(changes, &proposal, &paths);
        if self.proof_needed() && tests.is_empty() {
            let explanation = "The suite was green before your change, so the change must bring a test that fails \
                               without it. Add one in a test file of its own (for instance under `tests/`), since it \
                               is run against the old source by itself.";
            return red(explanation.into(), None, false);
        }
        let mut flags = Vec::new();
        let mut run = match self.run_at(&proposal.tree, "verdict").await? {
            Ok(run) => run,
            Err(explanation) => return red(explanation, None, false),
        };
        if self.may_be_flaky(&run, changes) {
            // Blamed only when it fails again.
            if let Ok(again) = self.run_at(&proposal.tree, "verdict-again").await?
                && again.is_green()
            {
                let names = first_names(&run.failed());
                flags.push(Flag::Flaky { names });
                run = again;
            }
        }
        if !run.is_green() {
            let explanation = format!(
                "In a fresh sandbox with only the base and your changes, {}\nOnly files that you wrote with your \
                 tools are part of the proposal.",
                not_green(&run),
            );
            return red(explanation, Some(run), false);
        }
        if let Some(explanation) = refuses(self.baseline, &run) {
            return red(explanation, Some(run), false);
        }
        match self.with_the_base_s_tests(changes, &proposal, &paths).await? {
            BaseTests::Untouched => {}
            BaseTests::Refused(explanation, run) => return red(explanation, *run, false),
            BaseTests::Flagged(more) => flags.extend(more),
        }
        let proof = match self.proof(&tests).await? {
            Ok(proof) => proof,
            Err(explanation) => return red(explanation, Some(run), false),
        };
        flags.extend(compare_reports(&self.baseline.report, &run.report));
        flags.extend(self.lines_to_look_at(changes, &proposal, &paths).await?);
        let explanation = self.explain(&run, proof.as_deref());
        let verified = Verified { tree: proposal.tree, run, proof, explanation, flags };
        Ok(Verdict::Verified(Box::new(verified)))
    }

    /// A suite that ends well at the base is green for this, be it without a test: the change must
    /// bring one.
    fn proof_needed(&self) -> bool {
        self.baseline.ended_well() && self.environment.settings().proof_required
    }

    /// Whether a red run may be chance: the suite was green before, and all that fails is named,
    /// passed before, or is at least nothing that the change brings.
    fn may_be_flaky(&self, run: &TestRun, changes: &[Change]) -> bool {
        let failed = run.failed();
        let ended = matches!(run.result.ending, Ending::Exited { .. });
        self.baseline.is_green()
            && ended
            && !run.ended_well()
            && !failed.is_empty()
            && failed.iter().all(|test| !is_brought(test, changes))
    }

    /// The suite with the tests that the base has, as the base has them, and what runs them. Where the
    /// base was red it must be green so: otherwise a red test could be "mended" by changing the test.
    /// Where it was green, a test may have to change; what it would say unchanged is shown.
    async fn with_the_base_s_tests(
        &self,
        changes: &[Change],
        proposal: &Proposal,
        tests: &TestPaths,
    ) -> Result<BaseTests, SuiteError> {
        let (workspace, settings) = (self.environment.workspace(), self.environment.settings());
        let (mut kept, mut held_back, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        let (mut changed_tests, mut changed_harness) = (Vec::new(), Vec::new());
        for change in changes {
            let exists = workspace.base_has(&change.path).await?;
            let changed = proposal.paths.contains(&change.path);
            if !changed || !bears_on_existing_tests(tests, settings, &change.path, exists) {
                kept.push(change.clone());
                continue;
            }
            let path = change.path.to_string();
            held_back.push(path.clone());
            match exists && tests.contains(&change.path) && !is_harness(&change.path) {
                true => changed_tests.push(path),
                false => changed_harness.push(path),
            }
        }
        if held_back.is_empty() {
            return Ok(BaseTests::Untouched);
        }
        let strict = workspace.propose(kept).await?;
        let outcome = self.run_at(&strict.tree, "base-tests").await?;
        if !self.baseline.ended_well() {
            let (outcome, run) = match outcome {
                Ok(run) if !run.is_green() => (not_green(&run), Some(run)),
                Ok(run) => match refuses(self.baseline, &run) {
                    Some(why) => (why, Some(run)),
                    None => (String::new(), None),
                },
                Err(setup) => (setup, None),
            };
            if !outcome.is_empty() {
                let explanation = format!(
                    "The suite is green only with your changes to existing tests, or to what runs them ({}). With \
                     these as the base has them, {outcome}\nMend the source so that the tests pass as they are; add \
                     new tests in files of their own. If an existing test itself is wrong, ask_human.",
                    held_back.join(", "),
                );
                return Ok(BaseTests::Refused(explanation, Box::new(run)));
            }
        } else if let Ok(run) = outcome
            && !run.is_green()
        {
            flags.push(Flag::TestsWeakened { names: first_names(&run.failed()) });
        }
        for (mut paths, flag) in [(changed_tests, true), (changed_harness, false)] {
            let count = paths.len() as u64;
            paths.truncate(FLAG_NAMES_MAX);
            match (count, flag) {
                (0, _) => {}
                (_, true) => flags.push(Flag::TestFilesChanged { paths, count }),
                (_, false) => flags.push(Flag::HarnessChanged { paths, count }),
            }
        }
        Ok(BaseTests::Flagged(flags))
    }

    /// Added lines that can make tests look passed.
    async fn lines_to_look_at(
        &self,
        changes: &[Change],
        proposal: &Proposal,
        tests: &TestPaths,
    ) -> Result<Vec<Flag>, SuiteError> {
        let workspace = self.environment.workspace();
        let base = workspace.base_tree().await?;
        let mut flags = Vec::new();
        for change in changes.iter().filter(|change| proposal.paths.contains(&change.path)) {
            let ChangedContent::File { bytes, .. } = &change.content else { continue };
            let before =
                workspace.content(&base, &change.path).await?.map(|(_, bytes)| bytes).unwrap_or_default();
            let (before, after) = (String::from_utf8_lossy(&before), String::from_utf8_lossy(bytes));
            flags.extend(suspicious_lines(
                change.path.as_str(),
                tests.contains(&change.path),
                &before,
                &after,
            ));
            if flags.len() >= FLAG_NAMES_MAX {
                break;
            }
        }
        Ok(flags)
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
        let counted = match (run.report.is_known(), run.report.counts) {
            (false, _) => " Nothing but the exit code is known of it.".to_owned(),
            (true, Some(counts)) => format!(" Tests: {} ({}).", counts.in_words(), run.report.origin()),
            (true, None) => String::new(),
        };
        let passed = format!(
            "`{}` ended with exit code 0 in a fresh sandbox at the proposed tree (before the change: {before}).{counted}",
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
    if let Some(why) = run.report.contradicts_success().filter(|_| run.ended_well()) {
        return format!(
            "`{}` ended with exit code 0, but {why}. That is not a suite that passes.",
            run.command
        );
    }
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

/// As many names as a flag keeps.
fn first_names(tests: &[FailedTest]) -> Vec<String> {
    tests.iter().take(FLAG_NAMES_MAX).map(|test| test.0.clone()).collect()
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
