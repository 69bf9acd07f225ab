//! The run with the base's own tests: changing a failing test must not fix it. And the run with nothing but the
//! source of the proposal: what it adds beside that must not be what keeps the base's tests passing.

use std::collections::HashSet;

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{Change, Flag, RepoPath, ReportFormat, TestCase, TestOutcome, TestRun};
use crate::testing::format_of_command;

use super::super::comparison::{Comparison, Reference};
use super::super::failures::{describe_failure, first_names};
use super::super::path_kinds::{is_source, source_extensions, tests_are_parsed};
use super::super::rules::{is_ambiguous_place, is_harness, is_program_of_command};
use super::super::test_files::{TestFiles, is_support_of_tests, is_test_module_of};
use super::super::verifier::Verifier;
use super::candidate::{ChangedFile, JudgedProposal, Rejection, StepError};

/// A proposal without what it changes of the base's tests.
#[derive(Default)]
struct Strict {
    /// The changes that are kept.
    kept: Vec<Change>,
    /// What is not, in words.
    withheld: Vec<String>,
    /// Of these, what is perhaps no test: its place or its content only looks like one.
    doubtful: Vec<Change>,
    changed_tests: Vec<String>,
    changed_harness: Vec<String>,
    /// The kept changes that are source.
    source: Vec<Change>,
    /// The other kept changes.
    others: Vec<String>,
}

impl Verifier<'_> {
    /// Runs the suite with the base's tests and test setup. If the base failed, this must pass: otherwise
    /// changing a failing test would "fix" it. If the base passed, a test may have to change; the result of
    /// the unchanged tests is shown to the reviewer.
    pub(in super::super) async fn check_base_tests(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
        (run, comparison): (&TestRun, &Comparison),
    ) -> Result<Vec<Flag>, StepError> {
        if !self.defences.base_tests {
            return Ok(Vec::new());
        }
        let mut flags = Vec::new();
        let lost: Vec<String> = candidate.in_source.lost().take(FLAG_NAMES_MAX).collect();
        if !lost.is_empty() {
            flags.push(Flag::TestsWeakened { names: lost });
        }
        let strict = self.strict(candidate, reference).await?;
        if !strict.withheld.is_empty() {
            flags.extend(self.check_with_base_tests(&strict, reference, comparison).await?);
        }
        // That existing tests were weakened is told already.
        if !strict.others.is_empty() && flags.is_empty() {
            flags.extend(self.check_source_alone(&strict, reference, run).await?);
        }
        for (mut paths, is_test) in [(strict.changed_tests, true), (strict.changed_harness, false)] {
            let count = paths.len() as u64;
            paths.truncate(FLAG_NAMES_MAX);
            match (count, is_test) {
                (0, _) => {}
                (_, true) => flags.push(Flag::TestFilesChanged { paths, count }),
                (_, false) => flags.push(Flag::HarnessChanged { paths, count }),
            }
        }
        Ok(flags)
    }

    /// Sorts the changed files.
    async fn strict(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
    ) -> Result<Strict, StepError> {
        let settings = self.environment.settings();
        let report = &reference.baseline.report;
        let reports: &[_] = if self.defences.named_tests { &[report] } else { &[] };
        let tests = TestFiles::of(&candidate.places, reports);
        // In other formats, names are those of files or programs, which declare nothing.
        let names_declarations = report.is_known() && report.formats.iter().all(declares_its_tests);
        let extensions = source_extensions(report, format_of_command(&settings.test_command, None));
        let mut strict = Strict::default();
        for file in &candidate.files {
            let path = file.path();
            if let Some(with_base_tests) = candidate.in_source.with_base_tests(file.change) {
                strict.kept.push(with_base_tests.clone());
                strict.source.push(with_base_tests);
                strict.withheld.push(format!("the tests in {path}"));
                strict.changed_tests.push(path.to_string());
                continue;
            }
            let is_test = file.exists && tests.contains(path, &file.before);
            let is_harness = is_harness(path);
            let is_program = is_program_of_command(settings, path, extensions.as_deref());
            let declares = self.defences.named_tests && tests.declares_in(&file.before);
            let looks_like_test = file.exists
                && self.defences.named_tests
                && (is_support_of_tests(path, &file.before) || self.is_test_module(file).await?);
            if !is_test && !is_harness && !is_program && !looks_like_test {
                strict.kept.push(file.change.clone());
                let is_new_test = !file.exists && tests.contains(path, file.after());
                match !is_new_test && is_source(path.as_str(), extensions.as_deref()) {
                    true => strict.source.push(file.change.clone()),
                    false => strict.others.push(path.to_string()),
                }
                // A file with tests and source in it that no parser takes apart.
                if file.exists && declares && !tests_are_parsed(path) {
                    strict.changed_tests.push(path.to_string());
                }
                continue;
            }
            let is_ambiguous = is_test && !declares && is_ambiguous_place(settings, path);
            if !is_harness && !is_program && (is_ambiguous || !is_test) && names_declarations {
                strict.doubtful.push(file.change.clone());
            }
            strict.withheld.push(path.to_string());
            match (is_test || looks_like_test) && !is_harness {
                true => strict.changed_tests.push(path.to_string()),
                false => strict.changed_harness.push(path.to_string()),
            }
        }
        Ok(strict)
    }

    /// Whether another file of Rust declares this one as a module for tests.
    async fn is_test_module(&self, file: &ChangedFile<'_>) -> Result<bool, StepError> {
        let workspace = self.environment.workspace();
        let base = workspace.base_tree().await?;
        for parent in parent_modules(file.path()) {
            if let Some((_, bytes)) = workspace.content(&base, &parent).await?
                && is_test_module_of(file.path(), &String::from_utf8_lossy(&bytes))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn check_with_base_tests(
        &self,
        strict: &Strict,
        reference: &Reference<'_>,
        comparison: &Comparison,
    ) -> Result<Vec<Flag>, StepError> {
        let workspace = self.environment.workspace();
        let tree = workspace.propose(strict.kept.clone()).await?.tree;
        let outcome = self.run_at(&tree, "base-tests", reference).await?;
        if !reference.baseline.is_red() {
            let is_good = |outcome: &Result<TestRun, String>| {
                outcome.as_ref().is_ok_and(|run| reference.compare(run).is_ok())
            };
            if is_good(&outcome)
                || !strict.doubtful.is_empty() && is_good(&self.lenient(strict, reference).await?)
            {
                return Ok(Vec::new());
            }
            // A change can have removed what the old tests need.
            let failed = outcome.map(|run| run.failed()).unwrap_or_default();
            return Ok(vec![Flag::TestsWeakened { names: first_names(&failed) }]);
        }
        let (mut outcome, mut run) = insufficient(outcome, reference, comparison);
        // Then the reviewer is told that these files were changed.
        if !outcome.is_empty() && !strict.doubtful.is_empty() {
            (outcome, run) = insufficient(self.lenient(strict, reference).await?, reference, comparison);
        }
        if outcome.is_empty() {
            return Ok(Vec::new());
        }
        let explanation = format!(
            "The suite is as it must be only with your changes to existing tests, or to what runs them ({}). With \
             these as the base has them, {outcome}\nFix the source so that the tests pass as they are; add \
             new tests in files of their own. If an existing test itself is wrong, ask_human.",
            strict.withheld.join(", "),
        );
        Err(Rejection::new(explanation).with_run(run).into())
    }

    /// The run in which what is perhaps no test is as the proposal has it.
    async fn lenient(
        &self,
        strict: &Strict,
        reference: &Reference<'_>,
    ) -> Result<Result<TestRun, String>, StepError> {
        let lenient = strict.kept.iter().chain(&strict.doubtful).cloned().collect();
        let tree = self.environment.workspace().propose(lenient).await?.tree;
        Ok(self.run_at(&tree, "base-tests", reference).await?)
    }

    /// Runs the base's tests with the source of the proposal and nothing else of it.
    async fn check_source_alone(
        &self,
        strict: &Strict,
        reference: &Reference<'_>,
        run: &TestRun,
    ) -> Result<Option<Flag>, StepError> {
        if !self.defences.source_alone || strict.source.is_empty() {
            return Ok(None);
        }
        let tree = self.environment.workspace().propose(strict.source.clone()).await?.tree;
        // Perhaps the source alone cannot even be set up.
        let Ok(alone) = self.run_at(&tree, "source-alone", reference).await? else { return Ok(None) };
        let base = &reference.baseline.report;
        let fails = |case: &TestCase, alone: &TestRun| {
            let is_passed_by_proposal =
                run.report.same(case).is_some_and(|now| now.outcome == TestOutcome::Passed);
            let is_lost = alone.report.same(case).map_or(alone.report.names_all(), TestCase::is_red);
            !case.stands_for_tests && is_passed_by_proposal && is_lost
        };
        let failing_in = |alone: &TestRun| -> Vec<String> {
            base.cases.iter().filter(|case| fails(case, alone)).map(|case| base.title(case)).collect()
        };
        let mut failing = failing_in(&alone);
        // Some tests fail by chance.
        if !failing.is_empty() {
            let Ok(again) = self.run_at(&tree, "source-alone-again", reference).await? else {
                return Ok(None);
            };
            let again: HashSet<String> = failing_in(&again).into_iter().collect();
            failing.retain(|name| again.contains(name));
        }
        let is_worse = match base.is_known() {
            true => !failing.is_empty(),
            false => run.is_green() && !alone.is_green(),
        };
        let paths = strict.others.iter().take(FLAG_NAMES_MAX).cloned().collect();
        let names = failing.iter().take(FLAG_NAMES_MAX).cloned().collect();
        Ok(is_worse.then_some(Flag::PassOnlyWithOtherFiles { names, paths, count: failing.len() as u64 }))
    }
}

/// Whether the names in a report of this format are declared in the tests' files.
fn declares_its_tests(format: &ReportFormat) -> bool {
    !matches!(format, ReportFormat::Ctest | ReportFormat::Prove | ReportFormat::Tap | ReportFormat::Junit)
}

/// The files that can declare a file as a module of Rust.
fn parent_modules(path: &RepoPath) -> Vec<RepoPath> {
    let Some((directory, name)) = path.as_str().rsplit_once('/') else { return Vec::new() };
    if !name.ends_with(".rs") {
        return Vec::new();
    }
    let directory =
        if name == "mod.rs" { directory.rsplit_once('/').map_or("", |(up, _)| up) } else { directory };
    let beside = ["lib.rs", "main.rs", "mod.rs"].map(|name| format!("{directory}/{name}"));
    beside.into_iter().chain([format!("{directory}.rs")]).filter_map(|path| path.parse().ok()).collect()
}

/// Why a run with the base's tests does not suffice, and the run; an empty text if it does.
fn insufficient(
    outcome: Result<TestRun, String>,
    reference: &Reference<'_>,
    comparison: &Comparison,
) -> (String, Option<TestRun>) {
    match outcome {
        Ok(run) => match reference.compare(&run) {
            Ok(unchanged) if unchanged.fixes_all_of(comparison) => (String::new(), None),
            Ok(_) => (format!("less passes than with your changes. {}", describe_failure(&run)), Some(run)),
            Err(why) => (why, Some(run)),
        },
        Err(setup) => (setup, None),
    }
}
