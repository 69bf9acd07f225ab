//! Whether the suite of a proposal still reports a failure: one run with tests of ours that must fail. Source
//! that softens assertions, changes the exit code or prints a report of its own passes every other check.

use std::borrow::Cow;
use std::collections::HashSet;

use uuid::Uuid;

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{
    Change, ChangedContent, FailedTest, FileMode, RepoPath, Sha, TestCase, TestReport, TestRun,
};
use crate::testing::{CanaryTests, canary};
use crate::workspace::Proposal;

use super::super::comparison::Reference;
use super::super::rules::{TestPaths, is_harness};
use super::super::verifier::Verifier;
use super::candidate::{JudgedProposal, Rejection, StepError};

/// Test files of the base that are considered, and read.
const FILES_MAX: usize = 20_000;
const READ_MAX: usize = 40;
/// Paths that are read from the names of tests, and parts of one name.
const PATHS_MAX: usize = 200_000;
const DOTS_MAX: usize = 16;
/// Tests that show the issue and are compared.
const SHOWING_MAX: usize = 200;
/// Largest test file that is used.
const FILE_BYTES_MAX: usize = 1 << 20;

/// A place for tests that must fail.
struct Planted {
    path: RepoPath,
    mode: FileMode,
    /// Whether the proposal deletes it. Then it may not even load any more.
    is_restored: bool,
    canary: CanaryTests,
    /// The same tests in the file as the base has it: what the proposal puts there may soften them.
    at_base: CanaryTests,
}

impl Verifier<'_> {
    /// Runs the proposal with tests that must fail. If the run does not report them although the base's run
    /// does, the proposal is refused. So it is if `showing`, the tests that show the issue and pass in `verdict`, do not
    /// pass beside them.
    pub(in super::super) async fn check_harness(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
        verdict: &TestRun,
        showing: &[FailedTest],
    ) -> Result<(), StepError> {
        if !self.defences.canary {
            return Ok(());
        }
        if !self.baseline.report.is_known() {
            self.environment.remark(
                "No failing test was added to see whether the run reports it: the suite does not report its tests in a \
                 format that is known.",
            );
            return Ok(());
        }
        let stems = stems(&candidate.proposal.paths);
        let Some(planted) = self.plant(&candidate.proposal.tree, &candidate.proposal.paths, &stems).await?
        else {
            self.environment.remark(
                "No failing test was added to see whether the run reports it: there is no test file whose way of \
                 writing tests is known.",
            );
            return Ok(());
        };
        let tree = self.with_planted(&candidate.changes(), &planted, &planted.canary).await?;
        let mut length = Reference { baseline: Cow::Borrowed(&*reference.baseline), ..*reference };
        let mut run = match self.run_at(&tree, "canary", &length).await? {
            Ok(run) => run,
            Err(why) => return Err(Rejection::new(why).into()),
        };
        // A run that stopped at its first failure may not have reached them, and which failure is the first may be chance.
        // Only then is the runner told to go on: source could tell such a run from the one that is judged.
        if !planted.missing_in(&run).is_empty() && has_stopped_early(&run, verdict) {
            length.to_the_end = true;
            run = match self.run_at(&tree, "canary-to-the-end", &length).await? {
                Ok(run) => run,
                Err(why) => return Err(Rejection::new(why).into()),
            };
        }
        let missing = planted.missing_in(&run);
        let mut undone = undone_in(&run, verdict, showing);
        // Where a file is one test, it fails with them.
        undone.retain(|name| !planted.is_named(name));
        if !undone.is_empty()
            && let Ok(again) = self.run_at(&tree, "canary-again", &length).await?
        {
            let again = undone_in(&again, verdict, showing);
            undone.retain(|name| again.contains(name));
        }
        if !undone.is_empty() && missing.len() < planted.canary.names.len() {
            let explanation = format!(
                "Tests that must fail were added to `{}`. Beside them, tests that pass with your change fail: {}. So they \
                 pass only while the files of the tests are exactly what they are. Solve the issue for every input, \
                 without looking at the tests.",
                planted.path,
                undone.iter().take(FLAG_NAMES_MAX).copied().collect::<Vec<_>>().join(", ")
            );
            return Err(Rejection::new(explanation).with_run(Some(run)).into());
        }
        if missing.is_empty() && !run.exited_successfully() {
            self.environment.remark(&format!(
                "To see whether the run reports failures, failing tests were added to `{}` in a run of its own: it named \
                 them as failing, and ended with {}.",
                planted.path,
                run.result.ending.describe()
            ));
            return Ok(());
        }
        // Perhaps no run reports tests in this file. Only the whole suite tells: a selection of the file can reach what the
        // suite never runs.
        let base = self.with_planted(&[], &planted, &planted.at_base).await?;
        let longer = Reference { baseline: Cow::Borrowed(&*reference.baseline), to_the_end: true };
        let at_base = self.run_at(&base, "canary-base", &longer).await?.ok();
        let expected = at_base.as_ref().map(|at_base| planted.named_in(at_base)).unwrap_or_default();
        // A runner that cannot be told to go on does not reach all of them, and perhaps others than the base's run did.
        let stops_early = missing.len() < planted.canary.names.len() && run.report.names_all();
        let is_lost = |name: &&str| {
            let is_reported = || {
                run.report.cases.iter().any(|case| planted.canary.is_named(&case.name, name, &planted.path))
            };
            missing.contains(name) && (!stops_early || is_reported())
        };
        let lost: Vec<&str> = expected.iter().copied().filter(|name| is_lost(name)).collect();
        let hides_code = run.exited_successfully() && at_base.is_some_and(|run| !run.exited_successfully());
        if planted.is_restored && !lost.is_empty() && !hides_code {
            self.environment.remark(&format!(
                "Failing tests were added to `{}`, which the change deletes, to see whether the run reports them. It does \
                 not, so this says nothing.",
                planted.path
            ));
            return Ok(());
        }
        if !expected.is_empty() && (!lost.is_empty() || hides_code) {
            let explanation = format!(
                "Tests that must fail were added to `{}`. With the base's source, the run reports them as failing. With \
                 your change it does not: it ended with {}{}. So the change keeps failures from being reported, and the \
                 suite's result says nothing. Solve the issue without changing how tests, assertions or the process \
                 behave.",
                planted.path,
                run.result.ending.describe(),
                match lost.is_empty() {
                    true => String::new(),
                    false => format!(", and did not name {} of {} of them", lost.len(), expected.len()),
                }
            );
            return Err(Rejection::new(explanation).with_run(Some(run)).into());
        }
        self.environment.remark(&match expected.is_empty() {
            true => format!(
                "Failing tests were added to `{}` to see whether the run reports them. The base's run does not report \
                 them either, so this says nothing.",
                planted.path
            ),
            false => format!(
                "To see whether the run reports failures, failing tests were added to `{}` in a run of its own: it named \
                 those that the base's run names, and ended with {}.",
                planted.path,
                run.result.ending.describe()
            ),
        });
        Ok(())
    }

    /// Chooses a test file, best one that the base's report names and that uses what the change touches: `stems` are names
    /// of the files that it `changed`.
    async fn plant(
        &self,
        tree: &Sha,
        changed: &[RepoPath],
        stems: &[String],
    ) -> Result<Option<Planted>, StepError> {
        let (workspace, settings) = (self.environment.workspace(), self.environment.settings());
        let base = workspace.base_tree().await?;
        let tests = TestPaths::new(settings);
        let named = named_paths(&self.baseline.report);
        let found = workspace
            .find_files_by_name(&base, FILES_MAX, move |path| {
                named.contains(path)
                    || path.parse::<RepoPath>().is_ok_and(|path| tests.contains(&path) && !is_harness(&path))
            })
            .await?
            .unwrap_or_default();
        let package_json = match "package.json".parse() {
            Ok(path) => workspace.content(&base, &path).await?.map(|(_, bytes)| bytes),
            Err(_) => None,
        };
        let report = &self.baseline.report;
        let mut paths: Vec<RepoPath> = found.into_iter().filter_map(|(path, _)| path.parse().ok()).collect();
        // Tests of Rust stand in the source, too.
        paths.extend(changed.iter().filter(|path| path.as_str().ends_with(".rs")).cloned());
        let mut kept = Vec::new();
        for path in paths {
            if workspace.base_contains(&path).await? && kept.len() < FILES_MAX {
                kept.push((self.names_of(&path, changed), path));
            }
        }
        kept.sort_by(|(one, path), (other, second)| other.cmp(one).then_with(|| path.cmp(second)));
        let token = token();
        let mut best: Option<(usize, Planted)> = None;
        for (score, path) in kept.into_iter().take(READ_MAX) {
            // A file that the proposal deletes is put back for this run, if there is no other.
            let present = workspace.content(tree, &path).await?;
            let is_restored = present.is_none();
            let found = match present {
                Some(found) => Some(found),
                None if best.is_none() => workspace.content(&base, &path).await?,
                None => None,
            };
            let Some((mode, bytes)) = found else { continue };
            let Some(content) = String::from_utf8(bytes).ok().filter(|text| text.len() <= FILE_BYTES_MAX)
            else {
                continue;
            };
            let Some((_, before)) = workspace.content(&base, &path).await? else { continue };
            let made = |content: &str| {
                canary(settings, package_json.as_deref(), &report.formats, &path, content, &token)
            };
            let before = String::from_utf8(before).ok().and_then(|content| made(&content));
            let (Some(canary), Some(at_base)) = (made(&content), before) else { continue };
            let uses = stems.iter().filter(|stem| content.contains(stem.as_str())).count();
            let score = score * 2 + uses.min(3);
            let is_better = |(known, other): &(usize, Planted)| other.is_restored || score > *known;
            if best.as_ref().is_none_or(is_better) {
                best = Some((score, Planted { path, mode, is_restored, canary, at_base }));
            }
        }
        Ok(best.map(|(_, planted)| planted))
    }

    /// How likely a file's tests are run: whether the base's report has its path, or its name.
    fn names_of(&self, path: &RepoPath, changed: &[RepoPath]) -> usize {
        let path = path.as_str();
        let (name, _) = path.rsplit('/').next().unwrap_or(path).rsplit_once('.').unwrap_or((path, ""));
        let dotted = path.rsplit_once('.').map_or(path, |(stem, _)| stem).replace('/', ".");
        let is_of = |case: &TestCase| {
            case.location.as_ref().is_some_and(|at| at.file == path) || case.name.starts_with(path)
        };
        let is_named =
            |case: &TestCase| case.name.contains(&dotted) || (name.len() > 3 && case.name.contains(name));
        let cases = &self.baseline.report.cases;
        let changed = usize::from(changed.iter().any(|changed| changed.as_str() == path));
        match (cases.iter().any(is_of), cases.iter().any(is_named)) {
            (true, _) => 4 + changed,
            (false, true) => 2 + changed,
            (false, false) => changed,
        }
    }

    /// The tree of `changes` with the failing tests.
    async fn with_planted(
        &self,
        changes: &[Change],
        planted: &Planted,
        canary: &CanaryTests,
    ) -> Result<Sha, StepError> {
        let mut changes: Vec<Change> =
            changes.iter().filter(|change| change.path != planted.path).cloned().collect();
        let bytes = canary.content.clone().into_bytes();
        let content = ChangedContent::File { mode: planted.mode, bytes };
        changes.push(Change { path: planted.path.clone(), content });
        let Proposal { tree, .. } = self.environment.workspace().propose(changes).await?;
        Ok(tree)
    }
}

impl Planted {
    /// Whether a test of this name is one of the added ones, or the file that they stand in.
    fn is_named(&self, test: &str) -> bool {
        self.canary.names.iter().any(|name| self.canary.is_named(test, name, &self.path))
    }

    /// The failing tests that a run names as failing.
    fn named_in(&self, run: &TestRun) -> Vec<&str> {
        let is_named =
            |name: &&str| run.report.red().any(|case| self.canary.is_named(&case.name, name, &self.path));
        self.canary.names.iter().map(String::as_str).filter(is_named).collect()
    }

    /// The failing tests that a run does not name as failing.
    fn missing_in(&self, run: &TestRun) -> Vec<&str> {
        let named = self.named_in(run);
        self.canary.names.iter().map(String::as_str).filter(|name| !named.contains(name)).collect()
    }
}

/// The paths of test files that a report names, wherever they lie: as a path, or as a module of Python.
fn named_paths(report: &TestReport) -> HashSet<String> {
    let of_case = |case: &TestCase| {
        let first = Some(case.file_in_name());
        let module = case.name.split_once(" (").and_then(|(_, rest)| rest.split(')').next());
        let modules = module.into_iter().flat_map(|dotted| {
            dotted
                .match_indices('.')
                .take(DOTS_MAX)
                .map(|(at, _)| format!("{}.py", dotted[..at].replace('.', "/")))
        });
        let located = case.location.as_ref().map(|location| location.file.clone());
        modules.chain(first.map(str::to_owned)).chain(case.group.clone()).chain(located).collect::<Vec<_>>()
    };
    report.cases.iter().flat_map(of_case).take(PATHS_MAX).collect()
}

/// Whether a failing run did not come to tests that the other run has.
fn has_stopped_early(run: &TestRun, verdict: &TestRun) -> bool {
    let is_missing = |case: &TestCase| run.report.same(case).is_none();
    !run.exited_successfully() && run.report.is_red() && verdict.report.cases.iter().any(is_missing)
}

/// Those of `tests` that pass in `verdict` and that `run` names as not passed.
fn undone_in<'t>(run: &TestRun, verdict: &TestRun, tests: &'t [FailedTest]) -> Vec<&'t str> {
    let is_undone = |test: &&FailedTest| {
        let case = verdict.report.cases.iter().find(|case| verdict.report.title(case) == test.0);
        case.is_some_and(|case| !case.is_red() && run.report.same(case).is_some_and(TestCase::is_red))
    };
    tests.iter().take(SHOWING_MAX).filter(is_undone).map(|test| test.0.as_str()).collect()
}

/// Random lower-case letters.
pub(super) fn token() -> String {
    let letter = |digit: u8| char::from(b'a' + digit % 26);
    Uuid::new_v4().into_bytes().into_iter().take(10).map(letter).collect()
}

/// The names of the changed files, as other files import them.
fn stems(changed: &[RepoPath]) -> Vec<String> {
    let stem = |path: &RepoPath| {
        let name = path.as_str().rsplit('/').next().unwrap_or_default();
        name.split('.').next().filter(|stem| stem.len() > 1).map(str::to_owned)
    };
    changed.iter().filter_map(stem).collect()
}
