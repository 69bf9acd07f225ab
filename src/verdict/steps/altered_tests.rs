//! Whether the tests that show the issue compare anything: they are run with other values in their bodies, and must
//! fail. Source that softens assertions, or whose results are equal to everything, passes with any value. This
//! is shown to the reviewer; it rejects nothing, since an honest test may compare no literal.

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{
    Change, ChangedContent, FailedTest, FileMode, Flag, RepoPath, TestCase, TestOutcome, TestRun,
};

use super::super::comparison::Reference;
use super::super::expectations::{AlteredLiteral, literals_of_test, with_literals};
use super::super::rules::TestPaths;
use super::super::test_files::TestFiles;
use super::super::verifier::Verifier;
use super::candidate::{JudgedProposal, StepError};
use super::selected_run::SUITE_TIME_MAX;

/// Tests that are altered, and that are looked for.
const TESTS_MAX: usize = 4;
const TESTS_LOOKED_AT_MAX: usize = 20;
/// Runs: with the last value altered, with all of them, then with single ones.
const RUNS_MAX: usize = 4;
/// Test files that are read.
const FILES_MAX: usize = 2_000;
const FILES_READ_MAX: usize = 200;
const FILE_BYTES_MAX: usize = 1 << 20;

/// A test file of the proposal.
struct TestFile {
    path: RepoPath,
    mode: FileMode,
    content: String,
}

/// A test that shows the issue, and the values in its body.
struct AlteredTest<'t> {
    name: &'t str,
    file: usize,
    literals: Vec<AlteredLiteral>,
    /// Whether it failed with another value, and whether it passed with one.
    notices: bool,
    passes: bool,
}

impl Verifier<'_> {
    /// Runs `tests`, which fail without the change, with other values. Returns a flag if some pass all the same.
    pub(in super::super) async fn check_expectations(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
        run: &TestRun,
        tests: &[FailedTest],
    ) -> Result<Option<Flag>, StepError> {
        if !self.defences.altered_tests || tests.is_empty() || !run.report.is_known() {
            return Ok(None);
        }
        let files = self.test_files(candidate, reference, run).await?;
        let mut altered = altered_tests(&files, tests);
        // One test can be selected.
        if run.result.duration > SUITE_TIME_MAX {
            altered.truncate(1);
        }
        for attempt in 0..RUNS_MAX {
            let open = || altered.iter().filter(|test| !test.notices);
            let changes: Vec<(usize, Vec<AlteredLiteral>)> =
                open().filter_map(|test| Some((test.file, test.attempt(attempt)?))).collect();
            if changes.is_empty() {
                break;
            }
            let names: Vec<&str> = open().map(|test| test.name).collect();
            let Some(again) = self.run_altered(candidate, (reference, run), &files, &changes, &names).await?
            else {
                return Ok(None);
            };
            for test in altered.iter_mut().filter(|test| test.attempt(attempt).is_some()) {
                test.note(&again);
            }
        }
        // A run that did not come to a test says nothing of it.
        let noticing = altered.iter().filter(|test| test.notices).count();
        let ignoring: Vec<&AlteredTest<'_>> =
            altered.iter().filter(|test| test.passes && !test.notices).collect();
        let checked = noticing + ignoring.len();
        if checked == 0 {
            return Ok(None);
        }
        self.environment.remark(&format!(
            "The values in the tests that show the issue were altered: {noticing} of {checked} notice that."
        ));
        let names: Vec<String> =
            ignoring.iter().take(FLAG_NAMES_MAX).map(|test| test.name.to_owned()).collect();
        Ok((!names.is_empty()).then_some(Flag::ValuesNotCompared { names }))
    }

    /// The files of the proposal in which tests can stand: those that it changes first, then those of the base.
    async fn test_files(
        &self,
        candidate: &JudgedProposal<'_>,
        reference: &Reference<'_>,
        run: &TestRun,
    ) -> Result<Vec<TestFile>, StepError> {
        let workspace = self.environment.workspace();
        let tree = &candidate.proposal.tree;
        let reports = [&reference.baseline.report, &run.report];
        let named: Vec<RepoPath> = reports
            .iter()
            .flat_map(|report| &report.cases)
            .filter_map(|case| case.location.as_ref()?.file.parse().ok())
            .take(FILES_READ_MAX)
            .collect();
        let tests = TestFiles::of(&candidate.places, &[]);
        let places = TestPaths::new(self.environment.settings());
        let found = workspace
            .find_files_by_name(tree, FILES_MAX, move |path| {
                path.parse::<RepoPath>().is_ok_and(|path| places.contains(&path))
            })
            .await?
            .unwrap_or_default();
        let changed = candidate.files.iter().filter(|file| !file.is_deleted());
        let mut paths: Vec<RepoPath> = changed.clone().map(|file| file.path().clone()).collect();
        paths.sort_by_key(|path| !tests.contains(path, &[]));
        paths.extend(named);
        paths.extend(found.into_iter().filter_map(|(path, _)| path.parse().ok()));
        let (mut files, mut known) = (Vec::new(), std::collections::HashSet::new());
        for path in paths {
            if files.len() >= FILES_READ_MAX || !known.insert(path.clone()) {
                continue;
            }
            let Some((mode, bytes)) = workspace.content(tree, &path).await? else { continue };
            if let Some(content) = String::from_utf8(bytes).ok().filter(|text| text.len() <= FILE_BYTES_MAX) {
                files.push(TestFile { path, mode, content });
            }
        }
        Ok(files)
    }

    /// A run of the proposal with other values in its tests. `None`: see [`Self::run_tests_at`].
    async fn run_altered(
        &self,
        candidate: &JudgedProposal<'_>,
        (reference, run): (&Reference<'_>, &TestRun),
        files: &[TestFile],
        changes: &[(usize, Vec<AlteredLiteral>)],
        names: &[&str],
    ) -> Result<Option<TestRun>, StepError> {
        let mut all: Vec<Change> = candidate.changes();
        for (index, file) in files.iter().enumerate() {
            let literals: Vec<AlteredLiteral> = changes
                .iter()
                .filter(|(of, _)| *of == index)
                .flat_map(|(_, literals)| literals.iter().cloned())
                .collect();
            if literals.is_empty() {
                continue;
            }
            let bytes = with_literals(&file.content, &literals).into_bytes();
            all.retain(|change| change.path != file.path);
            let content = ChangedContent::File { mode: file.mode, bytes };
            all.push(Change { path: file.path.clone(), content });
        }
        let tree = self.environment.workspace().propose(all).await?.tree;
        self.run_tests_at(&tree, "altered", names, (reference, run)).await
    }
}

/// The first tests whose bodies are found, with the values in them.
fn altered_tests<'t>(files: &[TestFile], tests: &'t [FailedTest]) -> Vec<AlteredTest<'t>> {
    let found = tests.iter().take(TESTS_LOOKED_AT_MAX).filter_map(|FailedTest(name)| {
        let declaring: Vec<(usize, Vec<AlteredLiteral>)> = files
            .iter()
            .enumerate()
            .filter_map(|(file, text)| Some((file, literals_of_test(&text.content, name)?)))
            .collect();
        // Of several files, the one whose path or module is in the name.
        let is_named = |file: usize| {
            let path = files[file].path.as_str();
            let module = path.rsplit_once('.').map_or(path, |(stem, _)| stem).replace('/', ".");
            name.contains(path) || name.contains(&module)
        };
        let mut named = declaring.iter().filter(|(file, _)| is_named(*file));
        let (file, literals) = match (named.next(), named.next(), declaring.as_slice()) {
            (Some(one), None, _) | (None, None, [one]) => one.clone(),
            _ => return None,
        };
        (!literals.is_empty()).then_some(AlteredTest { name, file, literals, notices: false, passes: false })
    });
    found.take(TESTS_MAX).collect()
}

impl AlteredTest<'_> {
    /// Notes what a run says of it.
    fn note(&mut self, run: &TestRun) {
        let is_own = |case: &&TestCase| case.name == self.name || run.report.title(case) == self.name;
        match run.report.cases.iter().find(is_own) {
            Some(case) => {
                self.notices |= case.is_red() && !case.stands_for_tests;
                self.passes |= case.outcome == TestOutcome::Passed;
            }
            None => self.passes |= run.is_green() && !run.report.names_all(),
        }
    }

    /// The values that one of the runs alters. The last one is most often what is expected.
    fn attempt(&self, number: usize) -> Option<Vec<AlteredLiteral>> {
        let count = self.literals.len();
        match number {
            0 => self.literals.last().map(|last| vec![last.clone()]),
            1 => (count > 1).then(|| self.literals.clone()),
            single => {
                count.checked_sub(single).filter(|_| count > 2).map(|at| vec![self.literals[at].clone()])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_altered_last_first_then_all_then_one_by_one() {
        let content = "def test_a():\n    assert f(1, 2) == 3\n".to_owned();
        let files = [TestFile { path: "test_a.py".parse().unwrap(), mode: FileMode::Regular, content }];
        let tests = [FailedTest("test_a.py::test_a".into()), FailedTest("gone".into())];
        let altered = altered_tests(&files, &tests);
        assert_eq!(altered.len(), 1);
        let values = |number| -> Vec<String> {
            let literals = altered[0].attempt(number).unwrap_or_default();
            literals.into_iter().map(|literal| literal.replacement).collect()
        };
        assert_eq!((values(0), values(1)), (vec!["4".into()], vec!["2".into(), "3".into(), "4".into()]));
        assert_eq!((values(2), values(3), values(4)), (vec!["3".into()], vec!["2".into()], vec![]));
    }
}
