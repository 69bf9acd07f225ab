//! The tracked files that a run of the suite changed: tests that are not what they were make a run
//! worthless. Pure functions.

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{Flag, RepoPath, RewrittenFile, TestReport, TrackedFileChange};

use super::path_kinds::{is_code, is_test_script};
use super::rules::is_harness;

/// Why a run does not count, for the model and for people: it changed tests, or what runs them. What the
/// base's run does, too, is the suite's own way. `is_test` knows the files of tests.
pub(super) fn rejection(
    base: &TestReport,
    run: &TestReport,
    is_test: impl Fn(&RepoPath) -> bool,
) -> Option<String> {
    let lines: Vec<String> = new_changes(base, run)
        .filter(|file| is_test_code(&file.path, &is_test))
        .take(FLAG_NAMES_MAX)
        .map(|file| format!("\n- {} {}", file.path, file.change.describe()))
        .collect();
    (!lines.is_empty()).then(|| {
        format!(
            "While the tests ran, files of tests were changed. A run counts only if the tests stay what they are:{}\n\
             Change the source so that nothing writes to these files.",
            lines.join("")
        )
    })
}

/// The other tracked files that a run changed.
pub(super) fn flag(base: &TestReport, run: &TestReport, is_test: impl Fn(&RepoPath) -> bool) -> Option<Flag> {
    let is_shown = |file: &&RewrittenFile| match file.change {
        TrackedFileChange::Rewritten | TrackedFileChange::Removed => !is_test_code(&file.path, &is_test),
        TrackedFileChange::Restored | TrackedFileChange::Shadowed => false,
    };
    let mut paths: Vec<String> =
        new_changes(base, run).filter(is_shown).map(|file| file.path.clone()).collect();
    let count = paths.len() as u64;
    paths.truncate(FLAG_NAMES_MAX);
    (count > 0).then_some(Flag::FilesRewritten { paths, count })
}

/// The tracked files that a run changed, and that the base's run leaves as they are.
pub(super) fn new_changes<'r>(
    base: &'r TestReport,
    run: &'r TestReport,
) -> impl Iterator<Item = &'r RewrittenFile> {
    run.changed_files.iter().filter(|file| !base.changed_files.iter().any(|known| known.path == file.path))
}

fn is_test_code(path: &str, is_test: impl Fn(&RepoPath) -> bool) -> bool {
    let Ok(path) = path.parse::<RepoPath>() else { return false };
    let name = path.as_str().rsplit('/').next().unwrap_or_default();
    // Other files in a test's directory are data: a suite may rewrite its snapshots.
    let is_run =
        name.rsplit_once('.').is_none_or(|(_, extension)| is_code(extension) || is_test_script(extension));
    is_harness(&path) || (is_test(&path) && is_run)
}

#[cfg(test)]
mod tests {
    use super::super::rules::{TestPaths, settings_for_tests};
    use super::*;

    fn report(files: &[(&str, TrackedFileChange)]) -> TestReport {
        let changed = |(path, change): &(&str, TrackedFileChange)| RewrittenFile {
            path: (*path).into(),
            change: *change,
        };
        TestReport { changed_files: files.iter().map(changed).collect(), ..TestReport::default() }
    }

    use TrackedFileChange::{Removed, Restored, Rewritten, Shadowed};

    #[test]
    fn run_that_changed_a_test_does_not_count() {
        let places = TestPaths::new(&settings_for_tests());
        let tests = |path: &RepoPath| places.contains(path);
        let none = report(&[]);
        for change in [Rewritten, Removed, Restored, Shadowed] {
            let run = report(&[("src/a.py", Rewritten), ("tests/test_a.py", change)]);
            let why = rejection(&none, &run, tests).unwrap();
            assert!(why.contains(&format!("- tests/test_a.py {}", change.describe())), "{why}");
            assert!(!why.contains("src/a.py"), "{why}");
            assert_eq!(rejection(&run, &run, tests), None);
        }
        assert!(rejection(&none, &report(&[("conftest.py", Rewritten)]), tests).is_some());
    }

    #[test]
    fn rewritten_data_and_sources_are_flagged() {
        let places = TestPaths::new(&settings_for_tests());
        let tests = |path: &RepoPath| places.contains(path);
        let run = report(&[
            ("src/a.py", Rewritten),
            ("src/b.py", Restored),
            ("tests/__snapshots__/a.snap", Rewritten),
            ("tests/data/a.json", Removed),
        ]);
        assert_eq!(rejection(&report(&[]), &run, tests), None);
        let paths =
            ["src/a.py", "tests/__snapshots__/a.snap", "tests/data/a.json"].map(str::to_owned).to_vec();
        assert_eq!(flag(&report(&[]), &run, tests), Some(Flag::FilesRewritten { paths, count: 3 }));
        assert_eq!(flag(&run, &run, tests), None);
    }
}
