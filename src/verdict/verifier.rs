//! The verifier: takes a proposal's changes and gives a verdict. Each run has a sandbox of its own.

use std::collections::BTreeSet;

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{Change, ChangedContent, ExitStatus, FailedTest, Flag, Sha, TestRun};
use crate::workspace::Proposal;

use super::Verified;
use super::compare::{flags as compare_reports, rejection};
use super::known_failures::{KnownFailures, compare_with_base};
use super::proof::{is_brought, judge_proof, test_changes_of};
use super::rules::{TestPaths, affects_existing_tests, forbidden_path, is_harness};
use super::suspicion::suspicious_lines;
use crate::setup::Environment;
use crate::testing::{SuiteError, run_suite};

/// Everything a verdict rests on, besides the proposal itself.
pub struct Verifier<'a> {
    /// Starts the fresh sandboxes, with the rules of the base branch.
    pub environment: &'a Environment,
    /// The suite's run before any change.
    pub baseline: &'a TestRun,
}

/// The verdict.
#[derive(Debug)]
pub enum Verdict {
    /// It may be published.
    Verified(Box<Verified>),
    /// It may not; the explanation goes back to the model.
    Rejected(Box<Rejected>),
}

/// A proposal that may not be published.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// The tree that was judged.
    pub tree: Sha,
    /// Why not, in words for the model and for people.
    pub explanation: String,
    /// The run, if there was one.
    pub run: Option<TestRun>,
    /// Whether a rule forbids the proposal, whatever its tests do.
    pub refused: bool,
}

/// A run compared with the base's.
pub(super) enum Comparison {
    /// All of it passes.
    Green,
    /// The base failed, and the remaining failures are the base's.
    KnownFailures(KnownFailures),
}

/// The result of the suite with the base's own tests.
enum BaseTestsResult {
    /// They are not changed.
    Untouched,
    /// It fails, and must not.
    Refused(String, Box<Option<TestRun>>),
    /// What a reviewer must know.
    Flagged(Vec<Flag>),
}

impl Verifier<'_> {
    /// Verifies the base with `changes` applied. `known` is the previous rejecting verdict: the same tree is
    /// not run again.
    pub async fn judge(&self, changes: &[Change], known: Option<&Rejected>) -> Result<Verdict, SuiteError> {
        let mut verdict = self.evaluate(changes, known).await?;
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
        let (workspace, settings) = (self.environment.workspace(), self.environment.settings());
        let proposal = workspace.propose(changes.to_vec()).await?;
        if let Some(known) = known.filter(|known| known.tree == proposal.tree) {
            return Ok(Verdict::Rejected(Box::new(known.clone())));
        }
        let red = |explanation: String, run: Option<TestRun>, refused: bool| {
            Ok(Verdict::Rejected(Box::new(Rejected {
                tree: proposal.tree.clone(),
                explanation,
                run,
                refused,
            })))
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
        if self.is_possibly_flaky(&run, changes) {
            // It counts only if it fails again.
            if let Ok(again) = self.run_at(&proposal.tree, "verdict-again").await?
                && self.compare(&again).is_ok()
            {
                let names = first_names(&run.failed());
                flags.push(Flag::Flaky { names });
                run = again;
            }
        }
        let comparison = match self.compare(&run) {
            Ok(comparison) => comparison,
            Err(explanation) if run.is_green() => return red(explanation, Some(run), false),
            Err(explanation) => {
                let explanation = format!(
                    "In a fresh sandbox with only the base and your changes, {explanation}\nOnly files that you wrote \
                     with your tools are part of the proposal.",
                );
                return red(explanation, Some(run), false);
            }
        };
        match self.check_base_tests(changes, &proposal, &paths, &comparison).await? {
            BaseTestsResult::Untouched => {}
            BaseTestsResult::Refused(explanation, run) => return red(explanation, *run, false),
            BaseTestsResult::Flagged(more) => flags.extend(more),
        }
        let proof = match self.proof(&tests, &comparison).await? {
            Ok(proof) => proof,
            Err(explanation) => return red(explanation, Some(run), false),
        };
        if let Comparison::KnownFailures(known) = &comparison {
            let names = known.still.iter().take(FLAG_NAMES_MAX).cloned().collect();
            flags.push(Flag::StillFailing { names, count: known.still.len() as u64 });
        }
        let missing = workspace.checkout_gaps().await?.describe();
        flags.extend((!missing.is_empty()).then_some(Flag::IncompleteCheckout { missing }));
        flags.extend(self.flag_if_setup_decides(&proposal.tree, &comparison).await?);
        flags.extend(compare_reports(&self.baseline.report, &run.report));
        flags.extend(self.suspicious_changes(changes, &proposal, &paths).await?);
        let explanation = self.explain(&run, &comparison, proof.as_deref());
        let verified = Verified { tree: proposal.tree, run, proof, explanation, flags };
        Ok(Verdict::Verified(Box::new(verified)))
    }

    /// Whether the change must bring a test: it must if the suite passes at the base, even without any test.
    fn proof_needed(&self) -> bool {
        self.baseline.exited_successfully() && self.environment.settings().proof_required
    }

    /// Compares a run with the base's. `Err` says why it does not suffice, as the end of a sentence.
    pub(super) fn compare(&self, run: &TestRun) -> Result<Comparison, String> {
        if run.is_green() {
            return rejection(self.baseline, run).map_or(Ok(Comparison::Green), Err);
        }
        match compare_with_base(self.baseline, run) {
            Some(Ok(known)) => Ok(Comparison::KnownFailures(known)),
            Some(Err(why)) => Err(format!("{}\n{why}", describe_failure(run))),
            None => Err(describe_failure(run)),
        }
    }

    /// Whether a failing run may be flaky: every new failure is named, and none is a test of the change.
    fn is_possibly_flaky(&self, run: &TestRun, changes: &[Change]) -> bool {
        let before = self.baseline.failed();
        let mut new = run.failed();
        new.retain(|test| !before.contains(test));
        let ended = matches!(run.result.ending, ExitStatus::Exited { .. });
        ended
            && !run.exited_successfully()
            && !new.is_empty()
            && new.iter().all(|test| !is_brought(test, changes))
    }

    /// Runs the suite with the base's tests and test setup. If the base failed, this must pass: otherwise
    /// changing a failing test would "fix" it. If the base passed, a test may have to change; the result of
    /// the unchanged tests is shown to the reviewer.
    async fn check_base_tests(
        &self,
        changes: &[Change],
        proposal: &Proposal,
        tests: &TestPaths,
        comparison: &Comparison,
    ) -> Result<BaseTestsResult, SuiteError> {
        let (workspace, settings) = (self.environment.workspace(), self.environment.settings());
        let (mut kept, mut withheld, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        let (mut changed_tests, mut changed_harness) = (Vec::new(), Vec::new());
        for change in changes {
            let exists = workspace.base_contains(&change.path).await?;
            let changed = proposal.paths.contains(&change.path);
            if !changed || !affects_existing_tests(tests, settings, &change.path, exists) {
                kept.push(change.clone());
                continue;
            }
            let path = change.path.to_string();
            withheld.push(path.clone());
            match exists && tests.contains(&change.path) && !is_harness(&change.path) {
                true => changed_tests.push(path),
                false => changed_harness.push(path),
            }
        }
        if withheld.is_empty() {
            return Ok(BaseTestsResult::Untouched);
        }
        let strict = workspace.propose(kept).await?;
        let outcome = self.run_at(&strict.tree, "base-tests").await?;
        if !self.baseline.exited_successfully() {
            let (outcome, run) = match outcome {
                Ok(run) => match self.compare(&run) {
                    Ok(unchanged) if unchanged.fixes_all_of(comparison) => (String::new(), None),
                    Ok(_) => {
                        (format!("less passes than with your changes. {}", describe_failure(&run)), Some(run))
                    }
                    Err(why) => (why, Some(run)),
                },
                Err(setup) => (setup, None),
            };
            if !outcome.is_empty() {
                let explanation = format!(
                    "The suite is as it must be only with your changes to existing tests, or to what runs them ({}). With \
                     these as the base has them, {outcome}\nMend the source so that the tests pass as they are; add \
                     new tests in files of their own. If an existing test itself is wrong, ask_human.",
                    withheld.join(", "),
                );
                return Ok(BaseTestsResult::Refused(explanation, Box::new(run)));
            }
        } else {
            match outcome {
                Ok(run) if self.compare(&run).is_ok() => {}
                Ok(run) => flags.push(Flag::TestsWeakened { names: first_names(&run.failed()) }),
                // The change removed what the old tests need.
                Err(_) => flags.push(Flag::TestsWeakened { names: Vec::new() }),
            }
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
        Ok(BaseTestsResult::Flagged(flags))
    }

    /// Added lines that can make tests seem to pass.
    async fn suspicious_changes(
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

    /// The proof, if it is required: the base passed and the repository does not waive it, or the base
    /// failed for other reasons, so that none of its tests shows what the change is for.
    async fn proof(
        &self,
        tests: &[Change],
        comparison: &Comparison,
    ) -> Result<Result<Option<Vec<FailedTest>>, String>, SuiteError> {
        let fixes_nothing = matches!(comparison, Comparison::KnownFailures(known) if known.fixed.is_empty());
        if !self.proof_needed() && !fixes_nothing {
            return Ok(Ok(None));
        }
        if tests.is_empty() {
            return Ok(Err("What failed at the base still fails, and your change brings no test. Mend what the \
                           issue is about, or, where no failing test shows it, add one that fails without your \
                           change."
                .to_owned()));
        }
        let on_base = self.environment.workspace().propose(tests.to_vec()).await?;
        let mut runs = Vec::new();
        for purpose in ["proof", "proof-again"] {
            match self.run_at(&on_base.tree, purpose).await? {
                Ok(run) => runs.push(run),
                Err(explanation) => return Ok(Err(explanation)),
            }
        }
        let proof = judge_proof(&runs[0], &runs[1], tests).map(|mut own| {
            if let Comparison::KnownFailures(known) = comparison {
                own.retain(|test| !known.still.contains(&test.0));
            }
            own
        });
        Ok(match proof {
            Ok(own) if own.is_empty() && fixes_nothing => Err("What failed at the base still fails, and none of \
                 the tests that you brought is named as failing without your change and passing with it. Mend \
                 what the issue is about, or add a test that shows it."
                .to_owned()),
            proof => proof.map(Some),
        })
    }

    /// Runs the suite at `tree` in a new sandbox.
    async fn run_at(&self, tree: &Sha, purpose: &str) -> Result<Result<TestRun, String>, SuiteError> {
        let toolbox = match self.environment.fresh(tree, purpose).await? {
            Ok(toolbox) => toolbox,
            Err(failure) => {
                return Ok(Err(format!("The set-up fails with your changes: {}", failure.describe())));
            }
        };
        let run = run_suite(&toolbox, self.environment.settings()).await;
        self.environment.note_egress(purpose, &toolbox);
        toolbox.shut_down().await;
        Ok(Ok(run?))
    }

    fn explain(&self, run: &TestRun, comparison: &Comparison, proof: Option<&[FailedTest]>) -> String {
        let before = self.baseline.result.ending.describe();
        let counted = match (run.report.is_known(), run.report.counts) {
            (false, _) => " Nothing but the exit code is known of it.".to_owned(),
            (true, Some(counts)) => format!(" Tests: {} ({}).", counts.describe(), run.report.origin()),
            (true, None) => String::new(),
        };
        let passed = match comparison {
            Comparison::Green => format!(
                "`{}` ended with exit code 0 in a fresh sandbox at the proposed tree (before the change: \
                 {before}).{counted}",
                run.command
            ),
            Comparison::KnownFailures(known) => {
                let tests = |names: &BTreeSet<String>| {
                    names.iter().map(|name| FailedTest(name.clone())).collect::<Vec<_>>()
                };
                let fixed = match known.fixed.is_empty() {
                    true => String::new(),
                    false => format!(" These failed and pass now:{}", names(&tests(&known.fixed))),
                };
                format!(
                    "`{}` ended with {before} in a fresh sandbox at the proposed tree, as before the \
                     change.{counted} All that passed before passes.{fixed}\nThese fail as they did before:{}",
                    run.command,
                    names(&tests(&known.still))
                )
            }
        };
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

impl Comparison {
    /// Whether everything that the other run fixes is fixed here too.
    pub(super) fn fixes_all_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Green, _) => true,
            (Self::KnownFailures(_), Self::Green) => false,
            (Self::KnownFailures(own), Self::KnownFailures(theirs)) => own.fixed.is_superset(&theirs.fixed),
        }
    }
}

fn describe_failure(run: &TestRun) -> String {
    if let Some(why) = run.report.contradicts_success().filter(|_| run.exited_successfully()) {
        return format!(
            "`{}` ended with exit code 0, but {why}. That is not a suite that passes.",
            run.command
        );
    }
    let advice = run.result.ending.advice().map(|advice| format!(" {advice}")).unwrap_or_default();
    let failed = run.failed();
    let failing = if failed.is_empty() { String::new() } else { format!(" Failing:{}", names(&failed)) };
    let lost = match run.may_miss_failed_tests() {
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
