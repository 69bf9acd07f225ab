//! The judge: a proposal's changes in, a verdict out. Each run has a sandbox of its own.

use std::collections::BTreeSet;

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{Change, ChangedContent, ExitStatus, FailedTest, Flag, Sha, TestRun};
use crate::workspace::Proposal;

use super::Verified;
use super::compare::{flags as compare_reports, refuses};
use super::known_failures::{Beside, beside};
use super::proof::{is_brought, judge_proof, test_changes_of};
use super::rules::{TestPaths, bears_on_existing_tests, forbidden_path, is_harness};
use super::suspicion::suspicious_lines;
use crate::setup::Environment;
use crate::testing::{SuiteError, run_suite};

/// Everything a verdict rests on, besides the proposal itself.
pub struct Verifier<'a> {
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
    Rejected(Box<Rejected>),
}

/// A proposal that may not be published.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// The tree that was judged.
    pub tree: Sha,
    /// Why not, in words for the model and for people.
    pub explanation: String,
    /// The run, where it came so far.
    pub run: Option<TestRun>,
    /// Whether a rule forbids the proposal, whatever its tests say.
    pub refused: bool,
}

/// What a run is worth beside the base's.
enum Standing {
    /// All of it passes.
    Green,
    /// The base was red, and what still fails failed there.
    Beside(Beside),
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

impl Verifier<'_> {
    /// Judges the base with `changes` applied. `known` is the red verdict before this one: the same
    /// tree is not run again.
    pub async fn judge(&self, changes: &[Change], known: Option<&Rejected>) -> Result<Verdict, SuiteError> {
        let mut verdict = self.weigh(changes, known).await?;
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

    async fn weigh(&self, changes: &[Change], known: Option<&Rejected>) -> Result<Verdict, SuiteError> {
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
        if self.may_be_flaky(&run, changes) {
            // Blamed only when it fails again.
            if let Ok(again) = self.run_at(&proposal.tree, "verdict-again").await?
                && self.standing(&again).is_ok()
            {
                let names = first_names(&run.failed());
                flags.push(Flag::Flaky { names });
                run = again;
            }
        }
        let standing = match self.standing(&run) {
            Ok(standing) => standing,
            Err(explanation) if run.is_green() => return red(explanation, Some(run), false),
            Err(explanation) => {
                let explanation = format!(
                    "In a fresh sandbox with only the base and your changes, {explanation}\nOnly files that you wrote \
                     with your tools are part of the proposal.",
                );
                return red(explanation, Some(run), false);
            }
        };
        match self.with_the_base_s_tests(changes, &proposal, &paths, &standing).await? {
            BaseTests::Untouched => {}
            BaseTests::Refused(explanation, run) => return red(explanation, *run, false),
            BaseTests::Flagged(more) => flags.extend(more),
        }
        let proof = match self.proof(&tests, &standing).await? {
            Ok(proof) => proof,
            Err(explanation) => return red(explanation, Some(run), false),
        };
        if let Standing::Beside(known) = &standing {
            let names = known.still.iter().take(FLAG_NAMES_MAX).cloned().collect();
            flags.push(Flag::StillFailing { names, count: known.still.len() as u64 });
        }
        flags.extend(compare_reports(&self.baseline.report, &run.report));
        flags.extend(self.lines_to_look_at(changes, &proposal, &paths).await?);
        let explanation = self.explain(&run, &standing, proof.as_deref());
        let verified = Verified { tree: proposal.tree, run, proof, explanation, flags };
        Ok(Verdict::Verified(Box::new(verified)))
    }

    /// A suite that ends well at the base is green for this, be it without a test: the change must
    /// bring one.
    fn proof_needed(&self) -> bool {
        self.baseline.exited_successfully() && self.environment.settings().proof_required
    }

    /// What a run is worth beside the base's. `Err` is why it is not enough, as the end of a sentence.
    fn standing(&self, run: &TestRun) -> Result<Standing, String> {
        if run.is_green() {
            return refuses(self.baseline, run).map_or(Ok(Standing::Green), Err);
        }
        match beside(self.baseline, run) {
            Some(Ok(known)) => Ok(Standing::Beside(known)),
            Some(Err(why)) => Err(format!("{}\n{why}", not_green(run))),
            None => Err(not_green(run)),
        }
    }

    /// Whether a red run may be chance: all that fails and did not fail at the base is named, and is
    /// nothing that the change brings.
    fn may_be_flaky(&self, run: &TestRun, changes: &[Change]) -> bool {
        let before = self.baseline.failed();
        let mut new = run.failed();
        new.retain(|test| !before.contains(test));
        let ended = matches!(run.result.ending, ExitStatus::Exited { .. });
        ended
            && !run.exited_successfully()
            && !new.is_empty()
            && new.iter().all(|test| !is_brought(test, changes))
    }

    /// The suite with the tests that the base has, as the base has them, and what runs them. Where the
    /// base was red it must be green so: otherwise a red test could be "mended" by changing the test.
    /// Where it was green, a test may have to change; what it would say unchanged is shown.
    async fn with_the_base_s_tests(
        &self,
        changes: &[Change],
        proposal: &Proposal,
        tests: &TestPaths,
        standing: &Standing,
    ) -> Result<BaseTests, SuiteError> {
        let (workspace, settings) = (self.environment.workspace(), self.environment.settings());
        let (mut kept, mut held_back, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        let (mut changed_tests, mut changed_harness) = (Vec::new(), Vec::new());
        for change in changes {
            let exists = workspace.base_contains(&change.path).await?;
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
        if !self.baseline.exited_successfully() {
            let (outcome, run) = match outcome {
                Ok(run) => match self.standing(&run) {
                    Ok(unchanged) if unchanged.fixes_all_of(standing) => (String::new(), None),
                    Ok(_) => (format!("less passes than with your changes. {}", not_green(&run)), Some(run)),
                    Err(why) => (why, Some(run)),
                },
                Err(setup) => (setup, None),
            };
            if !outcome.is_empty() {
                let explanation = format!(
                    "The suite is as it must be only with your changes to existing tests, or to what runs them ({}). With \
                     these as the base has them, {outcome}\nMend the source so that the tests pass as they are; add \
                     new tests in files of their own. If an existing test itself is wrong, ask_human.",
                    held_back.join(", "),
                );
                return Ok(BaseTests::Refused(explanation, Box::new(run)));
            }
        } else {
            match outcome {
                Ok(run) if self.standing(&run).is_ok() => {}
                Ok(run) => flags.push(Flag::TestsWeakened { names: first_names(&run.failed()) }),
                // What held the old tests up went with them.
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

    /// The proof, where one is asked for: the base was green and the repository does not waive it, or
    /// the base was red for something else, so that no test of it shows what the change is for.
    async fn proof(
        &self,
        tests: &[Change],
        standing: &Standing,
    ) -> Result<Result<Option<Vec<FailedTest>>, String>, SuiteError> {
        let fixes_nothing = matches!(standing, Standing::Beside(known) if known.fixed.is_empty());
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
            if let Standing::Beside(known) = standing {
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

    /// Runs the suite at `tree` in a sandbox that is made for it and gone afterwards.
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

    fn explain(&self, run: &TestRun, standing: &Standing, proof: Option<&[FailedTest]>) -> String {
        let before = self.baseline.result.ending.describe();
        let counted = match (run.report.is_known(), run.report.counts) {
            (false, _) => " Nothing but the exit code is known of it.".to_owned(),
            (true, Some(counts)) => format!(" Tests: {} ({}).", counts.describe(), run.report.origin()),
            (true, None) => String::new(),
        };
        let passed = match standing {
            Standing::Green => format!(
                "`{}` ended with exit code 0 in a fresh sandbox at the proposed tree (before the change: \
                 {before}).{counted}",
                run.command
            ),
            Standing::Beside(known) => {
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

impl Standing {
    /// Whether what the other mends is mended here, too.
    fn fixes_all_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Green, _) => true,
            (Self::Beside(_), Self::Green) => false,
            (Self::Beside(own), Self::Beside(theirs)) => own.fixed.is_superset(&theirs.fixed),
        }
    }
}

fn not_green(run: &TestRun) -> String {
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
