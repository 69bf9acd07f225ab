//! The run with the base's source: what the proposal adds, and what it changes besides the source, must not be what
//! makes the tests pass.

use std::collections::HashSet;

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{Change, FailedTest, Flag, ReportFormat, TestRun, TouchedKind};
use crate::testing::format_of_command;

use super::super::comparison::{Comparison, Reference};
use super::super::path_kinds::{
    is_documentation, is_foreign_script, is_source, kind_by_path, source_extensions,
};
use super::super::rules::is_harness;
use super::super::test_files::TestFiles;
use super::super::verifier::Verifier;
use super::candidate::{ChangedFile, JudgedProposal, Rejection, StepError};

/// The parts of a proposal.
struct Parts<'p, 'c> {
    /// Existing source that is changed.
    source: Vec<&'p ChangedFile<'c>>,
    /// New files, and everything that is not source, without existing tests.
    around: Vec<&'p ChangedFile<'c>>,
    /// Existing tests that are changed.
    tests: Vec<&'p ChangedFile<'c>>,
    /// Whether everything but documentation is tests, or decides how tests run.
    only_tests_and_configuration: bool,
}

impl Verifier<'_> {
    /// Runs the base with all that the proposal adds, and all that it changes besides source and tests. Tests that
    /// pass there, too, are not fixed by the source.
    pub(in super::super) async fn check_source(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
        (run, comparison): (&TestRun, &Comparison),
        proof: Option<&[FailedTest]>,
    ) -> Result<Vec<Flag>, StepError> {
        if !self.defences.unchanged_source {
            return Ok(Vec::new());
        }
        let package_json = self.environment.workspace().base_file("package.json").await?;
        let command = &self.environment.settings().test_command;
        let parts = parts(candidate, reference, run, format_of_command(command, package_json.as_deref()));
        let fixed: HashSet<String> = match comparison {
            Comparison::Green => reference.fixed_by(run).into_iter().collect(),
            Comparison::KnownFailures(known) => known.fixed.iter().cloned().collect(),
        };
        let is_red =
            reference.baseline.is_red() && (!fixed.is_empty() || !reference.baseline.report.is_red());
        let proved = proof.unwrap_or_default();
        if parts.around.is_empty() || (!is_red && proved.is_empty()) {
            return Ok(Vec::new());
        }
        let named = TestFiles::of(&candidate.places, &[&reference.baseline.report, &run.report]);
        let is_new_test = |file: &&&ChangedFile<'_>| named.contains(file.path(), file.after());
        // The new tests and the documentation on the base's source are the proof's runs.
        let is_proved =
            |file: &&ChangedFile<'_>| is_new_test(&file) || is_documentation(file.path().as_str());
        if !is_red && parts.around.iter().all(is_proved) {
            return Ok(Vec::new());
        }
        let flag = || {
            let others: Vec<_> = parts.around.iter().filter(|file| !is_new_test(file)).collect();
            let shown = if others.is_empty() { parts.around.iter().collect() } else { others };
            let paths = shown.iter().take(FLAG_NAMES_MAX).map(|file| file.path().to_string()).collect();
            vec![Flag::FixNotInSource { paths, count: shown.len() as u64 }]
        };
        if !is_red && parts.source.is_empty() {
            return Ok(flag());
        }
        let existing_tests = parts.tests.iter().filter(|_| !is_red);
        let changes: Vec<Change> =
            parts.around.iter().chain(existing_tests).map(|file| file.change.clone()).collect();
        let inverted = self.environment.workspace().propose(changes).await?;
        let without = match inverted.tree == candidate.proposal.tree {
            true => run.clone(),
            false => match self.run_at(&inverted.tree, "source-unchanged", reference).await? {
                Ok(run) => run,
                // Without the source it cannot even be set up, so the source is part of the fix.
                Err(_) => return Ok(Vec::new()),
            },
        };
        let passes_without = match is_red {
            true if fixed.is_empty() => without.is_green(),
            true => reference.fixed_by(&without).iter().any(|name| fixed.contains(name)),
            false => passes_all(proved, run, &without),
        };
        if !passes_without {
            return Ok(Vec::new());
        }
        let all = fixed.is_subset(&reference.fixed_by(&without).into_iter().collect());
        if is_red && all && parts.only_tests_and_configuration {
            let paths: Vec<String> =
                parts.around.iter().take(FLAG_NAMES_MAX).map(|file| file.path().to_string()).collect();
            let explanation = format!(
                "What failed at the base passes without any change to the source: only tests, and files that decide \
                 how they are built, set up or run, are changed ({}). Fix the source so that the tests pass as they \
                 are run now. If what runs them is itself wrong, ask_human.",
                paths.join(", ")
            );
            return Err(Rejection::new(explanation).with_run(Some(without)).into());
        }
        Ok(flag())
    }
}

/// Whether all tests of the proof pass in `without` as they do in `run`.
fn passes_all(proof: &[FailedTest], run: &TestRun, without: &TestRun) -> bool {
    let passes = |test: &FailedTest| {
        let in_run = run.report.cases.iter().find(|case| run.report.title(case) == test.0);
        match in_run.and_then(|case| without.report.same(case)) {
            Some(case) => !case.is_red(),
            None => without.is_green(),
        }
    };
    without.report.finished && proof.iter().all(passes)
}

fn parts<'p, 'c>(
    candidate: &'p JudgedProposal<'c>,
    reference: &Reference<'_>,
    run: &TestRun,
    command: Option<ReportFormat>,
) -> Parts<'p, 'c> {
    let base = &reference.baseline.report;
    let report = if base.formats.is_empty() { &run.report } else { base };
    let extensions = source_extensions(report, command);
    let extensions = extensions.as_deref();
    let tests = TestFiles::of(&candidate.places, &[base]);
    let mut parts = Parts {
        source: Vec::new(),
        around: Vec::new(),
        tests: Vec::new(),
        only_tests_and_configuration: true,
    };
    for file in &candidate.files {
        let path = file.path().as_str();
        let is_test = tests.contains(file.path(), if file.exists { &file.before } else { file.after() });
        let has_source_extension = extensions.is_some_and(|known| {
            path.rsplit_once('.').is_some_and(|(_, extension)| known.contains(&extension))
        });
        // Scripts can be the source that tests are about, and data beside tests can be what was missing.
        let is_configuration = match kind_by_path(path) {
            Some(TouchedKind::Script) => extensions.is_some() && !has_source_extension,
            Some(_) => true,
            None => is_harness(file.path()) || is_foreign_script(path, extensions),
        };
        let is_missing_data = !file.exists && is_test && extensions.is_some() && !has_source_extension;
        parts.only_tests_and_configuration &=
            is_documentation(path) || ((is_test || is_configuration) && !is_missing_data);
        match (file.exists, is_test && !is_harness(file.path()), is_source(path, extensions)) {
            (true, true, _) => parts.tests.push(file),
            (true, false, true) => parts.source.push(file),
            (true, false, false) | (false, _, _) => parts.around.push(file),
        }
    }
    parts
}
