//! The run with the base's own tests: changing a failing test must not fix it.

use crate::domain::Flag;
use crate::domain::flag::FLAG_NAMES_MAX;
use crate::testing::is_argument_of_runner;

use super::super::comparison::{Comparison, Reference};
use super::super::failures::{describe_failure, first_names};
use super::super::rules::{is_harness, is_named_in_command};
use super::super::test_files::TestFiles;
use super::super::verifier::Verifier;
use super::candidate::{JudgedProposal, Rejection, StepError};
use super::in_source::may_be_parsed;

impl Verifier<'_> {
    /// Runs the suite with the base's tests and test setup. If the base failed, this must pass: otherwise
    /// changing a failing test would "fix" it. If the base passed, a test may have to change; the result of
    /// the unchanged tests is shown to the reviewer.
    pub(in super::super) async fn check_base_tests(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
        comparison: &Comparison,
    ) -> Result<Vec<Flag>, StepError> {
        if !self.defences.base_tests {
            return Ok(Vec::new());
        }
        let (workspace, settings) = (self.environment.workspace(), self.environment.settings());
        let reports: &[_] = if self.defences.named_tests { &[&reference.baseline.report] } else { &[] };
        let tests = TestFiles::of(&candidate.places, reports);
        let (mut kept, mut withheld, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        let (mut changed_tests, mut changed_harness) = (Vec::new(), Vec::new());
        for file in &candidate.files {
            let path = file.path();
            if let Some(with_base_tests) = candidate.in_source.with_base_tests(file.change) {
                kept.push(with_base_tests);
                withheld.push(format!("the tests in {path}"));
                changed_tests.push(path.to_string());
                continue;
            }
            let is_test = file.exists && tests.contains(path, &file.before);
            let is_harness = is_harness(path);
            // Source that is given to the runner for the tests in it: these are put back by themselves.
            let is_source = may_be_parsed(path) && is_argument_of_runner(&settings.test_command, path);
            let is_named = is_named_in_command(settings, path)
                && !(is_source && reference.baseline.report.is_known() && self.defences.tests_in_source);
            if !is_test && !is_harness && !is_named {
                kept.push(file.change.clone());
                continue;
            }
            withheld.push(path.to_string());
            match is_test && !is_harness {
                true => changed_tests.push(path.to_string()),
                false => changed_harness.push(path.to_string()),
            }
        }
        let lost: Vec<String> = candidate.in_source.lost().take(FLAG_NAMES_MAX).collect();
        if !lost.is_empty() {
            flags.push(Flag::TestsWeakened { names: lost });
        }
        if withheld.is_empty() {
            return Ok(flags);
        }
        let strict = workspace.propose(kept).await?;
        let outcome = self.run_at(&strict.tree, "base-tests", reference).await?;
        if reference.baseline.is_red() {
            let (outcome, run) = match outcome {
                Ok(run) => match reference.compare(&run) {
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
                     these as the base has them, {outcome}\nFix the source so that the tests pass as they are; add \
                     new tests in files of their own. If an existing test itself is wrong, ask_human.",
                    withheld.join(", "),
                );
                return Err(Rejection::new(explanation).with_run(run).into());
            }
        } else {
            match outcome {
                Ok(run) if reference.compare(&run).is_ok() => {}
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
        Ok(flags)
    }
}
