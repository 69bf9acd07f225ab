//! What the tests notice of the changed lines: mutants of them are run with the tests that show the issue. A
//! test that stays green whatever the lines do shows nothing. This is evidence for the reviewer; it rejects
//! nothing.

use std::time::{Duration, Instant};

use crate::domain::{
    Change, ChangedContent, ExitStatus, FailedTest, FileMode, Flag, RepoPath, TestOutcome, TestRun,
};
use crate::sandbox::CallError;
use crate::sandbox::protocol::{Mutant, Mutants};
use crate::testing::SuiteError;

use super::super::comparison::Reference;
use super::super::verifier::Verifier;
use super::candidate::{JudgedProposal, StepError};

/// Most mutants that are run.
const MUTANTS_MAX: usize = 8;
/// No further mutant is started after this time.
const TIME_MAX: Duration = Duration::from_secs(180);
/// Most changed files, and changed lines of a file, that are looked at.
const FILES_MAX: usize = 20;
const LINES_MAX: usize = 500;
const SURVIVORS_SHOWN_MAX: usize = 5;
const TEXT_CHARS_MAX: usize = 80;

/// A mutant of a file of the proposal.
struct MutatedFile {
    path: RepoPath,
    mode: FileMode,
    content: String,
    mutant: Mutant,
}

impl Verifier<'_> {
    /// Runs mutants of the changed lines with `tests`, which fail without the change. Returns what a reviewer must
    /// know, and leaves a remark.
    pub(in super::super) async fn mutation_evidence(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
        run: &TestRun,
        tests: &[FailedTest],
    ) -> Result<Option<Flag>, StepError> {
        if !self.environment.settings().mutants || tests.is_empty() {
            return Ok(None);
        }
        let started = Instant::now();
        let mutants = self.mutants_of(candidate).await?;
        let (mut caught, mut survived) = (0_u64, Vec::new());
        for mutated in &mutants {
            if started.elapsed() > TIME_MAX {
                break;
            }
            match self.is_caught(candidate, reference, mutated, run, tests).await? {
                Some(true) => caught += 1,
                Some(false) => survived.push(mutated.describe()),
                None => {}
            }
        }
        let count = caught + survived.len() as u64;
        if count == 0 {
            return Ok(None);
        }
        let more = survived.len().saturating_sub(SURVIVORS_SHOWN_MAX);
        survived.truncate(SURVIVORS_SHOWN_MAX);
        let listed = match (survived.is_empty(), more) {
            (true, _) => String::new(),
            (false, 0) => format!(" Not noticed: {}.", survived.join("; ")),
            (false, more) => format!(" Not noticed: {}; and {more} more.", survived.join("; ")),
        };
        self.environment.remark(&format!(
            "Mutants of the changed lines: the tests that show the issue catch {caught} of {count} ({} s).{listed}",
            started.elapsed().as_secs()
        ));
        Ok((caught == 0).then_some(Flag::NoMutantCaught { count }))
    }

    /// Mutants of the changed lines, spread over the changed source files.
    async fn mutants_of(&self, candidate: &JudgedProposal<'_>) -> Result<Vec<MutatedFile>, StepError> {
        let workspace = self.environment.workspace();
        let base = workspace.base_tree().await?;
        let mut files = Vec::new();
        for path in candidate.proposal.paths.iter().filter(|path| !candidate.places.contains(path)) {
            let Some((mode, bytes)) = workspace.content(&candidate.proposal.tree, path).await? else {
                continue;
            };
            let Ok(content) = String::from_utf8(bytes) else { continue };
            let before = workspace.content(&base, path).await?.map(|(_, bytes)| bytes).unwrap_or_default();
            let lines = added_lines(&String::from_utf8_lossy(&before), &content);
            if !lines.is_empty() && files.len() < FILES_MAX {
                files.push((path.clone(), mode, content, lines));
            }
        }
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let toolbox = self.environment.empty("parser").await?;
        let mut of_files = Vec::new();
        for (path, mode, content, lines) in files {
            let request = Mutants {
                path: path.to_string(),
                content: content.clone(),
                lines,
                mutants_max: u32::try_from(MUTANTS_MAX).unwrap_or(u32::MAX),
            };
            let mutants = match toolbox.mutants(&request).await {
                Ok(found) => found.mutants,
                // A file that no parser takes has no mutants.
                Err(CallError::RespondToModel(_)) => Vec::new(),
                Err(CallError::Fatal(error)) => return Err(SuiteError::from(error).into()),
            };
            of_files.push(mutants.into_iter().map(move |mutant| MutatedFile {
                path: path.clone(),
                mode,
                content: content.clone(),
                mutant,
            }));
        }
        toolbox.shut_down().await;
        let mut chosen = Vec::new();
        while chosen.len() < MUTANTS_MAX {
            let before = chosen.len();
            chosen.extend(of_files.iter_mut().filter_map(Iterator::next));
            if chosen.len() == before {
                break;
            }
        }
        chosen.truncate(MUTANTS_MAX);
        Ok(chosen)
    }

    /// Whether one of the tests fails with the mutant. `None`: the mutant cannot be run, or is no program.
    async fn is_caught(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
        mutated: &MutatedFile,
        whole: &TestRun,
        tests: &[FailedTest],
    ) -> Result<Option<bool>, StepError> {
        let Some(bytes) = mutated.applied() else { return Ok(None) };
        let mut changes: Vec<Change> =
            candidate.changes().into_iter().filter(|change| change.path != mutated.path).collect();
        let content = ChangedContent::File { mode: mutated.mode, bytes };
        changes.push(Change { path: mutated.path.clone(), content });
        let tree = self.environment.workspace().propose(changes).await?.tree;
        let names: Vec<&str> = tests.iter().map(|test| test.0.as_str()).collect();
        let Some(run) = self.run_tests_at(&tree, "mutant", &names, (reference, whole)).await? else {
            return Ok(None);
        };
        Ok(caught_by(&run, tests))
    }
}

impl MutatedFile {
    fn applied(&self) -> Option<Vec<u8>> {
        let (start, end) = self.range()?;
        let (before, after) = (&self.content[..start], &self.content[end..]);
        Some(format!("{before}{}{after}", self.mutant.replacement).into_bytes())
    }

    /// The replaced bytes. The sandbox names them, so they may be anything.
    fn range(&self) -> Option<(usize, usize)> {
        let (start, end) = (usize::try_from(self.mutant.start).ok()?, usize::try_from(self.mutant.end).ok()?);
        self.content.get(start..end).map(|_| (start, end))
    }

    fn describe(&self) -> String {
        let before = self.range().and_then(|(start, end)| self.content.get(start..end)).unwrap_or_default();
        let shown = |text: &str| -> String {
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            line.chars().take(TEXT_CHARS_MAX).collect()
        };
        format!(
            "`{}` line {}: `{}` → `{}`",
            self.path,
            self.mutant.line,
            shown(before),
            shown(&self.mutant.replacement)
        )
    }
}

/// Whether a run of a mutant shows that a test noticed it. `None`: it did not get as far as the tests.
fn caught_by(run: &TestRun, tests: &[FailedTest]) -> Option<bool> {
    match run.result.ending {
        ExitStatus::Exited { code: 0 } => Some(false),
        ExitStatus::TimedOut => Some(true),
        ExitStatus::Exited { .. } => {
            let is_own = |name: &str| tests.iter().any(|test| test.0 == name);
            let noticed =
                run.report.red().any(|case| is_own(&case.name) || case.outcome == TestOutcome::Failed);
            noticed.then_some(true)
        }
        ExitStatus::Signalled { .. }
        | ExitStatus::OutOfMemory
        | ExitStatus::DiskFull { .. }
        | ExitStatus::ProcessLimit => None,
    }
}

/// The numbers of the lines of `after` that `before` does not have.
fn added_lines(before: &str, after: &str) -> Vec<u32> {
    let mut known = std::collections::HashMap::<&str, usize>::new();
    for line in before.lines() {
        *known.entry(line.trim()).or_default() += 1;
    }
    let mut added = Vec::new();
    for (number, line) in (1_u32..).zip(after.lines().map(str::trim)) {
        match known.get_mut(line).filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None if line.is_empty() || added.len() >= LINES_MAX => {}
            None => added.push(number),
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BoundedOutput, ProcessOutput, TestReport};

    fn run(ending: ExitStatus, failed: &[&str]) -> TestRun {
        let result = ProcessOutput { ending, output: BoundedOutput::default(), duration: Duration::ZERO };
        let report = TestReport::naming_failed(failed.iter().copied());
        TestRun { command: "t".into(), selection: None, result, report }
    }

    #[test]
    fn lines_that_the_base_does_not_have_are_mutated() {
        assert_eq!(added_lines("a\nb\nc\n", "a\nx\n\nb\nc\nc\n"), [2, 6]);
        assert_eq!(added_lines("", "a\n"), [1]);
    }

    #[test]
    fn mutant_is_caught_by_a_failing_test_only() {
        let tests = [FailedTest("t::a".into())];
        let exited = |code| ExitStatus::Exited { code };
        assert_eq!(caught_by(&run(exited(0), &[]), &tests), Some(false));
        assert_eq!(caught_by(&run(exited(1), &["t::a"]), &tests), Some(true));
        assert_eq!(caught_by(&run(ExitStatus::TimedOut, &[]), &tests), Some(true));
        // It does not compile.
        assert_eq!(caught_by(&run(exited(101), &[]), &tests), None);
        assert_eq!(caught_by(&run(ExitStatus::OutOfMemory, &[]), &tests), None);
    }

    #[test]
    fn mutant_whose_range_is_not_in_the_file_is_not_run() {
        let mutant = |start, end| MutatedFile {
            path: "a.py".parse().unwrap(),
            mode: FileMode::Regular,
            content: "x > é\n".to_owned(),
            mutant: Mutant { line: 1, start, end, replacement: ">=".to_owned() },
        };
        assert_eq!(mutant(2, 3).applied().unwrap(), "x >= é\n".as_bytes());
        assert_eq!(mutant(2, 3).describe(), "`a.py` line 1: `>` → `>=`");
        for (start, end) in [(3, 2), (5, 6), (0, 100), (u64::MAX, u64::MAX)] {
            assert_eq!(mutant(start, end).applied(), None);
        }
    }
}
